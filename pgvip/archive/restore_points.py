"""Named restore points in archived WAL (pg_create_restore_point): where they are, nothing else records.

A record may go over the end of a page or of a segment, with a page header in between: what is searched are the pages
without their headers, each segment together with the beginning of the next (access/xlog_internal.h, xlogrecord.h).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pgvip.archive import packing
from pgvip.archive.catalog import SEGMENT, position

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.archive.inventory import Picture
    from pgvip.config.model import Config
    from pgvip.core.values import Lsn

PAGE_BYTES = 8192
SHORT_HEADER, LONG_HEADER = 24, 40
"""Of a page, and of the first page of a segment (SizeOfXLogShortPHD, SizeOfXLogLongPHD)."""

OVERLAP = 256
"""A record of a restore point has about 100 bytes."""

# The short header of 72 bytes of data: a time stamp, and the name in 64 bytes, ended by a zero (xl_restore_point). It
# begins with what is looked for, which makes the search several times as fast.
_RECORD = re.compile(rb"\xff\x48(.{8})([^\x00-\x1f]{1,63})\x00", re.DOTALL)
_HEADER_BYTES = 8
"""What is before it of the record's header: xl_info, xl_rmid, two bytes of padding, the checksum."""
_RESTORE_POINT = 0x70
"""XLOG_RESTORE_POINT, of the resource manager 0; the lower four bits of xl_info are flags."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LISTED_MAX = 10


@dataclass(frozen=True, slots=True)
class Found:
    """`names`: each with its time, newest first. `unread`: segments that could not be searched."""

    names: dict[str, datetime]
    unread: tuple[str, ...]


def search(config: Config, seen: Picture, since: Lsn, name: str) -> Found:
    """Restore points in what both archives hold from a position on, newest WAL first; ends where the name is found."""
    names: dict[str, datetime] = {}
    unread: list[str] = []
    later: tuple[str, bytes] = ("", b"")
    for key, paths in _segments(config, seen, since):
        content = _content(paths)
        if content is None:
            unread.append(key)
            continue
        pages = b"".join(_pages(content))
        after = later[1] if _follows(key, later[0], seen.segment_bytes) else b""
        for point, at in sorted(_points(pages + after), key=lambda pair: pair[1], reverse=True):
            names.setdefault(point, at)
        if name in names:
            break
        later = (key, pages[:OVERLAP])
    return Found(names, tuple(unread))


def _segments(config: Config, seen: Picture, since: Lsn) -> Iterator[tuple[str, list[Path]]]:
    """Segments by name with their files, newest first; those that only the link gives have none."""
    found: dict[str, list[Path]] = {}
    mounted = None if config.archive.by_link else config.archive.peer_mount
    for survey, directory in ((seen.own, config.archive.directory), (seen.peer, mounted)):
        for file in survey.files if survey else ():
            if SEGMENT.fullmatch(file.name):
                paths = found.setdefault(file.name, [])
                paths += [directory / file.file] if directory else []
    for name in sorted(found, reverse=True):
        at = position(name, seen.segment_bytes)
        if at is not None and at.number >= since // seen.segment_bytes:
            yield name, found[name]


def _follows(name: str, later: str, segment_bytes: int) -> bool:
    here, there = position(name, segment_bytes), position(later, segment_bytes)
    return here is not None and there is not None and (here.timeline, here.number + 1) == there


def _content(paths: Iterable[Path]) -> bytes | None:
    for path in paths:
        try:
            return packing.content(path)
        except (OSError, packing.ArchiveFailed):
            continue
    return None


def _pages(content: bytes) -> Iterator[memoryview]:
    view = memoryview(content)
    for start in range(0, len(view), PAGE_BYTES):
        yield view[start + (SHORT_HEADER if start else LONG_HEADER) : start + PAGE_BYTES]


def _points(pages: bytes) -> Iterator[tuple[str, datetime]]:
    for record in _RECORD.finditer(pages):
        info = record.start() - _HEADER_BYTES
        if info < 0 or pages[info] & 0xF0 != _RESTORE_POINT or pages[info + 1] != 0:
            continue  # it only looks like one
        try:
            at = _EPOCH + timedelta(microseconds=int.from_bytes(record[1], "little", signed=True))
        except OverflowError:
            continue
        yield record[2].decode(errors="replace"), at
