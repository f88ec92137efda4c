"""The plain scenarios, each on the real core, in sync and in async: what an operator expects to see."""

from __future__ import annotations

import pytest

from pgvip.core.messages import Order
from pgvip.core.values import Mode, Vip
from tests.simulation.machine import Host
from tests.simulation.scenario import heals, pair, primary, run, tail, until, writes_again
from tests.simulation.world import World

pytestmark = pytest.mark.simulation

SEEDS = range(1, 9)
both = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
seeded = pytest.mark.parametrize("seed", SEEDS)


def terms(world: World) -> list[int]:
    return [host.durable.record.term for host in world.hosts if host.durable.record]


def serves_alone(host: Host) -> bool:
    record = host.durable.record
    alone = record is not None and record.mode is Mode.SOLO and record.primary == host.name
    return alone and host.pg.phase == "primary" and host.held == set(Vip)


def order(host: Host, what: Order) -> None:
    assert host.daemon is not None
    host.daemon.order(what)


def warnings(host: Host) -> set[str]:
    last = host.daemon.last if host.daemon else None
    return {warning.name for warning in last.warnings} if last else set()


@both
@seeded
def test_fresh_pair(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    assert primary(world) is world.a
    writes_again(world)


@both
@seeded
def test_primary_powered_off_and_back(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.a.power_off("test")
    took_s = until(world, lambda: serves_alone(world.b), 30.0)
    assert took_s < 8.0, tail(world)
    writes_again(world)
    heals(world)
    assert primary(world) is world.b


@both
@seeded
@pytest.mark.parametrize("how", ["refuses", "other"])
def test_a_stranger_at_the_address_of_a_dead_primary_delays_nothing(seed: int, sync: bool, how: str) -> None:
    """Its server refuses the login, or lets everybody in and is another cluster; people are told."""
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.a.stranger = how
    world.a.power_off("test")
    took_s = until(world, lambda: "stranger" in warnings(world.b), 5.0)
    took_s += until(world, lambda: serves_alone(world.b), 30.0)
    assert took_s < 8.0, tail(world)
    heals(world)
    assert primary(world) is world.b


@both
@seeded
def test_standby_powered_off_and_back(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.b.power_off("test")
    took_s = until(world, lambda: serves_alone(world.a), 30.0)
    assert took_s < 8.0, tail(world)
    writes_again(world)
    heals(world)
    assert primary(world) is world.a


@both
@seeded
def test_postmaster_killed_hands_over(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.a.pg.kill(orphans=seed % 2 == 0)
    took_s = until(world, lambda: world.b.pg.phase == "primary" and Vip.PRIMARY in world.b.held, 10.0)
    assert took_s < 2.5, tail(world)
    assert world.fencing.fences == 0, tail(world)
    heals(world)
    assert primary(world) is world.b


@both
@seeded
@pytest.mark.parametrize(("how", "limit_s"), [("all", 8.0), ("postmaster", 17.0)])
def test_hung_primary_is_handed_over(seed: int, sync: bool, how: str, limit_s: float) -> None:
    """Later where the sessions that there are go on: so it looks where a CPU is short."""
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.a.pg.hung = how
    took_s = until(world, lambda: world.b.pg.phase == "primary" and Vip.PRIMARY in world.b.held, 30.0)
    assert took_s < limit_s, tail(world)
    assert world.fencing.fences == 0, tail(world)
    heals(world)


@both
@seeded
def test_clean_stop_by_a_dba_restarts_in_place(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.a.pg.shut_down()
    until(world, lambda: world.a.pg.phase == "primary" and Vip.PRIMARY in world.a.held, 10.0)
    heals(world)
    assert primary(world) is world.a, tail(world)
    assert world.fencing.fences == 0


@both
@seeded
@pytest.mark.parametrize("asked", ["a", "b"])
def test_switchover(seed: int, sync: bool, asked: str) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    daemon = (world.a if asked == "a" else world.b).daemon
    assert daemon is not None
    daemon.order(Order.SWITCHOVER)
    took_s = until(world, lambda: world.b.pg.phase == "primary" and Vip.PRIMARY in world.b.held, 15.0)
    assert took_s < 3.0, tail(world)
    assert world.fencing.fences == 0
    heals(world)
    assert primary(world) is world.b
    assert not world.lost


@both
@seeded
def test_standby_restarted_on_its_host(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.b.pg.kill()
    writes_again(world)
    heals(world)
    assert primary(world) is world.a
    assert world.fencing.fences == 0, tail(world)


@both
@seeded
@pytest.mark.parametrize("order", ["ab", "ba", "both"])
def test_both_off_and_back(seed: int, sync: bool, order: str) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.no_power = {"a", "b"}
    world.a.power_off("test")
    world.b.power_off("test")
    run(world, 3.0)
    hosts = [getattr(world, name) for name in (order if order != "both" else "ab")]
    hosts[0].power_on()
    run(world, 0.0 if order == "both" else 25.0)
    assert order == "both" or not any(host.pg.writes for host in world.hosts), tail(world)
    hosts[1].power_on()
    heals(world)


@both
@seeded
@pytest.mark.parametrize("alone_s", [0.0, 20.0])
def test_solo_primary_off_and_back_serves_alone(seed: int, sync: bool, alone_s: float) -> None:
    world = pair(seed, sync=sync)
    world.no_power = {"b"}
    world.b.power_off("test")
    until(world, lambda: serves_alone(world.a), 15.0)
    run(world, 5.0)
    world.a.power_off("test")
    run(world, alone_s)
    world.a.power_on()
    until(world, lambda: serves_alone(world.a), 30.0)
    world.b.power_on()
    heals(world)


@both
@seeded
def test_link_cut_alone_changes_nothing(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    before = terms(world)
    world.net.cuts = {("link", "a"), ("link", "b")}
    run(world, 60.0)
    assert terms(world) == before, tail(world)
    assert world.fencing.fences == 0
    # In async, eligibility is a lease that the link renews.
    assert world.unhealthy() in (("",) if sync else ("", "not eligible")), tail(world)
    world.net.cuts = set()
    heals(world)


@both
@seeded
def test_primary_cut_off_from_everything(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.net.cuts = {(path, "a") for path in ("link", "db", "gateway", "client", "fence")}
    took_s = until(world, lambda: serves_alone(world.b), 30.0)
    assert took_s < 8.0, tail(world)
    world.net.cuts = set()
    heals(world)


@both
@seeded
def test_standby_cut_off_from_everything(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.net.cuts = {(path, "b") for path in ("link", "db", "gateway", "client", "fence")}
    took_s = until(world, lambda: serves_alone(world.a), 30.0)
    assert took_s < 8.0, tail(world)
    world.net.cuts = set()
    heals(world)


@both
@seeded
def test_gateway_of_the_primary_lost(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.net.cuts = {("gateway", "a")}
    until(world, lambda: world.b.pg.phase == "primary" and Vip.PRIMARY in world.b.held, 30.0)
    heals(world)
    assert world.fencing.fences == 0, tail(world)


@both
@seeded
def test_gateway_lost_by_both_changes_nothing(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    before = terms(world)
    world.net.cuts = {("gateway", "a"), ("gateway", "b")}
    run(world, 30.0)
    assert terms(world) == before, tail(world)
    assert not world.unhealthy(), tail(world)


@both
@seeded
def test_paused_does_nothing(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    assert world.a.daemon is not None
    world.a.daemon.order(Order.PAUSE, "test")
    run(world, 5.0)
    assert all(host.durable.pause.active for host in world.hosts), tail(world)
    before = terms(world)
    world.a.power_off("test")
    run(world, 30.0)
    assert world.fencing.fences == 0
    assert world.b.pg.phase == "standby", tail(world)
    world.a.power_on()
    run(world, 20.0)
    assert terms(world) == before, tail(world)
    assert world.b.daemon is not None
    world.b.daemon.order(Order.RESUME)
    heals(world)


@both
@seeded
@pytest.mark.parametrize("which", ["a", "b", "ab"])
def test_daemon_killed_moves_nothing(seed: int, sync: bool, which: str) -> None:
    """7: the daemon is not the database."""
    world = pair(seed, sync=sync)
    before, procs = terms(world), [host.pg.proc for host in world.hosts]
    for name in which:
        getattr(world, name).kill_daemon()
    run(world, 5.0 * seed)
    for name in which:
        getattr(world, name).start_daemon()
    run(world, 20.0)
    assert terms(world) == before, tail(world)
    assert [host.pg.proc for host in world.hosts] == procs, tail(world)
    assert world.fencing.fences == 0
    assert not world.unhealthy(), tail(world)


@both
@seeded
def test_fence_that_fails_and_then_works(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    world.fencing.moods["a"] = "fails"
    world.no_power = {"a"}
    world.a.power_off("test")
    run(world, 15.0)
    assert world.b.pg.phase == "standby", tail(world)
    world.fencing.moods.clear()
    until(world, lambda: serves_alone(world.b), 20.0)
    world.no_power = set()
    world.a.power_on()
    heals(world)


@both
@seeded
def test_address_removed_by_hand_comes_back(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    world.a.held.clear()
    world.b.held.clear()
    heals(world, 5.0)
    assert primary(world) is world.a


@both
@seeded
def test_host_leaves_in_order(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    assert world.a.daemon is not None
    world.a.daemon.order(Order.SHUTDOWN)
    until(world, lambda: world.b.pg.phase == "primary" and Vip.PRIMARY in world.b.held, 10.0)
    assert world.fencing.fences == 0


def dies_ahead(seed: int, *, archive_fails: float) -> tuple[World, int]:
    """Async: the primary's server dies with commits that its standby lacks; how many of them are not on the new one."""
    world = pair(seed, sync=False)
    world.faults.archive_fails = archive_fails
    world.clients.every_s = 0.1
    world.net.cuts.add(("stream", "a"))
    until(world, lambda: len(world.a.pg.wal) > len(world.b.pg.wal) + 3, 30.0)
    acknowledged = set(world.acknowledged)
    world.a.pg.kill()
    world.net.cuts.clear()
    until(world, lambda: world.b.pg.phase == "primary", 30.0)
    return world, len(acknowledged - set(world.b.pg.wal))


@pytest.mark.parametrize("seed", range(1, 9))
def test_in_async_nothing_is_lost_with_a_dead_server_on_a_living_host(seed: int) -> None:
    world, lost = dies_ahead(seed, archive_fails=0.0)
    assert lost == 0, tail(world)
    heals(world)


def test_without_the_archive_it_is_lost() -> None:
    assert sum(dies_ahead(seed, archive_fails=1.0)[1] for seed in range(1, 5)) > 0


@both
@seeded
def test_standby_leaves_in_order(seed: int, sync: bool) -> None:
    """The primary serves alone before the standby's server ends, and nobody is fenced."""
    world = pair(seed, sync=sync)
    assert world.b.daemon is not None
    world.b.daemon.order(Order.SHUTDOWN)
    until(world, lambda: serves_alone(world.a), 3.0)
    world.b.pg.shut_down()
    run(world, 2.0)
    assert world.b.pg.phase == "down", "a host that leaves starts nothing"
    assert writes_again(world, 1.0) < 1.0, tail(world)
    world.b.power_off("test")
    world.b.power_on()
    heals(world)
    assert primary(world) is world.a
    assert world.fencing.fences == 0


@both
@seeded
def test_both_hosts_leave_in_order(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    for host in world.hosts:
        assert host.daemon is not None
        host.daemon.order(Order.SHUTDOWN)
    run(world, 3.0)
    for host in world.hosts:
        host.pg.shut_down()
        host.power_off("test")
    world.a.power_on()
    until(world, lambda: serves_alone(world.a), 30.0)  # it needs nobody's word for that
    world.b.power_on()
    heals(world)
    assert primary(world) is world.a
    assert world.fencing.fences == 0


@both
@seeded
def test_back_to_one_host_and_to_a_pair_again(seed: int, sync: bool) -> None:
    """The removed peer comes back and serves nothing; nobody fences it or waits for it before it is added."""
    world = pair(seed, sync=sync)
    run(world, 5.0)
    order(world.b, Order.SHUTDOWN)
    until(world, lambda: serves_alone(world.a), 30.0)
    world.b.power_off("test")
    world.no_power.add("b")
    run(world, 15.0)
    order(world.a, Order.REMOVE_PEER)
    until(world, lambda: bool(world.a.durable.removed), 5.0)
    run(world, 20.0)
    assert warnings(world.a) == set()
    alone, acknowledged = terms(world)[0], len(world.acknowledged)
    world.a.power_off("test")
    world.a.power_on()
    until(world, lambda: serves_alone(world.a), 60.0)
    writes_again(world)
    world.no_power.clear()
    world.b.power_on()
    run(world, 60.0)
    assert warnings(world.a) == {"removed-peer"}
    assert serves_alone(world.a)
    assert not world.b.held
    assert world.b.pg.phase != "primary"
    assert terms(world)[0] == alone, tail(world)
    assert len(world.acknowledged) > acknowledged
    order(world.a, Order.ADD_PEER)
    heals(world)
    assert primary(world) is world.a


@both
@seeded
def test_a_removed_peer_that_boots_alone_serves_nothing(seed: int, sync: bool) -> None:
    world = pair(seed, sync=sync)
    run(world, 5.0)
    world.b.power_off("test")
    world.no_power.add("b")
    until(world, lambda: serves_alone(world.a), 30.0)
    run(world, 10.0)
    order(world.a, Order.REMOVE_PEER)
    until(world, lambda: bool(world.a.durable.removed), 5.0)
    world.a.power_off("test")
    world.no_power = {"a"}
    world.b.power_on()
    for _ in range(12):
        run(world, 10.0)
        assert not world.b.held
        assert world.b.pg.phase != "primary"
    world.no_power.clear()
    world.a.power_on()
    until(world, lambda: serves_alone(world.a), 60.0)
