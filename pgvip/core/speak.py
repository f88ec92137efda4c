"""Last part of a round: what this host tells its peer, its role, and what an operator should know."""

from __future__ import annotations

from pgvip.core import intake
from pgvip.core.actions import DropVip, StartPostgres, StopPostgres, WriteState, name_of
from pgvip.core.changes import By, Change
from pgvip.core.messages import AddressFree, Message, Request, Stopped, Want
from pgvip.core.rights import eligible, standby_right, write_right
from pgvip.core.round import Round
from pgvip.core.values import NEVER, Grant, Mode, Override, Pause, Role, Vip

SLOW_GIVE_UP = 1.0
"""A give-up that takes longer than `consent_s` times this is reported as `cannot`."""

GIVING_UP = (WriteState, StopPostgres, DropVip(Vip.PRIMARY), DropVip(Vip.STANDBY))
"""What a host that gives up must be able to do."""


def message(r: Round, row: Change) -> Message:
    """This host's whole public state."""
    v, k = r.facts(), r.k
    _look_for_quiet_peer(r)
    r.k.seq += 1
    database = v.database
    heard = k.heard.message if k.heard else None
    answer = heard.question if heard and k.claim is None and k.writing is None and v.record and not k.alarm else ""
    stop_over = k.giving_up.stopped if k.giving_up else None
    return Message(
        pair_id=k.who.pair_id,
        system_id=k.who.system_id,
        host=r.s.me,
        boot_id=k.who.boot_id,
        run_id=k.who.run_id,
        seq=k.seq,
        sent_s=r.now_s,
        record=v.record,
        confirmed=k.confirmed,
        claiming=k.claim is not None,
        question="" if k.confirmed else intake.question(r),
        answer=answer,
        request=_request(r, row),
        invite=_invite(r, row),
        invite_term=v.term,
        cannot=cannot(r),
        stopped=stop_over,
        has_checkpoint=_has_checkpoint(r),
        grant=_grant(r),
        address_free=_address_free(r),
        eligible=eligible(v),
        postmaster=v.postmaster,
        read_write=v.read_write,
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
        leaving=k.leaving,
    )


def _look_for_quiet_peer(r: Round) -> None:
    """Once two heartbeats are missing, ask the peer's database at once: silence by one path proves nothing."""
    v = r.facts()
    asked_s = max(v.seen.peer_own.at_s, v.seen.peer_own.failed_at_s)
    if v.heard_age_s > 2 * r.s.heartbeat_s and v.k.heard is not None and asked_s < v.k.heard.at_s:
        r.wake += ["peer_own", "peer_vip", "peer_port"]


def _invite(r: Round, row: Change) -> str:
    """What this primary offers its role for; also while it gives the role up, so that the request stands."""
    if r.k.giving_up is not None and r.k.giving_up.want is Want.HANDOVER:
        return r.k.giving_up.change
    return row.name if row.by is By.INVITE else ""


def _request(r: Round, row: Change) -> Request | None:
    v, k = r.facts(), r.k
    if row.by is not By.REQUEST or row.want is None or k.claim is not None or k.writing is not None:
        return None
    mine = row.want is Want.HANDOVER and eligible(v)
    if mine:
        k.offered_s = r.now_s
    return Request(row.want, v.term, k.who.boot_id, v.postmaster, mine, row.name)


def cannot(r: Round) -> str:
    """Why this host cannot give up what a change takes, once that has taken too long; else ""."""
    v, k = r.facts(), r.k
    since_s = k.giving_up.since_s if k.giving_up else r.now_s
    stuck_s = max(r.now_s - since_s - (r.s.stop_s if k.giving_up and k.giving_up.clean else 0.0), 0.0)
    asked = v.peer is not None and v.peer.request is not None
    for kind in GIVING_UP:
        failures = k.failures.get(kind)
        if failures and failures.times >= 3 and (k.giving_up is not None or asked):
            return f"{name_of(kind)}: {failures.text}"
    if k.giving_up is not None and k.giving_up.stopped is None and stuck_s >= r.s.consent_s * SLOW_GIVE_UP:
        return f"giving up for {k.giving_up.change} takes too long"
    return ""


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
    return r.k.given if r.facts().pair and r.k.giving_up is None else None


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


def warnings(r: Round, row: Change) -> None:
    """What an operator should know now, each with its hint. States that need an operator have their command."""
    v, k, say = r.facts(), r.k, r.warn
    if k.alarm:
        say("records-differ", k.alarm, "pgvip promote --force on the host whose data shall live")
    if k.conflict:
        say("foreign-message", f"ignored {k.conflict}", "see that both hosts belong to the same pair")
    if k.durable.hold:
        say("hold", k.durable.hold, "compare the data, then: pgvip hold clear")
    if v.record is None:
        say("no-record", "this host has no record and waits for the confirmed primary's",
            "if the peer has none either: pgvip promote --force on the host whose data shall live")
    elif not k.confirmed:
        _unconfirmed(r)
    if k.leaving:
        say("leaving", "this host is shutting down: it takes no role and starts no server",
            "if it stays after all: pgvip leave --cancel")
    if v.paused:
        say("paused", f"automatic action is paused{_pause_words(k.durable.pause)}", "pgvip resume")
    if k.durable.kept_off:
        say("kept-off", f"{r.s.peer} was powered off by an operator's order, and is not switched on by itself",
            "pgvip fence on")
    if not r.s.fencing:
        say("no-fencing", "no way to fence is configured: no takeover on silence", "configure fencing for both hosts")
    if k.claim is not None and k.claim.tries > 1:
        say("fence-failing", f"the peer could not be fenced in {k.claim.tries - 1} tries",
            "if you see that it is off: pgvip fence confirm")
    if k.veto is not None and k.veto.refused:
        say("vetoed", f"a veto hook puts the takeover off: {k.veto.refused}",
            "see what the hook is about; when it allows it, this host takes over")
    for kind, failures in sorted(k.failures.items(), key=lambda one: name_of(one[0])):
        if failures.times >= 2:
            say("action-failing", f"{name_of(kind)} failed {failures.times} times: {failures.text}",
                kind.properties.hint)
    _of_state(r, row)
    _of_peer(r)


