"""Times and durations as operators write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pgvip.text.times import duration_s, moment, of_wall, wall

NOW = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10min", 600), ("10 m", 600), ("2h", 7200), ("1h30min", 5400), ("1.5H", 5400), ("1d", 86_400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "10", "2 weeks", "0s", "-1h", "1h x", "400d", "1h,30min"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|unit"):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("23:30", NOW.replace(hour=23, minute=30)),
        ("22:00", NOW + timedelta(days=1)),
        ("02:30", datetime(2026, 11, 26, 2, 30, tzinfo=UTC)),
        ("22:00:01", NOW + timedelta(seconds=1)),
        ("+10min", NOW + timedelta(minutes=10)),
        ("2026-11-26T01:00", datetime(2026, 11, 26, 1, 0, tzinfo=UTC)),
        ("2026-11-26 01:00+02:00", datetime(2026, 11, 25, 23, 0, tzinfo=UTC)),
        ("2026-11-26T01:00Z", datetime(2026, 11, 26, 1, 0, tzinfo=UTC)),
    ],
)
def test_moments(text: str, at: datetime) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "later", "25:00", "12:60", "2026-11-25T21:59", "2029-01-01", "+soon", "+0s"])
def test_what_is_no_time_to_come(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|over|days|duration"):
        moment(text, NOW)


def test_a_time_without_a_zone_is_in_that_of_the_host() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))  # 03:30 there
    assert moment("04:00", local) == NOW + timedelta(minutes=30)


def test_the_kept_form_is_compared_as_text() -> None:
    moments = [NOW + timedelta(seconds=0.001 * step * step) for step in range(50)]
    texts = [wall(at) for at in moments]
    assert texts == sorted(texts)
    assert all(of_wall(text) == at for text, at in zip(texts, moments, strict=True))
    for text in ("2026-11-25T22:00:00+00:00", "2026-11-25T23:00:00.000+01:00", "soon"):
        with pytest.raises(ValueError, match=r"time|Invalid"):
            of_wall(text)
