"""`pgvip remove-peer`: the other host goes for good, and this one serves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, ask_confirmed

if TYPE_CHECKING:
    import argparse

HELP = "go back to one host: the other one is gone for good"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `remove-peer`."""
    parser.description = (
        "Order this host, which serves alone, not to wait for the other host any more, which is gone for good: no "
        "warnings, no WAL that is kept for it, no fence. It is refused while the other host's PostgreSQL runs: pgvip "
        "leave there first, or power it off. Until pgvip add-peer nobody takes over from this host. It outlasts "
        "restarts. docs/procedures/remove-a-host.md. Example: pgvip remove-peer --dry-run"
    )
    parser.add_argument("--yes", metavar="HOST", help="the other host's name, instead of typing it")
    add_common(parser, 30.0)


def run(args: argparse.Namespace) -> int:
    """Ask, then order it. Returns the exit code."""
    return ask_confirmed(args, {"command": "remove-peer"}, args.wait_s)
