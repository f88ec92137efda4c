"""Write-ahead log as runs of entries: who wrote them, on which timeline, and where the run ends.

A position is a count of entries. An entry is named by its writer, timeline and position, which is unique: a host
starts a timeline of its own at every promotion, and never takes back what it has flushed.
"""

from __future__ import annotations

from typing import NamedTuple

from pgvip.core.values import Lsn, WalPoint


class Run(NamedTuple):
    """Entries of one writer on one timeline, up to `end`."""

    writer: str
    timeline: int
    end: int


Wal = tuple[Run, ...]
Entry = Run
"""One entry, by its own position."""

FIRST: Wal = (Run("a", 1, 2),)


def length(wal: Wal) -> int:
    return wal[-1].end


def timeline(wal: Wal) -> int:
    return wal[-1].timeline


def appended(wal: Wal, writer: str, line: int) -> Wal:
    """One entry more, by `writer` on `line`."""
    last = wal[-1]
    entry = Run(writer, line, last.end + 1)
    return (*wal[:-1], entry) if last[:2] == entry[:2] else (*wal, entry)


def cut(wal: Wal, end: int) -> Wal:
    """The first `end` entries."""
    kept: list[Run] = []
    for run in wal:
        kept.append(run if run.end <= end else run._replace(end=end))
        if run.end >= end:
            break
    return tuple(kept)


def holds(wal: Wal, entry: Entry) -> bool:
    for run in wal:
        if entry.end <= run.end:
            return run[:2] == entry[:2]
    return False


def begins(one: Wal, other: Wal) -> bool:
    """`other` goes on where `one` ends."""
    end = one[-1]
    return len(one) <= len(other) and one[:-1] == other[: len(one) - 1] and holds(other, end)


def last(wal: Wal) -> Entry:
    return wal[-1]


def ancestors(wal: Wal) -> tuple[WalPoint, ...]:
    return tuple(WalPoint(run.timeline, Lsn(run.end)) for run in wal[:-1])
