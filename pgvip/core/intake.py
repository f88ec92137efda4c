"""First half of a round: take in results, orders and messages, and let time void what it voids."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core import veto
from pgvip.core.actions import (
    AskVeto,
    CheckVip,
    ConfirmGrant,
    Fence,
    FindEnd,
    PowerOn,
    Rejoin,
    Result,
    Salvage,
    WriteState,
)
from pgvip.core.knowledge import FenceOrder, Switchover, Why
from pgvip.core.messages import Command, Heard, Message, Order
from pgvip.core.rights import entitled, next_term, write_right
from pgvip.core.round import Round
from pgvip.core.values import FORCE_STEP, NEVER, Durable, Mode, Pause, Record

FORCED = "forced by an operator"
"""How the cause of a forced record begins."""

LATE_FENCE_S = 60.0
"""How long after its failure a fence may still do its work (a power controller's queue; fence agents wait 20 s)."""


def results(r: Round) -> None:
    """Every action's result, once."""
    for result in r.inputs.results:
        r.k.running = tuple(action for action in r.k.running if action != result.action)
        subject = result.action.subject
        if subject is not None:
            r.k.ended = {**r.k.ended, subject: result.at_s}
        r.changed()
        if result.ok:
            r.worked(result.action)
        elif not isinstance(result.action, Fence):
            r.failed(result.action, result.text)
            name = type(result.action).__name__
            r.note("action-failed", f"{name}: {result.text}", action=name)
        _result(r, result)


def _result(r: Round, result: Result) -> None:
    action = result.action
    if isinstance(action, WriteState):
        _written(r, action.durable, ok=result.ok)
    elif isinstance(action, Fence):
        fenced(r, action.attempt, ok=result.ok, text=result.text)
    elif isinstance(action, ConfirmGrant) and result.ok:
        r.k.given, r.k.given_at_s = action.key, result.at_s
    elif isinstance(action, CheckVip) and result.ok:
        r.k.checked = {**r.k.checked, action.vip: (result.at_s, result.text)}
    elif isinstance(action, FindEnd | Salvage) and result.ok:
        r.k.end = result.point
    elif isinstance(action, AskVeto):
        veto.answered(r, action.attempt, result.text if result.ok else "")
    elif isinstance(action, PowerOn) and result.ok:
        r.k.roused = r.k.roused or not r.k.power_pending
        r.k.peer_off, r.k.power_pending, r.k.fence_s = False, False, NEVER
        if r.k.doubt_s > NEVER:
            r.k.doubt_s = result.at_s  # an older fence may yet do its work, after this
    elif isinstance(action, Rejoin) and result.ok:
        r.k.rejoin_clone = False
        r.note("rejoined", result.text or "this host's data follows the peer's history again")


def _written(r: Round, durable: Durable, *, ok: bool) -> None:
    r.k.writing = None
    r.changed()
    if not ok:
        return
    old, new = r.k.durable.record, durable.record
    r.k.durable = durable
    if new is None or (old is not None and old.term == new.term):
        return
    r.k.claim = None  # any change of the record ends the claim
    r.k.waiting = ""
    r.k.veto = None
    r.k.giving_up = None
    r.k.given = None
    r.k.end = None
    r.k.switchover = r.k.fence_order = None
    r.k.alarm = ""  # it was about the old term
    if r.k.force and new.primary == r.s.me and durable.complete:
        r.k.force, r.k.confirmed = False, True
    if old is None or old.primary != new.primary:
        r.k.holdoff_until_s = r.now_s + r.s.holdoff_s
    r.note(
        "record",
        f"term {old.term if old else '-'}->{new.term} {new.mode.value}({new.primary}): {new.cause}",
        old_term=old.term if old else "",
        new_term=new.term,
        mode=new.mode.value,
        primary=new.primary,
        cause=new.cause,
    )


def fenced(r: Round, attempt: str, *, ok: bool, text: str) -> None:
    """A fence ended. Only the open claim's own attempt counts, once [m 5]."""
    claim = r.k.claim
    mine = claim is not None and claim.attempt == attempt and not claim.fenced
    if ok:
        r.k.peer_off = r.k.power_pending = True
        r.note("fenced", f"{r.s.peer} is verified off" if mine else f"{r.s.peer} is off, but the claim has ended")
    else:
        r.k.doubt_s = r.now_s
        r.note("fence-failed", text, peer=r.s.peer, tries=claim.tries if claim else "")
    if claim is None or not mine:
        return
    if ok:
        r.k.claim = replace(claim, fenced=True)
    elif claim.why is Why.ORDER:
        r.k.claim, r.k.force = None, False
        r.note("force-failed", "the peer could not be fenced; nothing changed")
    elif claim.why is Why.OPERATOR:
        r.k.claim, r.k.fence_order = None, None
        r.note("fence-order-failed", "the peer could not be fenced, as an operator ordered; nothing changed")
    else:
        r.k.claim = replace(claim, retry_at_s=r.now_s + r.s.fence_retry_s)
    r.changed()


def awake(r: Round) -> None:
    """After a time without rounds (SIGSTOP, a paused or starved machine) nothing is known to have lasted that long."""
    k = r.k
    gap_s = r.now_s - k.round_s
    if k.round_s > NEVER and gap_s > max(2 * r.s.heartbeat_s, r.s.dead_after_s / 2):
        k.awake_s = r.now_s
        k.waiting = ""
        k.unfollowed_since_s = k.unstreamed_since_s = k.behind_since_s = k.blocked_since_s = NEVER
        r.note("awake", f"no round for {gap_s:.1f} s: what the peer did not say meanwhile is not held against it")
    k.round_s = r.now_s
    if r.inputs.jumped:
        k.jumped_s = r.now_s


def commands(r: Round) -> None:
    """Operators' orders."""
    for command in r.inputs.commands:
        r.note("order", f"{command.order.value} {command.text}".strip(), order=command.order.value)
    waiting, r.k.deferred = r.k.deferred, ()
    for command in (*waiting, *r.inputs.commands):
        if not _command(r, command):
            r.k.deferred = (*r.k.deferred, command)
        r.changed()


def _command(r: Round, command: Command) -> bool:
    """Obey `command`; False when it must wait, since something else is being written."""
    k, order = r.k, command.order
    if order is Order.SWITCHOVER:
        k.switchover = Switchover(r.now_s, r.now_s + 3 * r.s.consent_s + r.s.stop_s)
        k.called_off_until_s = NEVER
    elif order is Order.CANCEL_SWITCHOVER:
        k.switchover = None
    elif order in (Order.PAUSE, Order.RESUME):
        serial, active = k.durable.pause.serial + 1, order is Order.PAUSE
        pause = Pause(serial, active, command.text, r.inputs.wall, command.until, command.by, r.s.me)
        return r.write(replace(k.durable, pause=pause))
    elif order is Order.FENCE_CONFIRMED and k.claim is not None:
        k.claim = replace(k.claim, by_word=True)
        fenced(r, k.claim.attempt, ok=True, text="")
        k.peer_off = k.power_pending = False  # the operator saw it dead: it is theirs to switch on
    elif order is Order.CLEAR_HOLD:
        return r.write(replace(k.durable, hold=""))
    elif order is Order.FORCE_PROMOTE:
        k.force, k.unfenced = True, command.text == "without-fence"
    elif order in (Order.FAILOVER, Order.FENCE_OFF):
        until_s = r.now_s + r.s.consent_s + r.s.fence_delay_s
        k.fence_order, k.power_order_until_s = FenceOrder(until_s, off=order is Order.FENCE_OFF), NEVER
    elif order is Order.POWER_ON:
        k.fence_order, k.power_order_until_s = None, r.now_s + r.s.consent_s
    elif order in (Order.SHUTDOWN, Order.STAY):
        k.leaving = order is Order.SHUTDOWN
        k.called_off_until_s = NEVER  # by either, things are not any more as they were then
    elif order is Order.REJOIN:
        k.rejoin_clone = command.text == "clone"
        k.unstreamed_since_s = r.now_s - r.s.stuck_s
    return True


def force(r: Round) -> None:
    """Write the forced record: own parity, a large step above everything heard.

    The fence came before (a claim with `Why.ORDER`), or the operator said that there is none; the record's cause,
    which both hosts log, says which.
    """
    claim = r.k.claim
    fenced_first = r.k.peer_off or (claim is not None and claim.why is Why.ORDER and claim.fenced)
    heard = r.k.heard_record.term if r.k.heard_record else 0
    own = r.k.durable.record
    above = max(heard, own.term if own else 0) + FORCE_STEP
    record = Record(
        pair_id=r.k.who.pair_id,
        system_id=r.k.who.system_id,
        term=next_term(above, first=r.s.me_first),
        primary=r.s.me,
        mode=Mode.SOLO,
        sync=r.s.sync,
        cause=FORCED if fenced_first else f"{FORCED}; {r.s.peer} was not fenced",
        at=r.inputs.wall,
    )
    served = r.k.durable.served and own is not None and own.primary == r.s.me
    r.write(replace(r.k.durable, record=record, served=served, complete=True, hold=""))


def messages(r: Round) -> None:
    """The peer's messages, in the order in which they came."""
    for message in r.inputs.messages:
        heard = r.k.heard
        if heard and heard.message.run_id == message.run_id and heard.message.seq >= message.seq:
            continue
        if message.pair_id != r.k.who.pair_id or message.system_id != r.k.who.system_id or message.host != r.s.peer:
            r.k.conflict = f"a message of pair {message.pair_id}, system {message.system_id}, host {message.host}"
            continue
        _message(r, message)


def _message(r: Round, message: Message) -> None:
    k = r.k
    k.conflict = ""
    if k.heard is None or k.heard.message.boot_id != message.boot_id:
        # It has booted since; a message of the old boot was on its way when the power went. It may have been the fence
        # of that very boot, which the message outran: what is pending is done all the same.
        k.peer_off = False
    if r.now_s - k.doubt_s > LATE_FENCE_S:
        k.doubt_s = NEVER
    k.met = True
    k.heard = Heard(message, r.now_s, _gateway_since_s(r, k.heard, message))
    r.changed()
    record = message.record
    if record is not None:
        _heard_record(r, message, record)
    if message.answer and message.answer == question(r) and record is not None and not k.alarm:
        k.answered_term = max(k.answered_term, record.term)
    if message.pause.serial > k.durable.pause.serial:
        r.write(replace(k.durable, pause=message.pause))
    own = k.durable.record
    grant = message.grant
    meant = grant is not None and own is not None and (grant.term, grant.boot_id) == (own.term, k.who.boot_id)
    # A lease that began before the clocks moved apart is of unknown age, however often it is told.
    aged = grant is not None and grant.expires_s is not None and grant.echo_s <= k.jumped_s
    if grant is not None and meant and not aged and grant.postmaster and grant.postmaster == r.facts().postmaster:
        k.grant = grant
    free = message.address_free
    if free is not None and own is not None and free.term == own.term and free.boot_id == k.who.boot_id:
        k.address = free


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
        r.k.alarm = f"both hosts have a record of term {own.term}, and they differ"
        r.k.confirmed = False
        r.k.answered_term = -1
        r.changed()
        return
    known = r.k.heard_record
    if known is None or record.term > known.term:
        r.k.heard_record = record
        r.changed()


def question(r: Round) -> str:
    """This process's nonce: an answer to it answers a question asked in this boot [m 2]."""
    return f"{r.k.who.boot_id}/{r.k.who.run_id}"


def confirm(r: Round) -> None:
    """Become confirmed: by an answer whose record was adopted, or alone and solo by silence (rule 2)."""
    v, k = r.facts(), r.k
    if k.confirmed or v.record is None or k.alarm or k.writing is not None or v.higher is not None:
        return
    answered = 0 <= k.answered_term <= v.term
    heard_none = k.heard is None or k.heard.message.record is None
    waited = r.now_s - k.who.started_s >= r.s.solo_boot_wait_s
    alone = v.primary and v.solo and heard_none and waited and v.seen.arp_primary.ok() and not v.seen.arp_primary.value
    if not (answered or alone):
        return
    k.confirmed = True
    r.changed()
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
    if k.grant is not None and v.postmaster and k.grant.postmaster != v.postmaster:
        k.grant = None
    if k.veto is not None and not v.peer_silent:
        k.veto = None  # there is nothing to put off any more
    if r.inputs.jumped and k.grant is not None and k.grant.expires_s is not None:
        k.grant = None  # this machine was paused, or its clock set: how old the lease is cannot be known
        r.note("clock-jump", "the lease to take over was dropped; the primary grants it anew")
    if k.given is not None and not _given_holds(r):
        k.given = None
    if k.address is not None and k.address.term != v.term:
        k.address = None
    if k.switchover is not None and r.now_s >= k.switchover.until_s:
        k.switchover = None
        r.note("switchover-dropped", "the ordered switchover did not come about in time")
    # A sender's row says "streaming" long after the path is cut; the receiver's side knows within seconds.
    heard = v.peer is None or v.peer.streaming
    following = v.replica_streams and heard and (r.s.sync or v.replica_lag_bytes <= r.s.lag_bytes_max)
    wants_following = v.primary and v.pair and v.read_write
    k.unfollowed_since_s = _since(r, k.unfollowed_since_s, wants_following and not following)
    k.unstreamed_since_s = _since(r, k.unstreamed_since_s, v.recovering and not v.streams)
    k.stopped_since_s = _since(r, k.stopped_since_s, v.dead and v.processes is not None and v.processes.in_order)
    postmaster_since_s = k.postmaster_since_s
    if v.processes is not None:
        k.postmaster_since_s = _since(r, postmaster_since_s, bool(v.postmaster))
    behind_since_s, k.behind_since_s = k.behind_since_s, _since(r, k.behind_since_s, v.replica_behind)
    blocked = entitled(v) and not k.durable.served and not k.isolated and not write_right(v)
    k.blocked_since_s = _since(r, k.blocked_since_s, blocked)
    database = v.database
    replica = database.replica if database is not None and not database.in_recovery else None
    flushed = database is not None and replica is not None and replica.flush_lsn >= database.recovered_end
    if database is not None and v.read_write and (flushed or not v.sync_term):
        k.caught_up = database.postmaster
    if k.behind_since_s != behind_since_s or k.postmaster_since_s != postmaster_since_s:
        r.changed()


def _since(r: Round, since_s: float, holds: bool) -> float:
    if not holds:
        return NEVER
    return since_s if since_s > NEVER else r.now_s


def _given_holds(r: Round) -> bool:
    v, given = r.facts(), r.k.given
    peer = v.k.heard.message if v.k.heard else None
    return (
        given is not None
        and peer is not None
        and v.primary
        and v.pair
        and (given.term, given.boot_id) == (v.term, peer.boot_id)
        and (given.postmaster == peer.postmaster or not peer.postmaster)
    )
