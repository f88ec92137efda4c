"""What may go wrong between two ticks, each for one of the `faults` that are left; and how it ends, for nothing."""

from __future__ import annotations

from collections.abc import Iterator

from pgvip.core.actions import Fence, PowerOn, WriteState
from pgvip.core.messages import Order
from tests.simulation.exhaustive import machines, servers, wal
from tests.simulation.exhaustive.acts import Actor, carried_out
from tests.simulation.exhaustive.deciding import Core
from tests.simulation.exhaustive.state import NAMES, PEER, Host, Move, World, with_pg

CUTS: dict[str, tuple[str, ...]] = {
    "link": ("link a", "link b"),
    "db": ("db a", "db b"),
    "apart": ("link a", "link b", "db a", "db b"),
    **{f"link of {name}": (f"link {name}",) for name in NAMES},
    **{f"gateway of {name}": (f"gateway {name}",) for name in NAMES},
    "gateways": ("gateway a", "gateway b"),
    **{f"device of {PEER[name]}": (f"fence {name}",) for name in NAMES},
    **{f"stuck address of {name}": (f"drop {name}",) for name in NAMES},
    **{f"cut-off {name}": tuple(f"{path} {name}" for path in ("link", "db", "gateway", "fence")) for name in NAMES},
}
"""Faults of the network, and which path does not carry what which host sends; a stuck address cannot be dropped."""
WITNESS_CUTS: dict[str, tuple[str, ...]] = {
    "witness": ("witness a", "witness b"),
    **{f"witness of {name}": (f"witness {name}",) for name in NAMES},
    **{f"alone {name}": ("link a", "link b", "db a", "db b", f"witness {name}") for name in NAMES},
}
"""The same with a witness."""
OF_HOST = (
    "off", "reset", "kill-postgres", "orphans", "dba-stop", "hang", "stall", "slow", "kill-daemon", "end-daemon",
    "stop-daemon", "switchover", "addresses", "older-data",
)  # fmt: skip
KINDS = (*CUTS, *(f"{kind} {name}" for kind in OF_HOST for name in NAMES))
"""Every kind of fault."""


WITNESS_KINDS = (*KINDS, *WITNESS_CUTS)
"""Every kind of fault of a pair with a witness."""
ALL_CUTS = {**CUTS, **WITNESS_CUTS}


