"""What a pair lacks in base backups, by what `[backup]` asks for. Pure: what both hosts have was seen before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvip.core.warning_row import WarningRow, warned
from pgvip.text.writing import duration

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.settings import StandingWarning

DAY_S = 86400.0
_MAKE = "pgvip backup; and see that the timer that makes them runs (docs/archive.md)"


@dataclass(frozen=True, slots=True)
class Backups:
    """`newest`: good one of both hosts (`backup` of the status document). `unheard`: the peer, where it never said."""

    newest: dict[str, Any] | None
    unheard: str
    max_age_s: float

    @property
    def missing(self) -> str:
        """Where there is none."""
        if self.newest is not None:
            return ""
        return f"this host has none, and {self.unheard} has not been heard" if self.unheard else "neither host has one"

    @property
    def old(self) -> str:
        """How old it is, where that is too old."""
        if self.newest is None or not self.max_age_s < self.newest["age_s"]:
            return ""
        return duration(self.newest["age_s"])


WARNINGS: tuple[WarningRow[Backups], ...] = (
    WarningRow("backup-missing", lambda v: v.missing, "no good base backup of this pair is known: {it}", _MAKE),
    WarningRow("backup-old", lambda v: v.old,
               "the newest base backup, {v.newest[name]} on {v.newest[host]}, is {it} old (backup.max_age_days)",
               _MAKE),
)  # fmt: skip


def lacking(config: Config, newest: dict[str, Any] | None, *, peer_heard: bool) -> tuple[StandingWarning, ...]:
    """The warnings; none where the file asks for no backups, or another program makes them."""
    if not config.archive.enabled or config.backup.max_age_days <= 0:
        return ()
    unheard = "" if peer_heard else config.peer.name
    return warned(WARNINGS, Backups(newest, unheard, config.backup.max_age_days * DAY_S))
