"""Counts what the daemon logs, by event name: Prometheus' counters. In memory; they begin anew with the daemon."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable

from pgvip.web.sources import Counts

NAMES_MAX = 200
"""Of each kind, so that no mistake of the program makes a series without end."""
OTHER = "other"
FORCED = "forced"

_RECORD = re.compile(r"term \S+->\d+ [^:]*: (?P<cause>.*)")
"""The core's `record` event (core.absorb): the cause is the name of the change, or begins with "forced"."""


class EventCounts:
    """Stands before a log function and counts what goes through it."""

    def __init__(self, log: Callable[[str, str], None]) -> None:
        self._write = log
        self._lock = threading.Lock()
        self._events: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()

    def log(self, event: str, text: str) -> None:
        """Count one event, and log it. From any thread."""
        record = _RECORD.match(text) if event == "record" else None
        with self._lock:
            _add(self._events, event)
            if record is not None:
                cause = record["cause"]
                _add(self._changes, FORCED if cause.startswith(FORCED) else cause)
        self._write(event, text)

    def read(self) -> Counts:
        """Both counters as they are now."""
        with self._lock:
            return Counts(dict(self._events), dict(self._changes))


def _add(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < NAMES_MAX else OTHER] += 1
