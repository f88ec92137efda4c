"""A simulated host: its kernel, its disk, its daemon that runs the real core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from pgvip.core import decide as core
from pgvip.core.actions import Result
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.messages import Command, Message, Order
from pgvip.core.observations import Database, Observation, Observations
from pgvip.core.settings import Identity, Inputs, Settings
from pgvip.core.values import BootFacts, Durable, Vip
from tests.simulation.acting import Actor
from tests.simulation.cluster import Cluster
from tests.simulation.looking import Probes, Report
from tests.simulation.third import Keeper

if TYPE_CHECKING:
    from tests.simulation.world import World

PAIR_ID, SYSTEM_ID = "pair-1", "7000000000000000001"
PUBLIC = (
    "record", "confirmed", "claiming", "question", "answer", "request", "invite", "cannot", "stopped",
    "has_checkpoint", "grant", "address_free", "eligible", "postmaster", "read_write", "in_recovery", "pause",
    "hold", "leaving", "database_ok", "streaming", "unfit", "revoked", "claimed_term",
)  # fmt: skip
"""What in a message makes the daemon send it at once instead of at the next heartbeat."""
_public = attrgetter(*PUBLIC)


class Host:
    """One machine: power, kernel boot, disk, addresses, PostgreSQL, and perhaps a daemon."""

    peer: Host

    def __init__(self, world: World, name: str, settings: Settings) -> None:
        self.world = world
        self.name = name
        self.settings = settings
        self.mac = f"mac-{name}"
        self.powered = False
        self.frozen = False
        self.disk_bad = False
        self.state_hangs = False
        self.stranger = ""  # whose server answers at this host's address while it does not itself: "refuses", "other"
        self.blind: dict[str, str] = {}  # looks that do not come back: whether they say so
        self.veto = ""  # what its veto hooks do: "allows", "refuses", "hangs", "random"; "" when there are none
        self.boots = 0
        self.booted_s = 0.0
        self.durable = Durable()
        self.before: Durable | None = None
        self.past: list[Durable] = []
        self.facts = BootFacts()
        self.held: set[Vip] = set()
        self.pg = Cluster(self)
        self.daemon: Daemon | None = None
        self.runs = 0
        self._deferred: list[Callable[[], None]] = []
        self._still_s: float | None = None
        self._lost_s = 0.0
        self.offset_s = 0.0  # of the wall clock from CLOCK_BOOTTIME
        self.rate = 1.0  # of the clock, against the world's
        self.keeper: Keeper | None = None

    def log(self, text: str) -> None:
        self.world.log(self.name, text)

    @property
    def clock_s(self) -> float:
        """CLOCK_BOOTTIME; it stands still while a virtual machine is paused."""
        now_s = self.world.now_s if self._still_s is None else self._still_s
        return (now_s - self.booted_s - self._lost_s) * self.rate

    @property
    def boot_id(self) -> str:
        return f"boot-{self.name}-{self.boots}"

    def later(self, delay_s: float, event: Callable[[], None]) -> None:
        """An event of this boot: lost with the power, late while the machine is frozen."""
        boot = self.boots

        def due() -> None:
            if self.boots != boot or not self.powered:
                return
            if self.frozen:
                self._deferred.append(due)
            else:
                event()

        self.world.after(delay_s, due)

    # --- power -------------------------------------------------------------------------------------

    def power_on(self) -> None:
        if self.powered:
            return
        self.powered, self.frozen = True, False
        self.boots += 1
        self.booted_s = self.world.now_s - self.world.span(1.0, 2.0)
        self._still_s, self._lost_s = None, 0.0
        self.facts = BootFacts()
        self.held = set()
        self.log(f"BOOTS ({self.boot_id}), record {self.durable.record}")
        self.later(self.world.span(*self.world.boot_s), self.start_daemon)
        self.world.fencing.booted(self)

    def power_off(self, why: str) -> None:
        if not self.powered:
            return
        self.log(f"POWER OFF: {why}")
        self.powered, self.frozen = False, False
        if self.before is not None and self.world.chance(0.5):
            self.durable = self.before
        self.before = None
        self._deferred.clear()
        self.held = set()
        self.daemon = None
        self.pg.power_lost()

    def freeze(self, *, clock_too: bool = False) -> None:
        """`clock_too`: as a virtual machine that is paused; the wall clock is set right when it goes on."""
        if self.powered and not self.frozen:
            self.log(f"FREEZES{', its clock too' if clock_too else ''}")
            self.frozen = True
            self._still_s = self.world.now_s if clock_too else None

    def thaw(self) -> None:
        if self.frozen:
            self.log("thaws")
            self.frozen = False
            if self._still_s is not None:
                gone_s = self.world.now_s - self._still_s
                self._still_s, self._lost_s = None, self._lost_s + gone_s
                self.offset_s += gone_s
            due, self._deferred = self._deferred, []
            for event in due:
                if self.powered:
                    event()

    # --- the daemon ----------------------------------------------------------------------------------

    def start_daemon(self) -> None:
        if self.daemon is None and self.state_hangs:
            self.later(0.5, self.start_daemon)  # it cannot read its record, and an older process may not be gone
        elif self.daemon is None:
            self.before = None
            self.runs += 1
            self.daemon = Daemon(self)
            self.daemon.begin()
            self.world.moment("daemon", self)

    def doubtful_write(self, durable: Durable) -> None:
        """The rename happened, its fsync failed: the daemon ends at once; its next start writes again what it reads."""
        self.before, self.durable = self.durable, durable
        self.log("a write of the record ended in doubt")
        self.kill_daemon()
        self.later(self.world.span(0.1, 1.0), self.start_daemon)

    def kill_daemon(self) -> None:
        if self.daemon is not None:
            self.log("daemon KILLED")
            self.daemon.actor.dies()
            self.daemon = None

    def postmaster_died(self) -> None:
        """The pidfd becomes readable."""
        if self.powered and self.daemon is not None:
            self.daemon.probes.look_soon()

    def __repr__(self) -> str:
        daemon = self.daemon
        state = "off" if not self.powered else f"{self.pg.phase} vips={sorted(self.held)}"
        facts = f"confirmed={daemon.knowledge.confirmed} row={daemon.knowledge.intent.row}" if daemon else "no daemon"
        return f"<{self.name} {state} {facts} durable={self.durable}>"


class Daemon:
    """The loop of `pgvip run` around the real core."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.world = host.world
        self.run_id = f"run-{host.name}-{host.runs}"
        self.stopped = False
        who = Identity(host.boot_id, self.run_id, host.clock_s, PAIR_ID, SYSTEM_ID)
        self.knowledge: Knowledge = core.begin(who, host.durable, host.facts)
        self.seen = Observations()
        self.messages: list[Message] = []
        self.results: list[Result] = []
        self.commands: list[Command] = []
        self.last: Decision | None = None
        self._woken = False
        self._said: tuple[object, ...] = ()
        self._heard: Message | None = None
        self._kept = host.facts
        self._offset_s = host.offset_s if host.facts.offset_s is None else host.facts.offset_s
        self._beat_s = float("-inf")
        self._due_s = float("inf")
        self.actor = Actor(self)
        self.probes = Probes(self)
        host.log(f"daemon starts ({self.run_id}), confirmed={self.knowledge.confirmed}")

    def begin(self) -> None:
        self.probes.begin()
        self._beat()

    @property
    def alive(self) -> bool:
        return self.host.daemon is self

    def wake(self) -> None:
        if not self._woken:
            self._woken = True
            self.host.later(0.001, self._round)

    def _beat(self) -> None:
        if self.alive:
            self.wake()
            self.host.later(self.host.settings.heartbeat_s, self._beat)

    def resume(self) -> None:
        self.stopped = False
        self.host.log("daemon continues")
        self.probes.look_soon()  # the waits of its threads have run out meanwhile
        self.wake()

    def order(self, order: Order, text: str = "") -> None:
        self.commands.append(Command(order, text))
        self.wake()

    def deliver(self, message: Message) -> None:
        """As the real loop: what calls for action at once wakes it, all else waits for the next heartbeat."""
        self.messages.append(message)
        old, self._heard = self._heard, message
        if old is None or old.run_id != message.run_id or _public(old) != _public(message) or self._busy():
            self.wake()

    def looked(self, report: Report) -> None:
        """A look came back."""
        news = any(_is_news(name, getattr(self.seen, name), *said[:2]) for name, said in report.items())
        self.seen = with_seen(self.seen, report)
        if news or self._busy():
            self.wake()

    def _busy(self) -> bool:
        """Something is under way: then every observation may be the one that it waits for."""
        k = self.knowledge
        return k.busy or any(action.properties.urgent for action in k.work.running)

    def ended(self, result: Result) -> None:
        self.results.append(result)
        self.probes.look_soon()
        self.wake()

    def _round(self) -> None:
        self._woken = False
        if not self.alive or self.stopped:
            return
        host = self.host
        heard, ended, told = tuple(self.messages), tuple(self.results), tuple(self.commands)
        jumped = abs(host.offset_s - self._offset_s) > 1.0
        inputs = Inputs(self.seen, heard, ended, told, "now", jumped=jumped)
        self._offset_s = host.offset_s
        self.messages, self.results, self.commands = [], [], []
        decision = core.decide(self.knowledge, inputs, host.settings, host.clock_s)
        self.knowledge, self.last = decision.knowledge, decision
        kept = core.boot_facts(decision.knowledge)
        if kept != self._kept:
            self._kept, host.facts = kept, replace(kept, offset_s=self._offset_s)
        if self.world.tracing:
            for note in decision.notes:
                host.log(f"{note.event}: {note.text}")
        for action in decision.actions:
            self.actor.start(action)
        if decision.wake:
            self.probes.look_soon()
        self._say(decision.message)
        self._due(decision.due_s)
        self.world.decided(host, decision)

    def _due(self, due_s: float) -> None:
        """A round at that time, if nothing makes one before: a lease or a wait ends."""
        if due_s < float("inf") and due_s != self._due_s:
            self._due_s = due_s
            self.host.later(max(0.0, due_s - self.host.clock_s) / self.host.rate + 0.001, self.wake)

    def _say(self, message: Message) -> None:
        said = _public(message)
        due = self.host.clock_s - self._beat_s >= self.host.settings.heartbeat_s * 0.9
        if due or said != self._said:
            self._said, self._beat_s = said, self.host.clock_s
            self.world.send(self.host, message)


def _is_news(name: str, old: Observation[object], ok: bool, value: object) -> bool:
    """A look calls for action at once: it differs from the last one in more than a position, or begins to fail."""
    if not ok:
        return not old.failures or name in ("connection", "disks", "processes")
    return bool(old.failures) or _significant(old.value) != _significant(value)


def _significant(value: object) -> object:
    if not isinstance(value, Database):
        return value
    replica = value.replica
    stands = (replica.state, replica.sync_state) if replica else None
    return (value.postmaster, value.in_recovery, value.streaming, value.sync_names, stands)


def with_seen(seen: Observations, reports: Report) -> Observations:
    """The observations after a probe's report: for each field, whether it worked, the value, and when."""
    changes = {}
    for name, (ok, value, at_s) in reports.items():
        old = getattr(seen, name)
        changes[name] = old.succeeded(value, at_s) if ok else old.failed(str(value), at_s)
    return replace(seen, **changes)
