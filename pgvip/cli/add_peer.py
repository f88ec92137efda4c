"""`pgvip add-peer`: end what `pgvip remove-peer` began, before a second host is brought in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.simple import MARGIN_S, add_common, ask, common

if TYPE_CHECKING:
    import argparse

HELP = "have a second host again, after pgvip remove-peer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `add-peer`."""
    parser.description = (
        "Order this host, whose peer was removed, to wait for a second host again. Then bring that host in: pgvip "
        "bundle here, pgvip clone there (docs/procedures/new-hardware.md). Nothing happens where no peer is removed. "
        "Example: pgvip add-peer"
    )
    add_common(parser, 30.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    return ask(args, {"command": "add-peer", **common(args)}, args.wait_s + MARGIN_S)
