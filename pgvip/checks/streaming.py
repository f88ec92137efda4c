"""Replication: who is attached, how far behind, which slots keep WAL, whether commits wait."""

from __future__ import annotations

from collections.abc import Iterator

from pgvip.checks.finding import Finding, Perf, critical, gathered, judged, ok, unknown, warning
from pgvip.checks.subject import Facts, Limits, Skipped
from pgvip.core.settings import Settings
from pgvip.system import pgconf

Sizes = tuple[float, float]


def attached(facts: Facts) -> Finding:
    """The standby is attached to its primary and streams."""
    if facts.in_recovery:
        rows = facts.local("check_receiver")
        if rows and rows[0][0] == "streaming":
            return ok(f"streams from {rows[0][1]}")
        state = rows[0][0] if rows else "there is no WAL receiver"
        return critical(f"does not stream: {state}", f"see PostgreSQL's log here, and pgvip status; {_REACH}")
    name = facts.config.peer_application_name
    rows = [row for row in facts.local("check_replication") if row[0] == name]
    if rows and rows[0][2] == "streaming":
        return ok(f"{facts.config.peer.name} streams ({rows[0][3]})", Perf("others", _others(facts)))
    if facts.alone:
        return warning(f"{facts.config.peer.name} is not attached: this host serves alone", _REACH)
    state = rows[0][2] if rows else "not attached"
    return critical(f"{facts.config.peer.name}: {state}", f"see PostgreSQL's log on {facts.config.peer.name}; {_REACH}")


_REACH = "pgvip check --only replication-connection on both hosts"


def _others(facts: Facts) -> int:
    """Standbys beside the pair's own."""
    return sum(row[0] != facts.config.peer_application_name for row in facts.local("check_replication"))


def lag(facts: Facts) -> Finding:
    """How far the standby is behind, in bytes and seconds."""
    sizes, times = _limits(facts.limits, facts.config.settings)
    lag_bytes, lag_s = _measured(facts)
    found = [judged(f"{lag_bytes} bytes behind", Perf("lag_bytes", lag_bytes, "B", *sizes), _HINT)]
    if lag_s is not None:
        found.append(judged(f"replay {lag_s:.1f} s behind", Perf("lag_seconds", lag_s, "s", *times), _HINT))
    bad = [one for one in found if one.level]
    return gathered("; ".join(one.text for one in found), bad, [perf for one in found for perf in one.perf])


_HINT = "see load and network of both hosts, and long queries or a paused replay on the standby"


def _limits(limits: Limits, settings: Settings) -> tuple[Sizes, Sizes]:
    """Critical where the standby ceases to be eligible; a warning at half of it."""
    critical_bytes = _or(limits.lag_critical_bytes, settings.lag_bytes_max)
    critical_s = _or(limits.lag_critical_s, settings.lag_s_max)
    return (_or(limits.lag_warning_bytes, critical_bytes / 2), critical_bytes), (
        _or(limits.lag_warning_s, critical_s / 2), critical_s,
    )  # fmt: skip


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


def _measured(facts: Facts) -> tuple[int, float | None]:
    """Bytes by the primary's position, seconds of replay."""
    if facts.in_recovery:
        here = int(facts.local("check_position")[0][0])
        there = int(facts.peer("check_position")[0][0])
        lag_s = facts.status["me"]["postgresql"]["replay_lag_s"]
        return max(0, there - here), lag_s
    rows = [row for row in facts.local("check_replication") if row[0] == facts.config.peer_application_name]
    if not rows:
        raise Skipped(f"{facts.config.peer.name} is not attached") if facts.alone else _Detached(facts)
    return int(rows[0][4] or 0), float(rows[0][5] or 0.0)


class _Detached(Skipped):
    def __init__(self, facts: Facts) -> None:
        super().__init__(f"{facts.config.peer.name} is not attached, see the check attached")


def slots(facts: Facts) -> Finding:
    """Each host keeps WAL for the other, and nothing else keeps WAL without end."""
    rows = facts.local("check_slots")
    name = pgconf.slot_name(facts.config.peer.name)
    retained = max((int(row[5] or 0) for row in rows), default=0)
    perf = [Perf("slots", len(rows)), Perf("retained", retained, "B")]
    text = f"{len(rows)} slots" + ("" if facts.removed else f", {name} among them")
    return gathered(text, _slots(facts, rows, name), perf)


def _slots(facts: Facts, rows: list[tuple[object, ...]], name: str) -> Iterator[Finding]:
    if name not in {row[0] for row in rows} and not facts.removed:
        hint = "the daemon makes it within 10 s; see the events of its log"
        yield (warning if facts.in_recovery else critical)(f"slot {name} is missing", hint)
    for slot, _kind, active, temporary, wal_status, retained in rows:
        if slot == name and not active and not facts.in_recovery and not facts.alone:
            yield warning(f"slot {slot} is not in use", "see the check attached")
        if wal_status == "lost":
            hint = "pgvip rejoin on the peer" if slot == name else f"SELECT pg_drop_replication_slot('{slot}')"
            yield critical(f"slot {slot} has lost its WAL", hint)
        elif wal_status == "unreserved":
            yield warning(f"slot {slot} is about to lose its WAL", "bring its user back, or raise max_slot_wal_keep_mb")
        if slot != name and not active and not temporary and not str(slot).startswith("pgvip_"):
            text = f"slot {slot} is not in use and keeps {retained or 0} bytes of WAL"
            yield warning(text, f"if nobody needs it: SELECT pg_drop_replication_slot('{slot}')")


def sync(facts: Facts) -> Finding:
    """In sync mode commits wait for the standby; nobody else's setting takes that away."""
    if not facts.config.settings.sync:
        raise Skipped("async mode: commits do not wait")
    if facts.in_recovery:
        raise Skipped("a standby: the primary's commits wait")
    if facts.alone:
        return warning("this host serves alone: commits wait for nobody", "see the check attached")
    rows = facts.local("check_replication")
    mine = [row for row in rows if row[0] == facts.config.peer_application_name]
    if not mine:
        return unknown("the standby is not attached", "see the check attached")
    weak = ["/".join(map(str, row)) for row in facts.local("weak_commit")]
    bad = [warning(f"not protected: {one}", "set synchronous_commit to on there") for one in weak]
    if mine[0][3] not in ("sync", "quorum"):
        bad.append(critical(f"{facts.config.peer.name} is {mine[0][3]}, not sync", "see pgvip status"))
    return gathered(f"commits wait for {facts.config.peer.name}", bad)
