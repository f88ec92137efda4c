"""One run of a seed: faults for a number of events, then none, and the pair must come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.engine import Violation
from tests.simulation.faults import Faults
from tests.simulation.operators import Operator
from tests.simulation.world import World

RESOLVE_S = 300.0
"""Virtual time in which a healed pair must be healthy."""
STEADY_S = 5.0
START_S = 60.0
FAST: dict[str, float | bool] = {
    "interval_s": 0.33, "heartbeat_s": 0.2, "fence_delay_s": 0.25, "hung_after_s": 1.0, "standby_down_s": 1.0,
    "lag_s_max": 20.0, "stop_s": 20.0, "sync_stall_s": 5.0, "holdoff_s": 20.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure` is "" for a run in which everything held."""

    seed: int
    events: int
    failure: str
    lines: tuple[str, ...] = ()
    at_s: float = 0.0


def make(seed: int, *, trace: bool = False) -> World:
    """The world of a seed: its settings are drawn too."""
    world = World(seed, sync=seed % 3 != 0, trace=trace, **_settings(seed))
    world.operators = seed % 7 == 0
    return world


def _settings(seed: int) -> dict[str, float | bool]:
    return FAST if seed % 2 else {"lag_s_max": 30.0, "stop_s": 20.0, "holdoff_s": 20.0}


def run(seed: int, events: int = 2000, *, trace: bool = False) -> Outcome:
    """Run a seed."""
    return watched(make(seed, trace=trace), lambda world: _play(world, events))


def watched(world: World, play: Callable[[World], None]) -> Outcome:
    """What came of `play`: something that must hold did not, or the core asserted, or all held."""
    try:
        play(world)
    except Violation as violation:
        return _outcome(world, str(violation))
    except AssertionError as failure:
        return _outcome(world, f"assertion: {failure}")
    return _outcome(world, "")


def start(world: World) -> None:
    """Both hosts boot for the first time, and come to the healthy state."""
    world.init_boots()
    world.clients.begin()
    while world.unhealthy():
        if world.now_s > START_S:
            raise Violation(f"5: it does not start: {world.unhealthy()}")
        world.step()


def _play(world: World, events: int) -> None:
    start(world)
    faults = Faults(world)
    faults.begin()
    until = world.events + events
    while world.events < until:
        world.step()
    faults.stop()
    resolve(world)


def resolve(world: World) -> None:
    """5: it comes back, and stays."""
    end_s, good_s, why = world.now_s + RESOLVE_S, float("inf"), ""
    operator = Operator(world) if world.operators else None
    while world.now_s < end_s:
        world.step()
        if operator is not None:
            operator.look()
        why = world.unhealthy()
        if why:
            good_s = float("inf")
        elif world.now_s - (good_s := min(good_s, world.now_s)) > STEADY_S:
            _final(world)
            return
    raise Violation(f"5: it does not come back: {why}")


def _final(world: World) -> None:
    if world.forced:
        return  # what a force may lose, it says
    for host in world.hosts:
        if host.pg.phase == "primary":
            has = set(host.pg.wal)
            missing = [e for e in world.acknowledged if e not in has and e not in world.lost]
            if missing:
                raise Violation(f"2: {len(missing)} acknowledged commits are missing at the end")


def _outcome(world: World, failure: str) -> Outcome:
    if failure:
        world.log("!!!", failure)
        world.log("a", repr(world.a))
        world.log("b", repr(world.b))
    return Outcome(world.seed, world.events, failure, tuple(world.lines), world.now_s)
