"""Which events become messages, and how they are thinned: at most one message in a time, with all that came. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgvip.events.event_table import EVENTS, WORDS, Event

GATHER_S = 3.0
"""One fault makes several events within seconds: they go in one message."""
EVENTS_MAX = 100
"""In one message; those beyond are counted."""
ROLES = frozenset({"role-change", "demoted"})
OWN = "messages-failing"
"""A message that cannot be sent is no reason for another one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one message holds. `left_out`: how many more there were."""

    events: tuple[Event, ...]
    left_out: int = 0


@dataclass(slots=True)
class Waiting:
    """What waits to be sent to one receiver. `next_s`: not before that; what has failed is kept and goes along."""

    next_s: float = 0.0
    first_s: float | None = None
    events: list[Event] = field(default_factory=list)
    left_out: int = 0

    def add(self, event: Event, at_s: float) -> None:
        """One more; the oldest is left out when there are too many."""
        if self.first_s is None:
            self.first_s = at_s
        self.events.append(event)
        if len(self.events) > EVENTS_MAX:
            del self.events[0]
            self.left_out += 1

    @property
    def due_s(self) -> float | None:
        """When it is to be sent; None while there is nothing."""
        return None if self.first_s is None else max(self.next_s, self.first_s + GATHER_S)

    def batch(self) -> Batch:
        """All that waits."""
        return Batch(tuple(self.events), self.left_out)

    def sent(self, at_s: float, every_s: float) -> None:
        """It was sent."""
        self.next_s, self.first_s = at_s + every_s, None
        self.events.clear()
        self.left_out = 0

    def failed(self, at_s: float, every_s: float) -> None:
        """It is tried again later."""
        self.next_s = at_s + every_s


def wanted(event: Event, level: str) -> bool:
    """The event is worth a message. The end of a warning is, where its beginning was."""
    if event.event == OWN:
        return False
    if event.event == "cleared":
        name = dict(event.fields).get("warning", "")
        return name != OWN and name in EVENTS and _counts(name, level)
    return event.event in ROLES or (event.event in EVENTS and _counts(event.event, level))


def _counts(name: str, level: str) -> bool:
    row = EVENTS[name]
    return row.hooks and row.level <= WORDS[level]
