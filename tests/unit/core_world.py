"""A host of the pair as values, in a few words: `primary()`, `standby()` and small changes of them.

Host "a" is first (even terms), "b" second. `Host.round` is one call of `decide`; `Host.done` feeds a result back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pgvip.core.actions import Action, Fence, Result, WriteState
from pgvip.core.changes import Change, choose
from pgvip.core.decide import begin, boot_facts, decide
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Decision, Knowledge, Promotion
from pgvip.core.messages import AddressFree, Command, Heard, Message, Order, Request, Want
from pgvip.core.observations import Database, Observation, Observations, PeerDatabase, Processes, Replica
from pgvip.core.settings import Identity, Inputs, Settings
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Lease, Lsn, Mode, Record, Role, Vip, WalPoint
from tests.knowing import knowing

A = TypeVar("A", bound=Action)

Alter = Callable[["Host"], "Host"]

PAIR_ID, SYSTEM_ID = "pair-1", "7000000000000000001"
WITNESS_ID = "witness-1"
NOW_S = 1000.0
TERM = 4
HERE = Lsn(0x1000)
POSTMASTER = {"a": "100:1", "b": "200:1"}
PEER = {"a": "b", "b": "a"}
NO_VIPS: frozenset[Vip] = frozenset()


def settings(me: str = "a", **changes: Any) -> Settings:
    return replace(Settings(me=me, peer=PEER[me], me_first=me == "a"), **changes)


def record(who: str = "a", mode: Mode = Mode.PAIR, term: int = TERM, *, sync: bool = True, **more: Any) -> Record:
    return Record(PAIR_ID, SYSTEM_ID, term, who, mode, sync, **more)


def saw(value: Any, at_s: float = NOW_S) -> Observation[Any]:
    return Observation(value, at_s)


def failing(value: Any = None, since_s: float = NOW_S - 60, failures: int = 9) -> Observation[Any]:
    """A probe that last worked just before `since_s` and has failed until now."""
    at_s = NEVER if value is None else since_s - 0.1
    return Observation(value, at_s, failures, NOW_S, since_s, "no answer")


STALLED = Observation("", NOW_S - 60)
"""Of the heartbeat row: the last one was committed a minute ago."""


def in_vain(at_s: float, failures: int, failing_since_s: float) -> Observation[Any]:
    """A probe that last worked at `at_s` and has failed so many times since."""
    return Observation(True, at_s, failures, NOW_S, failing_since_s, "no answer")


def grant(to: str = "b", term: int = TERM, **changes: Any) -> Grant:
    return replace(Grant(term, f"boot-{to}", POSTMASTER[to], NOW_S), **changes)


def heard_from(host: str, about: Record | None, **changes: Any) -> Message:
    """A healthy host's message: `about` is its record."""
    primary = about is not None and about.primary == host
    plain = Message(
        pair_id=PAIR_ID,
        system_id=SYSTEM_ID,
        host=host,
        boot_id=f"boot-{host}",
        run_id=f"run-{host}",
        seq=1,
        sent_s=NOW_S,
        record=about,
        confirmed=True,
        postmaster=POSTMASTER[host],
        read_write=primary,
        in_recovery=not primary,
        database_ok=True,
        streaming=not primary,
        gateway_ok=True,
        point=WalPoint(1, HERE),
        eligible=not primary and about is not None and about.mode is Mode.PAIR,
    )
    return replace(plain, **changes)


