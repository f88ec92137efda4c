"""Arithmetic of WAL positions and histories."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import RejoinError
from pgvip.rejoin.follow import _pieces, in_window
from pgvip.rejoin.saved_wal import Divergence
from pgvip.system.stopped_wal import LAST, Piece, fork_point, record_end, strange_timelines
from pgvip.system.wal_files import parse_history, segment_name, timeline_of

SEGMENT = 16 * 1024 * 1024


def lsn(text: str) -> Lsn:
    return Lsn.parse(text)


def at(timeline: int, text: str) -> WalPoint:
    return WalPoint(timeline, lsn(text))


@pytest.mark.parametrize(
    ("start", "length", "end"),
    [
        ("0/3000028", 114, "0/30000A0"),  # within a page, padded to eight bytes
        ("0/3001F80", 128, "0/3002000"),  # to the very end of a page
        ("0/3001F80", 129, "0/3002020"),  # one byte on the next: 24 bytes of page header before it
        ("0/3FFFF80", 136, "0/4000030"),  # one word in the next segment, whose header has 40 bytes
        ("0/3001F80", 8192 + 128, "0/3004030"),  # over a whole page: two headers, and what they push on
    ],
)
def test_record_end_counts_page_headers(start: str, length: int, end: str) -> None:
    assert record_end(lsn(start), length, SEGMENT) == lsn(end)


def test_segment_name_follows_the_segment_size() -> None:
    assert segment_name(1, lsn("2/FF000000"), SEGMENT) == "0000000100000002000000FF"
    assert segment_name(1, lsn("2/40000000"), 1 << 30) == "000000010000000200000001"


@pytest.mark.parametrize(
    ("mine", "theirs", "fork"),
    [
        ([at(1, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], at(1, "0/700")),  # I wrote on
        ([at(1, "0/500")], [at(1, "0/700"), WalPoint(2, LAST)], at(1, "0/500")),  # I am a prefix
        ([at(1, "0/500")], [WalPoint(1, LAST)], at(1, "0/500")),  # same timeline, behind
        ([at(1, "0/700"), at(2, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], at(2, "0/900")),
        ([at(1, "0/700"), at(3, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], at(1, "0/700")),  # both promoted
        ([at(1, "0/800"), at(3, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], at(1, "0/700")),
        ([at(1, "0/600"), at(3, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], at(1, "0/600")),
    ],
)
def test_fork_point(mine: list[WalPoint], theirs: list[WalPoint], fork: WalPoint) -> None:
    assert fork_point(mine, theirs) == fork


@pytest.mark.parametrize(
    ("mine", "theirs", "strange"),
    [
        ([at(1, "0/700"), at(2, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], set()),
        ([at(1, "0/700"), at(2, "0/900")], [at(1, "0/700"), at(2, "0/800"), WalPoint(3, LAST)], set()),
        ([at(1, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], set()),
        ([at(1, "0/700"), at(3, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], {3}),
        ([at(1, "0/800"), at(2, "0/900")], [at(1, "0/700"), WalPoint(2, LAST)], {2}),  # the same number
        ([at(1, "0/800"), at(2, "0/900"), at(3, "0/A00")], [at(1, "0/700"), at(2, "0/800"), WalPoint(3, LAST)], {2, 3}),
    ],
)
def test_strange_timelines(mine: list[WalPoint], theirs: list[WalPoint], strange: set[int]) -> None:
    assert strange_timelines(mine, theirs) == strange


def test_clusters_without_a_common_timeline_are_refused() -> None:
    with pytest.raises(RejoinError):
        fork_point([at(2, "0/900")], [WalPoint(1, LAST)])


def test_pieces_cover_the_diverged_wal_by_timeline() -> None:
    mine = [at(1, "0/800"), at(3, "0/900")]
    assert _pieces(mine, at(1, "0/700")) == (Piece(1, lsn("0/700"), lsn("0/800")), Piece(3, lsn("0/800"), lsn("0/900")))
    assert _pieces(mine, at(1, "0/800")) == (Piece(3, lsn("0/800"), lsn("0/900")),)
    assert _pieces([at(1, "0/700")], at(1, "0/700")) == ()


def test_divergence_names_its_files() -> None:
    fork, end = at(1, "0/5000100"), at(3, "0/7000000")
    divergence = Divergence(
        fork, end, (Piece(1, fork.lsn, lsn("0/6000000")), Piece(3, lsn("0/6000000"), end.lsn)), frozenset({3}), SEGMENT
    )
    held = {
        "000000010000000000000004": False,  # before the fork
        "000000010000000000000005": True,
        "000000030000000000000007": True,
        "000000030000000000000008": False,  # prepared, still empty
        "000000020000000000000006": False,  # the source's own
        "000000010000000000000006.partial": True,
        "00000003.history": True,
        "00000002.history": False,
        "archive_status": False,
    }
    assert {name: divergence.holds(name) for name in held} == held


def test_history_file_with_comments_and_blank_lines() -> None:
    text = "1\t0/3000000\tno recovery target specified\n\n# remark\n2\tA/4000000\tbefore 2000-01-01 00:00:00+00\n"
    assert parse_history(text) == (at(1, "0/3000000"), at(2, "A/4000000"))


def test_window_that_ends_when_it_begins_is_empty() -> None:
    from datetime import UTC, datetime

    noon = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert not in_window("12:00-12:00", noon)
    assert in_window("11:59-12:01", noon)
    assert in_window("23:00-12:01", noon)


def test_timeline_by_the_files_that_are_there(tmp_path: Path) -> None:
    """Timeline 2 left 1 at 0/5000100; the segment with the fork is there under both names."""
    for name in ("000000010000000000000004", "000000010000000000000005", "000000020000000000000005"):
        (tmp_path / name).touch()
    (tmp_path / "000000020000000000000005.partial").touch()
    (tmp_path / "00000002.history").write_text("1\t0/5000100\tno recovery target specified\n")
    points = {
        "0/4500000": 1,
        "0/5000000": 1,
        "0/50000FF": 1,
        "0/5000100": 2,
        "0/5FFFFFF": 2,
        "0/6000000": 2,
        "0/6000001": 0,
    }
    assert {text: timeline_of(tmp_path, lsn(text), SEGMENT) for text in points} == points
