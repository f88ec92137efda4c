"""How values are written for people, on a terminal or a page. Pure."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN = "unknown"

BACKGROUND_STALE_S = 30.0
"""A report of archiving or a schedule that is older is marked "?": each is reported again every ten seconds or less."""

BACKLOG_FILES = 16
"""So many segments that wait for the archive are a backlog, not a busy moment."""


_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of characters that a terminal may obey: control and format characters, halves of pairs, line ends."""


def printable(text: str) -> str:
    r"""Write out what a terminal would obey, all but newlines and tabs: a text may come from anywhere.

    >>> print(printable("caf\u00e9 \x1b[2J \x9b1m \r \u202e \udcff"))
    café \x1b[2J \x9b1m \r \u202e \udcff
    """
    if text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if one not in "\n\t" and unicodedata.category(one) in _ESCAPED else one
        for one in text
    )


def one_line(value: Any) -> Any:
    r"""Make every text of a value, also of a document, printable and one line: it then cannot look like several.

    >>> one_line({"hold": "why\n\nno warnings", "term": 7, "vips": ["\tprimary"]})
    {'hold': 'why; ; no warnings', 'term': 7, 'vips': [' primary']}
    """
    if isinstance(value, str):
        return printable(value.replace("\n", "; ").replace("\t", " "))
    if isinstance(value, dict):
        return {one_line(name): one_line(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [one_line(one) for one in value]
    return value


def duration(seconds: float | None) -> str:
    """Write a time as people say it.

    >>> [duration(one) for one in (None, 0.25, 12, 90, 7300, 200_000)]
    ['unknown', '0.25 s', '12 s', '1 min 30 s', '2 h 1 min', '2 d 7 h']
    """
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 and seconds % 1 else f"{seconds:.0f} s"
    whole = int(seconds)
    for size, name, part, part_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // part} {part_name}"
    raise AssertionError(seconds)


def lag(seconds: float | None) -> str:
    """Write a short time: with milliseconds below a second.

    >>> [lag(one) for one in (None, 0, 0.0021, 0.25, 3.5, 90)]
    ['unknown', '0 s', '2.1 ms', '250 ms', '3.50 s', '1 min 30 s']
    """
    return f"{seconds * 1000:.3g} ms" if seconds is not None and 0 < seconds < 0.9995 else duration(seconds)


def size(count: float | None) -> str:
    """Write a number of bytes with a binary unit.

    >>> [size(one) for one in (None, 0, 1023, 16 * 1024**2, 3 * 1024**4)]
    ['unknown', '0 bytes', '1023 bytes', '16 MB', '3072 GB']
    """
    if count is None:
        return UNKNOWN
    for factor, name in ((1024**3, "GB"), (1024**2, "MB"), (1024, "kB")):
        if count >= factor:
            return f"{count / factor:.0f} {name}" if count >= 10 * factor else f"{count / factor:.1f} {name}"
    return f"{count:.0f} bytes"


def too_little(place: Path, free: int, needed: int) -> str:
    """Write why something does not fit on a disk; both in one unit, for the difference counts.

    >>> too_little(Path("/srv"), 5 << 30, (5 << 30) + (1 << 20))
    '"/srv" has 5120 MB free, 5121 MB are needed.'
    """
    return f'"{place}" has {free >> 20} MB free, {needed >> 20} MB are needed.'


def waiting(files: int) -> str:
    """Write how many WAL files the archiver has before it.

    >>> [waiting(one) for one in (0, 1, 17)]
    ['no WAL file waits', '1 WAL file waits', '17 WAL files wait']
    """
    return f"{files or 'no'} WAL file waits" if files < 2 else f"{files} WAL files wait"


def archiving(state: Mapping[str, Any]) -> str:
    """Write how the archiver of the pair does (`archiving` of the status document).

    >>> archiving({"host": "db1", "failing": True, "waiting_files": 17, "oldest_age_s": 90, "failed_age_s": 3,
    ...            "age_s": 0})
    'db1: FAILS, 17 WAL files wait, the oldest for 1 min 30 s, last failure 3 s ago'
    """
    parts = ["FAILS"] if state["failing"] else []
    parts.append(waiting(state["waiting_files"]))
    if state["waiting_files"] and state["oldest_age_s"] is not None:
        parts.append(f"the oldest for {duration(state['oldest_age_s'])}")
    if state["failed_age_s"] is not None:
        parts.append(f"last failure {duration(state['failed_age_s'])} ago")
    return f"{_doubt(state)}{state['host']}: {', '.join(parts)}"


def backup(one: Mapping[str, Any]) -> str:
    """Write which base backup is the newest (`backup` of the status document).

    >>> backup({"host": "db2", "name": "20260101T000000Z", "age_s": 7200, "size_bytes": 3 << 30})
    '20260101T000000Z on db2, 2 h 0 min old, 3.0 GB'
    """
    return f"{one['name']} on {one['host']}, {duration(one['age_s'])} old, {size(one['size_bytes'])}"


def scheduled(one: Mapping[str, Any]) -> str:
    """Write which switchover waits (`scheduled` of the status document).

    >>> scheduled({"at": "2026-01-02T02:30:00+00:00", "by": "ann", "host": "db2", "age_s": 40,
    ...            "ordered": "2026-01-01T22:00:00+00:00"})
    '? switchover at 2026-01-02 02:30:00 UTC, ordered by ann on db2 at 2026-01-01 22:00:00 UTC'
    """
    ordered = f"ordered by {one['by']} on {one['host']} at {moment(one['ordered'])}"
    return f"{_doubt(one)}switchover at {moment(one['at'])}, {ordered}"


def former_vips(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Write which addresses VIPs had before and still have (`former_addresses` of the status document): title, text.

    >>> former_vips({"former_addresses": [{"vip": "primary", "address": "192.0.2.9", "left_s": 250}]})
    [('former primary VIP', '192.0.2.9, served for 4 min 10 s more')]
    """
    return [
        (f"former {one['vip']} VIP", f"{one['address']}, served for {duration(one['left_s'])} more")
        for one in document.get("former_addresses", [])
    ]


def _doubt(told: Mapping[str, Any]) -> str:
    return "? " if told["age_s"] > BACKGROUND_STALE_S else ""


def moment_of(at_s: float) -> str:
    """Write a time in seconds since 1970 for people, as `moment` does.

    >>> moment_of(0.0)
    '1970-01-01 00:00:00 UTC'
    """
    return moment(datetime.fromtimestamp(at_s, UTC).isoformat())


def moment(at: str, *, exact: bool = False) -> str:
    """Write a time for people; in UTC, for both hosts read it. What is no time stays as it is.

    `exact`: with milliseconds.

    >>> [moment(one) for one in ("2026-01-31T23:05:06.789+01:00", "2026-01-31T22:05:06Z", "noon", "")]
    ['2026-01-31 22:05:06 UTC', '2026-01-31 22:05:06 UTC', 'noon', '']
    """
    try:
        found = datetime.fromisoformat(at)
    except ValueError:
        return at
    if not found.tzinfo:
        return at
    utc = found.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S}{f'.{utc.microsecond // 1000:03}' if exact else ''} UTC"


def yes_no(value: object) -> str:
    """Write a fact of three values.

    >>> [yes_no(one) for one in (True, False, None)]
    ['yes', 'no', 'unknown']
    """
    return UNKNOWN if value is None else "yes" if value else "no"
