"""The conditions that rights are made of: each with its test, why it does not hold, and what to do about that.

`rights` and `changes` say which of them make up a right or a change. Whoever decides, explains or refuses reads those
lists; nobody words a right again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pgvip.core import lease
from pgvip.core.facts import Facts
from pgvip.core.messages import Revoked
from pgvip.core.values import Grant, Record, Vip

STATUS = "see pgvip status on {me}"
SOON = "wait a moment"


@dataclass(frozen=True, slots=True)
class Condition:
    """One named condition. `unmet`: a sentence that says why it does not hold; `hint`: what to do about it.

    Both may name what `names` has.
    """

    name: str
    test: Callable[[Facts], bool]
    unmet: str
    hint: str = STATUS


@dataclass(frozen=True, slots=True)
class Unmet:
    """A condition that does not hold now, in words."""

    name: str
    text: str
    hint: str


def holds(conditions: Iterable[Condition], facts: Facts) -> bool:
    """All of them hold."""
    for condition in conditions:  # noqa: SIM110 - `all` takes half as long again, and this is asked often in a round
        if not condition.test(facts):
            return False
    return True


def unmet(conditions: Iterable[Condition], facts: Facts) -> tuple[Unmet, ...]:
    """Those that do not hold, in their order, each once."""
    missing = dict.fromkeys(condition for condition in conditions if not condition.test(facts))
    return tuple(Unmet(one.name, filled(one.unmet, facts), filled(one.hint, facts)) for one in missing)


def filled(text: str, facts: Facts) -> str:
    """`text` with the names of this round."""
    return text.format_map(names(facts)) if "{" in text else text


def names(facts: Facts) -> dict[str, str]:
    """What texts may name: {me}, {peer}, {primary}, what is on {hold}, why either is not fit, and why no {claim}."""
    record = facts.record
    return {
        "me": facts.s.me,
        "peer": facts.s.peer,
        "primary": record.primary if record else "nobody",
        "hold": facts.k.durable.hold,
        "unfit": facts.unfit or "its PostgreSQL has not been asked yet",
        "peer_unfit": facts.peer.unfit if facts.peer else "",
        "claim": lease.no_claim(facts),
    }


# --- what takes more than a line ---------------------------------------------------------------------------


PROCESSES_S = 20.0
"""A disk that hangs stops the probe of the processes: what it saw longer ago proves no identity."""


def _identity(facts: Facts) -> str:
    """The postmaster that runs now, by a probe of late; "" where that is not known."""
    return facts.postmaster if facts.seen.processes.fresh(facts.now_s, PROCESSES_S) else ""


def grant_holds(facts: Facts, grant: Grant | None, term: int) -> bool:
    """`grant` is for `term`, this boot, the postmaster that runs now [m 9, 11], and its lease has not ended."""
    return (
        grant is not None
        and grant.term == term
        and grant.boot_id == facts.k.who.boot_id
        and bool(_identity(facts))
        and grant.postmaster == _identity(facts)
        and (grant.expires_s is None or facts.now_s < grant.expires_s)
    )


def void(revoked: Revoked | None, boot_id: str, echo_s: float) -> bool:
    """A grant that began with this message of the peer's is withdrawn."""
    return revoked is not None and revoked.boot_id == boot_id and echo_s <= revoked.echo_s


def handover_met(facts: Facts) -> bool:
    """The hand-over condition, before the first read-write start [m 12].

    A grant for exactly the term that was handed over, to the present postmaster (its lease no longer
    matters: the loser was seen to give up), or the loser's end of WAL reached on the same history.
    """
    record, grant = facts.record, facts.k.grants.grant
    if record is None or record.from_term is None:
        return False
    if (
        grant is not None
        and grant.term == record.from_term
        and grant.boot_id == facts.k.who.boot_id
        and bool(_identity(facts))
        and grant.postmaster == _identity(facts)
    ):
        return True
    return reached(facts, record)


