"""`pgvip resume`: automatic changes of role again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, order

if TYPE_CHECKING:
    import argparse

HELP = "end the pause"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `resume`."""
    parser.description = "End the pause on both hosts. Example: pgvip resume"
    add_common(parser, 10.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    return order(args, "resume")
