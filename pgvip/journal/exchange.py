"""The two daemons give each other the events that the other lacks, over the peer link, behind the heartbeats.

A frame says which events of the other host its sender has, and carries some of its own. Losing one, or getting it
twice, changes nothing: what is missing is asked for again. At most `journal.events.MEMORY_MAX` events are caught up on.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from pgvip.deadlines import now_s
from pgvip.events.event_table import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.journal.event_store import EventStore

FRAME_BYTES = 6 * 1024
"""Of one frame, about: at 1 Mbit/s it holds a heartbeat up for 50 ms. One event may make it longer."""
RETRY_S = 5.0
"""A frame that was not answered is sent again after this."""


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
        """The link came up or went down: what the peer has is asked anew. From any thread."""
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
            document = json.loads(body)
        except ValueError:
            return False
        if not isinstance(document, dict):
            return False
        self._heard_of(document.get("have"))
        given = document.get("events")
        events = [event for event in map(read, given) if event] if isinstance(given, list) else []
        series, after = str(document.get("series", "")), document.get("after")
        known_series, known = self._store.last(self._store.peer)
        joins = isinstance(after, int) and after <= (known if known_series == series else 0)
        if events and series and joins:
            self._store.add_theirs(events, series)
        return bool(events) or bool(document.get("ask"))

    def _heard_of(self, have: object) -> None:
        """The peer says what it has of this host's events."""
        if not isinstance(have, dict) or not isinstance(have.get("seq"), int):
            return
        series, seq = str(have.get("series", "")), int(have["seq"])
        mine, own = self._store.last(self._store.me)
        if series == mine and seq > own:
            self._store.above(seq)  # this host's files are older than what it told before
        self._peer_has = (series, seq)

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
            room -= len(_packed(document))
            if chosen and room < 0:
                break
            chosen.append(document)
        return _packed(frame | {"events": chosen})


def _packed(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
