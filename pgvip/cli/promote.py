"""`pgvip promote --force`: an operator decides what the protocol cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, confirm, order
from pgvip.config_load import load
from pgvip.errors import RefusedError

if TYPE_CHECKING:
    import argparse

HELP = "force this host to be primary; may lose data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `promote`."""
    parser.description = (
        "Force this host to be primary although the protocol does not allow it. The other host is fenced first. "
        "Commits that only the other host has do not appear here; they are kept there (hold) until an operator "
        "decides. Example: pgvip promote --force"
    )
    parser.add_argument("--force", action="store_true", help="required: says that you know what this does")
    parser.add_argument(
        "--without-fence", action="store_true", help="you have seen that the other host is off, and its power stays off"
    )
    parser.add_argument("--yes", metavar="PAIR", help="the pair's name, instead of typing it")
    add_common(parser, 120.0)


def run(args: argparse.Namespace) -> int:
    """Ask, then order it. Returns the exit code."""
    if not args.force:
        raise RefusedError(
            "a promotion outside the protocol must be forced",
            "An orderly change of role is pgvip switchover; a takeover from a dead primary happens by itself.",
            "If neither is possible: pgvip promote --force",
        )
    if not args.dry_run:
        config = load(args.config, args.host)
        peer = config.peer.name
        if not args.without_fence and not config.settings.fencing:
            raise RefusedError(
                f'fencing = "none" is configured for {peer}: it cannot be fenced first',
                "If it runs, or comes back by itself, both hosts write.",
                "See that it is off and stays off, then: pgvip promote --force --without-fence",
            )
        off = f"{peer} is NOT fenced: if it runs, both write" if args.without_fence else f"{peer} is fenced first"
        loss = f"Data that only {peer} has is lost here."
        warning = f"{config.me.name} becomes primary of {config.name} by force; {off}. {loss}"
        confirm(args, warning, config.name, "the pair's name")
    return order(args, "force-promote", "without-fence" if args.without_fence else "")
