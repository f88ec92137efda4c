"""Which WAL and which backups may go. Pure; in doubt nothing may.

As pg_archivecleanup, which removes what is before the oldest segment that somebody needs, whatever its timeline. Who
needs WAL: every base backup of either host from its start on, every replication slot, every standby, the server of each
host from its last checkpoint on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.archive.catalog import position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pgvip.archive.backups import Backup
    from pgvip.archive.listing import Stored
    from pgvip.core.values import Lsn

DAY_S = 86400.0
YOUNG_S = 3600.0
"""What is younger than this stays in any case: a rewind may go back further than the last checkpoint."""
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Need:
    """Somebody needs WAL from a position on."""

    who: str
    lsn: Lsn


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why nothing can be removed, and what would end the doubt."""

    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept though nobody needs it. `max_mb` 0: no limit."""

    segment_bytes: int
    keep_days: float
    max_mb: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may go, and the one that needs the oldest of what stays. `over_mb`: still above `max_mb` then."""

    files: tuple[Stored, ...]
    oldest: Need
    over_mb: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def judge(
    files: Iterable[Stored], needs: Sequence[Need], pending: Collection[str], rules: Rules, now: float
) -> Verdict:
    """Which files of an archive may go.

    Timeline histories stay: they are small, and every restore asks for them. So does WAL pending for a destination, and
    what is younger than an hour. What is younger than `keep_days` stays unless the archive is larger than `max_mb`;
    the oldest go first, so that what is left has no hole. There must be a need at least: the server's own.
    """
    assert needs
    oldest = min(needs, key=lambda need: need.lsn)
    limit = oldest.lsn // rules.segment_bytes
    known = [(at, file) for file in files if (at := position(file.name, rules.segment_bytes)) is not None]
    total = sum(file.size_bytes for _, file in known)
    going: list[Stored] = []
    for number in sorted({at.number for at, _ in known if at.number < limit}):
        here = [file for at, file in known if at.number == number and file.name not in pending]
        age_s = min((now - file.at for file in here), default=float("inf"))
        crowded = rules.max_mb > 0 and total > rules.max_mb * MB
        if age_s < YOUNG_S or (age_s < rules.keep_days * DAY_S and not crowded):
            break
        going += here
        total -= sum(file.size_bytes for file in here)
    over = max(0, total // MB - rules.max_mb) if rules.max_mb else 0
    return Verdict(tuple(going), oldest, over)


def superfluous(backups: Iterable[Backup], host: str, keep: int, keep_days: float, now: float) -> list[Backup]:
    """Backups of a host beyond what the pair keeps: the newest `keep` good ones, and all of the last `keep_days`.

    Counted over both hosts, for either can restore from the other's; the last good one of all stays whatever is
    configured. What is not good is nobody's backup: it is not counted, and not judged here.
    """
    good = sorted((one for one in backups if one.good), key=lambda one: one.ended_at, reverse=True)
    beyond = good[max(1, keep) :]
    return [one for one in beyond if one.host == host and now - one.ended_at >= keep_days * DAY_S]


def needs_of(backups: Iterable[Backup]) -> list[Need]:
    """From where on backups need WAL: those that are good, and those that are being made."""
    return [
        Need(f"backup {one.name} of {one.host}", one.start.lsn)
        for one in backups
        if one.good or one.state == "running"
    ]


def backup_doubts(backups: Iterable[Backup], keep: int) -> list[Doubt]:
    """Where backups are wanted there must be one: without it WAL is all that there is."""
    if keep == 0 or any(one.good for one in backups):
        return []
    return [
        Doubt(
            "there is no good base backup, and backup.keep wants one",
            "Run pgvip backup; or set backup.keep = 0 if another program makes the backups.",
        )
    ]
