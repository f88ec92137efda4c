"""What of the acknowledged commits a play would lose, in words and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from pgvip.core.facts import Facts
from pgvip.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Loss:
    """`size_bytes`: how much WAL the standby lacks now; None while that is not known."""

    text: str
    size_bytes: int | None = 0


def loss(facts: Facts, *, moves: bool, served: bool, whole: bool) -> Loss:
    """`moves`: the role goes to the other host; `whole`: with proof that it has all WAL of the one that had it."""
    record, s = facts.record, facts.s
    if record is None:
        return Loss("not known: there is no record", None)
    if not served:
        if facts.solo:
            return Loss(f"nothing while nobody forces it; a forced promotion of the other host would lose what "
                        f"{record.primary} has committed since it serves alone")  # fmt: skip
        return Loss("nothing while nobody forces a promotion")
    if not moves or whole:
        return Loss("nothing")
    if record.sync:
        return _sync(facts)
    return _async(facts, s)


def _sync(facts: Facts) -> Loss:
    weak = facts.seen.commits.value
    return Loss("nothing that was acknowledged" + (f", except where commits do not wait: {weak}" if weak else ""))


def _async(facts: Facts, s: Settings) -> Loss:
    lag = lag_bytes(facts)
    now = "unknown how much" if lag is None else f"{lag} bytes of WAL"
    bound = f"at most what was committed in the last {s.lag_s_max:g} s (replication.lag_s_max)"
    return Loss(f"what the standby lacks when it happens: {now} at this moment, {bound}; it is kept and listed", lag)


def lag_bytes(facts: Facts) -> int | None:
    """How much WAL the standby lacks, by this host's and the other's own positions."""
    database, message = facts.database, facts.message
    if database is not None and not database.in_recovery and database.replica is not None:
        return facts.replica_lag_bytes
    mine, theirs = facts.point, message.point if message else None
    if mine is None or theirs is None or mine.timeline != theirs.timeline:
        return None
    return abs(mine.lsn - theirs.lsn)
