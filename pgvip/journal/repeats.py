"""Thins out what is reported over and over, such as a fence that fails every five seconds for a night.

The log has every event. The history and hooks get the first few of a kind, then one in ten minutes with the number of
those left out: else a night of them would push everything else out of the bounded files, and send a thousand mails.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace

from pgvip.events.event_table import Event, kind

FREE = 5
"""So many in a row are reported."""
QUIET_S = 600.0
"""Then one in this time; and what was not reported for so long begins again."""
KINDS_MAX = 500

THINNED = frozenset({
    "action-failed", "awake", "bad-message", "called-off", "claim", "claim-ended", "cleared", "done", "fence",
    "fence-failed", "hook", "hook-dropped", "hook-failed", "hook-refused", "intent", "link", "power-on", "rejoin",
    "veto-late",
})  # fmt: skip
"""What may come in crowds; so may every state. What reports roles, records and orders is never left out."""

_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class _Crowd:
    """Events that differ in numbers only. `told_s`: when one was last let through; `seen_s`: when one last came."""

    told_s: float
    seen_s: float
    count: int = 0
    left_out: int = 0


class Repeats:
    """Decides which events are passed on. From any thread."""

    def __init__(self) -> None:
        self._crowds: dict[tuple[str, str], _Crowd] = {}
        self._lock = threading.Lock()

    def let_through(self, event: Event, at_s: float) -> Event | None:
        """The event, perhaps with a word on those that were left out before it; None when it is left out itself."""
        if event.event not in THINNED and not kind(event.event).state:
            return event
        with self._lock:
            crowd = self._crowd(event, at_s)
            crowd.seen_s = at_s
            crowd.count += 1
            if crowd.count > FREE and at_s - crowd.told_s < QUIET_S:
                crowd.left_out += 1
                return None
            left_out, crowd.left_out, crowd.told_s = crowd.left_out, 0, at_s
        return replace(event, text=f"{event.text} ({left_out} more like it before)") if left_out else event

    def _crowd(self, event: Event, at_s: float) -> _Crowd:
        key = event.event, _DIGITS.sub("#", event.text)
        crowd = self._crowds.pop(key, None)
        if crowd is None or at_s - crowd.seen_s >= QUIET_S:
            crowd = _Crowd(at_s, at_s)
        while len(self._crowds) >= KINDS_MAX:
            del self._crowds[next(iter(self._crowds))]  # the one that was not seen for longest
        self._crowds[key] = crowd
        return crowd
