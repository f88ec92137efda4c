"""What the operator's socket answers about events: {"command": "events", ...}."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pgvip.errors import RefusedError
from pgvip.journal.event_store import EventStore, Wanted

Reply = Callable[[dict[str, Any]], None]

FOLLOWERS_MAX = 6
"""Of the operator socket's 16 clients."""
BEAT_S = 5.0
"""A follower hears at least this often; and this soon the daemon knows that one has gone."""


class EventRequests:
    """Answers from the store. Keys of a request: limit, since, host, event (a list), level, follow."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._followers = threading.BoundedSemaphore(FOLLOWERS_MAX)

    def answer(self, request: Mapping[str, Any], reply: Reply) -> Mapping[str, Any]:
        """Return `events`; with `follow` reply with one `event` after another until the caller goes."""
        wanted = Wanted.of(request)
        if not request.get("follow"):
            return {"events": [event.document() for event in self._store.find(wanted)]}
        if not self._followers.acquire(blocking=False):
            raise RefusedError(f"{FOLLOWERS_MAX} others follow the events already", hint="End one of them.")
        try:
            return self._follow(wanted, reply)
        finally:
            self._followers.release()

    def _follow(self, wanted: Wanted, reply: Reply) -> NoReturn:
        """Ends by the LinkError of a reply to somebody who has gone."""
        number = self._store.number
        for event in self._store.find(wanted):
            reply({"event": event.document()})
        while True:
            number, events = self._store.after(number, BEAT_S)
            if not events:
                reply({"beat": True})
            for event in events:
                if wanted.fits(event):
                    reply({"event": event.document()})
