"""Helpers of the plain scenarios: start a pair, run for a time or until something holds."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.machine import Host
from tests.simulation.world import World


def pair(seed: int = 1, *, sync: bool = True, witness: bool = False, **settings: float | bool) -> World:
    """A pair that has come to its healthy state."""
    world = World(seed, sync=sync, trace=True, witness=witness, **settings)
    world.init_boots()
    world.clients.begin()
    until(world, world.healthy, 60.0)
    return world


def run(world: World, for_s: float) -> None:
    end_s = world.now_s + for_s
    while world.now_s < end_s:
        world.step()


def until(world: World, holds: Callable[[], bool], within_s: float) -> float:
    """Run until `holds`; fails with the trace when that takes longer than `within_s`. How long it took."""
    start_s = world.now_s
    while not holds():
        world.step()
        if world.now_s - start_s > within_s:
            raise AssertionError(f"not within {within_s} s: {world.unhealthy()}\n" + tail(world))
    return world.now_s - start_s


def tail(world: World, lines: int = 150) -> str:
    return "\n".join([*world.lines[-lines:], repr(world.a), repr(world.b)])


def primary(world: World) -> Host:
    """The host that is read-write."""
    return next(host for host in world.hosts if host.pg.phase == "primary")


def heals(world: World, within_s: float = 60.0) -> float:
    """The pair comes to its healthy state, and everything that was acknowledged is there."""
    took_s = until(world, world.healthy, within_s)
    has = set(primary(world).pg.wal)
    assert not [entry for entry in world.acknowledged if entry not in has and entry not in world.lost], tail(world)
    return took_s


def writes_again(world: World, within_s: float = 15.0) -> float:
    """A commit is acknowledged that was not before: how long that took."""
    count = len(world.acknowledged)
    return until(world, lambda: len(world.acknowledged) > count, within_s)
