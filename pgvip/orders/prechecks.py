"""Whether a planned change of role would go well: facts in, a list of findings out. Pure.

The same judgement serves `pgvip switchover`, its dry run and whoever else shows whether the pair is ready. The limits
are those that users of repmgr know where it has them (repmgr.conf: archive_ready_warning).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from pgvip.core.conditions import FIT, GATEWAY, GRANTED, GUARDED, NO_HOLD, NOT_PAUSED, STAYS, Condition
from pgvip.core.messages import Message
from pgvip.core.settings import Settings
from pgvip.core.values import Lsn, Mode, Override
from pgvip.text.writing import duration

ARCHIVE_READY_WARNING = 16
LONG_TRANSACTION_S = 60.0
SENDERS_FOR_CLONE = 2
"""pg_basebackup streams WAL over a second connection."""


class Level(StrEnum):
    """What a finding means for the change."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check and what came of it. `hard`: no operator's word helps against a failure."""

    name: str
    level: Level
    text: str
    hint: str = ""
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Readiness:
    """What one host says of itself when asked just now (readiness.sql and its configuration).

    `archive_failing`: the WAL file that could not be archived, "" when archiving works. `archive_ready`: files that
    wait for it. `oldest_s`: age of the oldest client's transaction. `fence`: how its probe of its peer's fence device
    went: "" well, "none" for no device, else what is wrong. `replay_blockers`: sessions that replay waits for.
    `late_clients`: WAL clients of others that do not confirm what they get. `wrong_settings`: wrong lines in its
    configuration files.
    """

    host: str
    pgvip: str
    digest: str
    version: int
    in_recovery: bool
    lsn: Lsn
    replay_lsn: Lsn
    replay_paused: bool
    senders_max: int
    senders: int
    slots_max: int
    slots: int
    peer_slot: bool
    logical_slots: str
    replica_state: str
    replica_sync: str
    checksums: bool
    wal_log_hints: bool
    archive_failing: str
    archive_ready: int
    sessions: int
    oldest_s: float
    prepared: int
    fence: str
    replay_blockers: str = ""
    late_clients: str = ""
    wrong_settings: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One host: what its daemon last said, and what its server says now. `why`: why that is not known."""

    name: str
    message: Message | None
    ready: Readiness | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """The pair as one of its hosts sees it. `changing`: a change of role that is under way, or ""."""

    settings: Settings
    me: Side
    peer: Side
    changing: str = ""

    @property
    def primary(self) -> Side:
        """By this host's record; `me` when it has none."""
        record = self.me.message.record if self.me.message else None
        return self.peer if record is not None and record.primary == self.peer.name else self.me

    @property
    def standby(self) -> Side:
        return self.me if self.primary is self.peer else self.peer

    def override(self, host: str) -> Override:
        return self.settings.override if host == self.settings.me else self.settings.peer_override


Check = Callable[[Facts], Iterable[Finding]]


def switchover(facts: Facts) -> tuple[Finding, ...]:
    """Every finding of a planned switchover, in the order in which they are shown; nothing is left out."""
    return tuple(finding for check in CHECKS for finding in check(facts))


def refused(findings: Iterable[Finding], *, force: bool = False) -> tuple[Finding, ...]:
    """The failures that stand in the way; `force`: an operator takes upon themselves all but the hard ones."""
    return tuple(one for one in findings if one.level is Level.FAILED and (one.hard or not force))


def _hard(name: str, ok: str, bad: str, hint: str = "") -> Finding:
    """A finding that is good when `bad` is empty, and a hard failure else."""
    return Finding(name, Level.FAILED, bad, hint, hard=True) if bad else Finding(name, Level.OK, ok)


def _of(facts: Facts, side: Side, condition: Condition) -> tuple[str, str]:
    """Why the condition does not hold on that host, and what to do about it."""
    other = facts.peer if side is facts.me else facts.me
    hold, unfit = (side.message.hold, side.message.unfit) if side.message else ("", "")
    names = {"me": side.name, "peer": other.name, "primary": facts.primary.name, "hold": hold, "unfit": unfit}
    return condition.unmet.format_map(names), condition.hint.format_map(names)


