"""Where this cluster's WAL and the source's part: by the WAL itself, whatever timelines and positions say.

A standby that somebody opened, or a primary whose directory was put back to an older copy, goes on writing on the same
timeline: no history file knows of it. Every record has its transaction, times and a checksum, so WAL that was written
twice differs.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import CommandError, PostgresError
from pgvip.rejoin import source
from pgvip.system.stopped_wal import RECORD, record_end, waldump
from pgvip.system.wal_files import segment_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.system.pgtools import ControlData

CHUNK_BYTES = 1 << 20
"""Compared at once; every segment size is a multiple of it (initdb --wal-segsize)."""
EQUAL_CHUNKS = 16
"""So many equal ones in a row, and what is before them is equal, too: a load that ran twice repeats itself for less,
since checkpoints and heartbeats with their times are between."""

RECORD_SEARCH_BYTES = 64 << 20
"""How far after a difference the record is looked for that has it."""


class Chunk(NamedTuple):
    """A stretch of WAL within one segment."""

    start: Lsn
    end: Lsn


class Wal(NamedTuple):
    """Both sides: this cluster's WAL, and the timelines that its files and the source's may have in their names."""

    config: Config
    control: ControlData
    mine: Sequence[WalPoint]
    theirs: Sequence[WalPoint]

    def offset(self, position: int) -> int:
        return position % self.control.segment_bytes

    def own_file(self, position: Lsn) -> Path | None:
        """The newest of this cluster's files with a position; the part before a fork is in it, too."""
        directory = self.config.postgres.data_directory / "pg_wal"
        names = (segment_name(point.timeline, position, self.control.segment_bytes) for point in reversed(self.mine))
        return next((directory / name for name in names if (directory / name).exists()), None)

    def own_bytes(self, chunk: Chunk) -> bytes | None:
        file = self.own_file(chunk.start)
        if file is None:
            return None
        with file.open("rb") as opened:
            opened.seek(self.offset(chunk.start))
            return opened.read(chunk.end - chunk.start)

    def their_names(self, position: Lsn) -> list[str]:
        return [segment_name(point.timeline, position, self.control.segment_bytes) for point in self.theirs]

    def their_hashes(self, chunks: Sequence[Chunk]) -> list[bytes | None]:
        size = self.control.segment_bytes
        return source.wal_hashes(
            self.config,
            rest=[segment_name(0, chunk.start, size)[8:] for chunk in chunks],
            offsets=[self.offset(chunk.start) for chunk in chunks],
            lengths=[chunk.end - chunk.start for chunk in chunks],
            timelines=[f"{point.timeline:08X}" for point in self.theirs],
        )


def parting(wal: Wal, shared: Lsn) -> WalPoint | None:
    """Find the first record before `shared` that the source does not have; None when all of it is the same.

    What either side has no longer cannot be compared, and is taken to be the same. Raises RejoinError when the source
    does not answer, and OSError.
    """
    different = _first_different(wal, shared)
    if different is None:
        return None
    here = wal.own_bytes(different)
    there = source.wal_bytes(
        wal.config, wal.their_names(different.start), wal.offset(different.start), different.end - different.start
    )
    if here is None or there is None:
        return None
    number = next((n for n, (own, other) in enumerate(zip(here, there, strict=False)) if own != other), None)
    if number is None:
        return None
    record = _record_with(wal, Lsn(different.start + number))
    timeline = next(point.timeline for point in wal.mine if record <= point.lsn)
    return WalPoint(timeline, record)


def _first_different(wal: Wal, shared: Lsn) -> Chunk | None:
    """Go back from `shared` until enough is equal."""
    found: Chunk | None = None
    equal = 0
    batch: list[Chunk] = []
    for chunk in _backwards(shared):
        batch.append(chunk)
        if len(batch) < EQUAL_CHUNKS and chunk.start > 0:
            continue
        for one, theirs in zip(batch, wal.their_hashes(batch), strict=True):
            here = wal.own_bytes(one)
            if here is None or theirs is None:
                return found
            if hashlib.sha256(here).digest() == theirs:
                equal += 1
            else:
                found, equal = one, 0
            if equal >= EQUAL_CHUNKS:
                return found
        batch = []
    return found


def _backwards(end: Lsn) -> Iterator[Chunk]:
    """The WAL before a position, newest chunk first.

    >>> [(int(chunk.start), int(chunk.end)) for chunk in _backwards(Lsn((1 << 20) + 7))]
    [(1048576, 1048583), (0, 1048576)]
    """
    while end > 0:
        start = Lsn((end - 1) // CHUNK_BYTES * CHUNK_BYTES)
        yield Chunk(start, end)
        end = start


def _record_with(wal: Wal, position: Lsn) -> Lsn:
    """Where the record of this cluster begins that a position is in; the page's beginning when that cannot be read."""
    size = wal.control.segment_bytes
    file = wal.own_file(position)
    timeline = int(file.name[:8], 16) if file is not None else wal.mine[-1].timeline
    last = next(point.lsn for point in wal.mine if point.timeline == timeline)
    end = Lsn(min(last, position + RECORD_SEARCH_BYTES))
    segment = Lsn(position - position % size)
    # A record that began in the file before is not seen from this one's beginning on.
    for start in (segment, Lsn(max(0, segment - size))):
        found = _last_begun(wal, timeline, Chunk(start, end), position)
        if found is not None:
            return found
    return Lsn(position - position % wal.control.page_bytes)


def _last_begun(wal: Wal, timeline: int, stretch: Chunk, position: Lsn) -> Lsn | None:
    """The last record that begins at or before a position, or where it ends, if that is not after the position."""
    found: list[Lsn] = []

    def take(line: str) -> None:
        record = RECORD.search(line)
        if record is not None and (start := Lsn.parse(record["lsn"])) <= position:
            after = record_end(start, int(record["length"]), wal.control.segment_bytes, wal.control.page_bytes)
            found[:] = [after if after <= position else start]

    with suppress(CommandError, PostgresError):
        waldump(wal.config, timeline, stretch.start, stretch.end, on_line=take)
    return found[0] if found else None
