"""Times and durations as operators write them: the same for every option."""

from __future__ import annotations

import doctest
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from pgvip.text import times, writing
from pgvip.text.times import TimeError, coming, duration_s, instant, of_wall, past, utc, wall

NOW = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)
Read = Callable[[str, datetime], datetime]


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """The host's time zone; UTC unless a test sets another."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    set_zone("UTC")
    yield set_zone
    monkeypatch.undo()
    time.tzset()


def test_doctests() -> None:
    for module in (times, writing):
        done = doctest.testmod(module)
        assert (done.failed, done.attempted > 5) == (0, True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("90 sec", 90), ("10min", 600), ("10 m", 600), ("2h", 7200), ("1h30min", 5400), ("1h 30m", 5400),
        ("1.5H", 5400), ("0.5s", 0.5), ("1d", 86_400), ("3d12h", 302_400), ("1w", 604_800), ("1.5w", 907_200),
    ],
)  # fmt: skip
def test_durations_are_the_same_in_every_option(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds
    ago = past(text, NOW), past(f"-{text}", NOW)
    to_come = coming(text, NOW), coming(f"+{text}", NOW)
    assert ago == (NOW - timedelta(seconds=seconds),) * 2
    assert to_come == (NOW + timedelta(seconds=seconds),) * 2


NO_DURATIONS = ["", "soon", "10", "2 weeks", "0s", "-1h", "+1h", "1h x", "1h,30min", "1e3s", "h", "9" * 400 + "d"]


@pytest.mark.parametrize("text", [*NO_DURATIONS, "400d", "1h30"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(TimeError):
        duration_s(text)


@pytest.mark.parametrize("read", [past, coming])
@pytest.mark.parametrize(
    "text",
    ["", "soon", "5", "5x", "0s", "1h x", "25:00", "12:60", "1:2", "2026-13-01",
     "9" * 400 + "d", "9" * 30 + "d", "999999999w", "0001-01-01T00:00+23:59", "\x00"],
)  # fmt: skip
def test_what_is_no_time_in_any_option(read: Read, text: str) -> None:
    with pytest.raises(TimeError, match=r"is not a time|is not a duration|unknown unit|is not longer than 0"):
        read(text, NOW)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("23:30", NOW - timedelta(hours=22, minutes=30), NOW + timedelta(hours=1, minutes=30)),
        ("22:00", NOW - timedelta(days=1), NOW + timedelta(days=1)),
        ("2:30", NOW.replace(hour=2, minute=30), NOW + timedelta(hours=4, minutes=30)),
        ("22:00:01", NOW - timedelta(days=1) + timedelta(seconds=1), NOW + timedelta(seconds=1)),
    ],
)
def test_a_time_of_day_is_the_last_or_the_next_one(text: str, before: datetime, after: datetime) -> None:
    assert (past(text, NOW), coming(text, NOW)) == (before, after)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-26T01:00", datetime(2026, 11, 26, 1, 0, tzinfo=UTC)),
        ("2026-11-26 01:00+02:00", datetime(2026, 11, 25, 23, 0, tzinfo=UTC)),
        ("2026-11-26T01:00Z", datetime(2026, 11, 26, 1, 0, tzinfo=UTC)),
        ("20261126T0100", datetime(2026, 11, 26, 1, 0, tzinfo=UTC)),
        ("20261126T0100Z", datetime(2026, 11, 26, 1, 0, tzinfo=UTC)),
        ("2026-11-26", datetime(2026, 11, 26, tzinfo=UTC)),
    ],
)
def test_iso_times_are_read_by_both_and_taken_by_one(text: str, at: datetime) -> None:
    assert coming(text, NOW) == at
    assert past(text, NOW + timedelta(days=2)) == at
    with pytest.raises(TimeError, match="is not in the past"):
        past(text, NOW)
    with pytest.raises(TimeError, match="is over"):
        coming(text, NOW + timedelta(days=2))


def test_a_sign_into_the_wrong_direction_is_named() -> None:
    with pytest.raises(TimeError, match="is not in the past"):
        past("+2h", NOW)
    with pytest.raises(TimeError, match="is over"):
        coming("-2h", NOW)
    for text in ("+14:30", "-14:30", "--1h", "+-1h"):
        for read in (past, coming):
            with pytest.raises(TimeError):
                read(text, NOW)


def test_how_far() -> None:
    """What is to come within a year; an old history may be asked for from its begin."""
    for text in ("400d", "2029-01-01"):
        with pytest.raises(TimeError, match="days"):
            coming(text, NOW)
    assert past("400d", NOW) == NOW - timedelta(days=400)
    assert past("2000-01-01", NOW) == datetime(2000, 1, 1, tzinfo=UTC)


def test_a_time_without_a_zone_is_in_that_of_the_host(zone: Callable[[str], None]) -> None:
    zone("Asia/Kolkata")  # 03:30 there
    assert coming("04:00", NOW) == NOW + timedelta(minutes=30)
    assert past("03:00", NOW) == NOW - timedelta(minutes=30)
    assert instant("2026-11-26T04:00") == NOW + timedelta(minutes=30)


def test_a_time_on_the_other_side_of_a_change_of_the_clocks(zone: Callable[[str], None]) -> None:
    """The offset of now would be an hour wrong: the clocks go forward on 29 March 2026 at 02:00."""
    zone("Europe/Berlin")
    before = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    noon = datetime(2026, 3, 29, 10, 0, tzinfo=UTC)  # 12:00 CEST
    assert coming("12:00", before) == noon
    assert coming("2026-03-29T12:00", before) == noon
    assert past("12:00", datetime(2026, 3, 29, 6, 0, tzinfo=UTC)) == datetime(2026, 3, 28, 11, 0, tzinfo=UTC)


def test_the_kept_form_is_compared_as_text() -> None:
    moments = [NOW + timedelta(seconds=0.001 * step * step) for step in range(50)]
    texts = [wall(at) for at in moments]
    assert texts == sorted(texts)
    assert all(of_wall(text) == at for text, at in zip(texts, moments, strict=True))
    for text in ("2026-11-25T22:00:00+00:00", "2026-11-25T23:00:00.000+01:00", "soon", ""):
        with pytest.raises(TimeError, match="is not a time"):
            of_wall(text)
    assert utc(NOW) == "2026-11-25T22:00:00.000Z"