def _record(facts: Facts) -> Iterable[Finding]:
    mine = facts.me.message
    record = mine.record if mine else None
    bad, hint = "", ""
    if mine is None or record is None or not mine.confirmed:
        bad, hint = f"{facts.me.name} has no confirmed record", "see pgvip status"
    elif record.mode is not Mode.PAIR:
        bad = f"{record.primary} serves alone (term {record.term}): no standby may take the role"
        hint = "see why in pgvip status; it becomes a pair again by itself once the standby follows"
    elif facts.changing:
        bad, hint = f"a change is under way: {facts.changing}", "wait until it is over"
    text = f"{facts.primary.name} is primary of a pair, term {record.term if record else '-'}"
    yield _hard("record", text, bad, hint)


def _peer_daemon(facts: Facts) -> Iterable[Finding]:
    theirs, mine = facts.peer.message, facts.me.message
    bad, hint = "", f"systemctl status pgvip on {facts.peer.name}"
    if theirs is None:
        bad = f"the daemon of {facts.peer.name} does not answer"
    elif mine is not None and mine.record and (theirs.record is None or theirs.record.term != mine.record.term):
        bad, hint = f"{facts.peer.name} has another record", "wait a moment; see pgvip status on both hosts"
    yield _hard("peer-daemon", f"the daemon of {facts.peer.name} answers", bad, hint)


def _paused(facts: Facts) -> Iterable[Finding]:
    paused = [side.name for side in (facts.me, facts.peer) if side.message and side.message.pause.active]
    bad = f"{NOT_PAUSED.unmet} ({' and '.join(paused)})" if paused else ""
    yield _hard("pause", "the pair is not paused", bad, NOT_PAUSED.hint)


def _leaving(facts: Facts) -> Iterable[Finding]:
    for side in (facts.me, facts.peer):
        if side.message is not None and side.message.leaving:
            yield _hard("leaving", "", *_of(facts, side, STAYS))


def _hold(facts: Facts) -> Iterable[Finding]:
    held = [side for side in (facts.me, facts.peer) if side.message and side.message.hold]
    for side in held:
        yield _hard("hold", "", *_of(facts, side, NO_HOLD))
    if not held:
        yield Finding("hold", Level.OK, "no data is on hold")


def _databases(facts: Facts) -> Iterable[Finding]:
    for side, recovery in ((facts.primary, False), (facts.standby, True)):
        role = "standby" if recovery else "primary"
        name, ready, hint = f"{role}-database", side.ready, f"see PostgreSQL's log on {side.name}"
        if ready is None:
            yield _hard(name, "", f"the database of {side.name} could not be asked: {side.why}", hint)
        elif ready.in_recovery is not recovery:
            yield _hard(name, "", f"the database of {side.name} is not the {role}'s", "see pgvip status")
        else:
            yield Finding(name, Level.OK, f"PostgreSQL {ready.version} on {side.name} answers as {role}")
    mine, theirs = facts.me.ready, facts.peer.ready
    if mine and theirs and mine.version != theirs.version:
        text = f"PostgreSQL {mine.version} on {facts.me.name}, {theirs.version} on {facts.peer.name}"
        yield Finding("postgresql-version", Level.FAILED, text, "use the same major version on both", hard=True)


def _settings(facts: Facts) -> Iterable[Finding]:
    """A server applies no change of its settings while a file has a wrong line, and does not start again."""
    for side in (facts.primary, facts.standby):
        if side.ready is not None:
            wrong = side.ready.wrong_settings
            text = f"PostgreSQL's configuration files on {side.name} have no wrong line"
            hint = "correct it, then: select pg_reload_conf()" if wrong else ""
            text = f"a configuration file of PostgreSQL on {side.name} is wrong: {wrong}" if wrong else text
            yield Finding("settings", Level.FAILED if wrong else Level.OK, text, hint)


def _streaming(facts: Facts) -> Iterable[Finding]:
    old, new = facts.primary.ready, facts.standby.message
    if old is None or new is None:
        return
    bad = ""
    if old.replica_state != "streaming":
        bad = f"{facts.standby.name} is not attached" if not old.replica_state else f"its state is {old.replica_state}"
    elif not new.streaming:
        bad = f"{facts.standby.name} receives no WAL"
    text = f"{facts.standby.name} streams from {facts.primary.name}"
    text += f" ({old.replica_sync})" if old.replica_sync else ""
    yield _hard("streaming", text, bad, f"see PostgreSQL's log on {facts.standby.name}")


