"""What the archives hold: stretches, gaps, and how far WAL goes."""

from __future__ import annotations

import pytest

from pgvip.archive.catalog import Holdings, Position, Stretch, gaps, holdings, position, reach
from pgvip.archive.listing import Stored
from pgvip.core.values import Lsn, WalPoint

MB16 = 1 << 24
FORK = "1\t0/5000060\tno recovery target specified\n"
"""Timeline 2 left timeline 1 in segment 5."""


def stored(*names: str) -> list[Stored]:
    return [Stored(name, f"{name}.zst", MB16, 0.0) for name in names]


def segments(timeline: int, *numbers: int) -> list[Stored]:
    return stored(*(f"{timeline:08X}00000000{number:08X}" for number in numbers))


def held(*files: list[Stored], **histories: str) -> Holdings:
    named = {f"{int(key[1:]):08X}.history": text for key, text in histories.items()}
    return holdings([file for group in files for file in group], named, MB16)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("000000010000000000000001", Position(1, 1)),
        ("0000000A00000002000000FF", Position(10, 2 * 256 + 255)),
        ("000000010000000000000001.partial", Position(1, 1)),
        ("000000010000000000000003.00000028.backup", Position(1, 3)),
        ("00000002.history", None),
        ("000000010000000000000001.tmp", None),
        ("00000001000000000000000g", None),
        ("backups", None),
    ],
)
def test_names(name: str, found: Position | None) -> None:
    assert position(name, MB16) == found


def test_segment_size_decides_the_number() -> None:
    assert position("000000010000000100000003", 1 << 20) == Position(1, 4096 + 3)
    assert position("000000010000000100000003", 1 << 30) == Position(1, 4 + 3)


def test_stretches_are_split_where_one_is_missing() -> None:
    found = held(segments(1, 1, 2, 3, 7), segments(2, 7), stored("000000010000000000000008.partial"))
    assert found.stretches == (Stretch(1, 1, 3), Stretch(1, 7, 7), Stretch(2, 7, 7))
    assert found.has(1, 3)
    assert not found.has(1, 4)
    assert not found.has(1, 8)
    assert gaps(found, MB16) == [Stretch(1, 4, 6)]
    assert Stretch(1, 4, 6).names(MB16) == ("000000010000000000000004", "000000010000000000000006")


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ((1, 2, 3, 4), (5, 6), []),
        ((1, 2, 3, 4, 5), (5, 6), []),
        ((1, 2, 3), (5, 6), [Stretch(1, 4, 4)]),
        ((1, 2, 3, 4), (6, 7), [Stretch(2, 5, 5)]),
        # cleaned away on both sides of the change
        ((), (5, 6), []),
        ((), (6, 7), []),
        ((1, 2, 3, 4), (), []),
    ],
)
def test_gaps_at_a_change_of_timeline(old: tuple[int, ...], new: tuple[int, ...], missing: list[Stretch]) -> None:
    assert gaps(held(segments(1, *old), segments(2, *new), t2=FORK), MB16) == missing


def at(timeline: int, segment: int, offset: int = 0x28) -> WalPoint:
    return WalPoint(timeline, Lsn(segment * MB16 + offset))


@pytest.mark.parametrize(
    ("old", "new", "end"),
    [
        ((2, 3, 4), (), at(1, 5, 0)),
        ((2, 4), (), at(1, 3, 0)),
        ((3, 4), (), at(1, 2)),
        ((2, 3, 4), (5, 6), at(2, 7, 0)),
        # the segment of the change: timeline 2 has all of it, timeline 1 goes astray there
        ((2, 3, 4, 5, 6), (5,), at(2, 6, 0)),
        ((2, 3, 4, 5, 6), (), at(1, 5, 0)),
        ((2, 3, 4, 5), (5, 6), at(2, 7, 0)),
        ((2, 3), (5, 6), at(1, 4, 0)),
    ],
)
def test_reach_follows_the_newest_descendant(old: tuple[int, ...], new: tuple[int, ...], end: WalPoint) -> None:
    found = held(segments(1, *old), segments(2, *new), t2=FORK)
    assert reach(found, at(1, 2), MB16) == end


def test_reach_does_not_follow_a_timeline_that_left_before() -> None:
    """A backup begun after the fork, on the old timeline, has no part in the new one."""
    found = held(segments(1, 5, 6, 7), segments(2, 5, 6, 7, 8), t2=FORK)
    assert reach(found, at(1, 6), MB16) == at(1, 8, 0)


def test_reach_through_three_timelines() -> None:
    third = FORK + "2\t0/7000060\tno recovery target specified\n"
    found = held(segments(1, 4), segments(2, 5, 6), segments(3, 7, 8), t2=FORK, t3=third)
    assert reach(found, at(1, 4), MB16) == at(3, 9, 0)
    assert reach(found, at(2, 5, 0x100), MB16) == at(3, 9, 0)
    assert gaps(found, MB16) == []
