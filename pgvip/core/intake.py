"""First half of a round: take in results, orders and messages, and drop what has expired."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core import fencing, removed_peer, veto, witness
from pgvip.core.actions import (
    AskVeto,
    CheckVip,
    ClaimTerm,
    ConfirmGrant,
    Fence,
    FindEnd,
    PowerOn,
    Promote,
    Rejoin,
    Result,
    Salvage,
    WriteState,
)
from pgvip.core.conditions import void
from pgvip.core.knowledge import Clock, DatabaseTimes, FenceOrder, Power, Switchover, Why
from pgvip.core.messages import Command, Heard, Message, Order
from pgvip.core.promotion import settled
from pgvip.core.rights import entitled, write_right
from pgvip.core.round import Round
from pgvip.core.values import NEVER, Durable, Mode, Pause, Record

CRASHES_S, CRASHES_MAX = 600.0, 20
"""For so long a crash is remembered, and how many are."""

LATE_FENCE_S = 60.0
"""How long after its failure a fence may still do its work (a power controller's queue; fence agents wait 20 s)."""


def results(r: Round) -> None:
    """Every action's result, once."""
    for result in r.inputs.results:
        work, subject = r.k.work, result.action.subject
        running = tuple(action for action in work.running if action != result.action)
        ended = work.ended if subject is None else {**work.ended, subject: result.at_s}
        r.k.work = replace(work, running=running, ended=ended)
        if result.ok:
            r.worked(result.action)
        elif not isinstance(result.action, Fence):
            r.failed(result.action, result.text)
            name = type(result.action).__name__
            r.note("action-failed", f"could not {result.action.words()}: {result.text}", action=name)
        _result(r, result)


def _result(r: Round, result: Result) -> None:
    action = result.action
    if isinstance(action, WriteState):
        _written(r, action.durable, ok=result.ok)
    elif isinstance(action, Fence):
        fencing.fenced(r, action.attempt, ok=result.ok, text=result.text)
    elif isinstance(action, ClaimTerm):
        fencing.claimed(r, result)
    elif isinstance(action, ConfirmGrant) and result.ok:
        if not void(r.k.grants.revoked, action.key.boot_id, action.key.echo_s):
            r.k.grants = replace(r.k.grants, given=action.key, given_at_s=result.at_s, unwaited="")
    elif isinstance(action, Promote) and result.ok:
        r.k.promotion = replace(r.k.promotion, unverified=False, lacks=result.text)
    elif isinstance(action, CheckVip) and result.ok:
        r.k.work = replace(r.k.work, checked={**r.k.work.checked, action.vip: (result.at_s, result.text)})
    elif isinstance(action, FindEnd | Salvage) and result.ok:
        r.k.consent = replace(r.k.consent, end=result.point)
    elif isinstance(action, AskVeto):
        veto.answered(r, action.attempt, result.text if result.ok else "")
    elif isinstance(action, PowerOn) and result.ok:
        power = r.k.power
        doubt_s = result.at_s if power.doubt_s > NEVER else NEVER  # an older fence may yet do its work, after this
        r.k.power = Power(doubt_s=doubt_s, roused=power.roused or not power.power_pending)
    elif isinstance(action, Rejoin) and result.ok:
        r.k.orders = replace(r.k.orders, rejoin_clone=False)
        r.note("rejoined", result.text or "this host's data follows the peer's history again")


def _written(r: Round, durable: Durable, *, ok: bool) -> None:
    r.k.intent = replace(r.k.intent, writing=None)
    if not ok:
        return
    old, new = r.k.durable.record, durable.record
    r.k.durable = durable
    if new is None or (old is not None and old.term == new.term):
        return
    # The order for which the peer has consented to leave this host alone is not carried out yet.
    alone = old is not None and old.primary == new.primary == r.s.me and new.mode is Mode.SOLO
    claim = r.k.fencing.claim
    fence_order = r.k.orders.fence_order if alone and claim is None else None
    if claim is not None and claim.why is Why.UNHEARD and claim.won:
        r.k.confirmed = True  # nobody else can have left the term, after a boot as well
    witness.recorded(r, old, new)
    r.k.fencing = replace(r.k.fencing, claim=None, waiting="", veto=None)  # any change of the record ends the claim
    r.k.consent = replace(r.k.consent, giving_up=None, end=None)
    r.k.grants = replace(r.k.grants, given=None, unwaited="")
    r.k.orders = replace(r.k.orders, switchover=None, fence_order=fence_order)
    r.k.peer = replace(r.k.peer, alarm="")  # it was about the old term
    if r.k.orders.force and new.primary == r.s.me and durable.complete:
        r.k.orders = replace(r.k.orders, force=False)
        r.k.confirmed = True
    if old is None or old.primary != new.primary:
        r.k.intent = replace(r.k.intent, holdoff_until_s=r.now_s + r.s.holdoff_s)
    r.note(
        "record",
        f"term {old.term if old else '-'}->{new.term} {new.mode.value}({new.primary}): {new.cause}",
        old_term=old.term if old else "",
        new_term=new.term,
        mode=new.mode.value,
        primary=new.primary,
        cause=new.cause,
    )


def awake(r: Round) -> None:
    """After a time without rounds (SIGSTOP, a paused or starved machine) nothing is known to have lasted that long."""
    k = r.k
    awake_s, jumped_s = k.clock.awake_s, k.clock.jumped_s
    gap_s = r.now_s - k.clock.round_s
    if k.clock.round_s > NEVER and gap_s > max(2 * r.s.heartbeat_s, r.s.dead_after_s / 2):
        awake_s = r.now_s
        k.fencing = replace(k.fencing, waiting="")
        k.database = replace(
            k.database,
            unfollowed_since_s=NEVER, unstreamed_since_s=NEVER, behind_since_s=NEVER, blocked_since_s=NEVER,
            unflushed_since_s=NEVER,
        )  # fmt: skip
        r.note("awake", f"no round for {gap_s:.1f} s: what the peer did not say meanwhile is not held against it")
    k.clock = Clock(k.clock.seq + 1, r.now_s, awake_s, r.now_s if r.inputs.jumped else jumped_s)


def commands(r: Round) -> None:
    """Operators' orders."""
    for command in r.inputs.commands:
        r.note("order", f"{command.order.value} {command.text}".strip(), order=command.order.value)
    commands = (*r.k.orders.deferred, *r.inputs.commands)
    if not commands:
        return
    r.k.orders = replace(r.k.orders, deferred=())
    for command in commands:
        if not _command(r, command):
            r.k.orders = replace(r.k.orders, deferred=(*r.k.orders.deferred, command))


def _command(r: Round, command: Command) -> bool:
    """Obey `command`; False when it must wait, since something else is being written."""
    k, order = r.k, command.order
    if order is Order.SWITCHOVER:
        k.orders = replace(k.orders, switchover=Switchover(r.now_s, r.now_s + 3 * r.s.consent_s + r.s.stop_s))
        k.consent = replace(k.consent, called_off_until_s=NEVER)
    elif order is Order.CANCEL_SWITCHOVER:
        k.orders = replace(k.orders, switchover=None)
    elif order in (Order.PAUSE, Order.RESUME):
        serial, active = k.durable.pause.serial + 1, order is Order.PAUSE
        pause = Pause(serial, active, command.text, r.inputs.wall, command.until, command.by, r.s.me)
        return r.write(replace(k.durable, pause=pause))
    elif order is Order.FENCE_CONFIRMED and k.fencing.claim is not None:
        claim = replace(k.fencing.claim, by_word=True)
        k.fencing = replace(k.fencing, claim=claim)
        fencing.fenced(r, claim.attempt, ok=True, text="")
        # The operator saw it dead: it is theirs to switch on.
        k.power = replace(k.power, peer_off=False, power_pending=False)
    elif order is Order.CLEAR_HOLD:
        # Who lacks what it had flushed does not serve for that: which data shall live is said by a forced promotion.
        lacking = k.durable.lacks and r.facts().primary
        return lacking or r.write(replace(k.durable, hold="", lacks=False))
    elif order is Order.FORCE_PROMOTE:
        words = command.text.split()
        unfenced, unwitnessed = "without-fence" in words, "without-witness" in words
        k.orders = replace(k.orders, force=True, unfenced=unfenced, unwitnessed=unwitnessed)
    elif order in (Order.FAILOVER, Order.FENCE_OFF):
        until_s = r.now_s + r.s.consent_s + r.s.fence_delay_s
        fence_order = FenceOrder(until_s, off=order is Order.FENCE_OFF)
        k.orders = replace(k.orders, fence_order=fence_order, power_order_until_s=NEVER)
    elif order is Order.POWER_ON:
        k.orders = replace(k.orders, fence_order=None, power_order_until_s=r.now_s + r.s.consent_s)
    elif order in (Order.SHUTDOWN, Order.STAY):
        k.orders = replace(k.orders, leaving=order is Order.SHUTDOWN)
        k.consent = replace(k.consent, called_off_until_s=NEVER)  # by either, things are not as they were then
    elif order is Order.REMOVE_PEER:
        return removed_peer.remove(r)
    elif order is Order.ADD_PEER:
        return removed_peer.add(r)
    elif order is Order.REJOIN:
        k.orders = replace(k.orders, rejoin_clone=command.text == "clone")
        k.promotion = replace(k.promotion, stray="", strays=0, stray_why="")
        k.database = replace(k.database, unstreamed_since_s=r.now_s - r.s.stuck_s)
    return True


def messages(r: Round) -> None:
    """The peer's messages, in the order in which they came."""
    for message in r.inputs.messages:
        heard = r.k.peer.heard
        if heard and heard.message.run_id == message.run_id and heard.message.seq >= message.seq:
            continue
        if message.pair_id != r.k.who.pair_id or message.system_id != r.k.who.system_id or message.host != r.s.peer:
            conflict = f"a message of pair {message.pair_id}, system {message.system_id}, host {message.host}"
            r.k.peer = replace(r.k.peer, conflict=conflict)
            continue
        _message(r, message)


def _message(r: Round, message: Message) -> None:
    k = r.k
    known = k.peer.heard
    if known is None or known.message.boot_id != message.boot_id:
        # It has booted since; a message of the old boot was on its way when the power went. It may have been the fence
        # of that very boot, which the message outran: what is pending is done all the same.
        k.power = replace(k.power, peer_off=False)
    if r.now_s - k.power.doubt_s > LATE_FENCE_S:
        k.power = replace(k.power, doubt_s=NEVER)
    heard = Heard(message, r.now_s, _gateway_since_s(r, known, message))
    k.peer = replace(k.peer, heard=heard, met=True, conflict="")
    record = message.record
    if record is not None:
        _heard_record(r, message, record)
    witness.echoed(r, message)
    if message.answer and message.answer == question(r) and record is not None and not k.peer.alarm:
        k.peer = replace(k.peer, answered_term=max(k.peer.answered_term, record.term))
    if message.pause.serial > k.durable.pause.serial and not removed_peer.removed(r.facts()):
        r.write(replace(k.durable, pause=message.pause))
    own = k.durable.record
    grant = message.grant
    meant = grant is not None and own is not None and (grant.term, grant.boot_id) == (own.term, k.who.boot_id)
    # A lease that began before the clocks moved apart is of unknown age, however often it is told.
    aged = grant is not None and grant.expires_s is not None and grant.echo_s <= k.clock.jumped_s
    _revoked(r, message)
    aged = aged or (grant is not None and grant.echo_s <= k.grants.revoked_s > NEVER)
    if grant is not None and meant and not aged and grant.postmaster and grant.postmaster == r.facts().postmaster:
        k.grants = replace(k.grants, grant=grant)
    free = message.address_free
    if free is not None and own is not None and free.term == own.term and free.boot_id == k.who.boot_id:
        k.grants = replace(k.grants, address=free)


def _revoked(r: Round, message: Message) -> None:
    """The primary withdraws its grants up to a time: also those that an old message may still bring."""
    revoked, grants = message.revoked, r.k.grants
    if revoked is None or revoked.boot_id != r.k.who.boot_id or revoked.echo_s <= grants.revoked_s:
        return
    kept = grants.grant is not None and grants.grant.echo_s > revoked.echo_s
    r.k.grants = replace(grants, revoked_s=revoked.echo_s, grant=grants.grant if kept else None)
    if grants.grant is not None and not kept:
        r.note("revoked", f"{r.s.peer} has withdrawn that this standby holds all it needs")


def _gateway_since_s(r: Round, heard: Heard | None, message: Message) -> float:
    """A silence breaks the peer's word: what cut the two hosts may have cut this one's gateway, and end for both."""
    since_s = r.now_s - message.gateway_age_s
    if heard is None or heard.message.boot_id != message.boot_id or r.now_s - heard.at_s > r.s.dead_after_s:
        return since_s
    return heard.gateway_since_s if heard.message.gateway_ok else since_s


def _heard_record(r: Round, message: Message, record: Record) -> None:
    own = r.k.durable.record
    if own is None and not (message.confirmed and record.primary == message.host):
        return  # without a record of one's own: only from a confirmed peer that is itself the primary [m 15]
    if own is not None and own.term == record.term and not own.same_rights(record):
        alarm = f"both hosts have a record of term {own.term}, and they differ"
        r.k.peer = replace(r.k.peer, alarm=alarm, answered_term=-1)
        r.k.confirmed = False
        return
    known = r.k.peer.heard_record
    if known is None or record.term > known.term:
        r.k.peer = replace(r.k.peer, heard_record=record)


def question(r: Round) -> str:
    """This process's nonce: an answer to it answers a question asked in this boot [m 2]."""
    return f"{r.k.who.boot_id}/{r.k.who.run_id}"


def confirm(r: Round) -> None:
    """Become confirmed: by an answer whose record was adopted, or alone and solo by silence (rule 2)."""
    v, k = r.facts(), r.k
    if k.confirmed or v.record is None or k.peer.alarm or k.intent.writing is not None or v.higher is not None:
        return
    answered = 0 <= k.peer.answered_term <= v.term
    heard_none = k.peer.heard is None or k.peer.heard.message.record is None
    waited = r.now_s - k.who.started_s >= r.s.solo_boot_wait_s
    alone = v.primary and v.solo and heard_none and waited and v.seen.arp_primary.ok() and not v.seen.arp_primary.value
    if not (answered or alone):
        return
    k.confirmed = True
    r.note("confirmed", f"term {v.term}: " + ("the peer answered" if answered else "solo, and nobody else answers"))


def pause_ends(r: Round) -> None:
    """A pause with an end ends by itself, by the wall clock of the host where it was ordered.

    So one clock decides, whatever the difference. The other host's decides while nothing is heard of that host.
    """
    pause, wall = r.k.durable.pause, r.inputs.wall
    if not pause.active or not pause.until or wall < pause.until:
        return
    if pause.host == r.s.peer and r.facts().message is not None:
        return
    resumed = Pause(pause.serial + 1, active=False, at=wall, by="its end", host=r.s.me)
    if r.write(replace(r.k.durable, pause=resumed)):
        r.note("pause-ended", f"the pause was to end at {pause.until}")


def passing(r: Round) -> None:
    """What time and the outside change: grants, permissions, and how long things have been so."""
    k, v = r.k, r.facts()
    if k.grants.grant is not None and v.postmaster and k.grants.grant.postmaster != v.postmaster:
        k.grants = replace(k.grants, grant=None)
    if k.fencing.veto is not None and not v.peer_silent:
        k.fencing = replace(k.fencing, veto=None)  # there is nothing to put off any more
    if r.inputs.jumped and k.grants.grant is not None and k.grants.grant.expires_s is not None:
        # This machine was paused, or its clock set: how old the lease is cannot be known.
        k.grants = replace(k.grants, grant=None)
        r.note("clock-jump", "the lease to take over was dropped; the primary grants it again")
    if k.grants.given is not None and not _given_holds(r):
        k.grants = replace(k.grants, given=None)
    if k.grants.address is not None and k.grants.address.term != v.term:
        k.grants = replace(k.grants, address=None)
    if k.orders.switchover is not None and r.now_s >= k.orders.switchover.until_s:
        k.orders = replace(k.orders, switchover=None)
        r.note("switchover-dropped", "the ordered switchover did not come about in time")
    if k.promotion.restarted_for and v.recovering and v.database is not None and not v.database.recovery_target:
        k.promotion = replace(k.promotion, restarted_for=())
    if k.promotion.strays and v.streams and settled(r):
        k.promotion = replace(k.promotion, stray="", strays=0, stray_why="")
    witness.passing(r)
    _lasting(r)


def _lasting(r: Round) -> None:
    """How long things have been as they are with the database and what follows it."""
    k, v, s = r.k, r.facts(), r.k.database
    # A sender's row says "streaming" long after the path is cut; the receiver's side knows within seconds.
    heard = v.peer is None or v.peer.streaming
    following = v.replica_streams and heard and (r.s.sync or v.replica_lag_bytes <= r.s.lag_bytes_max)
    wants_following = v.primary and v.pair and v.read_write
    up = bool(v.postmaster)
    in_order = v.dead and v.processes is not None and v.processes.in_order
    blocked = entitled(v) and not k.durable.served and not k.isolation.isolated and not write_right(v)
    database = v.database
    replica = database.replica if database is not None and not database.in_recovery else None
    flushed = database is not None and replica is not None and replica.flush_lsn >= database.recovered_end
    caught_up = database is not None and v.read_write and (flushed or not v.sync_term)
    # One that this process has seen alive: after a power failure there is none.
    ended = v.dead and not in_order and s.postmaster_since_s > NEVER
    crashed = ended and v.primary and k.durable.served and k.consent.giving_up is None and not k.witness.killed
    ongoing = v.primary and not v.read_write and (crashed or s.crashed_since_s > NEVER)
    crashed_since_s = _since(r, s.crashed_since_s, ongoing)
    found = DatabaseTimes(
        postmaster_since_s=s.postmaster_since_s if v.processes is None else _since(r, s.postmaster_since_s, up),
        stopped_since_s=_since(r, s.stopped_since_s, in_order),
        unfollowed_since_s=_since(r, s.unfollowed_since_s, wants_following and not following),
        unstreamed_since_s=_since(r, s.unstreamed_since_s, v.recovering and not v.streams),
        unflushed_since_s=_since(
            r, s.unflushed_since_s, wants_following and (not v.replica_streams or v.replica_behind)
        ),
        behind_since_s=_since(r, s.behind_since_s, v.replica_behind),
        blocked_since_s=_since(r, s.blocked_since_s, blocked),
        clear_since_s=s.clear_since_s,
        crashed_since_s=crashed_since_s,
        crashes=tuple(at_s for at_s in s.crashes if r.now_s - at_s < CRASHES_S)[-CRASHES_MAX:],
        caught_up=database.postmaster if database is not None and caught_up else s.caught_up,
    )
    if crashed and s.crashed_since_s == NEVER:
        found = replace(found, crashes=(*found.crashes, r.now_s))
    if found != s:
        k.database = found


def _since(r: Round, since_s: float, holds: bool) -> float:
    if not holds:
        return NEVER
    return since_s if since_s > NEVER else r.now_s


def _given_holds(r: Round) -> bool:
    v, given = r.facts(), r.k.grants.given
    peer = v.k.peer.heard.message if v.k.peer.heard else None
    return (
        given is not None
        and peer is not None
        and v.primary
        and v.pair
        and (given.term, given.boot_id) == (v.term, peer.boot_id)
        and (given.postmaster == peer.postmaster or not peer.postmaster)
    )
