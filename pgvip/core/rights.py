"""Who may do what: one predicate for each right of docs/protocol.md, "Rights".

Every path that starts PostgreSQL read-write, promotes, or raises an address asks here.
"""

from __future__ import annotations

from pgvip.core.facts import Facts
from pgvip.core.values import Grant, Mode, Override, Record, Vip


def next_term(above: int, first: bool) -> int:
    """The smallest term above `above` with the host's own parity (first host even, second odd) [m 1].

    >>> next_term(4, first=True), next_term(4, first=False), next_term(-1, first=True)
    (6, 5, 0)
    """
    term = above + 1
    return term if (term % 2 == 0) == first else term + 1


def eligible(facts: Facts) -> bool:
    """This standby holds a grant for exactly this term, boot and postmaster [m 9, 11], not run out, and may serve."""
    return facts.standby and facts.pair and facts.guarded and grant_holds(facts, facts.k.grant, facts.term)


def grant_holds(facts: Facts, grant: Grant | None, term: int) -> bool:
    """`grant` is for `term`, this boot, the postmaster that runs now, and its lease has not ended."""
    return (
        grant is not None
        and grant.term == term
        and grant.boot_id == facts.k.who.boot_id
        and bool(facts.postmaster)
        and grant.postmaster == facts.postmaster
        and (grant.expires_s is None or facts.now_s < grant.expires_s)
    )


def handover_met(facts: Facts) -> bool:
    """The hand-over condition, before the first read-write start [m 12].

    A grant for exactly the term that was handed over, to the present postmaster (its lease no longer
    matters: the loser was seen to give up), or the loser's end of WAL reached on the same history.
    """
    record, grant = facts.record, facts.k.grant
    if record is None or record.from_term is None:
        return False
    if (
        grant is not None
        and grant.term == record.from_term
        and grant.boot_id == facts.k.who.boot_id
        and bool(facts.postmaster)
        and grant.postmaster == facts.postmaster
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


def adopting_keeps_primary(facts: Facts) -> bool:
    """The higher record that was heard names this host primary as well: nothing is lost by adopting it."""
    return facts.higher is not None and facts.higher.primary == facts.s.me


def entitled(facts: Facts) -> bool:
    """The write right but for its last condition: this host is the pair's one primary, here and now."""
    if not facts.primary or not facts.k.confirmed or facts.k.giving_up is not None or facts.k.alarm:
        return False
    return facts.higher is None or adopting_keeps_primary(facts)


def write_right(facts: Facts) -> bool:
    """PostgreSQL may be read-write here, and the primary VIP may be held."""
    durable = facts.k.durable
    if facts.k.isolated:
        return False
    return entitled(facts) and (durable.served or durable.complete or handover_met(facts))


def solo_right(facts: Facts) -> bool:
    """This primary may make the pair solo."""
    return (
        facts.pair
        and write_right(facts)
        and facts.read_write
        and facts.database_healthy
        and facts.gateway
        and not facts.paused
    )


def takeover_right(facts: Facts) -> bool:
    """This standby may fence the primary and claim its role."""
    return (
        facts.k.confirmed
        and not facts.k.leaving
        and facts.higher is None
        and facts.k.giving_up is None
        and eligible(facts)
        and facts.recovering
        and facts.database_healthy
        and facts.gateway
        and not facts.paused
        and not facts.k.durable.hold
        and not facts.k.alarm
    )


def standby_address(facts: Facts) -> bool:
    """The standby VIP is this host's, whatever its database does."""
    if facts.k.giving_up is not None or not facts.k.confirmed or facts.k.alarm:
        return False
    if facts.primary:
        return facts.solo and write_right(facts)
    free = facts.k.address
    told = free is not None and free.term == facts.term and free.boot_id == facts.k.who.boot_id
    return facts.pair and facts.higher is None and told


def standby_right(facts: Facts) -> bool:
    """The standby VIP may be held."""
    if not standby_address(facts):
        return False
    if facts.primary:
        # Readers that a standby already has stay while it is being promoted.
        return facts.read_write or (facts.recovering and Vip.STANDBY in facts.held)
    return facts.recovering and not facts.lagging


def alone_by_choice(facts: Facts) -> bool:
    """The configuration keeps this primary alone with both addresses."""
    return facts.override_of(facts.s.me) is Override.PRIMARY_STANDBY


def may_rebuild(facts: Facts) -> bool:
    """Rewind or rebuild: only confirmed, without `hold`, with the record's primary seen read-write."""
    return facts.standby and facts.k.confirmed and not facts.k.durable.hold and facts.peer_serves and not facts.k.alarm


def takes_from_me(facts: Facts, record: Record) -> bool:
    """Adopting `record` takes the primary role from this host without its consent, after it wrote.

    Silent as to a real fence: then this boot was never confirmed. docs/protocol.md, "The record".
    """
    forced = facts.record is not None and record.term - facts.record.term >= 500_000
    return facts.primary and record.primary != facts.s.me and facts.k.durable.served and (facts.k.confirmed or forced)


def keeps_standby_vip(record: Record, me: str) -> bool:
    """Adopting `record` as its primary takes nothing from this host's addresses."""
    return record.primary == me and record.mode is Mode.SOLO
