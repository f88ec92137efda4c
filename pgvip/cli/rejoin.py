"""`pgvip rejoin`: make this host follow the primary again without waiting, by rewind or by a new copy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json, size
from pgvip.cli.simple import add_common, order
from pgvip.cli.where import daemon_socket
from pgvip.errors import PgvipError, RefusedError
from pgvip.link.operator_socket import call, raise_failure

if TYPE_CHECKING:
    import argparse

    from pgvip.config.model import Config
    from pgvip.rejoin.plan import Plan

HELP = "make this host follow the primary again, now"
DAEMON_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `rejoin`."""
    parser.description = (
        "Make this host's data follow the primary now: diverged WAL is saved, then rewind, else a new copy. A host "
        "that returns does this by itself; the command is for one that gave up, or waits for its window. It is refused "
        "on a primary and while the data is on hold. --dry-run checks both clusters and says whether it would rewind "
        "or clone, why, and how much WAL with how many transactions has diverged; exit code 5 when it is refused. "
        "Example: pgvip rejoin --dry-run"
    )
    parser.add_argument("--clone", action="store_true", help="a new copy even if a rewind would do")
    add_common(parser, 60.0)


def run(args: argparse.Namespace) -> int:
    """Order it, or say what it would do. Returns the exit code."""
    if not args.dry_run:
        return order(args, "rejoin", "clone" if args.clone else "")
    return _dry_run(args)


def _dry_run(args: argparse.Namespace) -> int:
    # Slow to import, and only wanted here.
    from pgvip.cli.steps import require_root  # noqa: PLC0415 - as said
    from pgvip.config.load import load  # noqa: PLC0415 - as said
    from pgvip.rejoin.plan import plan  # noqa: PLC0415 - as said
    from pgvip.state.record import RecordStore, load_identity  # noqa: PLC0415 - as said
    from pgvip.system import privileges  # noqa: PLC0415 - as said

    require_root()
    config = load(args.config, args.host)
    durable = RecordStore(config.paths.record).load()
    if durable is not None and durable.hold:
        hint = "Compare the data, then: pgvip hold clear"
        raise RefusedError("this host's data is on hold", f"{durable.hold}.", hint)
    doubt = _daemon_says(args)
    identity = load_identity(config.paths.identity)
    if sys.stderr.isatty():
        put("pgvip: looking at both clusters", file=sys.stderr, flush=True)
    privileges.become_postgres(config)
    decided = plan(config, clone=args.clone, system_id=identity.system_id if identity else "")
    if args.json:
        put_json(document(config, decided, doubt))
    else:
        put("\n".join(lines(config, decided, doubt)))
    return 0


def _daemon_says(args: argparse.Namespace) -> str:
    """What prevents a rejoin as the daemon reports it, "" for nothing. RefusedError when it would refuse."""
    try:
        request = {"command": "order", "order": "rejoin", "text": "", "dry_run": True}
        reply = call(daemon_socket(args), request, DAEMON_S)
    except PgvipError as error:
        return f"{error.message}: nothing rejoins before it runs"
    raise_failure(reply)
    return ""


def document(config: Config, decided: Plan, doubt: str) -> dict[str, Any]:
    """The JSON object."""
    return {
        "ok": True,
        "host": config.me.name,
        "follows": config.peer.name,
        "way": decided.way.value,
        "reason": decided.reason,
        "fork": str(decided.fork) if decided.fork else None,
        "end": str(decided.end) if decided.end else None,
        "diverged_bytes": decided.diverged_bytes,
        "transactions": decided.commits,
        "copy_bytes": decided.copy_bytes,
        "waits": decided.waits or doubt,
        "exact": decided.exact,
    }


def lines(config: Config, decided: Plan, doubt: str) -> list[str]:
    """The same for people."""
    me, peer = config.me.name, config.peer.name
    first = {
        "nothing": f"{me} would be left as it is: {decided.reason}",
        "start": f"{me} would be started as a standby of {peer}, its data as it is: {decided.reason}",
        "rewind": f"{me} would be rewound to {decided.fork} to follow {peer}: {decided.reason}",
        "clone": f"{me} would get a new copy of {peer}'s data, about {size(decided.copy_bytes)}: {decided.reason}",
    }[decided.way.value]
    found = [f"dry run: {first}"]
    if decided.diverged_bytes and decided.way.value in ("rewind", "clone"):
        many = "an unknown number of" if decided.commits is None else str(decided.commits)
        what = f"{decided.diverged_bytes} bytes of WAL with {many} transactions, {decided.fork} to {decided.end}"
        found.append(f"  {what}, that {peer} does not have: saved first, see pgvip lost-writes")
        if not decided.exact:
            found.append("  the server runs: it is stopped first, and the end of its WAL is determined then")
    if decided.waits or doubt:
        found.append(f"  not now: {decided.waits or doubt}")
    return found
