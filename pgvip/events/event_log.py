"""The log: one line for each event on standard error, and whoever else hears of it.

There is one for the process: `set_up` says how its lines look, `listen` adds a hearer.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pgvip.events.event_table import Event, Level, kind

Fields = tuple[tuple[str, str], ...]
"""Words of an event for programs: name and value."""


@dataclass(frozen=True, slots=True)
class Style:
    """How log lines look. `level`: less important events are not printed; `term`: of the record, asked each time.

    `observe`: pgvip changes nothing here, and each event says so, whatever it is about.
    """

    json: bool = False
    level: Level = Level.INFO
    host: str = ""
    pair: str = ""
    term: Callable[[], int] = lambda: -1
    observe: bool = False


OBSERVED = "observe only: "
"""Before the text of each event where pgvip changes nothing."""


class _Log:
    """The process's one log."""

    style = Style()
    hearers: tuple[Callable[[Event], None], ...] = ()


_lock = threading.Lock()


def set_up(style: Style) -> None:
    """Let log lines look so from now on."""
    _Log.style = style


def style() -> Style:
    """How log lines look now."""
    return _Log.style


def listen(hear: Callable[[Event], None]) -> None:
    """Call `hear` with every event from now on, on whatever thread it happens: it must neither wait nor fail."""
    _Log.hearers = (*_Log.hearers, hear)


def unlisten(hear: Callable[[Event], None]) -> None:
    """Undo `listen`."""
    _Log.hearers = tuple(other for other in _Log.hearers if other != hear)


def log(event: str, text: str, fields: Fields = ()) -> None:
    """Write one event on standard error, and pass it to whoever listens."""
    chosen = _Log.style
    at = datetime.now(tz=UTC)
    stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if chosen.observe:
        text, fields = f"{OBSERVED}{text}", (*fields, ("mode", "observe"))
    one = Event(event, kind(event).level, text, stamp, chosen.host, chosen.pair, chosen.term(), fields)
    for hear in _Log.hearers:
        hear(one)
    if one.level > chosen.level:
        return
    line = _plain(_json_line(one) if chosen.json else _human_line(one, at))
    with _lock:
        print(line, file=sys.stderr, flush=True)  # noqa: T201  # standard error is the log


def _plain(line: str) -> str:
    r"""Write out, in JSON's form, what a terminal would obey and for which journalctl would hide the line.

    >>> print(_plain("caf\u00e9 \x1b[2J \x9b1m"))
    caf\u00e9 \u001b[2J \u009b1m
    """
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in line)


def _in_journal() -> bool:
    return "JOURNAL_STREAM" in os.environ


def _human_line(one: Event, at: datetime) -> str:
    """For people. The journal has its own time and takes the priority from a prefix (sd-daemon(3)); others get ours."""
    utc = at.astimezone(UTC)
    before = f"<{one.level}>" if _in_journal() else f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03} UTC "
    return f"{before}{one.event}: {one.text}".replace("\n", "; ")


def _json_line(one: Event) -> str:
    """For programs: the same keys in every line, then the event's own fields."""
    keys = {
        "time": one.at,
        "level": one.level.word,
        "host": one.host,
        "pair": one.pair,
        "event": one.event,
        "text": one.text,
        "term": one.term,
    }
    before = f"<{one.level}>" if _in_journal() else ""
    words = {name: word for name, word in one.fields if name not in keys}
    return before + json.dumps(keys | words, ensure_ascii=False)