@dataclass
class Host:
    """What one host knows and sees; rounds move it on."""

    k: Knowledge
    seen: Observations
    s: Settings
    now_s: float = NOW_S
    last: Decision | None = field(default=None, repr=False)

    @property
    def me(self) -> str:
        return self.s.me

    @property
    def peer(self) -> str:
        return self.s.peer

    @property
    def record(self) -> Record:
        assert self.k.durable.record is not None
        return self.k.durable.record

    @property
    def facts(self) -> Facts:
        return Facts(self.k, self.seen, self.s, self.now_s)

    @property
    def message(self) -> Message:
        assert self.last is not None
        return self.last.message

    # --- what it knows and sees ---------------------------------------------------------------------

    def knows(self, **changes: Any) -> Host:
        """A copy with other knowledge: parts, or fields of parts, by their names."""
        return replace(self, k=knowing(self.k, **changes))

    def durable(self, **changes: Any) -> Host:
        return self.knows(durable=replace(self.k.durable, **changes))

    def sees(self, **changes: Observation[Any]) -> Host:
        """A copy with other observations."""
        return replace(self, seen=replace(self.seen, **changes))

    def configured(self, **changes: Any) -> Host:
        return replace(self, s=replace(self.s, **changes))

    def database(self, **changes: Any) -> Host:
        """A copy whose database says something else of itself."""
        old = self.seen.database.value
        assert old is not None
        return self.sees(database=saw(replace(old, **changes), self.now_s))

    def hangs(self, connection: Observation[bool]) -> Host:
        """A copy whose server answers no new connection, as given, and has fallen silent on the kept one as well."""
        return self.sees(connection=connection, database=replace(self.seen.database, at_s=connection.at_s - 0.05))

    def database_moved(self, at_s: float) -> Host:
        """A copy whose database saw WAL move for the last time at `at_s`."""
        return self.database(moved_at_s=at_s)

    def replica(self, **changes: Any) -> Host:
        """A copy whose database says something else of the peer's WAL receiver."""
        database = self.seen.database.value
        assert database is not None
        assert database.replica is not None
        return self.database(replica=replace(database.replica, **changes))

    def processes(self, **changes: Any) -> Host:
        old = self.seen.processes.value
        assert old is not None
        return self.sees(processes=saw(replace(old, **changes), self.now_s))

    def hears(self, **changes: Any) -> Host:
        """A copy whose last message from the peer, fresh, says something else."""
        assert self.k.peer.heard is not None
        return self.knows(heard=Heard(replace(self.k.peer.heard.message, **changes), self.now_s))

    def silence(self, for_s: float = 60.0) -> Host:
        """A copy to which the peer has given no sign of life for `for_s`."""
        since_s = self.now_s - for_s
        heard = self.k.peer.heard
        quiet = self.knows(heard=Heard(heard.message, since_s) if heard else None)
        asked = PeerDatabase(in_recovery=False, system_id=SYSTEM_ID)
        quiet = quiet.sees(peer_own=failing(asked, since_s), peer_vip=failing())
        return quiet.database(moved_at_s=since_s) if quiet.seen.database.value else quiet

    def down(self, *, clean: bool = False) -> Host:
        """A copy whose PostgreSQL is gone, every process of it; a clean stop was noticed a while ago."""
        state = "shut down" if clean else "in production"
        gone = self.processes(postmaster="", left=0, control_state=state, checkpoint=WalPoint(1, HERE))
        gone = gone.sees(database=failing(self.seen.database.value), connection=failing(value=True))
        return gone.knows(stopped_since_s=self.now_s - 60) if clean else gone

    def holds(self, *vips: Vip) -> Host:
        return self.sees(held=saw(frozenset(vips), self.now_s))

    def at(self, now_s: float) -> Host:
        """The same at another time; what was healthy is seen healthy then, the message comes again then."""
        watches = {name: getattr(self.seen, name) for name in Observations.__dataclass_fields__}
        fresh = {
            name: replace(watch, failed_at_s=now_s) if watch.failures else replace(watch, at_s=now_s)
            for name, watch in watches.items()
            if watch.failures or watch.ok()
        }
        return replace(self, now_s=now_s, seen=replace(self.seen, **fresh))

    # --- what it does ---------------------------------------------------------------------------------

    def round(
        self,
        *,
        messages: Sequence[Message] = (),
        results: Sequence[Result] = (),
        commands: Sequence[Command] = (),
        after_s: float = 0.0,
    ) -> Host:
        """One round of the real core; a copy as it is after that.

        `after_s`: later; what went on meanwhile were rounds in which nothing changed (see `sleeps`).
        """
        host = self.at(self.now_s + after_s).knows(round_s=self.now_s + after_s) if after_s else self
        inputs = Inputs(host.seen, tuple(messages), tuple(results), tuple(commands), "2026-01-01T00:00:00+00:00")
        decision = decide(host.k, inputs, host.s, host.now_s)
        return replace(host, k=decision.knowledge, last=decision)

    def order(self, order: Order, text: str = "") -> Host:
        return self.round(commands=[Command(order, text)])

    def told(self, *, after_s: float = 0.0, **changes: Any) -> Host:
        """One round with a further message of the peer: as the last one, but for `changes`."""
        host = self.at(self.now_s + after_s).knows(round_s=self.now_s + after_s) if after_s else self
        return host.round(messages=[host.next_message(**changes)])

    def sleeps(self, for_s: float) -> Host:
        """The same after a time without rounds, as after SIGSTOP and SIGCONT: nothing was looked at meanwhile."""
        return replace(self, now_s=self.now_s + for_s)

    def next_message(self, **changes: Any) -> Message:
        heard = self.k.peer.heard
        old = heard.message if heard else heard_from(self.peer, self.k.durable.record)
        return replace(old, **{"seq": old.seq + 1, "sent_s": self.now_s, **changes})

    def done(self, action: Action, *, ok: bool = True, text: str = "", **more: Any) -> Host:
        """One round with the result of `action`; what is seen afterwards is newer than it."""
        assert action in self.k.work.running, f"{action} is not running: {self.k.work.running}"
        later = self.at(self.now_s + 0.01)
        return later.round(results=[Result(action, ok, later.now_s, text, **more)])

    def written(self, *, ok: bool = True) -> Host:
        """One round with the result of the write that is under way."""
        assert self.k.intent.writing is not None, "nothing is being written"
        return self.done(WriteState(self.k.intent.writing), ok=ok)

    def chosen(self) -> tuple[Change, tuple[tuple[str, str], ...]]:
        return choose(self.facts)

    @property
    def actions(self) -> tuple[Action, ...]:
        """What the last round started."""
        assert self.last is not None
        return self.last.actions

    def started(self, kind: type[A]) -> A | None:
        """The action of `kind` that the last round started, if any."""
        return next((action for action in self.actions if isinstance(action, kind)), None)

    def must_start(self, kind: type[A]) -> A:
        action = self.started(kind)
        assert action is not None, f"no {kind.__name__} among {self.actions}"
        return action

    def running(self, kind: type[Action]) -> bool:
        return any(isinstance(action, kind) for action in self.k.work.running)

    def warnings(self) -> dict[str, str]:
        """What the last round told the operator: name and hint."""
        assert self.last is not None
        return {warning.name: warning.hint for warning in self.last.warnings}

    def said(self, event: str) -> dict[str, str]:
        """The words for programs of an event that the last round told; empty when it did not."""
        assert self.last is not None
        return next((dict(note.fields) for note in self.last.notes if note.event == event), {})

    def reboots(self, boot: str = "2") -> Host:
        """The same host after a power cut: durable facts and data stay, nothing else."""
        who = Identity(f"boot-{self.me}-{boot}", f"run-{self.me}-{boot}", self.now_s, PAIR_ID, SYSTEM_ID)
        empty = Observations(held=saw(NO_VIPS, self.now_s), gateway=self.seen.gateway, disks=self.seen.disks)
        empty = replace(empty, arp_primary=saw("", self.now_s), arp_standby=saw("", self.now_s))
        host = Host(begin(who, self.k.durable, BootFacts()), empty, self.s, self.now_s)
        files = self.seen.processes.value
        assert files is not None
        return host.sees(processes=saw(replace(files, postmaster="", left=0), self.now_s))

    def daemon_restarts(self) -> Host:
        """The same kernel and PostgreSQL, a new process of pgvip: what it kept is all it knows."""
        who = replace(self.k.who, run_id=self.k.who.run_id + "'", started_s=self.now_s)
        return replace(self, k=begin(who, self.k.durable, boot_facts(self.k)), last=None)


