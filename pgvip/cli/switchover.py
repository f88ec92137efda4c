"""`pgvip switchover`: the primary stops cleanly, the standby takes the role over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, order

if TYPE_CHECKING:
    import argparse

HELP = "move the primary role to the other host, in an orderly way"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `switchover`."""
    parser.description = (
        "Move the primary role to the other host. The old primary is stopped cleanly first and nothing is lost; when "
        "the other host cannot take over, the old one serves on. May be run on either host. "
        "Example: pgvip switchover --dry-run"
    )
    parser.add_argument("--cancel", action="store_true", help="drop a switchover that has not begun yet")
    add_common(parser, 90.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    return order(args, "cancel-switchover" if args.cancel else "switchover")
