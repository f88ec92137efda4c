"""`pgvip events`: what happened on both hosts, from the daemon, or from this host's files when it does not run."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import put, put_json
from pgvip.cli.when import past
from pgvip.cli.where import daemon_socket
from pgvip.errors import Exit, LinkError
from pgvip.events.event_table import WORDS, Event, read
from pgvip.journal.event_store import LIMIT_MAX, Wanted, check_name, stored
from pgvip.link.operator_socket import call, raise_failure, stream
from pgvip.text.times import TIMES, utc
from pgvip.text.writing import moment, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

HELP = "show what happened on both hosts"
TIMEOUT_S = 10.0
NEWEST = 50
AGAIN_S = 1.0
"""How often the files are read, and the daemon is tried again, while it does not run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `events`."""
    parser.description = (
        "Show the event history of both hosts, oldest first. It is kept on each host and can be read without a "
        "primary, and without the daemon. docs/events.md explains every event; "
        "an answer without any is no failure. Example: pgvip events --since 2h --level warning"
    )
    parser.add_argument("-n", "--limit", type=int, metavar="N", help=f"the newest N ({NEWEST}; with --since all)")
    parser.add_argument("--since", type=past, metavar="TIME", help=f"since then: {TIMES}")
    parser.add_argument("--of", metavar="NAME", default="", help="only what happened on this host (both have all)")
    parser.add_argument("--event", metavar="NAME", nargs="+", default=[], help="only events of these names")
    parser.add_argument("--level", choices=list(WORDS), default="debug", help="only events of this level, or graver")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens from now on")
    parser.add_argument("--json", action="store_true", help="print one JSON object on each line")


def run(args: argparse.Namespace) -> int:
    """Show the events. Returns the exit code."""
    request = _request(args)
    wanted = Wanted.of(request)
    if args.follow:
        _follow(args, request, wanted)
    for event in _events(args, request, wanted):
        _show(event, as_json=args.json)
    return int(Exit.OK)


def _request(args: argparse.Namespace) -> dict[str, Any]:
    for name in args.event:
        check_name(name)
    limit = args.limit if args.limit is not None else (LIMIT_MAX if args.since else NEWEST)
    start = utc(args.since) if args.since else ""
    words = {"since": start, "host": args.of, "event": args.event, "level": args.level}
    return {"command": "events", "limit": limit, **words}


def _events(args: argparse.Namespace, request: dict[str, Any], wanted: Wanted) -> list[Event]:
    try:
        reply = call(daemon_socket(args), request, TIMEOUT_S)
    except LinkError as error:
        directory = _directory(args, error)
        _notice(f"{error.message}; this is what the files of this host hold")
        return wanted.newest(stored(directory))
    raise_failure(reply)
    return [event for event in map(read, reply.get("events", ())) if event is not None]


def _follow(args: argparse.Namespace, request: dict[str, Any], wanted: Wanted) -> None:
    """For ever, each event once: from the daemon, from the files while it does not run."""
    shown: dict[tuple[str, str], int] = {}
    said = ""
    while True:
        try:
            for event in _from_daemon(args, request):
                said = ""
                _show_new(event, shown, as_json=args.json)
        except LinkError as error:
            directory = _directory(args, error)
            if error.message != said:
                _notice(f"{error.message}; following the files of this host")
            said = error.message
            for event in wanted.newest(stored(directory)):
                _show_new(event, shown, as_json=args.json)
            time.sleep(AGAIN_S)


def _from_daemon(args: argparse.Namespace, request: dict[str, Any]) -> Iterator[Event]:
    for document in stream(daemon_socket(args), {**request, "follow": True}):
        event = read(document.get("event"))
        if event is not None:
            yield event


def _show_new(event: Event, shown: dict[tuple[str, str], int], *, as_json: bool) -> None:
    key = event.host, event.series
    if event.seq > shown.get(key, 0):
        shown[key] = event.seq
        _show(event, as_json=as_json)


def _directory(args: argparse.Namespace, error: LinkError) -> Path:
    """Where the files are. Whoever may not read them, or has none, gets `error`: why the daemon does not answer."""
    from pgvip.config.load import load  # noqa: PLC0415 - slow to import; only where the daemon is down

    directory = load(args.config, args.host).paths.events
    if not os.access(directory, os.R_OK | os.X_OK):
        raise error
    return directory


def _show(event: Event, *, as_json: bool) -> None:
    if as_json:
        put_json(event.document(), flush=True)
    else:
        put(line(event), flush=True)


def line(event: Event) -> str:
    """One event for people: time, host, level, name, words."""
    at, host, name, text = one_line([event.at, event.host, event.event, event.text])
    return f"{moment(at, exact=True)}  {host:8} {event.level.word:8} {name}: {text}"


def _notice(text: str) -> None:
    put(f"pgvip: {text}", file=sys.stderr)