def _eligible(facts: Facts) -> Iterable[Finding]:
    new = facts.standby.message
    if new is None:
        return
    missing = (FIT if new.unfit else GRANTED) if new.guarded else GUARDED
    bad, hint = ("", "") if new.eligible else _of(facts, facts.standby, missing)
    yield _hard("eligible", f"{facts.standby.name} is eligible to take over", bad, hint)


def _replay(facts: Facts) -> Iterable[Finding]:
    new = facts.standby.ready
    if new is None:
        return
    bad = f"replay is paused on {facts.standby.name}: its promotion would wait" if new.replay_paused else ""
    yield _hard("replay", f"replay goes on on {facts.standby.name}", bad, "select pg_wal_replay_resume()")
    if new.replay_blockers:
        text = f"replay on {facts.standby.name} waits for sessions, which are ended: {new.replay_blockers}"
        yield Finding("replay-blocked", Level.WARNING, text, "end them, or lower max_standby_streaming_delay there")


def _lag(facts: Facts) -> Iterable[Finding]:
    old, new, word = facts.primary.ready, facts.standby.ready, facts.standby.message
    if old is None or new is None or word is None:
        return
    settings = facts.settings
    for name, behind, verb in (
        ("lag-received", old.lsn - new.lsn, "received"), ("lag-replayed", old.lsn - new.replay_lsn, "replayed"),
    ):  # fmt: skip
        bytes_behind = max(0, behind)
        late_s = word.replay_lag_s if verb == "replayed" else 0.0
        text = f"{facts.standby.name} has {verb} all but {bytes_behind} bytes" + (f", {late_s:.1f} s" if late_s else "")
        beyond = bytes_behind > settings.lag_bytes_max or late_s > settings.lag_s_max
        limits = f"limits: {settings.lag_bytes_max} bytes, {settings.lag_s_max:g} s"
        level = Level.FAILED if beyond else Level.OK
        yield Finding(name, level, f"{text} ({limits})" if beyond else text, "wait until it has caught up" * beyond)


def _archive(facts: Facts) -> Iterable[Finding]:
    """The stop does not wait for what is left to archive: it is archived before the old primary follows."""
    ready = facts.primary.ready
    if ready is None:
        return
    level, text = Level.OK, f"{ready.archive_ready} WAL files wait to be archived on {facts.primary.name}"
    if ready.archive_failing:
        level, text = Level.WARNING, f"archiving fails on {facts.primary.name}: {ready.archive_failing}; {text}"
    elif ready.archive_ready >= ARCHIVE_READY_WARNING:
        level, text = Level.WARNING, f"{text}; the stop does not wait, they are archived when it follows"
    hint = "" if level is Level.OK else "see archive_command in PostgreSQL's log, and that the archive has space"
    yield Finding("archive", level, text, hint)


def _late_clients(facts: Facts) -> Iterable[Finding]:
    """A fast shutdown waits for every WAL client; those of others are ended once the standby has everything."""
    ready = facts.primary.ready
    if ready is not None and ready.late_clients:
        text = f"WAL clients on {facts.primary.name} that confirm nothing, which are ended: {ready.late_clients}"
        yield Finding("wal-clients", Level.WARNING, text, "see whether they still work; they go on at the new primary")


def _senders(facts: Facts) -> Iterable[Finding]:
    """On the future primary: for the old one, and for a clone of it, should that be needed."""
    for side in (facts.standby, facts.primary):
        ready = side.ready
        if ready is None:
            continue
        free = ready.senders_max - ready.senders
        level = Level.OK
        if side is facts.standby and free < SENDERS_FOR_CLONE:
            level = Level.WARNING if free else Level.FAILED
        text = f"{free} of {ready.senders_max} WAL senders are free on {side.name}"
        yield Finding("wal-senders", level, text, "raise max_wal_senders there" if level is not Level.OK else "")


def _slots(facts: Facts) -> Iterable[Finding]:
    for side in (facts.standby, facts.primary):
        ready = side.ready
        if ready is None:
            continue
        free = ready.slots_max - ready.slots
        bad = not ready.peer_slot and free < 1
        text = f"{free} of {ready.slots_max} replication slots are free on {side.name}"
        text += "; the other host's is there" if ready.peer_slot else "; the other host's is missing"
        hint = "raise max_replication_slots there, or drop a slot that nobody uses" if bad else ""
        yield Finding("slots", Level.FAILED if bad else Level.OK, text, hint)
    old, new = facts.primary.ready, facts.standby.ready
    if old is not None and new is not None:
        lost = sorted(set(old.logical_slots.split(", ")) - set(new.logical_slots.split(", ")) - {""})
        if lost:
            text = f"logical slots that {facts.standby.name} lacks, whose subscribers will have to be set up again: "
            hint = "from PostgreSQL 17 on, make them failover slots"
            yield Finding("logical-slots", Level.WARNING, text + ", ".join(lost), hint)


