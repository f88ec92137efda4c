"""`pgvip fence`: the other host's fence device: its answer, a test, and an operator's word in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import MARGIN_S, add_common, ask, confirm, order
from pgvip.config_load import load

if TYPE_CHECKING:
    import argparse

HELP = "look at, test or confirm the fencing of the other host"
DEVICE_S = 180.0
"""Several methods, one after the other, each with its own time-out (40 s by default)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fence`."""
    parser.description = (
        "status: ask every fence method of the other host whether its power is on. test: the same, and fail unless all "
        "answer; nobody is powered off. confirm: say that you have seen the other host powered off, which counts as "
        "the result of the fence attempt that is open now. Example: pgvip fence test"
    )
    parser.add_argument("action", choices=["status", "test", "confirm"])
    parser.add_argument("--yes", metavar="HOST", help="confirm: the other host's name, instead of typing it")
    add_common(parser, 60.0)


def run(args: argparse.Namespace) -> int:
    """Ask the daemon. Returns the exit code."""
    if args.action != "confirm":
        return ask(args, {"command": "fence", "action": args.action}, DEVICE_S + MARGIN_S)
    if not args.dry_run:
        config = load(args.config, args.host)
        peer = config.peer.name
        warning = f"{config.me.name} will serve alone. If {peer} is not off, or comes back by itself, both may write."
        confirm(args, warning, peer, f"the name of the host that you have seen powered off ({peer})")
    return order(args, "fence-confirmed")
