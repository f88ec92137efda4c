"""Times and durations as operators write them. Pure: the caller says what time it is."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UNITS_S = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
DURATION_MAX_S = 366 * 86_400.0
FORMS = "an ISO time (2026-11-30T02:30, with or without a zone), the next HH:MM, or +10min, +2h, +1d"


def duration_s(text: str) -> float:
    """Seconds of a duration; ValueError says what is wrong with it.

    >>> [duration_s(text) for text in ("90s", "10min", "2h", "1h30min", "1.5h", "1d")]
    [90.0, 600.0, 7200.0, 5400.0, 5400.0, 86400.0]
    """
    plain = text.strip().lower()
    parts = PART.findall(plain)
    if not parts or PART.sub("", plain).strip():
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 10min, 2h, 1h30min or 1d")
    unknown = [unit for _, unit in parts if unit not in UNITS_S]
    if unknown:
        raise ValueError(f"{text!r} has an unknown unit {unknown[0]!r}: known are s, min, h and d")
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in parts)
    if not 0 < seconds <= DURATION_MAX_S:
        raise ValueError(f"{text!r} is not a duration between 1 s and 366 days")
    return seconds


def moment(text: str, now: datetime) -> datetime:
    """The time that an operator means; a time without a zone is in that of `now`. ValueError when it is none, or past.

    >>> from datetime import timezone
    >>> now = datetime(2026, 11, 25, 22, 0, tzinfo=timezone.utc)
    >>> [moment(text, now).isoformat() for text in ("23:30", "02:30", "+10min")]
    ['2026-11-25T23:30:00+00:00', '2026-11-26T02:30:00+00:00', '2026-11-25T22:10:00+00:00']
    """
    plain = text.strip()
    if plain.startswith("+"):
        return now + timedelta(seconds=duration_s(plain[1:]))
    clock = CLOCK.fullmatch(plain)
    if clock:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        try:
            today = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
        except ValueError:
            raise ValueError(f"{text!r} is not a time of day") from None
        return today if today > now else today + timedelta(days=1)
    try:
        found = datetime.fromisoformat(plain)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write {FORMS}") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=now.tzinfo)
    if found <= now:
        raise ValueError(f"{text!r} is over: it is {now.isoformat(timespec='seconds')} now")
    if found - now > timedelta(seconds=DURATION_MAX_S):
        raise ValueError(f"{text!r} is more than 366 days from now")
    return found


def wall(at: datetime) -> str:
    """The form of `core.settings.Inputs.wall`, in which times are compared as texts.

    >>> wall(datetime.fromisoformat("2026-11-25T23:30:00+01:00"))
    '2026-11-25T22:30:00.000+00:00'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def of_wall(text: str) -> datetime:
    """Read what `wall` wrote; ValueError for anything else."""
    at = datetime.fromisoformat(text)
    if wall(at) != text:
        raise ValueError(f"{text!r} is not a time in UTC with milliseconds")
    return at
