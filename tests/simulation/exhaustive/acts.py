"""What actions do: at once when they start, and when they end; and every way in which one may end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pgvip.core.actions import (
    AddVip,
    CheckVip,
    Claimed,
    ClaimTerm,
    ConfirmGrant,
    DropVip,
    Fence,
    FindEnd,
    KillPostgres,
    PowerOn,
    Promote,
    Rejoin,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    WriteState,
)
from pgvip.core.values import Lsn, Vip, WalPoint
from tests.simulation import world as random_world
from tests.simulation.exhaustive import machines, servers, wal
from tests.simulation.exhaustive.deciding import Core
from tests.simulation.exhaustive.state import PEER, Violation, World, with_pg
from tests.simulation.third import Third


class Ended(NamedTuple):
    """One way in which an action ends: the world after it, its outcome, and what that costs of `delays`."""

    how: str
    world: World
    outcome: int
    cost: int = 0


class Actor:
    """The simulated actions of both hosts."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.good = core.outcome()
        self.needs_flush = random_world.Rules().grant_needs_flush

    # --- at once ------------------------------------------------------------------------------------------

    def begins(self, world: World, name: str, number: int) -> World:
        """What an action does as it starts."""
        action, host = self.core.actions[number], world.host(name)
        pg = host.pg
        if isinstance(action, StartPostgres):
            if not pg.proc and not pg.orphans and not pg.broken:
                proc = machines.new_name(self.core, world, "pid", name)
                pg = servers.spawned(pg, proc, standby=action.standby, sync=action.sync)
        elif isinstance(action, StopPostgres):
            if action.clean and pg.phase == "primary" and not pg.hung:
                pg = pg._replace(phase="stopping")
        elif isinstance(action, Promote):
            if pg.phase == "standby":
                pg = pg._replace(phase="promoting", rx=None)
        elif isinstance(action, Rejoin):
            servers.rebuilding(world, name)
            pg = servers.down(pg)._replace(broken=True, signal=False)
        else:
            return world
        return with_pg(world, name, pg)

    # --- ends -----------------------------------------------------------------------------------------------

    def ends(self, world: World, name: str, number: int) -> Iterator[Ended]:
        """Each way in which the action may end now: as it should, or wrongly."""
        action = self.core.actions[number]
        if isinstance(action, Fence):
            yield from self._fence(world, name)
            return
        if isinstance(action, ClaimTerm):
            yield from self._claim(world, name, action.term)
            return
        after, outcome = self.end(world, name, number)
        yield Ended("", after, outcome)
        if isinstance(action, CheckVip | PowerOn | FindEnd | ConfirmGrant):
            return
        failed = self.core.outcome(ok=False, text="failed")
        if isinstance(action, StartPostgres | Promote):
            if world.host(name).pg.phase in ("starting", "promoting"):
                yield Ended("fails", self._dies(world, name), failed, 1)
        elif isinstance(action, StopPostgres):
            if action.clean and world.host(name).pg.phase == "stopping":
                yield Ended("escalates", self._dies(world, name), self.good, 1)
        else:
            yield Ended("fails", world, failed, 1)

    def _dies(self, world: World, name: str) -> World:
        return with_pg(world, name, servers.down(world.host(name).pg))

    def end(self, world: World, name: str, number: int) -> tuple[World, int]:
        """An action ends as it should; the world after it and what it says."""
        action = self.core.actions[number]
        if isinstance(action, WriteState):
            return self._write(world, name, action)
        if isinstance(action, AddVip | DropVip):
            return self._address(world, name, action)
        if isinstance(action, CheckVip):
            peer = world.host(PEER[name])
            answers = world.open_path("db") and action.vip in peer.held
            return world, self.core.outcome(text=f"mac-{PEER[name]}" if answers else "")
        if isinstance(action, PowerOn):
            return self._power_on(world, name)
        if isinstance(action, Fence):
            return self._fenced(world, name)
        if isinstance(action, ClaimTerm):
            return self._claimed(world, name, action.term)
        return self._of_server(world, name, number)

    def _of_server(self, world: World, name: str, number: int) -> tuple[World, int]:
        action, pg = self.core.actions[number], world.host(name).pg
        bad = self.core.outcome(ok=False, text="cannot")
        if isinstance(action, StartPostgres):
            if pg.phase == "starting" and not pg.hung:
                world = servers.started(world, name)
            return world, self.good if world.host(name).pg.phase in ("standby", "primary", "promoting") else bad
        if isinstance(action, Promote):
            if pg.phase == "promoting" and not pg.hung:
                world = servers.promoted(world, name)
            return world, self.good if world.host(name).pg.phase == "primary" else bad
        if isinstance(action, KillPostgres):
            return self._dies(world, name), self.good
        if isinstance(action, StopPostgres):
            clean = action.clean and not pg.hung and pg.phase in ("stopping", "standby")
            return (servers.shut_down(world, name) if clean else self._dies(world, name)), self.good
        if isinstance(action, SetSyncNames):
            if pg.phase != "primary" or pg.hung:
                return world, bad
            return with_pg(world, name, pg._replace(names=action.on)), self.good  # in force a tick later
        if isinstance(action, ConfirmGrant):
            return world, self.good if self._proved(world, name, action) else bad
        if isinstance(action, FindEnd):
            point = WalPoint(wal.timeline(pg.wal), Lsn(wal.length(pg.wal)))
            return world, self.core.outcome(ok=not pg.proc, point=point)
        if isinstance(action, Salvage):
            return self._salvage(world, name)
        if isinstance(action, Rejoin):
            return self._rejoin(world, name)
        return world, self.good

    def _write(self, world: World, name: str, action: WriteState) -> tuple[World, int]:
        world = world.put(name, world.host(name)._replace(durable=self.core.durables.number(action.durable)))
        mine, theirs = (self.core.durables[world.host(each).durable].record for each in (name, PEER[name]))
        if mine and theirs and mine.term == theirs.term and not mine.same_rights(theirs):
            raise Violation(f"records of term {mine.term} differ")
        return world, self.good

    def _address(self, world: World, name: str, action: AddVip | DropVip) -> tuple[World, int]:
        host, peer = world.host(name), world.host(PEER[name])
        if isinstance(action, DropVip) and action.vip is Vip.STANDBY and not world.sends("drop", name):
            return world, self.core.outcome(ok=False, text="no answer from netlink")
        held = set(host.held) - {action.vip}
        if isinstance(action, AddVip):
            held.add(action.vip)
            if peer.on and action.vip in peer.held:
                raise Violation(f"4: both hosts hold the {action.vip.value} VIP")
            if action.vip is Vip.PRIMARY and host.pg.phase in ("standby", "promoting"):
                raise Violation(f"4: {name} raised the primary VIP on a standby")
        return world.put(name, host._replace(held=tuple(sorted(held)))), self.good

    def _proved(self, world: World, name: str, action: ConfirmGrant) -> bool:
        """Names in force, a position read after that, and the present stream's flush past it."""
        pg = world.host(name).pg
        if pg.phase != "primary" or pg.hung or pg.tx is None or pg.tx.proc != action.key.postmaster:
            return False
        if action.sync and not pg.force:
            return False
        # Where commits do not wait, the newest is always on its way: the position was read before it.
        behind = int(not pg.force and wal.last(pg.wal) in world.acked)
        return not self.needs_flush or pg.tx.flush >= wal.length(pg.wal) - behind

    def _salvage(self, world: World, name: str) -> tuple[World, int]:
        """The peer's recovery finds the files, if its stream has ended and the hosts reach each other."""
        pg, other = world.host(name).pg, world.host(PEER[name]).pg
        end = self.core.outcome(ok=not pg.proc, point=WalPoint(wal.timeline(pg.wal), Lsn(wal.length(pg.wal))))
        reads = other.phase == "standby" and not other.hung and other.rx is None and world.open_path("db")
        if pg.proc or not reads or not wal.begins(other.wal, pg.wal):
            return world, end
        return with_pg(world, PEER[name], other._replace(wal=pg.wal, flushed=wal.length(pg.wal))), end

    def _rejoin(self, world: World, name: str) -> tuple[World, int]:
        pg, peer = world.host(name).pg, world.host(PEER[name]).pg
        if not world.open_path("db") or peer.phase != "primary" or peer.hung:
            return world, self.core.outcome(ok=False, text="the peer's database is not there")
        pg = pg._replace(signal=True, broken=False, control="in archive recovery", alone=0)
        return with_pg(world, name, pg._replace(wal=peer.wal, flushed=wal.length(peer.wal))), self.good

    # --- the witness ------------------------------------------------------------------------------------------

    def _claimed(self, world: World, name: str, term: int) -> tuple[World, int]:
        """The first who asks has the register."""
        if not world.sends("witness", name):
            return world, self.core.outcome(ok=False, text="no answer")
        world, winner = carried_out(world, name, term)
        return world, self.core.outcome(claimed=Claimed(winner, 0))

    def _claim(self, world: World, name: str, term: int) -> Iterator[Ended]:
        """It is answered; else its answer is lost, or it is carried out later, if ever."""
        after, outcome = self._claimed(world, name, term)
        yield Ended("", after, outcome)
        if after is world and not world.sends("witness", name):
            return
        bad = self.core.outcome(ok=False, text="no answer in time")
        yield Ended("unanswered", after, bad, 1)
        late = (term, name)
        if late not in world.asked:
            yield Ended("late", world._replace(asked=(*world.asked, late)), bad, 1)

    # --- the peer's power ---------------------------------------------------------------------------------

    def device(self, world: World, name: str) -> bool:
        """The device of this host's peer does what `name` asks."""
        return world.sends("fence", name)

    def _power_on(self, world: World, name: str) -> tuple[World, int]:
        if not self.device(world, name):
            return world, self.core.outcome(ok=False, text="the device does not answer")
        return machines.power_on(self.core, world, PEER[name]), self.good

    def _fenced(self, world: World, name: str) -> tuple[World, int]:
        """The peer is off, verified, and stays off until somebody switches it on."""
        if not self.device(world, name):
            return world, self.core.outcome(ok=False, text="the device does not answer")
        return machines.power_off(world, PEER[name]), self.good

    def _fence(self, world: World, name: str) -> Iterator[Ended]:
        """Off, or off and on again; else it is refused, comes late, or its confirmation is lost."""
        target = PEER[name]
        off, outcome = self._fenced(world, name)
        bad = self.core.outcome(ok=False, text="timed out")
        if outcome != self.good:
            yield Ended("fails", world, outcome)
            return
        on = machines.power_on(self.core, off, target)
        yield Ended("off", off, self.good)
        yield Ended("off and on", on, self.good)
        yield Ended("refused", world, bad, 1)
        if target not in world.late:
            yield Ended("late", world._replace(late=(*world.late, target)), bad, 1)
        yield Ended("unconfirmed", off, bad, 1)
        yield Ended("unconfirmed, off and on", on, bad, 1)


def carried_out(world: World, name: str, term: int) -> tuple[World, str]:
    """A claim is carried out: who has the register, and the world in which they have it."""
    winner = dict(world.registers).get(term)
    if winner is not None and Third.once:
        return world, winner
    kept = tuple(each for each in world.registers if each[0] != term)
    return world._replace(registers=tuple(sorted((*kept, (term, name))))), name
