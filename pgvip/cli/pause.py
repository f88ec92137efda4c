"""`pgvip pause`: no automatic change of role until `pgvip resume`; kept over restarts, on both hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, order

if TYPE_CHECKING:
    import argparse

HELP = "suspend automatic changes of role on both hosts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `pause`."""
    parser.description = (
        "Suspend automatic changes of role on both hosts, for work on the hosts or the network. The databases and "
        'their addresses stay as they are. It outlasts restarts. Example: pgvip pause "kernel upgrade on alpha"'
    )
    parser.add_argument("reason", nargs="*", help="shown in status until the pause ends")
    add_common(parser, 10.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    return order(args, "pause", " ".join(args.reason))
