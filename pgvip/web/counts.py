"""Counts what the daemon logs, by event name: Prometheus' counters. In memory; they begin again with the daemon."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from pgvip.web.sources import Counts

if TYPE_CHECKING:
    from pgvip.events.event_table import Event

NAMES_MAX = 200
"""Of each kind, so that no mistake of the program makes a series without end."""
OTHER = "other"
FORCED = "forced"
"""How the cause of a record begins that an operator forced; the rest of it names hosts (core.absorb)."""


class EventCounts:
    """Hears every event of the log."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()

    def hear(self, event: Event) -> None:
        """Count one event. From any thread; neither waits nor fails."""
        cause = dict(event.fields).get("cause", "") if event.event == "record" else ""
        with self._lock:
            _add(self._events, event.event)
            if cause:
                _add(self._changes, FORCED if cause.startswith(FORCED) else cause)

    def read(self) -> Counts:
        """Both counters as they are now."""
        with self._lock:
            return Counts(dict(self._events), dict(self._changes))


def _add(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < NAMES_MAX else OTHER] += 1
