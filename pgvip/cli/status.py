"""`pgvip status`: both hosts as the local daemon knows them, what is wrong, and how to repair it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from pgvip.cli.colour import put_styled
from pgvip.cli.output import put, put_json
from pgvip.cli.status_text import level_of, render_styled
from pgvip.cli.where import daemon_socket
from pgvip.errors import Exit, LinkError, PgvipError
from pgvip.events.event_table import Level
from pgvip.link.operator_socket import call, failure, raise_failure

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config

HELP = "show both hosts, what is wrong and how to repair it"
EXIT_CODES = {
    0: "the daemon answered; with --exit-code: and no warning stands",
    1: "with --exit-code: a warning stands",
    4: "the daemon does not answer: what can be seen without it was shown",
    5: "",
    7: "with --exit-code: a warning of level error stands (docs/events.md): an operator is needed",
}
TIMEOUT_S = 5.0
NO_PAIR = (
    "pgvip init on the first host, pgvip clone or join on the second; "
    "pgvip bundle on the other host if this one was of the pair and lost its state."
)
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `status`."""
    parser.description = (
        "Show both hosts: roles, addresses, PostgreSQL, replication, fencing, archive, warnings with their hint. "
        "The keys of --json are in docs/status.md. "
        "Example: pgvip status --watch"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--exit-code", action="store_true", help="exit code 1 or 7 while a warning stands, see below")
    parser.add_argument("-v", "--verbose", action="store_true", help="also why each change of role is not made now")
    parser.add_argument(
        "-w", "--watch", type=float, nargs="?", const=1.0, metavar="SECONDS", help="show it again and again"
    )


def run(args: argparse.Namespace) -> int:
    """Show it once, or until interrupted. Returns the exit code."""
    if args.watch is None:
        return _show(args)
    while True:
        sys.stdout.write(CLEAR_SCREEN if sys.stdout.isatty() and not args.json else "")
        _show(args)
        sys.stdout.flush()
        time.sleep(max(0.1, args.watch))


def _show(args: argparse.Namespace) -> int:
    path = daemon_socket(args)
    try:
        reply = call(path, {"command": "status"}, TIMEOUT_S)
        raise_failure(reply)
    except PgvipError as error:
        return _without_daemon(args, error)
    document = reply["status"]
    if args.json:
        put_json(document)
    else:
        put_styled(render_styled(document, verbose=args.verbose))
    return int(_code(document) if args.exit_code else Exit.OK)


def _code(document: dict[str, Any]) -> Exit:
    """By the gravest warning; notices, such as a pause, are none."""
    levels = {level_of(one["name"]) for one in document["warnings"]}
    if Level.ERROR in levels:
        return Exit.ERROR_STANDS
    return Exit.FAILED if Level.WARNING in levels else Exit.OK


def _without_daemon(args: argparse.Namespace, error: PgvipError) -> int:
    """What can be seen without the daemon: the record and the local server. The rest is not guessed."""
    from pgvip.config.load import load  # noqa: PLC0415 - slow to import; only where the daemon is down

    config = load(args.config, args.host)
    if not config.paths.identity.exists():
        error = LinkError(error.message, f"This host belongs to no pair: {config.paths.identity} is missing.", NO_PAIR)
    document: dict[str, Any] = {
        "pair": config.name,
        "host": config.me.name,
        "daemon": failure(error),
        "record": _seen(lambda: _record(config)),
        "postgresql": _seen(lambda: _server(config)),
        "vips": _seen(lambda: _held(config)),
    }
    if args.json:
        put_json(document)
        return int(Exit.UNREACHABLE)
    record = document["record"]
    put(f"pair {config.name}, host {config.me.name}: the daemon gives no status")
    if isinstance(record, dict):
        record = f"term {record['term']}: {record['primary']} is primary, {record['mode']} ({record['cause']})"
    put(f"  record      {record or 'none'}")
    put(f"  PostgreSQL  {document['postgresql']}")
    put(f"  addresses   {document['vips']}")
    if str(document["postgresql"]).startswith("runs") and _would_be_fenced(config):
        what = f"stop PostgreSQL now, and {config.peer.name} powers this host off"
        put(f"  note        {what}; to take it out of service, start pgvip and run pgvip leave first")
    put(f"pgvip: error: {error}", file=sys.stderr)
    return int(Exit.UNREACHABLE)


def _seen(look: Any) -> Any:
    try:
        return look()
    except PgvipError as error:
        return f"unknown ({error.message})"


def _record(config: Config) -> Any:
    from pgvip.state.codec import encode  # noqa: PLC0415 - only where the daemon is down
    from pgvip.state.record import RecordStore  # noqa: PLC0415 - as above

    durable = RecordStore(config.paths.record).load()
    return encode(durable.record) if durable and durable.record else None


def _would_be_fenced(config: Config) -> bool:
    """The other host powers off a host of a pair whose pgvip and PostgreSQL are both silent."""
    from pgvip.state.record import RecordStore  # noqa: PLC0415 - only where the daemon is down

    try:
        durable = RecordStore(config.paths.record).load()
    except PgvipError:
        return False
    pair = durable is not None and durable.record is not None and durable.record.mode.value == "pair"
    return pair and bool(config.me.fencing) and durable is not None and not durable.pause.active


def _server(config: Config) -> str:
    from pgvip.probes.server_processes import ProcessesProbe  # noqa: PLC0415 - slow to import; only where the daemon is down

    seen = ProcessesProbe().probe(config)
    if not seen.installed:
        return "no data directory"
    if not seen.postmaster:
        return f"down ({seen.control_state or 'state unknown'})" + (f", {seen.left} orphans" if seen.left else "")
    return "runs as standby" if seen.standby_signal else "runs, not as standby"


def _held(config: Config) -> str:
    from pgvip.probes import addresses  # noqa: PLC0415 - pyroute2 takes long to import; only where the daemon is down

    held = sorted(vip.value for vip in addresses.held_vips(config))
    return ", ".join(f"{config.vips[vip].ip} ({vip.value})" for vip in config.vips if vip.value in held) or "none"