class Faults:
    """Faults that begin, and that end."""

    def __init__(self, core: Core, actor: Actor, kinds: tuple[str, ...]) -> None:
        self.core = core
        self.actor = actor
        self.kinds = kinds

    def all(self, world: World) -> Iterator[Move]:
        """Every world after one fault, or after the end of one."""
        for label, after in (*self._begins(world), *self._ends(world), *self._lates(world)):
            yield Move(f"** {label}", after._replace(due=after.awake()))

    # --- begin ------------------------------------------------------------------------------------------------

    def _begins(self, world: World) -> Iterator[tuple[str, World]]:
        if not world.faults:
            return
        less = world._replace(faults=world.faults - 1)
        for kind in self.kinds:
            if kind in ALL_CUTS:
                if kind not in world.active:
                    yield f"{kind}: cut", with_active(less, (*less.active, kind))
            else:
                name = kind[-1]
                if world.host(name).on:
                    for words, after in getattr(self, "_" + kind[:-2].replace("-", "_"))(less, name):
                        yield f"{kind}{words}", after

    def _off(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        for words, after in self._under_way(world, name, (WriteState, Fence, PowerOn)):
            yield words, machines.power_off(after, name)

    def _reset(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        for words, after in self._off(world, name):
            yield words, machines.power_on(self.core, after, name)

    def _under_way(self, world: World, name: str, kinds: tuple[type, ...]) -> Iterator[tuple[str, World]]:
        """What was under way is not done; or it is, just before the end."""
        yield "", world
        acts = [act for act in machines.open_acts(world.host(name)) if isinstance(self.core.actions[act.action], kinds)]
        if acts:
            for act in acts:
                world, _ = self.actor.end(world, name, act.action)
            yield " (after what it was doing)", world

    def _kill_daemon(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        """It is started again at once."""
        yield from self._daemon_ends(world, name, machines.RESTART)

    def _end_daemon(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        """It is not started again for a while."""
        yield from self._daemon_ends(world, name, -1)

    def _daemon_ends(self, world: World, name: str, boots: int) -> Iterator[tuple[str, World]]:
        if world.host(name).known:
            for words, after in self._under_way(world, name, (object,)):
                yield words, machines.daemon_ends(self.core, after, name, boots)

    def _stop_daemon(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        host = world.host(name)
        if host.known and not host.stopped:
            yield "", world.put(name, host._replace(stopped=True))

    def _kill_postgres(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        pg = world.host(name).pg
        if pg.phase != "down":
            yield "", with_pg(world, name, servers.down(pg))

    def _orphans(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        """The postmaster is killed, and a backend goes on."""
        pg = world.host(name).pg
        if pg.phase == "primary":
            yield "", with_pg(world, name, servers.down(pg, orphans=True))

    def _dba_stop(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        pg = world.host(name).pg
        if pg.phase in ("primary", "standby") and not pg.hung:
            yield "", servers.shut_down(world, name)

    def _older_data(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        """A standby is killed, and runs on the files of an older backup from then on. The peer alone has the newest."""
        pg, peer = world.host(name).pg, world.host(PEER[name]).pg
        if pg.signal and wal.length(pg.wal) > 1:
            both = pg.wal if wal.begins(pg.wal, peer.wal) else ()
            alone = frozenset((wal.last(both),)) if both else frozenset()
            older = servers.down(pg)._replace(wal=wal.cut(pg.wal, 1), flushed=1)
            yield "", with_pg(world._replace(acked=world.acked | alone), name, older)

    def _hang(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        pg = world.host(name).pg
        if pg.phase in ("primary", "standby") and not pg.hung:
            yield "", with_pg(world, name, pg._replace(hung=True))

    def _stall(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        pg = world.host(name).pg
        if not pg.stalled:
            yield "", with_pg(world, name, pg._replace(stalled=True))

    def _slow(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        """As standby it streams, and WAL hardly gets there."""
        pg = world.host(name).pg
        if not pg.slow:
            yield "", with_pg(world, name, pg._replace(slow=True))

    def _switchover(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        host = world.host(name)
        if host.known and not host.stopped:
            yield "", world.put(name, host._replace(orders=(*host.orders, Order.SWITCHOVER.value)))

    def _addresses(self, world: World, name: str) -> Iterator[tuple[str, World]]:
        host = world.host(name)
        if host.held:
            yield " removed by hand", world.put(name, host._replace(held=()))

    # --- end --------------------------------------------------------------------------------------------------

    def _ends(self, world: World) -> Iterator[tuple[str, World]]:
        for kind in world.active:
            yield f"{kind}: healed", with_active(world, tuple(other for other in world.active if other != kind))
        for name in NAMES:
            host = world.host(name)
            if not host.on:
                yield f"power returns to {name}", machines.power_on(self.core, world, name)
            elif host.boots < 0 and not host.known:
                yield f"the daemon of {name} is started", machines.start_daemon(self.core, world, name)
            if host.stopped:
                yield f"the daemon of {name} continues", world.put(name, host._replace(stopped=False))
            if host.pg.hung:
                yield f"postgres of {name} goes on", with_pg(world, name, host.pg._replace(hung=False))
            if host.pg.slow:
                yield f"WAL gets to {name} again", with_pg(world, name, host.pg._replace(slow=False))
            if host.pg.stalled:
                yield f"{name} flushes again", with_pg(world, name, host.pg._replace(stalled=False))

    def _lates(self, world: World) -> Iterator[tuple[str, World]]:
        """What comes late: messages, fences."""
        for index, kept in enumerate(world.kept):
            host = world.host(kept.to)
            if host.known:
                number = -kept.message if kept.stale else kept.message
                arrived = world.put(kept.to, host._replace(inbox=(number, *host.inbox)))
                left = world.kept[:index] + world.kept[index + 1 :]
                yield f"an OLD message comes to {kept.to}", arrived._replace(kept=left)
        for name in world.late:
            off = machines.power_off(world, name)._replace(late=tuple(other for other in world.late if other != name))
            yield f"a LATE fence strikes {name}", off
            yield f"a LATE fence strikes {name}, off and on", machines.power_on(self.core, off, name)
        for term, name in world.asked:
            fewer = world._replace(asked=tuple(other for other in world.asked if other != (term, name)))
            yield f"a LATE claim of {name} for term {term} is carried out", carried_out(fewer, name, term)[0]

    def healed(self, world: World) -> World:
        """Every fault ends, every machine has power, every daemon runs, and none is left."""
        world = with_active(world, ())._replace(faults=0, delays=0, copies=0, kept=(), late=(), asked=())
        for name in NAMES:
            world = machines.power_on(self.core, world, name)
            host: Host = world.host(name)
            well = host.pg._replace(hung=False, stalled=False, slow=False)
            world = world.put(name, host._replace(stopped=False, pg=well))
            if host.boots < 0 and not host.known:
                world = machines.start_daemon(self.core, world, name)
        return world._replace(due=world.awake())


def with_active(world: World, active: tuple[str, ...]) -> World:
    return world._replace(active=active, cuts=frozenset(cut for kind in active for cut in ALL_CUTS[kind]))