def reached(facts: Facts, record: Record) -> bool:
    """This host's WAL holds `record.handover`, on the same history."""
    point, goal, database = facts.point, record.handover, facts.database
    if point is None or goal is None or database is None:
        return False
    if point.timeline == goal.timeline:
        return point.lsn >= goal.lsn
    return any(past.timeline == goal.timeline and past.lsn >= goal.lsn for past in database.history)


def _holds_all(facts: Facts) -> bool:
    durable = facts.k.durable
    return durable.served or durable.complete or handover_met(facts)


def _address_free(facts: Facts) -> bool:
    free = facts.k.grants.address
    return free is not None and free.term == facts.term and free.boot_id == facts.k.who.boot_id


# --- this host ------------------------------------------------------------------------------------------------

PRIMARY = Condition("primary", lambda v: v.primary, "{me} is not the primary")
STANDBY = Condition("standby", lambda v: v.standby, "{me} is not the standby")
PAIR = Condition(
    "pair", lambda v: v.pair, "the pair is not whole: {primary} serves alone",
    "bring the other host back and see why it does not follow: pgvip status",
)
ALONE = Condition("alone", lambda v: v.solo, "the pair is whole: {primary} does not serve alone")
CONFIRMED = Condition(
    "confirmed", lambda v: v.k.confirmed, "{me} has no confirmed record: {peer} has not confirmed it since its boot",
    "bring {peer} back; if it never comes: pgvip promote --force",
)
NO_ALARM = Condition(
    "no-alarm", lambda v: not v.k.peer.alarm, "the two records differ", "pgvip promote --force where the right data is"
)
NO_HIGHER = Condition("no-higher-term", lambda v: v.higher is None, "{me} is adopting a newer record", SOON)
KEEPS_ROLE = Condition(
    "keeps-role", lambda v: v.higher is None or v.higher.primary == v.s.me,
    "{me} is adopting a newer record, which takes its role", SOON,
)  # fmt: skip
NOT_GIVING_UP = Condition(
    "not-giving-up", lambda v: v.k.consent.giving_up is None, "{me} is giving something up just now", SOON
)
STAYS = Condition("stays", lambda v: not v.k.orders.leaving, "{me} is shutting down", "wait until it is back")
NOT_PAUSED = Condition("not-paused", lambda v: not v.paused, "automatic action is paused", "pgvip resume")
NO_HOLD = Condition(
    "no-hold", lambda v: not v.k.durable.hold, "the data of {me} is on hold: {hold}",
    "compare the data, then on {me}: pgvip hold clear",
)
NOT_ISOLATED = Condition(
    "not-isolated", lambda v: not v.k.isolation.isolated, "{me} has no gateway and no answer from {peer} by any path",
    "repair the network of {me}; it serves again by itself",
)
WHOLE = Condition(
    "whole", lambda v: not (v.k.durable.lacks or v.k.promotion.lacks),
    "the promotion of {me} left out WAL that it had flushed", "pgvip status on {me} says what, and what to do",
)  # fmt: skip
LEASED = Condition(
    "leased", lease.leased, "{peer} has not been heard in time, and may have taken the role of {me}",
    "bring the link to {peer} back, or {peer}, or the witness: then {me} goes on by itself",
)  # fmt: skip
LEASE_OVER = Condition("lease-over", lease.over, "the lease of {me} runs")
MAY_CLAIM = Condition(
    "may-claim", lease.may_claim, "the witness does not give {me} this term: {claim}",
    "see pgvip witness status; while both hosts hear each other nobody needs it",
)  # fmt: skip
LET_GO = Condition("let-go", lease.let_go, "{peer} may still hold its address", SOON)
HAS_DATA = Condition(
    "has-data", lambda v: v.installed and not v.disks_bad, "the data of {me} or its disks are not there",
    "see pgvip status on {me}",
)  # fmt: skip
HOLDS_ALL = Condition("holds-all", _holds_all, "{me} is not known to hold all that its role needs")
GUARDED = Condition(
    "guarded", lambda v: v.guarded, "{me} may not begin to serve without its watchdog, and none can be armed",
    "see the watchdog of {me}, or do not require one",
)
FIT_HINT = "pgvip status there says what it is; pg_wal_replay_resume() ends a pause, a restart of PostgreSQL the rest"
FIT = Condition("fit", lambda v: v.fit, "{me} is not fit to take over: {unfit}", FIT_HINT)
GRANTED = Condition(
    "granted", lambda v: grant_holds(v, v.k.grants.grant, v.term),
    "{me} is not eligible: {peer} has not said that it holds all it needs",
    "wait until pgvip status says that it may take over; see its lag and whether it streams",
)  # fmt: skip
READ_WRITE = Condition(
    "read-write", lambda v: v.read_write, "PostgreSQL on {me} is not read-write", "see its log and pgvip status on {me}"
)
RECOVERING = Condition(
    "standby-runs", lambda v: v.recovering, "PostgreSQL on {me} does not run as a standby",
    "see its log and pgvip status on {me}",
)
HEALTHY = Condition(
    "database-healthy", lambda v: v.database_healthy, "PostgreSQL on {me} or its disks do not answer",
    "see its log and the disks of {me}",
)
GATEWAY = Condition(
    "gateway", lambda v: v.gateway, "no gateway answers {me}",
    "see the network of {me}, and that gateway.targets names what answers a ping",
)
ADDRESS_FREE = Condition("address-free", _address_free, "{peer} has not said that the standby address is free")
IN_TIME = Condition("in-time", lambda v: not v.lagging, "{me} lags more than the limit", "see what keeps its replay")
READS = Condition(
    # Readers that a standby already has stay while it is being promoted.
    "reads", lambda v: v.read_write or (v.recovering and Vip.STANDBY in v.held),
    "PostgreSQL on {me} is not read-write", "see its log and pgvip status on {me}",
)  # fmt: skip

