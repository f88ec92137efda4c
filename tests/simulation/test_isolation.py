"""A primary that is cut off from everything, with the time after which it gives up (`isolation_demote_s`)."""

from __future__ import annotations

import pytest

from pgvip.core.values import Vip
from tests.simulation.machine import Host
from tests.simulation.scenario import heals, pair, primary, run, tail, until, writes_again
from tests.simulation.world import World

pytestmark = pytest.mark.simulation

LIMIT_S = 8.0
seeded = pytest.mark.parametrize("seed", range(1, 9))
both = pytest.mark.parametrize("sync", [True, False])


def alone(world: World, host: Host, *, fence: bool = True) -> None:
    """Nothing reaches the host or comes from it. `fence`: its device still works."""
    world.net.cuts |= {(path, name) for path in ("link", "db") for name in "ab"}
    world.net.cuts |= {("gateway", host.name), ("client", host.name), ("fence", host.name)}
    if not fence:
        world.net.cuts |= {("fence", host.peer.name)}


def hints(world: World) -> None:
    """The network is whole again; fences that are under way still fail."""
    world.net.cuts = {cut for cut in world.net.cuts if cut[0] == "fence"}
    run(world, 3.0)
    world.net.cuts.clear()


@both
@seeded
def test_an_isolated_primary_gives_up_in_deed_and_serves_again_by_itself(seed: int, sync: bool) -> None:
    """Nobody can fence it, so its role stays, and so do all commits."""
    world = pair(seed, sync=sync, isolation_demote_s=LIMIT_S)
    timeline = world.a.pg.timeline
    alone(world, world.a, fence=False)
    took_s = until(world, lambda: not world.a.pg.writes and Vip.PRIMARY not in world.a.held, LIMIT_S + 3.0)
    assert took_s >= LIMIT_S - 1.5, "too early"
    run(world, 20.0)
    assert not world.a.pg.proc, tail(world)
    hints(world)
    heals(world, 30.0)
    assert primary(world) is world.a
    assert world.a.pg.timeline == timeline
    writes_again(world)


@both
@seeded
def test_a_fence_that_works_is_quicker(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync, isolation_demote_s=LIMIT_S)
    alone(world, world.a)
    until(world, lambda: world.b.pg.phase == "primary" and Vip.PRIMARY in world.b.held, LIMIT_S)
    world.net.cuts.clear()
    heals(world)
    assert primary(world) is world.b


@seeded
def test_without_the_setting_it_stays(seed: int) -> None:
    world = pair(seed, isolation_demote_s=0.0)
    alone(world, world.a, fence=False)
    run(world, 60.0)
    assert world.a.pg.phase == "primary"


@both
@seeded
def test_a_solo_primary_whose_gateway_is_down_serves_on(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync, isolation_demote_s=LIMIT_S)
    world.b.power_off("test")
    world.no_power = {"b"}
    until(world, lambda: world.a.held == set(Vip), 30.0)
    world.net.cuts.add(("gateway", "a"))
    for _ in range(6):
        run(world, LIMIT_S)
        assert world.a.held == set(Vip), tail(world)
        writes_again(world, 2.0)


@seeded
def test_a_gateway_that_comes_and_goes_does_not_restart_the_server(seed: int) -> None:
    world = pair(seed, isolation_demote_s=LIMIT_S)
    alone(world, world.a, fence=False)
    until(world, lambda: not world.a.pg.proc, LIMIT_S + 3.0)
    starts = world.a.pg.starts
    for _ in range(10):
        world.net.cuts.discard(("gateway", "a"))
        run(world, 1.5)
        world.net.cuts.add(("gateway", "a"))
        run(world, 5.0)
    assert world.a.pg.starts == starts, tail(world)
    hints(world)
    heals(world, 30.0)
    assert primary(world) is world.a
