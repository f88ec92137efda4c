"""`pgvip leave`: prepare this host for its shutdown, so that nobody waits for what it takes with it.

`pgvip-handover.service` runs it while systemd shuts the host down; an operator may run it before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.cli.output import put, put_json
from pgvip.cli.simple import add_common, order
from pgvip.config.load import load
from pgvip.errors import RefusedError
from pgvip.system import units

if TYPE_CHECKING:
    import argparse

HELP = "hand over before this host is shut down"
EXIT_CODES = {5: "nobody took over, and this host stays"}
ANYWAY = "anyway"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `leave`."""
    parser.description = (
        "Prepare this host for its shutdown. A primary is stopped cleanly and an eligible standby takes the role over; "
        "a standby gives its address up, and the primary serves alone before this server ends. From then on this host "
        "takes no role and starts no server, until its next boot or a restart of the daemon. "
        "Example: pgvip leave && systemctl poweroff"
    )
    parser.add_argument(
        "--anyway", action="store_true", help="leave also when nobody can take over: then writes end with this host"
    )
    parser.add_argument(
        "--if-stopping", action="store_true", help="do nothing unless systemd is shutting the host down"
    )
    parser.add_argument("--cancel", action="store_true", help="this host stays after all")
    add_common(parser, None, default="timing.shutdown_handover_s")


def run(args: argparse.Namespace) -> int:
    """Order it. Returns the exit code."""
    if args.cancel and (args.anyway or args.if_stopping):
        raise RefusedError("--cancel goes with neither --anyway nor --if-stopping; nothing was done")
    if args.if_stopping and not units.stopping():
        text = "the host is not shutting down: nothing was done"
        if args.json:
            put_json({"ok": True, "text": text})
        else:
            put(text)
        return 0
    if args.wait_s is None:
        args.wait_s = load(args.config, args.host).shutdown_handover_s
    if args.cancel:
        return order(args, "stay")
    return order(args, "shutdown", ANYWAY if args.anyway else "")
