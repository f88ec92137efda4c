"""The event history: what happened on both hosts, kept on each of them.

Events are numbered for each host within one series; `journal.exchange` brings the peer's. Memory holds the newest
ones, a thread writes all of them to files: whoever reports an event never waits for a disk. A disk that hangs or is
full loses events, which is an event in turn.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import deque
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Any

from pgvip.errors import RefusedError
from pgvip.events.event_table import EVENTS, WORDS, Event, Level, read
from pgvip.journal import json_lines
from pgvip.system.reserve import RESERVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

MEMORY_MAX = 2000
"""Events of each host in memory: also as many as the peer can catch up on. About 1.5 MB."""
QUEUE_MAX = 4000
"""Events that wait for the disk."""
TEXT_MAX, WORD_MAX, WORDS_MAX = 2000, 200, 12
"""Characters of an event's text and of each of its words, and how many words: it must fit in a frame."""
LIMIT_MAX = 5000
"""Events in one answer."""
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: the newest `limit` of those that fit. `since`: as `Event.at`; empty fields choose nothing."""

    limit: int = 50
    since: str = ""
    host: str = ""
    events: tuple[str, ...] = ()
    level: Level = Level.DEBUG

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Wanted:
        """Read from a request of the operator's socket. RefusedError names what is wrong."""
        limit, level = request.get("limit", cls().limit), str(request.get("level") or "debug")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= LIMIT_MAX:
            raise RefusedError(f"limit is {limit!r}", hint=f"Use a whole number from 0 to {LIMIT_MAX}.")
        if level not in WORDS:
            raise RefusedError(f"unknown level: {level!r}", hint=f"Known: {', '.join(WORDS)}.")
        names = request.get("event") or ()
        chosen = (names,) if isinstance(names, str) else tuple(str(name) for name in names)
        for name in chosen:
            check_name(name)
        since, host = str(request.get("since") or ""), str(request.get("host") or "")
        if since and not _AT.match(since):
            raise RefusedError(f"since is {since!r}", hint="Write a moment in UTC as 2026-01-31T14:30:00.000Z.")
        return cls(limit, since, host, chosen, WORDS[level])

    def fits(self, event: Event) -> bool:
        """Whether the event is one of these; the limit is not checked."""
        return (
            event.level <= self.level
            and event.at >= self.since
            and self.host in ("", event.host)
            and (not self.events or event.event in self.events)
        )

    def newest(self, events: Iterable[Event]) -> list[Event]:
        """The newest ones that fit, in the order of their time, each once."""
        found = {(one.host, one.series, one.seq): one for one in events if self.fits(one)}
        ordered = sorted(found.values(), key=_in_time)
        return ordered[len(ordered) - self.limit :] if self.limit < len(ordered) else ordered


def check_name(name: str) -> None:
    """RefusedError for a name that no event has."""
    if name not in EVENTS:
        close = sorted(known for known in EVENTS if known.startswith(name[:3]))[:5]
        meant = f"Did you mean {', '.join(close)}? " if close else ""
        raise RefusedError(f"unknown event: {name!r}", hint=f"{meant}docs/events.md lists them all.")


def _in_time(event: Event) -> tuple[str, str, int]:
    return event.at, event.host, event.seq


def stored(directory: Path, host: str = "") -> list[Event]:
    """What the files hold, of one host or of all: for whoever asks without the daemon."""
    names = [host] if host else json_lines.names(directory)
    found = (read(document) for name in names for document in json_lines.read(directory, name))
    return [event for event in found if event is not None]


