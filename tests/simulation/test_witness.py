"""A pair with a witness and without fences: what an operator expects to see, how long it takes, and random runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.values import Mode, Vip
from tests.simulation.machine import Host
from tests.simulation.run import FAST, LEASES, run
from tests.simulation.scenario import heals, pair, tail, until, writes_again
from tests.simulation.scenario import run as passes
from tests.simulation.third import WITNESS_ID
from tests.simulation.world import World

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

USUAL: dict[str, float | bool] = {"fencing": False}
SHORT: dict[str, float | bool] = {"fencing": False, **FAST, **LEASES}
PRESETS = pytest.mark.parametrize(("settings", "limit_s"), [(USUAL, 6.5), (SHORT, 2.8)], ids=["default", "fast"])


def witnessed(settings: dict[str, float | bool] | None = None, seed: int = 1, *, sync: bool = True) -> World:
    """A healthy pair that has a witness."""
    return pair(seed, sync=sync, witness=True, **(settings or USUAL))


def off(world: World, host: Host) -> None:
    world.no_power.add(host.name)
    host.power_off("a test")


def on(world: World, host: Host) -> None:
    world.no_power.discard(host.name)
    host.power_on()


def cut_off(world: World, host: Host, *more: str) -> None:
    """Nothing goes between the hosts, and `host` does not reach the witness."""
    world.net.cuts |= {(path, each.name) for path in ("link", "db") for each in world.hosts}
    world.net.cuts |= {(path, host.name) for path in ("witness", *more)}


def says(host: Host) -> set[str]:
    assert host.daemon is not None
    assert host.daemon.last is not None
    return {warning.name for warning in host.daemon.last.warnings}


def solo(host: Host) -> bool:
    record = host.durable.record
    return record is not None and record.mode is Mode.SOLO and record.primary == host.name


# --- a host is lost ---------------------------------------------------------------------------------------


@PRESETS
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_standby_serves_when_the_primary_is_off(
    settings: dict[str, float | bool], limit_s: float, seed: int
) -> None:
    world = witnessed(settings, seed)
    passes(world, world.span(1.0, 3.0))
    off(world, world.a)
    took_s = writes_again(world)
    assert took_s <= limit_s + 1.0, "clients come every half second"
    assert solo(world.b)
    on(world, world.a)
    heals(world)


@PRESETS
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_primary_goes_on_when_the_standby_is_off(
    settings: dict[str, float | bool], limit_s: float, seed: int
) -> None:
    world = witnessed(settings, seed)
    passes(world, world.span(1.0, 3.0))
    off(world, world.b)
    assert writes_again(world) <= (3.8 if limit_s > 3.0 else 1.5) + 1.0
    until(world, lambda: world.a.held == set(Vip), 10.0)
    assert not any("KillPostgres" in line for line in world.lines)
    on(world, world.b)
    heals(world)


@PRESETS
@pytest.mark.parametrize("seed", range(1, 6))
def test_nothing_changes_when_the_standby_s_daemon_alone_is_off(
    settings: dict[str, float | bool], limit_s: float, seed: int
) -> None:
    """It still answers, by its database: the register takes the place of the lease, over a restart here as well."""
    world = witnessed(settings, seed)
    assert world.a.keeper is not None
    world.a.keeper.watchdog = False  # what it does to a host without a daemon is another matter
    count, record = len(world.acknowledged), world.a.durable.record
    world.b.kill_daemon()
    passes(world, 4 * limit_s)
    world.a.kill_daemon()
    passes(world, 0.5)
    world.a.start_daemon()
    passes(world, 4 * limit_s)
    assert world.a.durable.record == record
    assert world.third.registers
    assert Vip.STANDBY not in world.a.held
    assert len(world.acknowledged) > count + 20
    world.b.start_daemon()
    heals(world)
    assert not any("KillPostgres" in line for line in world.lines)


def test_a_primary_stops_without_the_witness_and_the_other_daemon_and_returns_with_the_witness() -> None:
    world = witnessed()
    record = world.a.durable.record
    world.third.up = False
    world.b.kill_daemon()
    passes(world, 20.0)
    assert world.a.pg.phase == "down"
    assert "lease-over" in says(world.a)
    world.third.up = True
    assert writes_again(world, 30.0) < 25.0
    assert world.a.durable.record == record
    world.b.start_daemon()
    heals(world)


def test_a_primary_that_boots_beside_nobody_serves_again() -> None:
    world = witnessed()
    off(world, world.b)
    off(world, world.a)
    on(world, world.a)
    assert writes_again(world, 30.0) < 20.0
    assert solo(world.a)
    on(world, world.b)
    heals(world)


def test_a_primary_that_boots_beside_the_winner_does_not_serve() -> None:
    world = witnessed()
    off(world, world.a)
    until(world, lambda: solo(world.b), 10.0)
    cut_off(world, world.b, "client")
    on(world, world.a)
    passes(world, 30.0)
    assert world.a.pg.phase == "down"
    assert "claim-barred" in says(world.a)
    world.net.cuts.clear()
    heals(world)


# --- the hosts do not hear each other -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 41))
def test_a_primary_that_is_cut_off_has_stopped_before_the_other_serves(seed: int) -> None:
    world = witnessed(SHORT if seed % 3 else USUAL, seed, sync=seed % 2 == 0)
    world.drift(world.rng)
    passes(world, world.span(0.1, 5.0))
    cut_off(world, world.a, *(("gateway",) if seed % 4 else ()))
    until(world, lambda: not world.a.pg.writes, 8.0)
    stopped_s = world.now_s
    until(world, lambda: world.b.pg.writes, 10.0)
    assert world.now_s > stopped_s
    assert not world.a.held
    world.net.cuts.clear()
    heals(world)


@pytest.mark.parametrize("seed", range(1, 6))
def test_one_of_two_that_reach_the_witness_goes_on_and_that_is_the_primary(seed: int) -> None:
    world = witnessed(USUAL, seed)
    world.net.cuts |= {(path, each.name) for path in ("link", "db") for each in world.hosts}
    assert writes_again(world) < 5.0
    passes(world, 10.0)
    assert solo(world.a)
    assert world.b.pg.phase == "standby"
    assert "claim-barred" in says(world.b)
    world.net.cuts.clear()
    heals(world)


# --- the witness is lost ----------------------------------------------------------------------------------


def test_the_loss_of_the_witness_changes_nothing() -> None:
    world = witnessed()
    records = [host.durable.record for host in world.hosts]
    world.third.up = False
    passes(world, 60.0)
    assert [host.durable.record for host in world.hosts] == records
    assert not world.unhealthy()
    assert all("witness-silent" in says(host) for host in world.hosts)


@pytest.mark.parametrize("first", ["witness", "standby"])
def test_without_witness_and_standby_the_primary_stops_and_returns_with_either(first: str) -> None:
    world = witnessed()
    world.third.up = False
    off(world, world.b)
    passes(world, 30.0)
    assert world.a.pg.phase == "down"
    assert {"lease-over", "claim-failing"} & says(world.a)
    if first == "witness":
        world.third.up = True
    else:
        on(world, world.b)
    assert writes_again(world, 30.0) < 25.0
    world.third.up = True
    on(world, world.b)
    heals(world)


@pytest.mark.parametrize("first", ["witness", "primary"])
def test_without_witness_and_primary_nothing_moves_before_either_returns(first: str) -> None:
    world = witnessed()
    world.third.up = False
    off(world, world.a)
    passes(world, 30.0)
    assert world.b.pg.phase == "standby"
    assert "claim-failing" in says(world.b)
    if first == "witness":
        world.third.up = True
    else:
        on(world, world.a)
    assert writes_again(world, 30.0) < 25.0  # a primary whose host crashed hands over, to a standby that has it all
    world.third.up = True
    on(world, world.a)
    heals(world)


def test_a_lost_answer_costs_a_moment_and_no_term() -> None:
    world = witnessed()
    world.third.moods["b"] = "lost"
    off(world, world.a)
    until(world, lambda: bool(world.third.registers), 10.0)
    passes(world, 1.0)
    world.third.moods.clear()
    assert writes_again(world, 15.0) < 10.0
    assert solo(world.b)


def test_another_witness_counts_by_way_of_solo() -> None:
    world = witnessed()
    for host in world.hosts:
        host.settings = replace(host.settings, witness_id="", fencing=True)
    until(world, lambda: not world.unhealthy() and world.a.durable.record is not None
          and world.a.durable.record.witness_id == "", 30.0)  # fmt: skip
    for host in world.hosts:
        host.settings = replace(host.settings, witness_id=WITNESS_ID)
    until(world, lambda: not world.unhealthy() and world.b.durable.record is not None
          and world.b.durable.record.witness_id == WITNESS_ID, 30.0)  # fmt: skip


# --- nobody acts in time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 11))
def test_in_sync_nothing_is_lost_whoever_is_late(seed: int) -> None:
    """A virtual machine stands still, its clock too, while the standby takes over; then it goes on beside it."""
    world = witnessed(SHORT, seed)
    world.guard(watchdog=False)
    passes(world, world.span(0.1, 2.0))
    world.a.freeze(clock_too=True)
    until(world, lambda: world.b.pg.phase == "primary", 10.0)
    passes(world, world.span(0.0, 3.0))
    world.a.thaw()
    passes(world, 5.0)
    heals(world)
    assert not world.a.durable.hold, tail(world)


# --- random runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_seeds_hold(first: int) -> None:
    outcomes = [run(seed, 1000, witness=True) for seed in range(first, first + 20)]
    failed = [(outcome.seed, outcome.failure) for outcome in outcomes if outcome.failure]
    assert not failed, f"replay with scripts/simulate --witness --events 1000 --trace --seed: {failed}"
