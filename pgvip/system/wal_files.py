"""Names and files of pg_wal: segments and timeline histories (PostgreSQL manual, 30.6 WAL Internals)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import FormatError
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pathlib import Path

HISTORY_LINE = re.compile(r"\s*(?P<timeline>[0-9]{1,10})\s+(?P<lsn>[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(\s|$)")
TIMELINES_END = 1 << 32


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

    FormatError for what PostgreSQL would not read either (src/backend/access/transam/timeline.c).

    >>> parse_history("1\t0/30000A0\tno recovery target specified\n")
    (WalPoint(timeline=1, lsn=Lsn('0/30000A0')),)
    """
    points: list[WalPoint] = []
    for line in text.split("\n"):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = HISTORY_LINE.match(line)
        if found is None:
            raise FormatError("a line of a timeline history is damaged", f"it is {line[:80]!r}")
        timeline = int(found["timeline"])
        if not (points[-1].timeline if points else 0) < timeline < TIMELINES_END:
            raise FormatError("the timelines of a history do not ascend", f"{timeline} is in the wrong place")
        points.append(WalPoint(timeline, Lsn.parse(found["lsn"])))
    return tuple(points)


@as_postgres()
def read_history(wal: Path, timeline: int) -> tuple[WalPoint, ...]:
    """Read the history of a timeline from pg_wal; OSError when it cannot be read, FormatError when it is damaged."""
    if timeline <= 1:
        return ()
    file = wal / f"{timeline:08X}.history"
    try:
        points = parse_history(file.read_text(encoding="utf-8", errors="replace"))
    except FormatError as failure:
        raise FormatError(f"{file.name} is damaged", str(failure)) from failure
    if not points or points[-1].timeline >= timeline:  # a file that a power cut emptied, or of another timeline
        raise FormatError(f"{file.name} is damaged", "it does not say which timeline was left, and where")
    return points


@as_postgres()
def timeline_of(wal: Path, lsn: Lsn, segment_bytes: int) -> int:
    """Newest timeline on which a standby has the WAL before a position; 0 when no file holds it.

    A file of a timeline is made when WAL of it arrives, which a primary sends only to one that belongs on it.
    For the part before the fork, which both timelines have, it is the older one. Raises OSError, FormatError.
    """
    suffix = segment_name(0, max(lsn - 1, 0), segment_bytes)[8:]
    timeline = max(
        (int(path.name[:8], 16) for path in wal.glob(f"{8 * '[0-9A-F]'}{suffix}") if len(path.name) == 24), default=0
    )
    while timeline > 1:
        last = read_history(wal, timeline)[-1]
        if last.lsn <= lsn:
            break
        timeline = last.timeline
    return timeline