def _observations(me: str, *, read_write: bool, held: frozenset[Vip], sync: bool) -> Observations:
    replica = Replica("streaming", "sync" if sync else "async", HERE, HERE)
    database = Database(
        postmaster=POSTMASTER[me],
        in_recovery=not read_write,
        point=WalPoint(1, HERE),
        replay_lsn=HERE,
        moved_at_s=NOW_S,
        streaming=not read_write,
        sync_names="peer" if read_write and sync else "",
        replica=replica if read_write else None,
        recovered_end=HERE,
    )
    processes = Processes(
        installed=True,
        system_id=SYSTEM_ID,
        postmaster=POSTMASTER[me],
        left=7,
        standby_signal=not read_write,
        control_state="in production" if read_write else "in archive recovery",
        checkpoint=WalPoint(1, HERE),
    )
    return Observations(
        gateway=saw("192.0.2.1"),
        processes=saw(processes),
        database=saw(database),
        connection=saw(value=True),
        heartbeat=saw(""),
        disks=saw(value=True),
        held=saw(held),
        arp_primary=saw(""),
        arp_standby=saw(""),
        peer_vip=saw(PeerDatabase(in_recovery=read_write, system_id=SYSTEM_ID)),
        peer_own=saw(PeerDatabase(in_recovery=read_write, system_id=SYSTEM_ID)),
        archive=saw(value=True),
    )


