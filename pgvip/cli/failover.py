"""`pgvip failover`: the standby takes over now, after it had the primary powered off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, ask_confirmed

if TYPE_CHECKING:
    import argparse

HELP = "take over now, with a fence of the primary first (on the standby)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `failover`."""
    parser.description = (
        "Take the primary role over now: the primary is powered off, which is verified, then this standby is promoted "
        "and the other host switched on again. For a primary that is sick and does not let go. It needs the same right "
        "as an automatic takeover and is refused where this standby is not eligible (exit code 5). While the primary "
        "answers, pgvip switchover is the better way, and this asks for the pair's name. "
        "Example: pgvip failover --dry-run"
    )
    parser.add_argument("--yes", metavar="PAIR", help="the pair's name, instead of typing it")
    add_common(parser, 120.0)


def run(args: argparse.Namespace) -> int:
    """Ask, then order it. Returns the exit code."""
    return ask_confirmed(args, {"command": "failover"}, args.wait_s)
