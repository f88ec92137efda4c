"""What the loop leaves behind after each round, for everybody else to read."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgvip.config.model import Config
from pgvip.core.knowledge import Decision
from pgvip.core.observations import Observations
from pgvip.deadlines import now_s


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
