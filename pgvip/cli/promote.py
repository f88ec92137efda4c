"""`pgvip promote --force`: an operator decides what the protocol cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, ask_confirmed
from pgvip.errors import RefusedError

if TYPE_CHECKING:
    import argparse

HELP = "force this host to be primary; may lose data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `promote`."""
    parser.description = (
        "Force this host to be primary although the protocol does not allow it. The other host is fenced first. "
        "Commits that only the other host has do not appear here; they are kept there (hold) until an operator "
        "decides. What may be lost is said first, by the positions that are known; refused while a primary serves "
        "(exit code 5). Example: pgvip promote --force --dry-run"
    )
    parser.add_argument("--force", action="store_true", help="required: says that you know what this does")
    parser.add_argument(
        "--without-fence", action="store_true", help="you have seen that the other host is off, and its power stays off"
    )
    parser.add_argument(
        "--without-witness", action="store_true",
        help="do not claim the term: for a witness that is lost; the other host must be off, or never come back",
    )  # fmt: skip
    parser.add_argument("--although-healthy", action="store_true", help="also while a primary is seen to serve")
    parser.add_argument("--yes", metavar="PAIR", help="the pair's name, instead of typing it")
    add_common(parser, 120.0)


def run(args: argparse.Namespace) -> int:
    """Ask, then order it. Returns the exit code."""
    if not args.force:
        raise RefusedError(
            "a promotion outside the protocol must be forced",
            "An orderly change of role is pgvip switchover; a takeover from a dead primary happens by itself, and from "
            "a sick one by pgvip failover.",
            "If none is possible: pgvip promote --force",
        )
    request = {
        "command": "promote",
        "without_fence": args.without_fence,
        "without_witness": args.without_witness,
        "although_healthy": args.although_healthy,
    }
    return ask_confirmed(args, request, args.wait_s)
