"""`pgvip pause`: no automatic change of role until `pgvip resume`; kept over restarts, on both hosts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pgvip.cli.simple import add_common, order
from pgvip.cli.when import coming, duration
from pgvip.text.times import DURATIONS, TIMES, wall

if TYPE_CHECKING:
    import argparse

HELP = "suspend automatic changes of role on both hosts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `pause`."""
    parser.description = (
        "Suspend automatic changes of role on both hosts, for work on the hosts or the network. The databases and "
        "their addresses stay as they are; nobody is fenced or switched on, and PostgreSQL may be restarted. It "
        "outlasts restarts, and with --for or --until it ends by itself, by the clock of this host. "
        'Example: pgvip pause --for 2h --reason "minor upgrade on alpha"'
    )
    parser.add_argument("words", nargs="*", metavar="REASON", help="the reason, as with --reason")
    parser.add_argument("--reason", default="", help="shown in status, on both hosts, until the pause ends")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--for", type=duration, metavar="DURATION", dest="for_s", help=f"so long: {DURATIONS}")
    end.add_argument("--until", type=coming, metavar="TIME", help=f"until then: {TIMES}")
    add_common(parser, 10.0)


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    until = args.until or ""
    if args.for_s is not None:
        until = wall(datetime.now(tz=UTC) + timedelta(seconds=args.for_s))
    return order(args, "pause", args.reason or " ".join(args.words), until=until)
