"""`pgvip hold clear`: the operator has examined data that nobody else has, and lets it be rewound or rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, confirm, order
from pgvip.config.load import load

if TYPE_CHECKING:
    import argparse

HELP = "clear the hold on this host's data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `hold`."""
    parser.description = (
        "clear: end the hold that keeps this host's data from being rewound or rebuilt. It was set because the data "
        "may contain acknowledged commits that the other host lacks: save what you need first. "
        "Example: pgvip hold clear"
    )
    parser.add_argument("action", choices=["clear"])
    parser.add_argument("--yes", metavar="HOST", help="this host's name, instead of typing it")
    add_common(parser, 30.0)


def run(args: argparse.Namespace) -> int:
    """Ask, then order it. Returns the exit code."""
    if not args.dry_run:
        me = load(args.config, args.host).me.name
        gone = f"commits that only {me} has are gone then"
        warning = f"The data of {me} will be rewound or rebuilt from the other host; {gone}."
        confirm(args, warning, me, f"this host's name ({me})")
    return order(args, "clear-hold")
