"""Times and durations as operators write them: one grammar for every option.

A duration is one or more numbers with a unit (90s, 10min, 1h30min, 1.5h, 3d, 1w). A time is a duration from now, into
the past or the future as the option asks (2h; a sign may say it: -2h, +2h), the time of day that was last or comes next
(14:30), a date, or an ISO time. What says no zone is in the zone of this host, as it is in force at that time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from pgvip.errors import Exit, PgvipError

UNITS_S = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
DURATION_MAX_S = 366 * 86_400.0
"""Of what is to come; what is past may be any number of years ago."""
_PAST_MAX_S = 100 * DURATION_MAX_S
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z]+)\s*")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")

DURATIONS = "90s, 10min, 1h30min, 1.5h, 3d, 1w"
TIMES = f"a duration ({DURATIONS}), 14:30, 2026-01-31 or 2026-01-31T14:30 (local time, or with a zone)"
"""What options take, for their help and for the hint of an error."""


class TimeError(PgvipError):
    """Neither a time nor a duration, or one that the option does not take."""

    exit_code = Exit.USAGE


def duration_s(text: str, most_s: float = DURATION_MAX_S) -> float:
    """Seconds of a duration, at most `most_s`. TimeError says what is wrong with it.

    >>> [duration_s(text) for text in ("90s", "10min", "2h", "1h30min", "1.5h", "1d 12h", "1w")]
    [90.0, 600.0, 7200.0, 5400.0, 5400.0, 129600.0, 604800.0]
    """
    plain = text.strip().lower()
    parts = _PART.findall(plain)
    if not parts or _PART.sub("", plain):
        raise TimeError(f"{text!r} is not a duration", hint=f"Write one like {DURATIONS}.")
    for _number, unit in parts:
        if unit not in UNITS_S:
            raise TimeError(f"{text!r} has an unknown unit {unit!r}", hint=f"Write one like {DURATIONS}.")
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in parts)
    if not 0 < seconds <= most_s:
        raise TimeError(f"{text!r} is not longer than 0 and at most {most_s / 86_400:.0f} days")
    return seconds


def past(text: str, now: datetime) -> datetime:
    """The time that an operator means, which is over. TimeError for all else.

    >>> noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    >>> [past(text, noon).isoformat() for text in ("2h", "1w", "2026-01-01T10:00Z")]
    ['2026-01-02T10:00:00+00:00', '2025-12-26T12:00:00+00:00', '2026-01-01T10:00:00+00:00']
    """
    plain = text.strip()
    if _is_duration(plain.removeprefix("-")):
        return now - timedelta(seconds=duration_s(plain.removeprefix("-"), _PAST_MAX_S))
    if clock := _CLOCK.fullmatch(plain):
        today = _of_day(text, clock, now, 0)
        return today if today < now else _of_day(text, clock, now, -1)
    if plain.startswith("+") or (found := instant(text)) >= now:
        raise TimeError(f"{text!r} is not in the past", f"It is {_shown(now)} now.")
    return found


def coming(text: str, now: datetime) -> datetime:
    """The time that an operator means, which is to come, within DURATION_MAX_S. TimeError for all else.

    >>> noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    >>> [coming(text, noon).isoformat() for text in ("2h", "+1d", "2026-02-01T10:00Z")]
    ['2026-01-02T14:00:00+00:00', '2026-01-03T12:00:00+00:00', '2026-02-01T10:00:00+00:00']
    """
    plain = text.strip()
    if _is_duration(plain.removeprefix("+")):
        return now + timedelta(seconds=duration_s(plain.removeprefix("+")))
    if clock := _CLOCK.fullmatch(plain):
        today = _of_day(text, clock, now, 0)
        return today if today > now else _of_day(text, clock, now, 1)
    if plain.startswith("-") or (found := instant(text)) <= now:
        raise TimeError(f"{text!r} is over", f"It is {_shown(now)} now.")
    if found - now > timedelta(seconds=DURATION_MAX_S):
        raise TimeError(f"{text!r} is more than {DURATION_MAX_S / 86_400:.0f} days from now")
    return found


def instant(text: str) -> datetime:
    """An ISO 8601 date or time; without a zone it is local time. TimeError for all else.

    >>> instant("2026-01-31 22:05:06 UTC").astimezone(UTC).isoformat()
    '2026-01-31T22:05:06+00:00'
    """
    try:
        plain = text.strip()  # " UTC": as `pgvip` itself writes times for people
        return datetime.fromisoformat(plain.removesuffix(" UTC") + "Z" * plain.endswith(" UTC")).astimezone()
    except (ValueError, OverflowError):
        raise TimeError(f"{text!r} is not a time", hint=f"Write {TIMES}.") from None


def _is_duration(plain: str) -> bool:
    """Begins as one, and not as 20260131T1430 does; what is wrong with it then, `duration_s` says."""
    return re.match(r"\d+(\.\d+)?\s*(?!t\d)[a-z]", plain.lower()) is not None


def _of_day(text: str, clock: re.Match[str], now: datetime, days: int) -> datetime:
    """This time of the day, today in local time or so many days from it, as the zone has it then."""
    hour, minute, second = (int(part or 0) for part in clock.groups())
    day = now.astimezone().replace(tzinfo=None) + timedelta(days=days)
    try:
        return day.replace(hour=hour, minute=minute, second=second, microsecond=0).astimezone()
    except ValueError:
        raise TimeError(f"{text!r} is not a time of day", hint=f"Write {TIMES}.") from None


def _shown(now: datetime) -> str:
    return now.astimezone().isoformat(timespec="seconds")


# --- as they are kept ----------------------------------------------------------------------------------------


def wall(at: datetime) -> str:
    """The form of `core.settings.Inputs.wall`, in which times are compared as texts.

    >>> wall(datetime.fromisoformat("2026-11-25T23:30:00+01:00"))
    '2026-11-25T22:30:00.000+00:00'
    """
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def of_wall(text: str) -> datetime:
    """Read what `wall` wrote; TimeError for anything else."""
    at = instant(text)
    if wall(at) != text:
        raise TimeError(f"{text!r} is not a time in UTC with milliseconds")
    return at


def utc(at: datetime) -> str:
    """A moment as events have it.

    >>> utc(datetime.fromisoformat("2026-11-25T23:30:00+01:00"))
    '2026-11-25T22:30:00.000Z'
    """
    return wall(at).replace("+00:00", "Z")
