"""What a check found: a level as monitoring plugins have it, words, a hint, and performance data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum


class Level(IntEnum):
    """Exit codes of monitoring plugins (Monitoring Plugins Development Guidelines, "Plugin Return Codes")."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


SEVERITY = (Level.OK, Level.UNKNOWN, Level.WARNING, Level.CRITICAL)
"""What outweighs what: a failure that is seen comes before one that cannot be seen."""


@dataclass(frozen=True, slots=True)
class Perf:
    """One value for performance data. `unit`: "", "s", "B", "%" or "c"; limits are None where there is none."""

    label: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None

    def __str__(self) -> str:
        """As plugins print it.

        >>> str(Perf("lag", 16.0, "B", 8, 32)), str(Perf("age", 0.25, "s"))
        ("'lag'=16B;8;32", "'age'=0.25s;;")
        >>> str(Perf("lag", 0.0000008, "B", 8 << 20, 16 << 20))
        "'lag'=0.000001B;8388608;16777216"
        """
        limits = ("" if limit is None else _number(limit) for limit in (self.warning, self.critical))
        return f"'{self.label}'={_number(self.value)}{self.unit};{';'.join(limits)}"


def _number(value: float) -> str:
    """Without an exponent, which readers of performance data do not know."""
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` is one line; `detail` more of it; `hint` what to do."""

    level: Level
    text: str
    detail: str = ""
    hint: str = ""
    perf: tuple[Perf, ...] = ()
    name: str = field(default="")


def ok(text: str, *perf: Perf) -> Finding:
    """It is well."""
    return Finding(Level.OK, text, perf=perf)


def warning(text: str, hint: str = "", detail: str = "", perf: Iterable[Perf] = ()) -> Finding:
    """Something will fail, or one more failure will hurt."""
    return Finding(Level.WARNING, text, detail, hint, tuple(perf))


def critical(text: str, hint: str = "", detail: str = "", perf: Iterable[Perf] = ()) -> Finding:
    """Something that the pair relies on does not work."""
    return Finding(Level.CRITICAL, text, detail, hint, tuple(perf))


def unknown(text: str, hint: str = "", detail: str = "") -> Finding:
    """It could not be checked."""
    return Finding(Level.UNKNOWN, text, detail, hint)


def judged(text: str, perf: Perf, hint: str = "", detail: str = "") -> Finding:
    """The level by the value's own limits: at or above one, that level."""
    for level, limit in ((Level.CRITICAL, perf.critical), (Level.WARNING, perf.warning)):
        if limit is not None and perf.value >= limit:
            return Finding(level, text, detail, hint, (perf,))
    return Finding(Level.OK, text, detail, "", (perf,))


def gathered(good: str, bad: Iterable[Finding], perf: Iterable[Perf] = ()) -> Finding:
    """Several findings of one check as one: the worst level, all words; `good` when there is none."""
    found = list(bad)
    if not found:
        return Finding(Level.OK, good, perf=tuple(perf))
    level = worst(one.level for one in found)
    text = "; ".join(one.text for one in found)
    detail = " ".join(dict.fromkeys(one.detail for one in found if one.detail))
    hint = "; ".join(dict.fromkeys(one.hint for one in found if one.hint))
    return Finding(level, text, detail, hint, tuple(perf))


def worst(levels: Iterable[Level]) -> Level:
    """The level of several.

    >>> worst([Level.OK, Level.UNKNOWN]).name, worst([Level.UNKNOWN, Level.WARNING]).name, worst([]).name
    ('UNKNOWN', 'WARNING', 'OK')
    """
    return max(levels, key=SEVERITY.index, default=Level.OK)
