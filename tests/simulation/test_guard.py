"""The watchdog beside real rounds: a change that goes well resets nobody, a host that cannot give up is reset."""

from __future__ import annotations

import pytest

from pgvip.core.actions import Guard
from pgvip.core.knowledge import Decision
from pgvip.core.messages import Order
from tests.simulation.machine import Host
from tests.simulation.scenario import heals, pair, primary, run, tail, until
from tests.simulation.world import World

pytestmark = pytest.mark.simulation

TIMEOUT_S = 5.0
"""The shortest time that the configuration allows."""
seeded = pytest.mark.parametrize("seed", range(1, 9))
both = pytest.mark.parametrize("sync", [True, False])


class Dogs:
    """A watchdog on each host: armed and fed as by `daemon.guardian`; it resets its host when its time is over."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fed_s: dict[str, float] = {}
        self.resets: list[str] = []
        decided = world.decided

        def round_(host: Host, decision: Decision) -> None:
            decided(host, decision)
            self.follow(host, decision.guard)

        world.decided = round_  # type: ignore[method-assign]  # the daemons' own hook
        world.after(0.1, self.look)

    def follow(self, host: Host, guard: Guard) -> None:
        if guard is Guard.FREE:
            self.fed_s.pop(host.name, None)
        elif guard is Guard.FEED or (guard is Guard.GIVE and host.name in self.fed_s):
            self.fed_s[host.name] = self.world.now_s

    def look(self) -> None:
        for host in self.world.hosts:
            if not host.powered:
                self.fed_s.pop(host.name, None)
            elif self.world.now_s - self.fed_s.get(host.name, self.world.now_s) > TIMEOUT_S:
                self.resets.append(host.name)
                del self.fed_s[host.name]
                host.power_off("its watchdog")
                host.power_on()
        self.world.after(0.1, self.look)


@both
@seeded
def test_changes_in_order_reset_nobody(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    dogs = Dogs(world)
    run(world, 1.0)
    world.a.pg.stop_s = world.b.pg.stop_s = 15.0  # longer than the watchdog's time
    for host in (world.a, world.b):
        assert host.daemon is not None
        host.daemon.order(Order.SWITCHOVER)
        until(world, lambda other=host.peer: other.pg.phase == "primary", 40.0)  # type: ignore[misc]  # bound at once
        heals(world)
    assert dogs.resets == [], tail(world)


@both
@seeded
def test_a_daemon_that_is_back_in_time_resets_nobody(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    dogs = Dogs(world)
    run(world, 1.0)
    for _ in range(3):
        world.a.kill_daemon()
        run(world, 3.0)
        world.a.start_daemon()
        run(world, 3.0)
    assert dogs.resets == [], tail(world)
    assert primary(world) is world.a


@both
@seeded
def test_a_frozen_daemon_resets_its_host_and_the_pair_comes_back(seed: int, sync: bool) -> None:
    """Its database serves on, and nobody else could say that it must not."""
    world = pair(seed, sync=sync)
    dogs = Dogs(world)
    run(world, 1.0)
    assert world.a.daemon is not None
    world.a.daemon.stopped = True
    until(world, lambda: bool(dogs.resets), TIMEOUT_S + 2.0)
    heals(world, 90.0)
    assert dogs.resets == ["a"], tail(world)


@seeded
def test_an_isolated_primary_with_a_frozen_daemon_does_not_serve_for_long(seed: int) -> None:
    """Nobody can fence it, and what would give its right up stands still."""
    world = pair(seed)
    dogs = Dogs(world)
    run(world, 1.0)
    world.net.cuts |= {(path, name) for path in ("link", "db", "gateway", "fence") for name in "ab"}
    assert world.a.daemon is not None
    world.a.daemon.stopped = True
    until(world, lambda: not world.a.pg.writes, TIMEOUT_S + 2.0)
    run(world, 20.0)
    assert not any(host.pg.writes for host in world.hosts), tail(world)
    world.net.cuts.clear()
    heals(world, 90.0)
    assert dogs.resets == ["a"]


@seeded
def test_a_host_that_lost_its_role_and_cannot_stop_is_reset(seed: int) -> None:
    """An operator forced the other one while this one was not seen; its processes are in D state."""
    world = pair(seed)
    dogs = Dogs(world)
    run(world, 1.0)
    world.forced = world.split = True
    world.net.cuts |= {(path, name) for path in ("link", "db") for name in "ab"}
    world.fencing.moods["a"] = world.fencing.moods["b"] = "fails"
    assert world.b.daemon is not None
    world.b.daemon.order(Order.FORCE_PROMOTE, "without-fence")
    until(world, lambda: world.b.pg.phase == "primary", 20.0)
    world.a.disk_bad = world.a.pg.stuck = True
    world.disk_holds_state = False
    world.net.cuts.clear()
    until(world, lambda: dogs.resets == ["a"], TIMEOUT_S + 5.0)