def _pause_words(pause: Pause) -> str:
    by = f" by {pause.by}" if pause.by else ""
    until = f", until {pause.until}" if pause.until else ""
    return f"{by}{until}: {pause.reason or 'no reason given'}"


def _unconfirmed(r: Round) -> None:
    v = r.facts()
    if v.primary and v.solo and v.seen.arp_primary.value:
        r.warn("vip-answers", "somebody else answers for the primary VIP, so this solo primary does not start",
                  "find out who serves; then pgvip promote --force here, or on the peer")
    else:
        r.warn("unconfirmed", "the peer has not confirmed this host's record since this boot",
                  "bring the peer back; if it never comes: pgvip promote --force")


def _of_state(r: Round, row: Change) -> None:
    v, k, say = r.facts(), r.k, r.warn
    if v.processes is not None and not v.installed:
        say("no-data", "there is no data directory", "mount it, or pgvip clone")
    if v.hung:
        say("database-hung", "the local database or its disks do not answer")
    if v.dead and v.primary and k.confirmed and (v.solo or StartPostgres in k.failures):
        say("database-down", "the primary's database is down, and the other host may not take over",
            "repair it, see its log; if it is lost for good: pgvip promote --force on the other host")
    if v.primary and v.solo and k.confirmed and v.peer is not None and row.name == "hold":
        why = dict(k.blockers).get("pair", "")
        if why:
            say("alone", f"this primary serves alone: {why}")
    if k.isolated:
        say("isolated", f"no gateway and no answer from {r.s.peer} by any path: this primary does not serve",
            "repair its network; it serves again by itself")
    if v.standby and v.pair and not eligible(v) and k.confirmed:
        say("not-eligible", "this standby may not take over: the primary has not granted it yet")
    if v.standby and v.pair and v.recovering and k.confirmed and not standby_right(v) and v.lagging:
        say("lag", "this standby lags more than the limit: it does not hold the standby VIP")
    if v.primary and k.confirmed and not write_right(v) and k.durable.handbacks >= r.s.handbacks_max:
        say("hand-backs", "the role was handed back too often", "see why; then pgvip promote --force here")
    if v.pair and k.blocked_since_s > NEVER and r.now_s - k.blocked_since_s >= r.s.standby_down_s:
        say("not-served", "primary by its record, but not known to hold all that the role needs (an old record?)",
            "pgvip promote --force on the host whose data shall live")
    dog = v.seen.watchdog
    if dog.failures and r.s.watchdog_required:
        say("watchdog-required", f"this host may not begin to serve without its watchdog: {dog.reason}",
            'repair it, or write watchdog.mode = "if-present" and restart pgvip')
    elif dog.failures:
        say("watchdog-unusable", f"the watchdog cannot be used: {dog.reason}",
            'repair it, or write watchdog.mode = "off"')
    fence = v.seen.fence
    if fence.failures:
        say("fence-status", f"the peer's fence device does not answer: {fence.reason}", "pgvip fence test")
    if v.read_write and v.sync_term and v.database is not None:
        database = v.database
        if not database.sync_names or database.foreign_names:
            say("sync-names", f"synchronous_standby_names is '{database.sync_names}': commits do not wait for the peer",
                "ALTER SYSTEM RESET synchronous_standby_names")
        if v.seen.commits.value:
            say("weak-commits", f"acknowledged commits may be lost: {v.seen.commits.value}",
                "set synchronous_commit to on there, or configure async mode")


def _of_silence(r: Round) -> None:
    """A peer that answers by no path, where the protocol does not let this host go on alone."""
    v, k = r.facts(), r.k
    if not v.peer_silent or not k.confirmed:
        return
    if v.standby and not eligible(v):
        r.warn("primary-lost", "the primary answers by no path, and this standby does not hold all that it had",
                  "bring the primary back; if it is lost for good: pgvip promote --force here")
    elif v.pair and not r.s.fencing:
        r.warn("cannot-fence", "the peer answers by no path, and there is no way to fence it",
                  "bring it back; if you see that it is off: pgvip promote --force --without-fence here")


def _of_peer(r: Round) -> None:
    peer = r.facts().message
    if peer is None:
        r.warn("peer-silent", "the peer's daemon does not answer", "systemctl status pgvip on the peer")
        _of_silence(r)
        return
    if peer.digest != r.s.digest:
        r.warn("configuration-differs", "the two hosts' files differ", "make them the same, then reload")
    if peer.version != r.s.version:
        r.warn("version-differs", f"the peer runs pgvip {peer.version}", "upgrade it")
    if peer.cannot:
        r.warn("peer-cannot", f"the peer cannot give up: {peer.cannot}",
                  "repair what its log names; with fencing it is powered off")
    if Override.PRIMARY_STANDBY in (r.s.override, r.s.peer_override) and r.s.override is not Override.PRIMARY_STANDBY:
        r.warn("alone-by-choice", "the configuration lets the peer serve alone: this host is never eligible")
