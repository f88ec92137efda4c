"""One machine around the real core: actions take effect when told to, and may be cut short by a crash.

A `Procedure` is a machine with a peer that answers; `run` carries it out and keeps the trace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pgvip.core.actions import (
    Action,
    AddVip,
    CheckVip,
    DropVip,
    FindEnd,
    MountArchive,
    Promote,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    WriteState,
)
from pgvip.core.decide import begin, boot_facts
from pgvip.core.messages import Command, Message
from pgvip.core.observations import Database, Replica
from pgvip.core.values import BootFacts, Durable, Vip, WalPoint
from tests.unit.core_world import HERE, NO_VIPS, Host, saw

Peer = Callable[["Machine"], Message | None]
STEP_S = 0.25


def silent(_machine: Machine) -> Message | None:
    return None


def words(action: Action) -> str:
    """An action in a line of a transcript."""
    if isinstance(action, WriteState):
        durable, record = action.durable, action.durable.record
        what = f"{record.term} {record.mode.value}({record.primary})" if record else "no record"
        marks = [name for name in ("served", "complete", "hold") if getattr(durable, name)]
        come = [f"from {record.from_term}"] if record and record.from_term is not None else []
        end = [f"end {record.handover}"] if record and record.handover else []
        return " ".join(["WriteState", what, *come, *end, *marks])
    if isinstance(action, AddVip | DropVip | CheckVip):
        return f"{type(action).__name__} {action.vip.value}"
    text = repr(action)
    return text.replace("()", "")


@dataclass
class Machine:
    """A host with a disk. `performed`: what took effect; `trace`: what was seen from outside."""

    host: Host
    disk: Durable
    facts: BootFacts = field(default_factory=BootFacts)
    trace: list[str] = field(default_factory=list)
    performed: list[Action] = field(default_factory=list)
    started: list[Action] = field(default_factory=list)
    said: str = ""

    @classmethod
    def of(cls, host: Host) -> Machine:
        return cls(host, host.k.durable)

    def round(self, message: Message | None = None, *, after_s: float = 0.0, command: Command | None = None) -> None:
        """One round; what was kept and said is known outside from then on."""
        self._after(
            self.host.round(
                messages=[message] if message else [], commands=[command] if command else [], after_s=after_s
            )
        )

    def _after(self, host: Host) -> None:
        self.host = host
        k = host.k
        self.facts = boot_facts(k)
        for action in host.actions:
            self.started.append(action)
            self.trace.append(f"start {words(action)}")
        said = _says(host.message)
        if said != self.said:
            self.said = said
            self.trace.append(f"say   {said}")

    def perform(self, action: Action) -> None:
        """The action takes effect; its result is not in yet."""
        self.performed.append(action)
        effect = _EFFECTS.get(type(action))
        if isinstance(action, WriteState):
            self.disk = action.durable
        if effect is not None:
            self.host = effect(self.host, action)

    def finish(self, action: Action, *, ok: bool = True) -> None:
        point = WalPoint(1, HERE) if isinstance(action, FindEnd) else None
        self.trace.append(f"{'done ' if ok else 'fail '} {words(action)}")
        self._after(self.host.done(action, ok=ok, point=point))

    def daemon_restarts(self) -> None:
        """A new process on the same kernel: it has what was written, and this boot's facts."""
        run_id = self.host.k.who.run_id + "'"
        who = replace(self.host.k.who, run_id=run_id, started_s=self.host.now_s)
        self.host = replace(self.host, k=begin(who, self.disk, self.facts), last=None)

    def reboots(self) -> None:
        """Power was lost: the disk is what remains."""
        host = replace(self.host, k=replace_durable(self.host, self.disk).k).reboots()
        self.host, self.facts = host.sees(held=saw(NO_VIPS, host.now_s)), BootFacts()


def replace_durable(host: Host, durable: Durable) -> Host:
    return host.knows(durable=durable)


