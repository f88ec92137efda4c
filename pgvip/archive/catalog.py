"""What the archives hold as WAL: which segments of which timeline, and where some are missing. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import ArchiveError, FormatError
from pgvip.system.wal_files import parse_history, segment_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pgvip.archive.listing import Stored

SEGMENT = re.compile(r"(?P<timeline>[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<part>[0-9A-F]{8})")
LABEL = re.compile(SEGMENT.pattern + r"\.[0-9A-F]{8}\.backup")
PARTIAL = re.compile(SEGMENT.pattern + r"\.partial")
HISTORY = re.compile(r"(?P<timeline>[0-9A-F]{8})\.history")


class Position(NamedTuple):
    """A segment: its timeline, and its number from the beginning of WAL."""

    timeline: int
    number: int


class Stretch(NamedTuple):
    """Segments of one timeline that follow each other, both ends included."""

    timeline: int
    first: int
    last: int

    def names(self, segment_bytes: int) -> tuple[str, str]:
        """The names of the first and of the last."""
        first, last = (segment_name(self.timeline, at * segment_bytes, segment_bytes) for at in (self.first, self.last))
        return first, last


@dataclass(frozen=True, slots=True)
class Holdings:
    """The segments of one or several archives together."""

    stretches: tuple[Stretch, ...]
    histories: Mapping[int, tuple[WalPoint, ...]]

    def has(self, timeline: int, number: int) -> bool:
        return any(one.timeline == timeline and one.first <= number <= one.last for one in self.stretches)


def position(name: str, segment_bytes: int) -> Position | None:
    """Where a segment, partial segment or backup label belongs; None for other files.

    >>> position("0000000200000001000000FF", 1 << 24)
    Position(timeline=2, number=511)
    """
    for kind in (SEGMENT, PARTIAL, LABEL):
        found = kind.fullmatch(name)
        if found:
            number = int(found["log"], 16) * ((1 << 32) // segment_bytes) + int(found["part"], 16)
            return Position(int(found["timeline"], 16), number)
    return None


def holdings(files: Iterable[Stored], histories: Mapping[str, str], segment_bytes: int) -> Holdings:
    """Arrange the whole segments among the files. ArchiveError when a history among them is damaged."""
    numbers: dict[int, set[int]] = defaultdict(set)
    for file in files:
        if SEGMENT.fullmatch(file.name):
            at = position(file.name, segment_bytes)
            assert at is not None  # it matched
            numbers[at.timeline].add(at.number)
    stretches = [
        Stretch(timeline, first, last)
        for timeline, found in sorted(numbers.items())
        for first, last in _runs(sorted(found))
    ]
    parsed = {int(name[:8], 16): _history(name, text) for name, text in histories.items() if HISTORY.fullmatch(name)}
    return Holdings(tuple(stretches), parsed)


def _history(name: str, text: str) -> tuple[WalPoint, ...]:
    """One that cannot be read says nothing of what may be removed: ArchiveError."""
    try:
        return parse_history(text)
    except FormatError as failure:
        hint = f"Compare it with pg_wal/{name} of both hosts, and replace it."
        raise ArchiveError(f"{name} in the archive is damaged", f"{failure}.", hint) from failure


def _runs(numbers: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Split ascending numbers where one is missing.

    >>> list(_runs([1, 2, 5]))
    [(1, 2), (5, 5)]
    """
    begin = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            yield numbers[begin], numbers[index - 1]
            begin = index


def gaps(held: Holdings, segment_bytes: int) -> list[Stretch]:
    """Segments that are missing between others: within a timeline, and where the next one left it.

    A timeline that no later one descends from is not expected to go on, nor one that was removed wholly.
    """
    missing = []
    by_timeline: dict[int, list[Stretch]] = defaultdict(list)
    for one in held.stretches:
        by_timeline[one.timeline].append(one)
    for timeline, found in by_timeline.items():
        missing += [
            Stretch(timeline, before.last + 1, after.first - 1)
            for before, after in pairwise(found)
        ]
    for timeline, history in held.histories.items():
        if not history or timeline not in by_timeline:
            continue
        left = history[-1]
        fork = left.lsn // segment_bytes
        if by_timeline[timeline][0].first > fork and left.timeline in by_timeline:
            missing.append(Stretch(timeline, fork, by_timeline[timeline][0].first - 1))
        if left.timeline in by_timeline and by_timeline[left.timeline][-1].last < fork - 1:
            missing.append(Stretch(left.timeline, by_timeline[left.timeline][-1].last + 1, fork - 1))
    return sorted(missing)


def reach(held: Holdings, start: WalPoint, segment_bytes: int) -> WalPoint:
    """How far WAL goes without a gap from a position on, along the newest timeline that descends from its own.

    Returns the end of the last whole segment; the start itself when its segment is not there.
    """
    line = _line(held, start, segment_bytes)
    number, end = start.lsn // segment_bytes, start
    while True:
        # The newest that has begun: it holds all that its predecessors wrote in the segment where it left them, and
        # what they have of that segment and later ones went astray.
        timeline = next(timeline for timeline, fork in reversed(line) if fork <= number)
        if not held.has(timeline, number):
            return end
        number += 1
        end = WalPoint(timeline, Lsn(number * segment_bytes))


def _line(held: Holdings, start: WalPoint, segment_bytes: int) -> list[tuple[int, int]]:
    """Timelines from that of `start` to its newest descendant, each with the number of its first segment."""
    line = [(start.timeline, 0)]
    for newest in sorted(held.histories, reverse=True):
        history = held.histories[newest]
        names = [point.timeline for point in history]
        if start.timeline in names and history[names.index(start.timeline)].lsn >= start.lsn:
            later = history[names.index(start.timeline) :]
            after = [*(point.timeline for point in later[1:]), newest]
            pairs = zip(after, later, strict=True)
            return line + [(timeline, point.lsn // segment_bytes) for timeline, point in pairs]
    return line