def _rewind(facts: Facts) -> Iterable[Finding]:
    for side in (facts.primary, facts.standby):
        ready = side.ready
        if ready is None:
            continue
        able = ready.checksums or ready.wal_log_hints
        text = f"{side.name} {'can' if able else 'cannot'} be rewound"
        hint = "" if able else "set wal_log_hints = on, or enable checksums; without, a diverged host is cloned again"
        yield Finding("rewind", Level.OK if able else Level.WARNING, text, hint)


def _fencing(facts: Facts) -> Iterable[Finding]:
    for side, other in ((facts.me, facts.peer), (facts.peer, facts.me)):
        ready = side.ready
        if ready is None:
            continue
        if ready.fence == "none":
            yield Finding("fencing", Level.INFO, f"{side.name} has no way to fence {other.name}: none is configured")
        elif ready.fence:
            text = f"the fence device of {other.name} does not answer {side.name}: {ready.fence}"
            yield Finding("fencing", Level.WARNING, text, f"pgvip fence test on {side.name}")
        else:
            yield Finding("fencing", Level.OK, f"the fence device of {other.name} answers {side.name}")


def _configuration(facts: Facts) -> Iterable[Finding]:
    mine, theirs = facts.me.message, facts.peer.message
    if mine is None or theirs is None:
        return
    same = mine.digest == theirs.digest
    text = "the configuration is the same on both hosts" if same else "the two hosts' configuration files differ"
    hint = "" if same else "make them the same, then systemctl reload pgvip on both"
    yield Finding("configuration", Level.OK if same else Level.WARNING, text, hint)
    same = mine.version == theirs.version
    text = f"pgvip {mine.version}" + (" on both hosts" if same else f" here, {theirs.version} on {facts.peer.name}")
    yield Finding("pgvip-version", Level.OK if same else Level.WARNING, text, "" if same else "upgrade the older one")


def _override(facts: Facts) -> Iterable[Finding]:
    old, new = facts.override(facts.primary.name), facts.override(facts.standby.name)
    back = old is Override.PRIMARY or new is Override.STANDBY
    alone = Override.PRIMARY_STANDBY in (old, new)
    text = f"the configuration keeps or brings the role to {facts.primary.name}: it would go back by itself"
    if alone:
        text = "the configuration lets one host serve alone (role = primary_standby)"
    if back or alone:
        yield Finding("role-override", Level.FAILED, text, "change role in the configuration, then reload")


def _gateway(facts: Facts) -> Iterable[Finding]:
    new = facts.standby.message
    if new is not None:
        bad, hint = ("", "") if new.gateway_ok else _of(facts, facts.standby, GATEWAY)
        text = bad or f"a gateway answers {facts.standby.name}"
        yield Finding("gateway", Level.OK if new.gateway_ok else Level.FAILED, text, hint)


def _sessions(facts: Facts) -> Iterable[Finding]:
    ready = facts.primary.ready
    if ready is None:
        return
    text = f"client sessions on {facts.primary.name}, which are ended: {ready.sessions}"
    yield Finding("sessions", Level.INFO, text)
    if ready.oldest_s >= LONG_TRANSACTION_S:
        text = f"a transaction has been open for {duration(ready.oldest_s)} on {facts.primary.name}; it is rolled back"
        yield Finding("long-transactions", Level.INFO, text)
    if ready.prepared:
        text = f"prepared transactions on {facts.primary.name}, which stay prepared: {ready.prepared}"
        yield Finding("prepared-transactions", Level.INFO, text)


CHECKS: tuple[Check, ...] = (
    _record, _peer_daemon, _paused, _leaving, _hold, _databases, _settings, _streaming, _eligible, _replay, _lag,
    _archive, _late_clients, _senders, _slots, _rewind, _fencing, _configuration, _override, _gateway, _sessions,
)  # fmt: skip
