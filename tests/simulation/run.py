"""One run: faults for a number of events, then none, and the pair must come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from pgvip.core.values import Override
from tests.simulation.engine import Violation
from tests.simulation.faults import Faults
from tests.simulation.operators import Operator, left_stopped
from tests.simulation.plan import Drawn, Fault, Fixed, Plan
from tests.simulation.world import World

RESOLVE_S = 300.0
"""Virtual time in which a healed pair must be healthy."""
STEADY_S = 3.0
START_S = 60.0
ISOLATION_S = (0.0, 2.0, 0.0, 8.0)
"""Time after which an isolated primary gives up; 2 s is the shortest that the fast preset may have."""
FAST: dict[str, float | bool] = {
    "interval_s": 0.33, "heartbeat_s": 0.2, "fence_delay_s": 0.25, "hung_after_s": 1.0, "standby_down_s": 1.0,
    "lag_s_max": 20.0, "stop_s": 20.0, "sync_stall_s": 5.0, "holdoff_s": 20.0,
    "unfollowed_s": 5.0,
}  # fmt: skip
LEASES: dict[str, float | bool] = {"lease_s": 1.7, "lease_stop_s": 0.4, "claim_s": 0.3}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure` is "" for a run in which everything held. `plan` is what was struck, for a replay."""

    seed: int
    events: int
    failure: str
    lines: tuple[str, ...] = ()
    at_s: float = 0.0
    plan: Plan | None = None


def make(seed: int, *, trace: bool = False, plan: Plan | None = None) -> World:
    """The world of a seed, or of a plan: its settings are drawn too."""
    plan = plan or Plan.of(seed, 0)
    traits = plan.traits
    settings = _settings(seed) | (_leases(seed) if traits.witness else {})
    world = World(seed, sync=seed % 3 != 0, trace=trace, witness=bool(traits.witness), **settings)
    if traits.witness:
        world.guard(watchdog=traits.witness == "watched")
        world.drift(Random(f"drift {seed}"))
    if plan.salt:
        world.rng.seed(f"{seed} {plan.salt}")
    world.operators = traits.operators
    for host, veto in zip(world.hosts, traits.vetoes, strict=True):
        host.veto = veto
    world.fencing.switches_on = traits.fence_on
    world.faults.message_kept = traits.kept
    for host, mine, theirs in zip(world.hosts, traits.overrides, reversed(traits.overrides), strict=True):
        host.settings = replace(host.settings, override=Override(mine), peer_override=Override(theirs))
    return world


def _settings(seed: int) -> dict[str, float | bool]:
    settings = FAST if seed % 2 else {"lag_s_max": 30.0, "stop_s": 20.0, "holdoff_s": 20.0}
    return settings | {"isolation_demote_s": ISOLATION_S[seed // 6 % len(ISOLATION_S)]}  # also of seeds with one mode


def _leases(seed: int) -> dict[str, float | bool]:
    """With a witness: half of the pairs cannot fence; the fast ones have short leases."""
    return {"fencing": seed % 4 >= 2, **(LEASES if seed % 2 else {})}


def run(seed: int, events: int = 2000, *, trace: bool = False, witness: bool = False) -> Outcome:
    """Run a seed: what goes wrong is drawn from it."""
    return play(Plan.of(seed, events, witness=witness), trace=trace)


def play(plan: Plan, *, trace: bool = False, most: int = 1 << 62) -> Outcome:
    """Run a plan; `most`: how many events before it is given up as too long (a failure of its own)."""
    world = make(plan.seed, trace=trace, plan=plan)
    drawn: list[Faults] = []
    outcome = watched(world, lambda world: _play(world, plan, drawn, most))
    if not drawn:
        return replace(outcome, plan=replace(plan, faults=()))
    faults = drawn[0]
    stop_s = (faults.stopped_s or world.now_s) - faults.base_s
    return replace(outcome, plan=replace(plan, events=0, stop_s=stop_s, faults=tuple(faults.struck)))


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


def _play(world: World, plan: Plan, drawn: list[Faults], most: int) -> None:
    start(world)
    source = Drawn(plan.seed, plan.traits) if plan.faults is None else Fixed(plan.faults)
    faults = Faults(world, source)
    drawn.append(faults)
    world.watch.only_daemons = plan.traits.only_daemons
    faults.begin()
    if plan.events:
        until = world.events + plan.events
        while world.events < until:
            world.step()
    else:
        # Counted as `play` counts it: a sum would be off by the last bit of a float.
        while world.now_s - faults.base_s < plan.stop_s and world.events < most:
            world.step()
    while world.next_s() == world.now_s and world.events < most:
        world.step()  # a plan knows the time of its end, not which of two events of one time was the last
    faults.stop()
    resolve(world, most)


def resolve(world: World, most: int = 1 << 62) -> None:
    """5: it comes back, and stays."""
    end_s, good_s, why = world.now_s + RESOLVE_S, float("inf"), ""
    operator = Operator(world)
    rounds = -1
    while world.now_s < end_s and world.events < most:
        world.step()
        if world.rounds == rounds:
            continue  # nothing that makes a pair healthy happens without a daemon's doing
        rounds = world.rounds
        # A promotion that left something out, and a standby that left recovery again and again, are for an operator to
        # judge, in whichever run.
        needs_one = any(host.durable.lacks or left_stopped(host) for host in world.hosts)
        world.operators = world.operators or needs_one
        if world.operators:
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


def kind(failure: str) -> str:
    """The failure without its numbers and names: what makes two failures the same."""
    words = "".join(" " if letter.isdigit() else letter for letter in failure[2:])
    return failure[:2] + words.split(":")[0] if failure.startswith("5") else failure[:2] + " ".join(words.split())[:90]


def struck(outcome: Outcome) -> tuple[Fault, ...]:
    """What went wrong in the run."""
    return outcome.plan.faults or () if outcome.plan else ()