# --- the other host, by its own word ----------------------------------------------------------------------------

PEER_ANSWERS = Condition(
    "peer-answers", lambda v: v.peer is not None, "{peer} does not answer in this term",
    "systemctl status pgvip on {peer}",
)
PEER_STAYS = Condition(
    "peer-stays", lambda v: v.peer is None or not v.peer.leaving, "{peer} is shutting down",
    "wait until it is back",
)  # fmt: skip
PEER_GUARDED = Condition(
    "peer-guarded", lambda v: v.peer is None or v.peer.guarded or v.peer.eligible,
    "{peer} may not begin to serve without its watchdog, and none can be armed",
    "see the watchdog of {peer}, or do not require one",
)  # fmt: skip
PEER_FIT = Condition(
    "peer-fit", lambda v: v.peer is None or not v.peer.unfit, "{peer} is not fit to take over: {peer_unfit}", FIT.hint
)
PEER_ELIGIBLE = Condition(
    "peer-eligible", lambda v: v.peer is not None and v.peer.eligible and not v.k.grants.unwaited,
    "{peer} is not eligible: it does not say that it holds all it needs", GRANTED.hint,
)  # fmt: skip
PEER_HEALTHY = Condition(
    "peer-database", lambda v: v.peer is not None and v.peer.database_ok and v.peer.in_recovery,
    "PostgreSQL on {peer} does not run as a healthy standby", "see its log and pgvip status on {peer}",
)
PEER_NO_HOLD = Condition(
    "peer-hold", lambda v: v.peer is None or not v.peer.hold, "the data of {peer} is on hold",
    "compare the data, then on {peer}: pgvip hold clear",
)  # fmt: skip
PEER_SERVES = Condition(
    "peer-serves", lambda v: v.peer_serves, "{peer} is not seen to serve as the confirmed primary",
    "see pgvip status on {peer}",
)
