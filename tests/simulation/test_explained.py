"""What `explain` says would happen is what does happen when the fault is really played in the simulated pair."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from pgvip.core.messages import Order
from pgvip.core.values import Record
from pgvip.explain.explanation import Explainer
from pgvip.explain.play import Stage
from pgvip.explain.scenarios import SCENARIOS, Scenario
from tests.simulation.machine import Host
from tests.simulation.run import make, start
from tests.simulation.world import World
from tests.unit.orders.test_order_table import config

SEEDS = 60
SETTLED_S = 15.0
MARGIN_S = 12.0
"""Beyond detection and delay: as `explain` waits for something to begin."""


# --- how a pair may be when it is asked --------------------------------------------------------------------------


def primary_of(world: World) -> Host:
    record = max((host.durable.record for host in world.hosts if host.durable.record), key=lambda one: one.term)
    return world.a if record.primary == "a" else world.b


def _paused(world: World) -> None:
    daemon = world.a.daemon
    assert daemon is not None
    daemon.order(Order.PAUSE, "test")


def _standby_database_gone(world: World) -> None:
    standby = primary_of(world).peer
    standby.pg.broken = True
    standby.pg.kill()


def _stream_broken(world: World) -> None:
    world.net.cuts |= {("stream", host.name) for host in world.hosts}
    world.replication.breaks()


def _standby_off(world: World) -> None:
    standby = primary_of(world).peer
    world.no_power.add(standby.name)
    standby.power_off("test")


def _daemon_restarts(world: World) -> None:
    host = world.rng.choice(world.hosts)
    host.kill_daemon()
    host.later(0.3, host.start_daemon)


def _no_gateway(world: World, standby: bool) -> None:
    host = primary_of(world)
    world.net.cuts.add(("gateway", (host.peer if standby else host).name))


def _fence_fails(world: World, standby: bool) -> None:
    host = primary_of(world)
    world.fencing.moods[(host.peer if standby else host).name] = "fails"


def _standby_reboots(world: World) -> None:
    standby = primary_of(world).peer
    standby.power_off("test")
    standby.power_on()


def _switched_over(world: World) -> None:
    daemon = primary_of(world).daemon
    assert daemon is not None
    daemon.order(Order.SWITCHOVER)


def _not_eligible(world: World) -> None:
    """The standby's server is another one, with no stream to prove what it has; no gateway, so nobody may be alone."""
    world.net.cuts |= {("gateway", host.name) for host in world.hosts}
    world.net.cuts |= {("stream", host.name) for host in world.hosts}
    world.replication.breaks()
    primary_of(world).peer.pg.kill()


STATES: dict[str, Callable[[World], None]] = {
    "not-eligible": _not_eligible,
    "healthy": lambda _world: None,
    "paused": _paused,
    "standby-database-gone": _standby_database_gone,
    "stream-broken": _stream_broken,
    "standby-off": _standby_off,
    "daemon-restarted": _daemon_restarts,
    "primary-without-gateway": partial(_no_gateway, standby=False),
    "standby-without-gateway": partial(_no_gateway, standby=True),
    "fence-of-primary-fails": partial(_fence_fails, standby=False),
    "fence-of-standby-fails": partial(_fence_fails, standby=True),
    "standby-reboots": _standby_reboots,
    "switched-over": _switched_over,
}


# --- the faults, played ----------------------------------------------------------------------------------------------


def strike(world: World, name: str, primary: Host) -> None:
    if name in ("primary-host", "standby-host"):
        host = primary if name == "primary-host" else primary.peer
        world.no_power.add(host.name)
        host.power_off(name)
    elif name == "primary-database":
        primary.pg.kill()
    elif name == "link":
        world.net.cuts |= {(path, host.name) for path in ("link", "db") for host in world.hosts}
    elif name == "gateway":
        world.net.cuts.add(("gateway", primary.name))
    else:
        daemon = primary.daemon
        assert daemon is not None
        daemon.order(Order.SWITCHOVER)


