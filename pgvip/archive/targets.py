"""To which point a database is to be restored, and from which backup. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn
from pgvip.errors import RefusedError
from pgvip.text.times import TimeError, instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.archive.backups import Backup

LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
NAME_LENGTH_MAX = 63
KINDS = ("time", "lsn", "name")


@dataclass(frozen=True, slots=True)
class Target:
    """Where recovery ends. `kind`: "latest" (the end of WAL), "time" (`at`, seconds since 1970), "lsn" or "name"."""

    kind: str
    text: str = ""
    at: float = 0.0
    lsn: Lsn | None = None

    def settings(self) -> dict[str, str]:
        """PostgreSQL's settings for it (manual, 20.5.5); none for the end of WAL."""
        if self.kind == "time":
            return {"recovery_target_time": datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")}
        return {} if self.kind == "latest" else {f"recovery_target_{self.kind}": self.text}

    def __str__(self) -> str:
        if self.kind == "time":
            return f"time {self.settings()['recovery_target_time']}"
        return {"latest": "the end of the archived WAL", "lsn": f"LSN {self.text}"}.get(
            self.kind, f'restore point "{self.text}"'
        )


def moment(at: float) -> str:
    """A time as a target may be written.

    >>> moment(1795644200.5)
    '2026-11-25 22:03:20+00:00'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds")


def parse(word: str) -> Target:
    """Understand --to: `latest`, an LSN, a time (ISO 8601; local time without a zone), else a restore point's name.

    `time:`, `lsn:` or `name:` before it says what it is. ValueError says what is wrong.

    >>> parse("0/3000060").settings(), parse("before-upgrade").kind, parse("2026-01-02T03:04:05Z").settings()
    ({'recovery_target_lsn': '0/3000060'}, 'name', {'recovery_target_time': '2026-01-02 03:04:05.000000+00'})
    """
    kind, colon, rest = word.partition(":")
    asked = kind if colon and kind in KINDS else ""
    text = rest if asked else word
    if word == "latest":
        return Target("latest")
    if asked in ("", "lsn") and LSN.fullmatch(text):
        return Target("lsn", text.upper(), lsn=Lsn.parse(text.upper()))
    if asked == "lsn":
        raise ValueError(f"{text!r} is no LSN; write one as 0/3000060")
    at = _time(text)
    if asked in ("", "time") and at is not None:
        return Target("time", text, at=at)
    if asked == "time":
        raise ValueError(f"{text!r} is no time; write one as 2026-11-25T22:30:00+01:00")
    if not text or len(text.encode()) > NAME_LENGTH_MAX or any(ord(char) < 32 for char in text):
        raise ValueError(f"{text!r} is no name of a restore point")
    return Target("name", text)


def _time(text: str) -> float | None:
    if not re.match(r"\d{4}-?\d\d-?\d\d[T ]", text):
        return None
    try:
        return instant(text).timestamp()
    except TimeError:
        return None


def choose(backups: Sequence[Backup], target: Target, name: str = "") -> Backup:
    """The backup to begin with: the newest that was whole before the target.

    Where a restore point is, nobody knows beforehand, so for a name it is the oldest. `name`: the operator's choice.
    Raises RefusedError.
    """
    good = sorted((one for one in backups if one.good), key=lambda one: one.ended_at)
    listed = ", ".join(one.name for one in good) or "none"
    if name:
        good = [one for one in good if one.name == name]
        if not good:
            raise RefusedError(f"there is no good backup {name}", f"There are: {listed}.")
    fitting = [one for one in good if _before(one, target)]
    if not fitting:
        hint = "pgvip backups shows from where on each can restore."
        raise RefusedError(f"no backup reaches back to {target}", f"There are: {listed}.", hint)
    return fitting[0] if target.kind == "name" else fitting[-1]


def _before(backup: Backup, target: Target) -> bool:
    if target.lsn is not None:
        return backup.stop.lsn <= target.lsn
    return target.kind != "time" or backup.ended_at <= target.at
