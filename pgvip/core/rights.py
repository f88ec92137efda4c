"""Who may do what: one predicate for each right of PROTOCOL.md, "Rights".

Every path that starts PostgreSQL read-write, promotes, or raises an address asks here.
"""

from __future__ import annotations

from pgvip.core.facts import View
from pgvip.core.values import Grant, Mode, Override, Record, Vip


def next_term(above: int, first: bool) -> int:
    """The smallest term above `above` with the host's own parity (first host even, second odd) [m 1].

    >>> next_term(4, first=True), next_term(4, first=False), next_term(-1, first=True)
    (6, 5, 0)
    """
    term = above + 1
    return term if (term % 2 == 0) == first else term + 1


def eligible(view: View) -> bool:
    """This standby holds a grant for exactly this term, boot and postmaster [m 9, 11], not run out, and may serve."""
    return view.standby and view.pair and view.guarded and grant_holds(view, view.k.grant, view.term)


def grant_holds(view: View, grant: Grant | None, term: int) -> bool:
    """`grant` is for `term`, this boot, the postmaster that runs now, and its lease has not ended."""
    return (
        grant is not None
        and grant.term == term
        and grant.boot_id == view.k.who.boot_id
        and bool(view.postmaster)
        and grant.postmaster == view.postmaster
        and (grant.expires_s is None or view.now_s < grant.expires_s)
    )


def handover_met(view: View) -> bool:
    """The hand-over condition, before the first read-write start [m 12].

    A grant for exactly the term that was handed over, to the present postmaster (its lease no longer
    matters: the loser gave up in deed), or the loser's end of WAL reached on the same history.
    """
    record, grant = view.record, view.k.grant
    if record is None or record.from_term is None:
        return False
    if (
        grant is not None
        and grant.term == record.from_term
        and grant.boot_id == view.k.who.boot_id
        and bool(view.postmaster)
        and grant.postmaster == view.postmaster
    ):
        return True
    return reached(view, record)


def reached(view: View, record: Record) -> bool:
    """This host's WAL holds `record.handover`, on the same history."""
    point, goal, database = view.point, record.handover, view.database
    if point is None or goal is None or database is None:
        return False
    if point.timeline == goal.timeline:
        return point.lsn >= goal.lsn
    return any(past.timeline == goal.timeline and past.lsn >= goal.lsn for past in database.history)


def adopting_keeps_primary(view: View) -> bool:
    """The higher record that was heard names this host primary as well: nothing is lost by adopting it."""
    return view.higher is not None and view.higher.primary == view.s.me


def entitled(view: View) -> bool:
    """The write right but for its last condition: this host is the pair's one primary, here and now."""
    if not view.primary or not view.k.confirmed or view.k.yielding is not None or view.k.alarm:
        return False
    return view.higher is None or adopting_keeps_primary(view)


def write_right(view: View) -> bool:
    """PostgreSQL may be read-write here, and the primary VIP may be held."""
    durable = view.k.durable
    if view.k.isolated:
        return False
    return entitled(view) and (durable.served or durable.complete or handover_met(view))


def solo_right(view: View) -> bool:
    """This primary may make the pair solo."""
    return (
        view.pair
        and write_right(view)
        and view.read_write
        and view.database_healthy
        and view.gateway
        and not view.paused
    )


def takeover_right(view: View) -> bool:
    """This standby may fence the primary and claim its role."""
    return (
        view.k.confirmed
        and not view.k.leaving
        and view.higher is None
        and view.k.yielding is None
        and eligible(view)
        and view.recovering
        and view.database_healthy
        and view.gateway
        and not view.paused
        and not view.k.durable.hold
        and not view.k.alarm
    )


def standby_address(view: View) -> bool:
    """The standby VIP is this host's, whatever its database does."""
    if view.k.yielding is not None or not view.k.confirmed or view.k.alarm:
        return False
    if view.primary:
        return view.solo and write_right(view)
    free = view.k.address
    told = free is not None and free.term == view.term and free.boot_id == view.k.who.boot_id
    return view.pair and view.higher is None and told


def standby_right(view: View) -> bool:
    """The standby VIP may be held."""
    if not standby_address(view):
        return False
    if view.primary:
        # Readers that a standby already has stay while it is being promoted.
        return view.read_write or (view.recovering and Vip.STANDBY in view.held)
    return view.recovering and not view.lagging


def alone_by_choice(view: View) -> bool:
    """The configuration keeps this primary alone with both addresses."""
    return view.override_of(view.s.me) is Override.PRIMARY_STANDBY


def may_rebuild(view: View) -> bool:
    """Rewind or rebuild: only confirmed, without `hold`, with the record's primary seen read-write."""
    return view.standby and view.k.confirmed and not view.k.durable.hold and view.peer_serves and not view.k.alarm


def takes_from_me(view: View, record: Record) -> bool:
    """Adopting `record` takes the primary role from this host without its consent, after it wrote.

    Silent as to a real fence: then this boot was never confirmed. PROTOCOL.md, `hold`.
    """
    forced = view.record is not None and record.term - view.record.term >= 500_000
    return view.primary and record.primary != view.s.me and view.k.durable.served and (view.k.confirmed or forced)


def keeps_standby_vip(record: Record, me: str) -> bool:
    """Adopting `record` as its primary takes nothing from this host's addresses."""
    return record.primary == me and record.mode is Mode.SOLO