@dataclass(frozen=True)
class Outcome:
    """The first record that comes of the fault, and whether somebody serves afterwards."""

    primary: str
    mode: str
    cause: str
    serves: str


def _outcome(record: Record | None, serves: str) -> Outcome:
    if record is None:
        return Outcome("", "", "", serves)
    row = record.cause.partition(",")[0]  # whether WAL can be salvaged there, the simulated settings do not say
    return Outcome(record.primary, record.mode.value, row, serves)


def said(host: Host, scenario: Scenario) -> tuple[Outcome, Stage]:
    """What `explain` on this host says."""
    daemon = host.daemon
    assert daemon is not None
    assert daemon.last is not None
    explainer = Explainer(config(host.settings), daemon.last, daemon.seen, host.clock_s, {"Fence": 0.7})
    stage = explainer.play(scenario)
    term = max(one.durable.record.term for one in host.world.hosts if one.durable.record)
    records = [record for record in stage.records if record.term > term]
    writer = stage.writer()
    return _outcome(records[0] if records else None, writer.name if writer else ""), stage


def played(world: World, name: str, primary: Host, for_s: float) -> Outcome:
    """What comes of it."""
    term = max(host.durable.record.term for host in world.hosts if host.durable.record)
    first: Record | None = None
    strike(world, name, primary)
    end_s = world.now_s + for_s
    served_s = {host.name: float("-inf") for host in world.hosts}
    while world.now_s < end_s:
        world.step()
        news = [host.durable.record for host in world.hosts if host.durable.record and host.durable.record.term > term]
        first = first or (min(news, key=lambda record: record.term) if news else None)
        served_s |= {host.name: world.now_s for host in world.hosts if writes(host)}
    last = max(served_s, key=served_s.__getitem__)  # a commit waits for a moment, now and then
    return _outcome(first, last if world.now_s - served_s[last] < 1.0 else "")


def writes(host: Host) -> bool:
    return host.powered and host.pg.phase == "primary" and "primary" in host.held and not host.pg.waiting


def changing(world: World) -> bool:
    """A change is under way on one of the hosts."""
    known = [host.daemon.knowledge for host in world.hosts if host.powered and host.daemon]
    return any(k.fencing.claim or k.consent.giving_up or k.intent.writing or k.fencing.waiting for k in known)


def settle(world: World, more_s: float) -> None:
    """Wait until what was struck has been noticed, and what the hosts do about it has ended."""
    limit_s, since_s, record = world.now_s + 200.0, world.now_s, primary_of(world).durable.record
    while world.now_s - since_s < SETTLED_S + more_s or changing(world):
        assert world.now_s < limit_s, "it never settles"
        now = primary_of(world).durable.record
        if now != record:
            since_s, record = world.now_s, now
        world.step()


def knows_fences(world: World, host: Host) -> bool:
    """Whether the device that is to power a host off works, only the other host knows."""
    return world.fencing.moods.get(host.name) != "fails"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_explain_says_comes_true(seed: int) -> None:
    rng = random.Random(seed)
    world = make(seed, trace=True)
    world.fencing.switches_on = "never"
    world.operators = False
    start(world)
    state = rng.choice(list(STATES))
    STATES[state](world)
    settle(world, rng.uniform(0.0, 3.0))
    scenario = rng.choice(SCENARIOS)
    primary = primary_of(world)
    able = [host for host in world.hosts if host.powered and host.daemon is not None and knows_fences(world, host)]
    sayings = {host.name: said(host, scenario) for host in able}
    s = primary.settings
    real = played(world, scenario.name, primary, s.dead_after_s + s.fence_delay_s + MARGIN_S)
    for name, (outcome, stage) in sayings.items():
        told = f"{state}, {scenario.name}, {name} said {outcome}, and it was {real}; {stage.blockers}"
        if stage.crossed:  # both orders are on their way: `explain` says so; either is carried out first, or both are
            off = not any(host.powered for host in world.hosts)
            assert {outcome.cause, real.cause} <= {"solo-by-fence", "take-over-by-fence", *([""] if off else [])}, told
        else:
            assert outcome == real, told
