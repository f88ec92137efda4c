"""Times as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pgvip.errors import Exit, PgvipError

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)\Z")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?\Z")


class TimeError(PgvipError):
    """Not a time."""

    exit_code = Exit.USAGE


def since(text: str, now: datetime) -> datetime:
    """The moment that is meant: so long ago (90s, 15m, 2h, 3d, 1w), a time of today or yesterday, or a date.

    What says no zone is local time. TimeError for everything else.

    >>> noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    >>> since("2h", noon).isoformat(), since("2026-01-01T10:00Z", noon).isoformat()
    ('2026-01-02T10:00:00+00:00', '2026-01-01T10:00:00+00:00')
    """
    words = text.strip()
    if ago := _AGO.match(words):
        try:
            return now - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        except OverflowError:
            raise _wrong(text) from None
    if clock := _CLOCK.match(words):
        local = now.astimezone()
        at = local.replace(hour=int(clock[1]), minute=int(clock[2]), second=int(clock[3] or 0), microsecond=0)
        return at if at <= local else at - timedelta(days=1)
    try:
        return datetime.fromisoformat(words).astimezone()
    except (ValueError, OverflowError):
        raise _wrong(text) from None


def utc(at: datetime) -> str:
    """A moment as events have it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _wrong(text: str) -> TimeError:
    hint = "Write 90s, 15m, 2h, 3d, 1w, 14:30, 2026-01-31 or 2026-01-31T14:30."
    return TimeError(f"{text!r} is not a time", hint=hint)
