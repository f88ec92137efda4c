"""`pgvip watch`: both hosts, live in the terminal."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from pgvip.cli import colour
from pgvip.cli.history import blocks
from pgvip.cli.output import put
from pgvip.cli.terminal import Screen
from pgvip.cli.watch_text import GRAPH_MAX, Picture, frame, text_of
from pgvip.cli.where import daemon_socket
from pgvip.errors import Exit, PgvipError
from pgvip.link.operator_socket import call, raise_failure

if TYPE_CHECKING:
    from pathlib import Path

HELP = "show both hosts live in the terminal: roles, lag, warnings, events"
EXIT_CODES = {4: "the daemon does not answer (with --once)", 5: ""}
TIMEOUT_S = 2.0
EVENTS = 12
INTERVAL_MIN_S, INTERVAL_MAX_S = 0.2, 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `watch`."""
    parser.description = (
        "Show both hosts as the daemon here knows them, again every second: roles, addresses, positions, lag, what is "
        "being done, warnings with their hint, the last events. Keys: q quits, space refreshes now. Where the output "
        "is no terminal, plain text. Example: pgvip watch --interval 2"
    )
    parser.add_argument("--interval", type=_interval, default=1.0, metavar="SECONDS", help="(default %(default)g)")
    parser.add_argument("--once", action="store_true", help="show it once, as plain text")
    parser.add_argument("--ascii", action="store_true", help="draw with ASCII characters only")


def run(args: argparse.Namespace) -> int:
    """Show it until the operator has seen enough. Returns the exit code."""
    source = Source(daemon_socket(args))
    ascii_only = args.ascii or not blocks()
    if args.once or not sys.stdout.isatty() or os.environ.get("TERM") in (None, "", "dumb"):
        return _plain(source, args, ascii_only=ascii_only)
    with Screen(colour=colour.wanted(sys.stdout)) as screen:
        picture = source.look()
        due_s = time.monotonic() + args.interval
        while True:
            columns, lines = screen.size()
            screen.draw(frame(picture, columns, lines, interval_s=args.interval, ascii_only=ascii_only))
            key = screen.wait(max(0.0, due_s - time.monotonic()))
            if key in ("q", "Q"):
                return int(Exit.OK)
            if key == " " or time.monotonic() >= due_s:
                picture = source.look()
                due_s = time.monotonic() + args.interval


class Source:
    """Asks the daemon again and again, and remembers the lag."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._status: dict[str, Any] | None = None
        self._status_s = 0.0
        self._events: list[dict[str, Any]] = []
        self._lags: deque[tuple[float | None, float | None]] = deque(maxlen=GRAPH_MAX)
        self._fill()

    def look(self) -> Picture:
        """What there is now; what the daemon does not answer stays as it was, with its age."""
        failure = ""
        try:
            reply = self._ask({"command": "status"})
        except PgvipError as error:
            failure = error.message
            self._lags.append((None, None))
        else:
            self._status, self._status_s = reply["status"], time.monotonic()
            replication = reply["status"]["replication"]
            self._lags.append((replication["lag_s"], replication["lag_bytes"]))
            self._look_at_events()
        age_s = time.monotonic() - self._status_s
        return Picture(time.time(), self._status, age_s, tuple(self._lags), tuple(self._events), failure)

    def _look_at_events(self) -> None:
        try:
            found = self._ask({"command": "events", "limit": EVENTS, "level": "notice"}).get("events", [])
        except PgvipError:  # a daemon of an older version has none
            return
        self._events = [one for one in found if isinstance(one, dict)]

    def _fill(self) -> None:
        """Begin the graph with what the history has of the last minutes."""
        try:
            found = self._ask({"command": "history", "seconds": 300, "points": GRAPH_MAX - 1})["samples"]
        except PgvipError:
            return
        self._lags.extend((one["lag_s"], one["lag_bytes"]) for one in found)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = call(self._path, request, TIMEOUT_S)
        raise_failure(reply)
        return reply


def _plain(source: Source, args: argparse.Namespace, *, ascii_only: bool) -> int:
    width = shutil.get_terminal_size((200, 24)).columns if sys.stdout.isatty() else 200
    while True:
        picture = source.look()
        lines = frame(picture, width, 1000, interval_s=args.interval, ascii_only=ascii_only, keys=False)
        put(text_of(lines), flush=True)
        if args.once:
            return int(Exit.UNREACHABLE if picture.failure else Exit.OK)
        put(flush=True)
        time.sleep(args.interval)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not INTERVAL_MIN_S <= seconds <= INTERVAL_MAX_S:
        limits = f"from {INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g} seconds"
        raise argparse.ArgumentTypeError(f'"{text}" is not an interval {limits}')
    return seconds
