"""`pgvip rejoin`: make this host follow the primary again without waiting, by rewind or by a new copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, order

if TYPE_CHECKING:
    import argparse

HELP = "make this host follow the primary again, now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `rejoin`."""
    parser.description = (
        "Make this host's data follow the primary now: diverged WAL is saved, then rewind, else a new copy. A host "
        "that returns does this by itself; the command is for one that gave up, or waits for its window. It is refused "
        "on a primary and while the data is on hold. Example: pgvip rejoin --clone"
    )
    parser.add_argument("--clone", action="store_true", help="a new copy even if a rewind would do")
    add_common(parser, 60.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    return order(args, "rejoin", "clone" if args.clone else "")
