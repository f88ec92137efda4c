"""`pgvip fence`: the other host's fence device: its answer, a test, its power, an operator's word in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import MARGIN_S, add_common, ask, ask_confirmed

if TYPE_CHECKING:
    import argparse

HELP = "inspect, test, use or confirm the fencing of the other host"
DEVICE_S = 180.0
"""Several methods, one after the other, each with its own time-out (40 s by default)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fence`."""
    parser.description = (
        "status: ask every fence method of the other host whether its power is on. test: the same, and fail unless all "
        "answer, well within their time-outs; nobody is powered off. off: power the other host off, and keep it off; "
        "what that means for the roles is said first, and it is refused where nobody would serve. on: switch it on. "
        "confirm: say that you have seen the other host powered off, which counts as the result of the fence attempt "
        "that is open now. Exit code 1 when a method fails, 5 when refused. Example: pgvip fence test"
    )
    parser.add_argument("action", choices=["status", "test", "on", "off", "confirm"])
    parser.add_argument("--force", action="store_true", help="off: also while the other host is the primary")
    parser.add_argument("--yes", metavar="HOST", help="off, confirm: the other host's name, instead of typing it")
    add_common(parser, 120.0)


def run(args: argparse.Namespace) -> int:
    """Ask the daemon. Returns the exit code."""
    request = {"command": "fence", "action": args.action}
    if args.action in ("status", "test"):
        return ask(args, request, DEVICE_S + MARGIN_S)
    return ask_confirmed(args, {**request, "force": args.force}, args.wait_s)