class EventStore:
    """The history of both hosts on this one. `log`: how the store itself reports lost events."""

    def __init__(self, directory: Path, me: str, peer: str, log: Callable[[str, str], None]) -> None:
        self._directory, self.me, self.peer, self._log = directory, me, peer, log
        self._kept: dict[str, deque[Event]] = {host: deque(maxlen=MEMORY_MAX) for host in (me, peer)}
        self._news: deque[tuple[int, Event]] = deque(maxlen=MEMORY_MAX)
        self._number = 0
        self._whole = True
        self._condition = threading.Condition()
        self._queue: Queue[Event | None] = Queue(QUEUE_MAX)
        self._lost = 0
        self._losing = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self.on_own: Callable[[], None] = lambda: None
        self._last = dict.fromkeys((me, peer), ("", 0))

    # --- from and to the disk --------------------------------------------------------------------------

    def start(self) -> None:
        """Take in what the files hold, and begin to write."""
        for host, kept in self._kept.items():
            documents, whole = json_lines.newest(self._directory, host, MEMORY_MAX)
            events = [event for event in map(read, documents) if event is not None]
            kept.extend(events)
            self._whole = self._whole and whole
            if events:
                self._last[host] = (events[-1].series, events[-1].seq)
        if not self._last[self.me][0]:
            self._last[self.me] = (secrets.token_hex(4), 0)
        self._thread.start()

    def close(self, within_s: float = 1.0) -> None:
        """Let what waits be written; a disk that hangs is not waited for."""
        try:
            self._queue.put_nowait(None)
        except Full:
            return
        if threading.current_thread() is not self._thread:  # whose own fault it may be
            self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            first = self._queue.get()
            batch = [] if first is None else [first]
            ended = first is None
            while not ended:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                ended = more is None
                batch += [more] if more is not None else []
            self._write(batch)
            if ended:
                return

    def _write(self, batch: Sequence[Event]) -> None:
        for host in (self.me, self.peer):
            documents = [event.document() for event in batch if event.host == host]
            if not documents:
                continue
            try:
                with RESERVE.lent():
                    json_lines.write(self._directory, host, documents)
            except OSError as failure:
                self._lose(len(documents), str(failure))
            else:
                self._recovered()

    def _lose(self, count: int, why: str) -> None:
        self._lost += count
        if not self._losing:
            self._losing = True
            self._log("events-lost", f"the history cannot be written: {why}; events still go to the log and the peer")

    def _recovered(self) -> None:
        if self._losing and self._lost:
            lost, self._lost, self._losing = self._lost, 0, False
            self._log("events-lost", f"the history is written again; {lost} events are missing in this host's files")

    # --- what happens ----------------------------------------------------------------------------------

    def append(self, event: Event) -> None:
        """An event of this host. From any thread; never waits."""
        with self._condition:
            series, seq = self._last[self.me]
            if not series:
                return  # not started yet
            self._last[self.me] = (series, seq + 1)
            mine = replace(_clipped(event), host=self.me, series=series, seq=seq + 1)
            self._take(mine)
        self._enqueue(mine)
        self.on_own()

    def add_theirs(self, events: Sequence[Event], series: str) -> None:
        """Events of the peer, in their order; those that are known are left out."""
        new = []
        with self._condition:
            known_series, known = self._last[self.peer]
            known = known if known_series == series else 0
            for event in events:
                if event.host == self.peer and event.series == series and event.seq > known:
                    known = event.seq
                    self._take(_clipped(event))
                    new.append(_clipped(event))
            if new:
                self._last[self.peer] = (series, known)
        for event in new:
            self._enqueue(event)

    def last(self, host: str) -> tuple[str, int]:
        """Series and number of the newest event of a host: ("", 0) for none."""
        return self._last[host]

    def above(self, seq: int) -> None:
        """The peer has events of this host up to `seq`, which are lost here: later ones are numbered above them."""
        with self._condition:
            series, own = self._last[self.me]
            self._last[self.me] = (series, max(own, seq))

    def own_after(self, seq: int) -> list[Event]:
        """Events of this host's series in memory above `seq`."""
        with self._condition:
            series = self._last[self.me][0]
            return [event for event in self._kept[self.me] if event.series == series and event.seq > seq]

    def _take(self, event: Event) -> None:
        kept = self._kept[event.host]
        self._whole = self._whole and len(kept) < MEMORY_MAX
        kept.append(event)
        self._number += 1
        self._news.append((self._number, event))
        self._condition.notify_all()

    def _enqueue(self, event: Event) -> None:
        try:
            self._queue.put_nowait(event)
        except Full:
            self._lose(1, "the disk does not answer")

    # --- who asks ----------------------------------------------------------------------------------------

    def find(self, wanted: Wanted) -> list[Event]:
        """The newest events that are wanted; from the files too where memory does not reach that far."""
        found = wanted.newest(self._memory())
        if len(found) >= wanted.limit or self._whole:
            return found
        return wanted.newest([*stored(self._directory), *found])

    def latest_own(self, name: str) -> Event | None:
        """The newest event of that name of this host, as far as memory reaches."""
        with self._condition:
            return next((event for event in reversed(self._kept[self.me]) if event.event == name), None)

    def _memory(self) -> list[Event]:
        with self._condition:
            return [event for kept in self._kept.values() for event in kept]

    @property
    def number(self) -> int:
        """Of the newest event that came to this host, its own or the peer's."""
        return self._number

    def after(self, number: int, timeout_s: float) -> tuple[int, list[Event]]:
        """What came after that number, waited for up to `timeout_s`; and the number to go on with."""
        with self._condition:
            self._condition.wait_for(lambda: self._number > number, timeout_s)
            return self._number, [event for count, event in self._news if count > number]


def _clipped(event: Event) -> Event:
    """Bounded, so that an event fits into a line and a frame."""
    words = tuple((name[:WORD_MAX], value[:WORD_MAX]) for name, value in event.fields[:WORDS_MAX])
    return replace(event, text=event.text[:TEXT_MAX], fields=words)
