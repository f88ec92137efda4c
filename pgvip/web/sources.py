"""What the web side reads of the daemon: a handful of callables, so that it never touches the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


def _none(_limit: float) -> list[Document]:
    return []


@dataclass(frozen=True, slots=True)
class Limits:
    """What health checks measure by, from the configuration.

    `stale_s`: when the loop has had no round for so long, the peer may count this host as silent, and nothing that is
    known here says who serves now. `lag_bytes_max`: how far behind a standby may be to be ready.
    """

    stale_s: float
    lag_bytes_max: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How often an event was logged, and a change of the record written, since this daemon started."""

    events: Mapping[str, int]
    changes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Sources:
    """Each may be called from any thread.

    `status`: the status document (docs/status.md), without touching a disk; PgvipError before the loop's first round.
    `age_s`: seconds since the loop last went round (infinite before).
    `events(limit)`: the newest events, oldest first, with the keys seq, at, host, event, level, text, term.
    `samples(seconds)`: the replication history since then, oldest first, with the keys at (Unix time), lag_bytes,
    lag_s, wal_bytes_per_s, role, span_s (the time that it covers), and for each measure its highest value of that time
    (lag_bytes_max ...). `explain`: what would happen, with the key scenarios.
    """

    status: Callable[[], Document]
    age_s: Callable[[], float]
    limits: Callable[[], Limits]
    counts: Callable[[], Counts] = lambda: Counts({}, {})
    events: Callable[[int], list[Document]] = _none
    samples: Callable[[float], list[Document]] = _none
    explain: Callable[[], Document] = dict
