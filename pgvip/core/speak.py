"""Last part of a round: what this host reports to its peer, and its role."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core import intake, witness
from pgvip.core.actions import DropVip, StopPostgres, WriteState, name_of
from pgvip.core.changes import By, Change
from pgvip.core.lease import witnessed
from pgvip.core.messages import AddressFree, Message, Request, Stopped, Want
from pgvip.core.rights import eligible
from pgvip.core.round import Round
from pgvip.core.settings import StandingWarning
from pgvip.core.values import Grant, Mode, Role, Vip

TEXT_MAX = 500
"""Of a warning, that many characters go to the peer: a heartbeat is one small packet."""

GIVING_UP = (WriteState, StopPostgres, DropVip(Vip.PRIMARY), DropVip(Vip.STANDBY))
"""What a host that gives up must be able to do."""


def reporting(message: Message, failing: StandingWarning | None) -> Message:
    """The message with that warning of this host which the peer's status shows as well."""
    if failing is None:
        return message
    text, hint = failing.text[:TEXT_MAX], failing.hint[:TEXT_MAX]
    return replace(message, failing=text, failing_hint=hint, failing_unseen=failing.unseen)


def message(r: Round, row: Change) -> Message:
    """This host's whole public state."""
    v, k = r.facts(), r.k
    _look_for_quiet_peer(r)
    database = v.database
    heard = k.peer.heard.message if k.peer.heard else None
    confirms = k.fencing.claim is None and k.intent.writing is None and v.record and not k.peer.alarm
    answer = heard.question if heard and confirms else ""
    echo_boot, echo_s = witness.echo(r)
    stop_over = k.consent.giving_up.stopped if k.consent.giving_up else None
    return Message(
        pair_id=k.who.pair_id,
        system_id=k.who.system_id,
        host=r.s.me,
        boot_id=k.who.boot_id,
        run_id=k.who.run_id,
        seq=k.clock.seq,
        sent_s=r.now_s,
        record=v.record,
        confirmed=k.confirmed,
        claiming=k.fencing.claim is not None,
        question="" if k.confirmed else intake.question(r),
        answer=answer,
        request=_request(r, row),
        invite=_invite(r, row),
        invite_term=v.term,
        cannot=cannot(r),
        stopped=stop_over,
        has_checkpoint=_has_checkpoint(r),
        grant=_grant(r),
        revoked=k.grants.revoked if v.primary and v.pair else None,
        address_free=_address_free(r),
        eligible=eligible(v),
        postmaster=v.postmaster,
        read_write=v.read_write and v.verified,
        in_recovery=v.recovering,
        database_ok=v.database_healthy and v.responding,
        streaming=v.streams,
        replay_lag_s=database.replay_lag_s if database else 0.0,
        point=v.point,
        gateway_ok=v.gateway,
        gateway_age_s=max(0.0, r.now_s - v.seen.gateway.at_s) if v.gateway else 0.0,
        vips=tuple(sorted(vip.value for vip in v.held)) if v.seen.held.value is not None else (),
        pause=k.durable.pause,
        hold=k.durable.hold,
        override=r.s.override,
        digest=r.s.digest,
        version=r.s.version,
        leaving=k.orders.leaving,
        guarded=v.guarded,
        unfit=v.unfit,
        crashes=tuple(r.now_s - at_s for at_s in k.database.crashes),
        echo_s=echo_s,
        echo_boot=echo_boot,
        lease_s=r.s.loses_within_s if witnessed(v) else 0.0,
        claimed_term=v.term if v.term in (k.durable.claimed_term, k.witness.lost_term) else -1,
    )


def _look_for_quiet_peer(r: Round) -> None:
    """Once two heartbeats are missing, ask the peer's database at once: silence by one path proves nothing.

    Ask again when there was a sign of life after the last question: until then the peer does not count as silent.
    """
    v = r.facts()
    asked_s = max(v.seen.peer_own.at_s, v.seen.peer_own.failed_at_s)
    quiet = v.k.peer.heard is not None and v.heard_age_s > 2 * r.s.heartbeat_s
    if quiet and asked_s < max(v.heard_life_s, v.k.clock.awake_s):
        r.wake += ["peer_own", "peer_vip"]


def _invite(r: Round, row: Change) -> str:
    """What this primary offers its role for; also while it gives the role up, so that the request stands."""
    giving_up = r.k.consent.giving_up
    if giving_up is not None and giving_up.want is Want.HANDOVER:
        return giving_up.change
    return row.name if row.by is By.INVITE else ""


def _request(r: Round, row: Change) -> Request | None:
    v, k = r.facts(), r.k
    if row.by is not By.REQUEST or row.want is None or k.fencing.claim is not None or k.intent.writing is not None:
        return None
    mine = row.want is Want.HANDOVER and eligible(v)
    if mine:
        k.consent = replace(k.consent, offered=(v.term, r.now_s))
    return Request(row.want, v.term, k.who.boot_id, v.postmaster, mine, row.name)


def cannot(r: Round) -> str:
    """Why this host cannot give up what a change takes, once that has taken too long; else ""."""
    v, y = r.facts(), r.k.consent.giving_up
    asked = v.peer is not None and v.peer.request is not None
    for kind in GIVING_UP:
        failures = r.k.work.failures.get(kind)
        if failures and failures.times >= 3 and (y is not None or asked):
            return f"{name_of(kind)}: {failures.text}"
    if y is None or y.stopped is not None:
        return ""
    stuck_s = r.now_s - y.since_s - (r.s.stop_s if y.clean else 0.0)
    return f"giving up for {y.change} takes too long" if stuck_s >= r.s.consent_s else ""


def _has_checkpoint(r: Round) -> Stopped | None:
    """This standby has flushed the stopped primary's shutdown checkpoint."""
    v = r.facts()
    peer = v.peer
    if peer is None or peer.stopped is None or peer.stopped.term != v.term or not v.standby or not v.recovering:
        return None
    point, goal = v.point, peer.stopped.point
    r.wake.append("database")
    return peer.stopped if point and point.timeline == goal.timeline and point.lsn >= goal.lsn else None


def _grant(r: Round) -> Grant | None:
    return r.k.grants.given if r.facts().pair and r.k.consent.giving_up is None else None


def _address_free(r: Round) -> AddressFree | None:
    """In a pair, the standby VIP is free for the peer once it is seen that this primary does not hold it."""
    v = r.facts()
    peer = v.peer
    if peer is None or not v.primary or not v.pair or not v.k.confirmed or Vip.STANDBY in v.held:
        return None
    return AddressFree(v.term, peer.boot_id)


def role(r: Round) -> None:
    """The role that users see, by the record; that it is in effect is said by the daemon once it has seen it."""
    v, k = r.facts(), r.k
    new = Role.NONE
    if v.record is not None and k.confirmed:
        alone = v.record.mode is Mode.SOLO
        new = (Role.PRIMARY_STANDBY if alone else Role.PRIMARY) if v.primary else Role.STANDBY
    if new is not k.role:
        cause = v.record.cause if v.record else ""
        r.note("role", f"{k.role.value}->{new.value}: {cause}", old=k.role.value, new=new.value, cause=cause)
        k.role = new
