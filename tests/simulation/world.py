"""The world: two hosts, what lies between them, clients, and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from pgvip.core.actions import VipAction
from pgvip.core.fencing import FORCED
from pgvip.core.knowledge import Decision
from pgvip.core.messages import Message
from pgvip.core.settings import Settings
from pgvip.core.values import BootFacts, Durable, Mode, Override, Record, Vip
from tests.simulation.clients import Clients
from tests.simulation.engine import Engine, Violation
from tests.simulation.fencing import Fencing
from tests.simulation.machine import PAIR_ID, SYSTEM_ID, Host
from tests.simulation.network import Network
from tests.simulation.replication import Replication
from tests.simulation.third import WITNESS_ID, Keeper, Third
from tests.simulation.watching import Watch

HEARING_S = 3.0
"""How long it may take from the end of a silence until what was said is heard, and a server that starts is stopped."""


@dataclass(slots=True)
class Rates:
    """How often single steps fail, and how slow they may be, beside the faults that are scheduled."""

    write_fails: float = 0.0
    start_fails: float = 0.0
    promote_fails: float = 0.0
    stop_escalates: float = 0.0
    drop_fails: float = 0.0
    archive_fails: float = 0.2
    message_lost: float = 0.0
    message_twice: float = 0.0
    message_late: float = 0.0
    message_kept: float = 0.0
    late_s: float = 20.0
    slow: float = 0.0
    fence_takes_s: float = 1.0
    fence_answer_s: float = 0.3


@dataclass(slots=True)
class Rules:
    """Switches of the simulated actions that break one rule each (the core's are broken by patches)."""

    grant_needs_flush: bool = True


class World(Engine):
    """Everything that is; `faults` says how unreliable it is just now."""

    def __init__(
        self, seed: int, *, sync: bool = True, trace: bool = False, witness: bool = False, **settings: float | bool
    ) -> None:
        super().__init__(seed, trace=trace)
        self.sync = sync
        self.faults = Rates()
        self.rules = Rules()
        self.disk_holds_state = True
        self.no_power: set[str] = set()
        self.net = Network()
        self.replication = Replication(self)
        self.fencing = Fencing(self)
        self.commits: set[int] = set()
        self.acknowledged: dict[int, float] = {}
        self.leased: set[int] = set()  # acknowledged, and a takeover in async may lose it
        self.lost: set[int] = set()
        self.forced = False
        self.restored = False
        self.parted = self.forced_over = False
        self.split = False
        self.operators = False
        self.healed = False
        self._entries = 0
        self.a = Host(self, "a", Settings("a", "b", True, sync=sync, archive=False, **settings))  # type: ignore[arg-type]  # numbers and flags by name
        self.b = Host(self, "b", Settings("b", "a", False, sync=sync, archive=False, **settings))  # type: ignore[arg-type]  # as above
        self.a.peer, self.b.peer = self.b, self.a
        self.third = Third(self)
        self.late_losers = False  # neither daemons nor watchdogs act in time: one writer is not promised then
        self.hosts = (self.a, self.b)
        self.clients = Clients(self)
        self.watch = Watch(self)
        self.rounds = 0
        self.moment: Callable[[str, Host], None] = lambda _what, _host: None
        self.hoard: list[tuple[Host, Message]] = []
        self.passes: Callable[[Host, Message], bool] = lambda _sender, _message: True
        self.boot_s = (0.5, 5.0)
        self.rejoin_s = (1.0, 8.0)
        self.sticks: set[str] = set()
        self._init(WITNESS_ID if witness else "")

    def _init(self, witness_id: str) -> None:
        """As after `pgvip init` on the first host and `clone` on the second."""
        record = Record(PAIR_ID, SYSTEM_ID, 0, "a", Mode.SOLO, self.sync, cause="init", witness_id=witness_id)
        if witness_id:
            self.guard()
        self.a.durable = Durable(record=record, served=True)
        self.a.pg.wal = [self.new_entry() for _ in range(3)]
        self.a.pg.flushed = 3
        self.b.pg.wal, self.b.pg.flushed = list(self.a.pg.wal), 3
        self.b.pg.standby_signal, self.b.pg.control = True, "in archive recovery"

    def guard(self, *, watchdog: bool = True) -> None:
        """A witness counts: every host has a lease on its addresses, and a watchdog."""
        for host in self.hosts:
            host.settings = replace(host.settings, witness_id=WITNESS_ID)
            host.keeper = Keeper(host, watchdog=watchdog)
        self.late_losers = not watchdog

    def drift(self, rng: Random) -> None:
        """Both clocks run apart as far as the margin allows, or as they should."""
        margin = self.a.settings.clock_margin
        most = margin / (2.0 + margin)  # one slow and one fast clock together
        for host, way in zip(self.hosts, rng.choice(((1, -1), (-1, 1), (0, 0), (1, 1))), strict=True):
            host.rate = 1.0 + way * most

    def init_boots(self) -> None:
        """The first host serves already and is confirmed, as `init` leaves it."""
        for host in self.hosts:
            host.power_on()
        self.a.facts = BootFacts(confirmed=True, confirmed_term=0)

    @property
    def witnessed(self) -> bool:
        return bool(self.a.settings.witness_id)

    # --- chances ------------------------------------------------------------------------------------

    def new_entry(self) -> int:
        self._entries += 1
        return self._entries

    def latency_s(self) -> float:
        if self.faults.slow and self.chance(self.faults.slow):
            return self.span(0.01, 2.0)
        return self.span(0.0005, 0.005)

    def look_s(self) -> float:
        if self.faults.slow and self.chance(self.faults.slow):
            return self.span(0.05, 3.0)
        return self.span(0.001, 0.05)

    def duration_s(self, low_s: float, high_s: float) -> float:
        if self.faults.slow and self.chance(self.faults.slow):
            return self.span(high_s, high_s * 20)
        return self.span(low_s, high_s)

    def calm(self, message_kept: float = 0.0) -> None:
        """Single steps work again and take their usual time, and messages pass."""
        self.faults = Rates(message_kept=message_kept)
        self.passes = lambda _sender, _message: True

    def may_power_on(self, host: Host) -> bool:
        return host.name not in self.no_power

    # --- messages -------------------------------------------------------------------------------------

    def send(self, sender: Host, message: Message) -> None:
        faults = self.faults
        self._keep_copy(sender, message)
        if not self.net.sends("link", sender) or not self.passes(sender, message) or self.chance(faults.message_lost):
            return
        copies = 2 if self.chance(faults.message_twice) else 1
        for _ in range(copies):
            late = faults.message_late and self.chance(faults.message_late)
            delay_s = self.span(0.05, faults.late_s) if late else self.latency_s()
            self.after(delay_s, lambda: self.arrive(sender.peer, message))

    def _keep_copy(self, sender: Host, message: Message) -> None:
        """A message that demands or promises something may be delivered once more, at the worst time."""
        telling = message.request or message.grant or message.answer or message.question or message.address_free
        if telling and self.faults.message_kept and self.chance(self.faults.message_kept):
            if len(self.hoard) >= 8:
                self.hoard.pop(self.rng.randrange(8))
            self.hoard.append((sender.peer, message))

    def deliver_old(self) -> None:
        """One of the kept messages arrives, again or at last."""
        if self.hoard:
            host, message = self.rng.choice(self.hoard)
            what = f"term {message.record.term if message.record else None} run {message.run_id} q={message.question}"
            self.log(host.name, f"an OLD message comes: {what} a={message.answer} request={message.request}")
            self.arrive(host, message)

    def arrive(self, host: Host, message: Message) -> None:
        daemon = host.daemon
        if daemon is not None and host.powered:
            daemon.deliver(message)

    # --- what must hold -------------------------------------------------------------------------------

    def acknowledge(self, host: Host, entry: int) -> None:
        """A client is told that its commit is safe; for good, unless a pair in async said so.

        Nothing is promised of what the loser of a force acknowledges after it (`hold` keeps it for the operator).
        """
        record = host.durable.record
        if self.parted and self._superseded(host):
            return
        if host.pg.left_out or host.pg.by_hand:
            return  # its own address is not kept from clients in the moment before it is stopped
        self.acknowledged[entry] = self.now_s
        if record is not None and record.mode is Mode.PAIR and not record.sync:
            self.leased.add(entry)

    def became_writer(self, host: Host) -> None:
        """1: one writer. 2: it has all that was acknowledged. 3: or, in async, all but a bounded tail."""
        peer = host.peer
        self.moment("writer", host)
        if self.forced_over and (self.unheard(host) or self.now_s - self.watch.unheard_s[host.name] < HEARING_S):
            self.parted = True
        if host.pg.by_hand:
            return  # what a server acknowledges that somebody promotes by hand is lost: it must be stopped at once
        if peer.powered and peer.pg.writes and not (self.split or self.parted or peer.pg.by_hand or self.late_losers):
            raise Violation(f"1: two writers: {host.name} became read-write while {peer.name} is")
        if host.durable.record is not None and host.durable.record.cause.startswith(FORCED):
            host.pg.left_out = 0  # an operator said so
        has = set(host.pg.wal)
        missing = [entry for entry in self.acknowledged if entry not in has and entry not in self.lost]
        if not missing or self.forced or ((self.parted or self.late_losers) and self._superseded(host)):
            return
        if host.durable.record is not None and host.durable.record.cause.startswith(FORCED):
            self.lost.update(missing)  # what a force may lose, it says
            return
        if host.pg.left_out:
            return  # nothing is served from it: see `raised`
        kept = [entry for entry in missing if entry not in self.leased]
        if kept:
            raise Violation(f"2: {host.name} is read-write without {len(kept)} acknowledged commits: {kept[:5]}")
        oldest_s = min(self.acknowledged[entry] for entry in missing)
        tail_s = peer.pg.wrote_s - oldest_s
        if tail_s > host.settings.lag_s_max:
            raise Violation(f"3: {host.name} lost the last {tail_s:.1f} s of what {peer.name} acknowledged")
        self.lost.update(missing)
        host.log(f"{len(missing)} acknowledged commits are lost, within the limit")

    def raised(self, host: Host, vip: Vip) -> None:
        """4: one holder for each address, the primary one only where writes work."""
        self.moment("raised", host)
        peer = host.peer
        if peer.powered and vip in peer.held and not (self.split or self.parted or self.late_losers):
            raise Violation(f"4: both hosts hold the {vip.value} VIP")
        if vip is Vip.PRIMARY and host.pg.left_out:
            raise Violation(f"2: {host.name} serves without {host.pg.left_out} entries that its promotion left out")
        if vip is Vip.PRIMARY and host.pg.phase in ("standby", "promoting"):
            raise Violation(f"4: {host.name} raised the primary VIP on a standby")

    def recorded(self, host: Host) -> None:
        """Equal terms say the same."""
        self.moment("record", host)
        mine, theirs = host.durable.record, host.peer.durable.record
        past = host.past[-1].record if host.past else None
        if mine is not None and past is not None and mine.term != past.term:
            self.watch.recorded(host, mine.term)
        if mine is not None and theirs is not None:
            self._after_force(host, mine, theirs)
        if self.restored:
            return  # a term may have been used before: an operator decides
        if mine and theirs and mine.term == theirs.term and not mine.same_rights(theirs):
            raise Violation(f"records of term {mine.term} differ")

    def _after_force(self, host: Host, mine: Record, theirs: Record) -> None:
        """A solo primary is confirmed by silence, "short of a force": after one against it, it may serve as well."""
        if mine.term == theirs.term:
            self.parted = self.forced_over = False
        elif mine.cause.startswith(FORCED) and theirs.mode is Mode.SOLO and theirs.primary != host.name:
            self.forced_over = True

    def _superseded(self, host: Host) -> bool:
        """The peer has the higher term: what this host does is not the pair's doing any more."""
        mine, theirs = host.durable.record, host.peer.durable.record
        return mine is not None and theirs is not None and mine.term < theirs.term

    def unheard(self, host: Host) -> bool:
        """The peer has a higher term and gives no sign of life by the link, nor by ARP for the primary VIP."""
        peer = host.peer
        if not self._superseded(host):
            return False
        if not peer.powered or peer.frozen:
            return True
        mute = peer.daemon is None or peer.daemon.stopped or not self.net.open("link", host, peer)
        return mute and not (Vip.PRIMARY in peer.held and self.net.open("db", host, peer))

    def rebuilding(self, host: Host) -> None:
        """Data that alone holds acknowledged commits is never overwritten."""
        if self.forced:
            return
        has = set(host.peer.pg.wal)
        only = [e for e in self.acknowledged if e not in has and e in host.pg.wal and e not in self.lost]
        if only:
            raise Violation(f"2: {host.name} rebuilds data that alone has {len(only)} acknowledged commits")

    def was_fenced(self, target: Host) -> None:
        """A machine was switched off by its fence device."""
        self.moment("fenced", target)

    def decided(self, host: Host, decision: Decision) -> None:
        """A round ended."""
        self.rounds += 1
        if host.keeper is not None:
            host.keeper.decided(decision)
        for action in decision.actions:
            if not isinstance(action, VipAction):
                self.moment(type(action).__name__, host)

    # --- 5: it comes back --------------------------------------------------------------------------------

    def healthy(self) -> bool:
        """Primary and standby, each with its own address, and the standby may take over."""
        return not self.unhealthy()

    def unhealthy(self) -> str:
        """What is missing to the healthy state, or ""."""
        if not (self.a.powered and self.b.powered and self.a.daemon and self.b.daemon):
            return "a host or daemon is down"
        records = [host.durable.record for host in self.hosts]
        if records[0] is None or records[1] is None or records[0].term != records[1].term:
            return "the records differ"
        record = records[0]
        if record.mode is not Mode.PAIR:
            return self._alone(record)
        primary, standby = (self.a, self.b) if record.primary == "a" else (self.b, self.a)
        wanted = (
            (record.sync == primary.settings.sync, "the record has another mode than the configuration"),
            (primary.pg.phase == "primary", "the primary is not read-write"),
            (standby.pg.phase == "standby", "the standby is not up"),
            (primary.held == {Vip.PRIMARY}, f"the primary holds {sorted(primary.held)}"),
            (standby.held == {Vip.STANDBY}, f"the standby holds {sorted(standby.held)}"),
            (all(h.daemon and h.daemon.knowledge.confirmed for h in self.hosts), "unconfirmed"),
            (bool(standby.daemon and standby.daemon.last and standby.daemon.last.message.eligible), "not eligible"),
            (not primary.pg.waiting or bool(standby.pg.inbound), "commits hang"),
        )
        return next((text for good, text in wanted if not good), "")

    def _alone(self, record: Record) -> str:
        """A primary serves alone, which is well where the configuration says so."""
        primary = self.a if record.primary == "a" else self.b
        if primary.settings.override is not Override.PRIMARY_STANDBY:
            return f"solo({record.primary})"
        serves = primary.pg.phase == "primary" and primary.held == set(Vip) and not primary.pg.waiting
        return "" if serves and primary.peer.pg.phase == "standby" else f"solo({record.primary}), not serving as told"
