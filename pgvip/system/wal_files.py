"""Names and files of pg_wal: segments and timeline histories (PostgreSQL manual, 30.6 WAL Internals)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pathlib import Path


def segment_name(timeline: int, lsn: int, segment_bytes: int) -> str:
    """Name of the WAL file that holds a position.

    >>> segment_name(2, Lsn.parse("1/3000028"), 16 * 1024 * 1024)
    '000000020000000100000003'
    """
    number = lsn // segment_bytes
    per_file = (1 << 32) // segment_bytes
    return f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}"


def parse_history(text: str) -> tuple[WalPoint, ...]:
    r"""Understand a timeline history file: each former timeline, and where it was left.

    >>> parse_history("1\t0/30000A0\tno recovery target specified\n")
    (WalPoint(timeline=1, lsn=Lsn('0/30000A0')),)
    """
    points = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) >= 2:
            points.append(WalPoint(int(words[0]), Lsn.parse(words[1])))
    return tuple(points)


@as_postgres()
def read_history(wal: Path, timeline: int) -> tuple[WalPoint, ...]:
    """Read the history of a timeline from pg_wal; OSError when the file is not there."""
    if timeline <= 1:
        return ()
    return parse_history((wal / f"{timeline:08X}.history").read_text(encoding="utf-8", errors="replace"))


@as_postgres()
def timeline_of(wal: Path, lsn: Lsn, segment_bytes: int) -> int:
    """Newest timeline on which a standby has the WAL before a position; 0 when no file holds it.

    A file of a timeline is made when WAL of it arrives, which a primary sends only to one that belongs on it.
    For the part before the fork, which both timelines have, it is the older one. Raises OSError.
    """
    suffix = segment_name(0, max(lsn - 1, 0), segment_bytes)[8:]
    timeline = max(
        (int(path.name[:8], 16) for path in wal.glob(f"[0-9A-F]*{suffix}") if len(path.name) == 24), default=0
    )
    while timeline > 1:
        last = read_history(wal, timeline)[-1]
        if last.lsn <= lsn:
            break
        timeline = last.timeline
    return timeline
