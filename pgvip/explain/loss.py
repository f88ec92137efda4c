"""What of the acknowledged commits a play would lose, in words and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from pgvip.core.facts import View
from pgvip.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Loss:
    """`size_bytes`: how much WAL the standby lacks now; None while that is not known."""

    text: str
    size_bytes: int | None = 0


def loss(view: View, *, moves: bool, served: bool, whole: bool) -> Loss:
    """`moves`: the role goes to the other host; `whole`: with proof that it has all WAL of the one that had it."""
    record, s = view.record, view.s
    if record is None:
        return Loss("not known: there is no record", None)
    if not served:
        if view.solo:
            return Loss(f"nothing while nobody forces it; a forced promotion of the other host would lose what "
                        f"{record.primary} has committed since it serves alone")  # fmt: skip
        return Loss("nothing while nobody forces a promotion")
    if not moves or whole:
        return Loss("nothing")
    if record.sync:
        return _sync(view)
    return _async(view, s)


def _sync(view: View) -> Loss:
    weak = view.seen.commits.value
    return Loss("nothing that was acknowledged" + (f", except where commits do not wait: {weak}" if weak else ""))


def _async(view: View, s: Settings) -> Loss:
    lag = lag_bytes(view)
    now = "unknown how much" if lag is None else f"{lag} bytes of WAL"
    bound = f"at most what was committed in the last {s.lag_s_max:g} s (replication.lag_s_max)"
    return Loss(f"what the standby lacks when it happens: {now} at this moment, {bound}; it is kept and listed", lag)


def lag_bytes(view: View) -> int | None:
    """How much WAL the standby lacks, by this host's and the other's own positions."""
    database, message = view.database, view.message
    if database is not None and not database.in_recovery and database.replica is not None:
        return view.replica_lag_bytes
    mine, theirs = view.point, message.point if message else None
    if mine is None or theirs is None or mine.timeline != theirs.timeline:
        return None
    return abs(mine.lsn - theirs.lsn)