def _host(me: str, about: Record, *, held: frozenset[Vip], run: Settings | None, **durable: Any) -> Host:
    who = Identity(f"boot-{me}", f"run-{me}", NOW_S - 500, PAIR_ID, SYSTEM_ID)
    k = begin(who, Durable(about, **durable), BootFacts(confirmed=True, confirmed_term=about.term))
    k.peer = replace(k.peer, heard=Heard(heard_from(PEER[me], about), NOW_S), met=True)
    k.database = replace(k.database, postmaster_since_s=who.started_s)
    k.promotion = Promotion()
    seen = _observations(me, read_write=about.primary == me, held=held, sync=about.sync)
    return Host(k, seen, run or settings(me, sync=about.sync), NOW_S)


def primary(mode: Mode = Mode.PAIR, *, me: str = "a", term: int = TERM, sync: bool = True, **more: Any) -> Host:
    """A healthy primary that has served; in `pair` beside an eligible standby, in `solo` with both addresses."""
    held = frozenset({Vip.PRIMARY}) if mode is Mode.PAIR else frozenset(Vip)
    host = _host(me, record(me, mode, term, sync=sync, **more), held=held, run=None, served=True)
    given = grant(PEER[me], term) if mode is Mode.PAIR else None
    role = Role.PRIMARY if mode is Mode.PAIR else Role.PRIMARY_STANDBY
    return host.knows(caught_up=POSTMASTER[me], given=given, given_at_s=NOW_S, clear_since_s=NOW_S, role=role)


def standby(mode: Mode = Mode.PAIR, *, me: str = "b", term: int = TERM, sync: bool = True) -> Host:
    """A healthy standby; in `pair` eligible and with its address."""
    held = frozenset({Vip.STANDBY}) if mode is Mode.PAIR else NO_VIPS
    host = _host(me, record(PEER[me], mode, term, sync=sync), held=held, run=None).knows(role=Role.STANDBY)
    if mode is Mode.SOLO:
        return host
    return host.knows(grant=grant(me, term), address=AddressFree(term, f"boot-{me}"))




def witnessed(host: Host, heard_s: float = 1.0) -> Host:
    """The same in a pair with a witness; the peer has heard what this host sent `heard_s` ago."""
    own = replace(host.record, witness_id=WITNESS_ID)
    lease = Lease(own.term, host.now_s - heard_s)
    host = host.durable(record=own).configured(witness_id=WITNESS_ID, fencing=False).knows(lease=lease)
    told = host.k.peer.heard.message.record if host.k.peer.heard else None
    if told is None or host.k.peer.heard is None:
        return host
    message = replace(host.k.peer.heard.message, record=replace(told, witness_id=WITNESS_ID))
    return host.knows(heard=replace(host.k.peer.heard, message=message))


# --- what several tests say or bring about ------------------------------------------------------------

SOLO_B = record("b", Mode.SOLO, 5)


def solo_wish(term: int = 4, boot_id: str = "boot-a") -> Request:
    return Request(Want.SOLO, term, boot_id, POSTMASTER["a"], reason="solo-by-consent")


def role_wish(term: int = 4, boot_id: str = "boot-b", *, eligible: bool = True, reason: str = "offered") -> Request:
    return Request(Want.HANDOVER, term, boot_id, POSTMASTER["b"], eligible=eligible, reason=reason)


def claiming(host: Host) -> Host:
    """The host while its fence command is under way."""
    host = host.silence().round()
    host = host if host.started(Fence) else host.round(after_s=host.s.fence_delay_s)
    assert host.message.claiming
    return host


def stubborn(host: Host) -> Host:
    """The host while it claims because the peer, which is heard, says that it cannot give up."""
    host = host.told(cannot="StopPostgres: D state")
    host = host if host.started(Fence) else host.told(after_s=host.s.fence_delay_s, cannot="StopPostgres: D state")
    assert host.message.claiming
    return host


def attempt(host: Host) -> Fence:
    return next(action for action in host.k.work.running if isinstance(action, Fence))
