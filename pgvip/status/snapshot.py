"""What the loop leaves behind after each round, for everybody else to read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from pgvip.config.model import Config
from pgvip.core.knowledge import Decision
from pgvip.core.observations import Observations
from pgvip.deadlines import now_s
from pgvip.errors import LinkError


@dataclass(slots=True)
class LoopStats:
    """How the loop keeps time: rounds done, the longest one and the latest wake-up in milliseconds."""

    rounds: int = 0
    longest_ms: float = 0.0
    latest_ms: float = 0.0
    began_s: float = field(default_factory=now_s)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the operator's side may read: replaced as a whole after every round."""

    config: Config
    decision: Decision
    seen: Observations
    at_s: float
    stats: LoopStats


class Newest:
    """The newest snapshot. The loop puts it here after every round; everybody else reads it, from any thread."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._hearers: tuple[Callable[[Snapshot], None], ...] = ()

    def listen(self, hear: Callable[[Snapshot], None]) -> None:
        """Call `hear` with each one from now on, on the loop's thread: it must not wait."""
        self._hearers = (*self._hearers, hear)

    def put(self, snapshot: Snapshot) -> None:
        """A round has ended."""
        self._snapshot = snapshot
        for hear in self._hearers:
            hear(snapshot)

    def get(self) -> Snapshot | None:
        """None before the first round."""
        return self._snapshot

    def sure(self) -> Snapshot:
        """The same for whoever can do nothing without it: LinkError before the first round."""
        snapshot = self.get()
        if snapshot is None:
            raise LinkError("the daemon has just started", hint="Try again in a moment.")
        return snapshot

    def age_s(self) -> float:
        """Seconds since the last round; infinite before the first."""
        snapshot = self.get()
        return math.inf if snapshot is None else now_s() - snapshot.at_s
