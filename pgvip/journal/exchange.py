"""The two daemons give each other the events that the other lacks, over the peer link, behind the heartbeats.

A frame says which events of the other host its sender has, and carries some of its own. Losing one, or getting it
twice, changes nothing: what is missing is asked for again. At most `journal.events.MEMORY_MAX` events are caught up on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvip.deadlines import now_s
from pgvip.errors import FormatError
from pgvip.events.event_table import read
from pgvip.state import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.journal.event_store import EventStore

FRAME_BYTES = 6 * 1024
"""Of one frame, about: at 1 Mbit/s it holds a heartbeat up for 50 ms. One event may make it longer."""
RETRY_S = 5.0
"""A frame that was not answered is sent again after this."""


@dataclass(frozen=True, slots=True)
class _Have:
    """The newest event of the other host that the sender of a frame has."""

    seq: int
    series: str = ""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What is sent. `events`: of the sender's `series`, those after its `after`; `ask`: it wants an answer."""

    series: str = ""
    have: _Have | None = None
    after: int | None = None
    ask: bool = False
    events: tuple[Any, ...] = ()


class Exchange:
    """One host's side. `send` hands a frame to the link and never waits."""

    def __init__(self, store: EventStore, send: Callable[[bytes], None]) -> None:
        self._store, self._send = store, send
        self._peer_has: tuple[str, int] | None = None
        self._up = False
        self._wake = threading.Event()
        self._asked_s = 0.0
        self._frames: list[bytes] = []
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="exchange", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def link_changed(self, up: bool) -> None:
        """The link came up or went down: what the peer has is asked again. From any thread."""
        self._up, self._peer_has, self._asked_s = up, None, 0.0
        self._wake.set()

    def own_event(self) -> None:
        """There is something new to send. From any thread."""
        self._wake.set()

    def received(self, body: bytes) -> None:
        """A frame of the peer's came. From any thread."""
        with self._lock:
            self._frames = [*self._frames[-50:], body]
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(RETRY_S)
            self._wake.clear()
            with self._lock:
                frames, self._frames = self._frames, []
            answer = [self.take(body) for body in frames]
            self.tell(asked=any(answer))

    def take(self, body: bytes) -> bool:
        """Take a frame in; True when it wants an answer. One that cannot be read is left out."""
        try:
            frame = codec.from_json(_Frame, body)
        except FormatError:
            return False
        if frame.have is not None:
            self._heard_of(frame.have)
        events = [event for event in map(read, frame.events) if event]
        known_series, known = self._store.last(self._store.peer)
        joins = frame.after is not None and frame.after <= (known if known_series == frame.series else 0)
        if events and frame.series and joins:
            self._store.add_theirs(events, frame.series)
        return bool(events) or frame.ask

    def _heard_of(self, have: _Have) -> None:
        """The peer says what it has of this host's events."""
        mine, own = self._store.last(self._store.me)
        if have.series == mine and have.seq > own:
            self._store.above(have.seq)  # this host's files are older than what it told before
        self._peer_has = (have.series, have.seq)

    def tell(self, *, asked: bool) -> None:
        """Send a frame when the peer asked, when it lacks something, or when it has not said what it has."""
        if not self._up:
            return
        mine = self._store.last(self._store.me)[0]
        has = self._peer_has
        after = has[1] if has and has[0] == mine else 0
        events = self._store.own_after(after) if has else []
        late = now_s() - self._asked_s >= RETRY_S
        ask = late and (has is None or bool(events))
        if asked or ask or events:
            if ask:
                self._asked_s = now_s()
            self._send(self._frame(mine, after, [event.document() for event in events], ask=ask))

    def _frame(self, series: str, after: int, documents: list[dict[str, Any]], *, ask: bool) -> bytes:
        their_series, their_seq = self._store.last(self._store.peer)
        frame: dict[str, Any] = {"series": series, "have": {"series": their_series, "seq": their_seq}, "after": after}
        if ask:
            frame["ask"] = True
        room = FRAME_BYTES
        chosen: list[dict[str, Any]] = []
        for document in documents:
            room -= len(codec.plain_to_line(document))
            if chosen and room < 0:
                break
            chosen.append(document)
        return codec.plain_to_line(frame | {"events": chosen})
