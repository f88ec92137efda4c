"""Changes by consent: this host gives up what the peer asks for, and writes that it did; or takes from itself alone.

The order is the contract: give up, verified; write the record; report it; only then does the peer gain. Each function
does at most the next step; what is not done yet is in the knowledge and is examined again in the next round.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core import wal_tail
from pgvip.core.actions import DropVip, FindEnd, Salvage, StopPostgres, Subject
from pgvip.core.changes import HAND_BACK, HAND_OVER_SWITCHOVER, TAKE_OVER_BY_ORDER, By, Change
from pgvip.core.knowledge import GiveUp
from pgvip.core.lease import leased
from pgvip.core.messages import Request, Stopped, Want
from pgvip.core.rights import entitled
from pgvip.core.round import Round
from pgvip.core.values import NEVER, Lsn, Mode, Record, Vip, WalPoint


def begin(r: Round, row: Change) -> None:
    """Begin to give up on the peer's valid request for this very term [m 8]."""
    v, k = r.facts(), r.k
    peer = v.peer
    if k.consent.giving_up is not None or k.intent.writing is not None or v.higher is not None or peer is None:
        return
    request = peer.request
    if request is None or request.from_term != v.term or request.boot_id != peer.boot_id:
        return
    if k.fencing.claim is not None:
        return  # a claimer gives no consent [m 4]; a claim for silence has ended by now, since the peer was heard
    change = _solo_asked(r, request) if request.want is Want.SOLO else _role_asked(r, request, row)
    if not change:
        return
    # A server that somebody stopped in order, on a host that leaves, has its checkpoint as well.
    stopped = k.orders.leaving and v.gone and v.processes is not None and v.processes.clean
    clean = request.want is Want.HANDOVER and ((v.responding and not v.hung) or stopped)
    giving_up = GiveUp(change, request.want, v.term, request.boot_id, r.now_s, clean=clean)
    k.consent = replace(k.consent, giving_up=giving_up, end=None)
    r.forgive(Salvage)  # it was of an earlier give-up
    if request.want is Want.SOLO:
        k.grants = replace(k.grants, grant=None)
    r.note("giving-up", f"giving up what {change} takes, term {v.term}: {request.reason}", change=change)


def _solo_asked(r: Round, request: Request) -> str:
    v = r.facts()
    return request.reason or "solo-by-consent" if v.standby and v.pair else ""


def _role_asked(r: Round, request: Request, row: Change) -> str:
    v = r.facts()
    if not entitled(v):
        return ""
    if v.solo:
        return row.name if row == HAND_BACK else ""
    if not request.eligible or r.k.grants.unwaited:
        return ""
    # Not again and again, when a switchover that was ordered on the standby had to be called off here.
    ordered = request.reason == TAKE_OVER_BY_ORDER.name and r.now_s >= r.k.consent.called_off_until_s
    return row.name if row.by is By.INVITE else (HAND_OVER_SWITCHOVER.name if ordered else "")


def give_up(r: Round) -> None:
    """The next step of a give-up by consent."""
    v, k, y = r.facts(), r.k, r.k.consent.giving_up
    if y is None or k.intent.writing is not None:
        return
    if v.term != y.term or v.higher is not None:
        k.consent = replace(k.consent, giving_up=None)
    elif y.want is Want.HANDOVER and not leased(v):
        k.consent = replace(k.consent, giving_up=None)  # what it still holds ends at once, in no order
        call_off(r, f"{y.change}: {r.s.peer} has not been heard in time")
    elif y.want is Want.SOLO:
        if give_up_addresses(r, (Vip.PRIMARY, Vip.STANDBY)):
            _write_change(r, primary=r.s.peer, handover=None, cause=y.change)
    else:
        _give_up_role(r, y)


def _give_up_role(r: Round, y: GiveUp) -> None:
    """Stop, drop both addresses [m 14], learn that the winner has it all, write."""
    v, k = r.facts(), r.k
    if v.processes is None and r.inputs.seen.processes.value is not None:
        return  # not looked at since the last action on it ended: that look comes first
    if not v.gone:
        failing = StopPostgres in k.work.failures
        if y.clean and failing:
            y = _go_on(r, replace(y, clean=False, since_s=r.now_s))  # what follows has its own time
        # A host that leaves for long takes its archive with it: that stop waits for the last segment.
        r.start(StopPostgres(clean=y.clean, handover=y.clean and not k.orders.leaving))
        return
    if not give_up_addresses(r, (Vip.PRIMARY, Vip.STANDBY)):
        return
    if y.stopped_at_s < y.since_s:
        y = _go_on(r, replace(y, stopped_at_s=r.now_s))
    if v.solo:
        _write_hand_back(r, y)
    elif y.clean and v.processes is not None and v.processes.clean and v.processes.checkpoint is not None:
        _write_after_clean_stop(r, y, v.processes.checkpoint)
    elif y.change == HAND_OVER_SWITCHOVER.name and not v.sync_term:
        # What the standby lacks is not known, and a planned change of role loses nothing.
        k.consent = replace(k.consent, giving_up=None)
        call_off(r, f"{y.change}: the server did not stop cleanly, and {r.s.peer} may lack its last commits")
    elif _still_wanted(r, y):
        if not wal_tail.possible(r, y):
            _write_change(r, primary=r.s.peer, handover=None, cause=y.change)
        elif wal_tail.complete(r, y):
            r.note("salvaged", f"{r.s.peer} has all WAL of {r.s.me}, to {k.consent.end}: nothing is lost")
            _write_change(r, primary=r.s.peer, handover=k.consent.end, cause=f"{y.change}, with all WAL")
    else:
        _call_off_when_late(r, y)