def _says(message: Message) -> str:
    record = message.record
    parts = [f"{record.term} {record.mode.value}({record.primary})" if record else "no record"]
    parts += [name for name in ("confirmed", "claiming", "eligible", "read_write") if getattr(message, name)]
    parts += [f"asks {message.request.want.value}"] if message.request else []
    parts += [f"invites: {message.invite}"] if message.invite else []
    parts += [f"stopped at {message.stopped.point}"] if message.stopped else []
    parts += ["grants"] if message.grant else []
    parts += ["address free"] if message.address_free else []
    parts += [f"cannot: {message.cannot}"] if message.cannot else []
    parts += [f"vips {'+'.join(message.vips)}"] if message.vips else []
    return ", ".join(parts)


# --- what actions do ----------------------------------------------------------------------------------------


def _starts(host: Host, action: Action) -> Host:
    assert isinstance(action, StartPostgres)
    name = f"{host.me}-new:{host.now_s:.2f}"
    host = host.processes(postmaster=name, left=7, standby_signal=action.standby, control_state="in production")
    host = host.sees(connection=saw(value=True, at_s=host.now_s))
    return _up(host, name, read_write=not action.standby, names="peer" if action.sync else "")


def _up(host: Host, postmaster: str, *, read_write: bool, names: str) -> Host:
    database = host.seen.database.value or Database(postmaster, in_recovery=True, point=WalPoint(1, HERE))
    replica = Replica("streaming", "sync", HERE, HERE) if read_write and host.k.peer.heard else None
    changed = replace(
        database, postmaster=postmaster, in_recovery=not read_write, sync_names=names, replica=replica, replay_lsn=HERE,
        streaming=not read_write, moved_at_s=host.now_s,
    )  # fmt: skip
    return host.sees(database=saw(changed, host.now_s))


def _promotes(host: Host, _action: Action) -> Host:
    host = host.processes(standby_signal=False, control_state="in production")
    database = host.seen.database.value
    assert database is not None
    return host.database(in_recovery=False, streaming=False, point=WalPoint(database.point.timeline + 1, HERE))


def _stops(host: Host, action: Action) -> Host:
    assert isinstance(action, StopPostgres)
    return host.down(clean=action.clean)


def _holds(host: Host) -> frozenset[Vip]:
    return host.seen.held.value or NO_VIPS


def _adds(host: Host, action: Action) -> Host:
    assert isinstance(action, AddVip)
    return host.holds(*_holds(host), action.vip)


def _drops(host: Host, action: Action) -> Host:
    assert isinstance(action, DropVip)
    return host.holds(*(_holds(host) - {action.vip}))


def _names(host: Host, action: Action) -> Host:
    assert isinstance(action, SetSyncNames)
    return host.database(sync_names="peer" if action.on else "")


def _rejoins(host: Host, _action: Action) -> Host:
    return host.processes(standby_signal=True, control_state="in archive recovery")


def _mounts(host: Host, _action: Action) -> Host:
    return host.sees(archive=saw(value=True, at_s=host.now_s))


_EFFECTS: dict[type[Action], Callable[[Host, Action], Host]] = {
    StartPostgres: _starts,
    Promote: _promotes,
    StopPostgres: _stops,
    AddVip: _adds,
    DropVip: _drops,
    SetSyncNames: _names,
    Rejoin: _rejoins,
    MountArchive: _mounts,
}


# --- procedures ------------------------------------------------------------------------------------------------


@dataclass
class Procedure:
    """`host` begins, `peer` says what it says after each round; `order` is given in the first round."""

    name: str
    host: Callable[[], Host]
    peer: Peer
    rounds: int = 12
    order: Command | None = None

    def run(self, crash_at: int = -1, *, performed: bool = True, kind: type[Machine] = Machine) -> Machine:
        """Carry it out. With `crash_at`: stop at that action, before or after it took effect."""
        machine = kind.of(self.host())
        count = 0
        for number in range(self.rounds):
            machine.round(self.peer(machine), after_s=STEP_S, command=None if number else self.order)
            while machine.host.k.work.running:
                action = machine.host.k.work.running[0]
                if count == crash_at:
                    if performed:
                        machine.perform(action)
                    return machine
                machine.perform(action)
                machine.finish(action)
                count += 1
        return machine

    def actions(self) -> int:
        """How many actions it takes."""
        return len(self.run().performed)
