"""The other host, as far as its last message reports it: what its core knows and what it sees."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.decide import begin
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.messages import AddressFree, Heard, Message
from pgvip.core.observations import Database, Observation, Observations, PeerDatabase, Processes, Replica
from pgvip.core.settings import Identity, Settings
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Role, Vip, WalPoint
from pgvip.explain.played_server import START, saw

LONG_AGO_S = 3600.0


def settings_of(mine: Settings, *, fencing: bool, message: Message | None) -> Settings:
    """The same configuration seen from the other host. `fencing`: it can power this host off."""
    said = message or None
    return replace(
        mine,
        me=mine.peer,
        peer=mine.me,
        me_first=not mine.me_first,
        fencing=fencing,
        override=said.override if said else mine.peer_override,
        peer_override=mine.override,
        digest=said.digest if said else mine.digest,
        version=said.version if said else mine.version,
    )


def knowledge(settings: Settings, decision: Decision, now_s: float) -> Knowledge:
    """What the other host's core knows; `settings` are its own. Needs a message of it."""
    heard = decision.knowledge.peer.heard
    assert heard is not None  # asked only about a host that was heard
    message, mine = heard.message, decision.message
    record = message.record
    served = record is not None and record.primary == settings.me
    durable = Durable(record, served=served, hold=message.hold, pause=message.pause)
    who = Identity(message.boot_id, message.run_id, now_s - LONG_AGO_S, message.pair_id, message.system_id)
    term = record.term if record else 0
    k = begin(who, durable, BootFacts(confirmed=message.confirmed, confirmed_term=term, met=True))
    k.peer = replace(k.peer, heard=Heard(mine, now_s), heard_record=mine.record)
    k.clock = replace(k.clock, round_s=now_s, seq=message.seq)
    k.role = Role.NONE
    k.orders = replace(k.orders, leaving=message.leaving)
    if message.eligible:
        k.grants = replace(k.grants, grant=_grant(decision, message, heard, term))
    if not served and Vip.STANDBY.value in message.vips:
        k.grants = replace(k.grants, address=AddressFree(term, message.boot_id))
    if served:
        k.database = replace(k.database, caught_up=message.postmaster, clear_since_s=now_s)
        grant = decision.knowledge.grants.grant
        if grant is not None and mine.eligible:
            k.grants = replace(k.grants, given=grant, given_at_s=now_s)
    return k


def _grant(decision: Decision, message: Message, heard: Heard, term: int) -> Grant:
    """What it was granted, with the end of a lease on this host's clock (the play has one clock)."""
    given = decision.knowledge.grants.given
    expires_s = None
    if given is not None and given.expires_s is not None:
        expires_s = given.expires_s + heard.at_s - message.sent_s
    return Grant(term, message.boot_id, message.postmaster, heard.at_s, expires_s)


def observations(settings: Settings, decision: Decision, seen: Observations, now_s: float) -> Observations:
    """What the other host sees, by its message; what that does not report is taken to be well."""
    heard = decision.knowledge.peer.heard
    assert heard is not None  # asked only about a host that was heard
    message, mine = heard.message, decision.message
    database, up = _database(settings, message, mine, seen, now_s), message.database_ok
    state = "in production" if message.read_write else "in archive recovery"
    files = Processes(
        installed=True,
        system_id=message.system_id,
        postmaster=message.postmaster,
        left=1 if message.postmaster else 0,
        standby_signal=not message.read_write,
        control_state=state,
        checkpoint=message.point,
    )
    gone: Observation[bool] = Observation(True, now_s - LONG_AGO_S).failed("as it says", now_s - LONG_AGO_S / 2)
    works = saw(value=True, at_s=now_s)
    nobody = saw("", now_s)
    answers = decision.message.database_ok
    peer = saw(PeerDatabase(in_recovery=not mine.read_write, system_id=message.system_id), now_s)
    asked = peer if answers else peer.failed("no answer", now_s)
    silent = Observation("gateway", NEVER, 9, now_s, NEVER, "as it says")
    return Observations(
        gateway=saw("gateway", now_s) if message.gateway_ok else silent,
        processes=saw(files, now_s),
        database=saw(database, now_s) if database is not None and up else Observation(database, NEVER, 9, now_s, NEVER),
        connection=works if up else replace(gone, failures=9),
        heartbeat=nobody,
        disks=works,
        held=saw(frozenset(Vip(name) for name in message.vips), now_s),
        arp_primary=nobody,
        arp_standby=nobody,
        peer_vip=asked,
        peer_own=asked,
        archive=works,
        fence=saw("on", now_s),
        watchdog=works if message.guarded else gone,
    )


def _database(
    settings: Settings, message: Message, mine: Message, seen: Observations, now_s: float
) -> Database | None:
    if not message.postmaster or not (message.read_write or message.in_recovery):
        return None
    point = message.point or WalPoint(1, START)
    replica = None
    if message.read_write and mine.streaming:
        here = mine.point or point
        replica = Replica("streaming", "sync" if settings.sync else "async", here.lsn, here.lsn)
    local = seen.database.value
    record = message.record
    sync = record is not None and record.sync and record.mode.value == "pair"
    return Database(
        postmaster=message.postmaster,
        in_recovery=message.in_recovery,
        point=point,
        replay_lsn=point.lsn,
        moved_at_s=now_s,
        streaming=message.streaming,
        unfit=message.unfit,
        replay_lag_s=message.replay_lag_s,
        sync_names=settings.peer if message.read_write and sync else "",
        replica=replica,
        recovered_end=START,
        history=local.history if local is not None else (),
    )