def _go_on(r: Round, y: GiveUp) -> GiveUp:
    """The give-up under way is `y` from now on."""
    r.k.consent = replace(r.k.consent, giving_up=y)
    return y


def _still_wanted(r: Round, y: GiveUp) -> bool:
    """The winner's own request stands: same term, same boot, and it says that it is eligible."""
    peer = r.facts().peer
    request = peer.request if peer else None
    return bool(
        request
        and request.want is Want.HANDOVER
        and request.from_term == y.term
        and request.boot_id == y.boot_id
        and (request.eligible or r.facts().solo)
    )


def _write_after_clean_stop(r: Round, y: GiveUp, checkpoint: WalPoint) -> None:
    # The record at `checkpoint` is the last one: a standby whose flushed position is past its start has it all.
    end = WalPoint(checkpoint.timeline, Lsn(checkpoint.lsn + 1))
    stopped = Stopped(y.term, end)
    if y.stopped != stopped:
        y = _go_on(r, replace(y, stopped=stopped))
    peer = r.facts().peer
    if peer is not None and peer.has_checkpoint == stopped and peer.boot_id == y.boot_id:
        _write_change(r, primary=r.s.peer, handover=end, cause=y.change)
    else:
        _call_off_when_late(r, y)


def _write_hand_back(r: Round, y: GiveUp) -> None:
    if r.k.consent.end is None:
        r.start(FindEnd())
    if r.k.consent.end is not None and _still_wanted(r, y):
        _write_change(r, primary=r.s.peer, handover=r.k.consent.end, cause=y.change, handbacks=1)
    else:
        _call_off_when_late(r, y)


def _call_off_when_late(r: Round, y: GiveUp) -> None:
    """Nothing is written yet, so this host may take up its right again."""
    if r.now_s - y.stopped_at_s < r.s.consent_s:
        return
    r.k.consent = replace(r.k.consent, giving_up=None)
    call_off(r, f"{y.change}: {r.s.peer} did not confirm that it has everything")


def call_off(r: Round, why: str) -> None:
    """Go on serving: what was offered or begun has not come about, and is not tried again for a while."""
    r.k.consent = replace(r.k.consent, called_off_until_s=r.now_s + 3 * r.s.consent_s)
    r.k.orders = replace(r.k.orders, switchover=None)
    r.note("called-off", why)


def _write_change(r: Round, primary: str, handover: WalPoint | None, cause: str, handbacks: int = 0) -> None:
    """Write the solo record that this host's consent makes; after it, this host is not primary."""
    v, durable = r.facts(), r.k.durable
    if v.record is None:
        return
    moves = v.record.primary != primary
    record = Record(
        pair_id=v.record.pair_id,
        system_id=v.record.system_id,
        term=r.next_term(),
        primary=primary,
        mode=Mode.SOLO,
        sync=v.record.sync,
        from_term=v.record.term if moves else None,
        handover=handover,
        cause=cause,
        at=r.inputs.wall,
        witness_id=v.record.witness_id,
    )
    r.write(
        replace(durable, record=record, served=False, complete=False, handbacks=durable.handbacks + handbacks)
    )


def give_up_writing(r: Round, *, clean: bool) -> bool:
    """PostgreSQL is seen not to be read-write; else it is being stopped."""
    v = r.facts()
    if v.processes is not None and (not v.may_write or v.gone):
        return True
    last_s = max(r.k.who.started_s, r.k.work.ended.get(Subject.POSTGRES, NEVER))
    if v.processes is None and r.now_s - last_s < r.s.hung_after_s:
        return False  # not looked at since this start, or since the last action on it ended: that look comes first
    r.start(StopPostgres(clean=clean))
    return False


def give_up_addresses(r: Round, vips: tuple[Vip, ...]) -> bool:
    """None of `vips` is held by this host, as netlink saw; else they are being dropped."""
    v = r.facts()
    held = [vip for vip in vips if vip in v.held]
    for vip in held:
        if not v.unsure(vip):
            r.start(DropVip(vip))
    return not held


def own(r: Round, row: Change) -> None:
    """Solo to pair: takes only from this host the right to be confirmed alone."""
    v = r.facts()
    if row.by is not By.OWN or v.record is None:
        return
    record = replace(
        v.record,
        term=r.next_term(),
        mode=Mode.PAIR,
        sync=r.s.sync,
        from_term=None,
        handover=None,
        cause=row.name,
        at=r.inputs.wall,
        witness_id=r.s.witness_id,
    )
    r.write(replace(r.k.durable, record=record, handbacks=0))
