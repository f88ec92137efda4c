"""What random faults on real PostgreSQL (`scripts/chaos`) and broken rules found, as scenarios that find it too."""

from __future__ import annotations

import pytest

from pgvip.core.messages import Message, Order
from pgvip.core.values import Vip
from tests.simulation.machine import Host
from tests.simulation.scenario import pair, primary, run, tail, until, writes_again
from tests.simulation.world import World

pytestmark = pytest.mark.simulation


def terms(world: World) -> list[int]:
    return [host.durable.record.term for host in world.hosts if host.durable.record]


def sees_a_stream(host: Host) -> bool:
    database = host.daemon.seen.database.value if host.daemon is not None else None
    return database is not None and database.streaming


@pytest.mark.parametrize("seed", range(1, 25))
def test_a_gateway_that_dies_for_both_hosts_and_comes_back_moves_nothing(seed: int) -> None:
    """The standby may be answered first; the primary handed its role over, for which there was no reason."""
    world = pair(seed)
    before = terms(world)
    for _ in range(4):
        run(world, world.span(2.0, 4.0))
        world.net.cuts |= {("gateway", "a"), ("gateway", "b")}
        run(world, world.span(6.0, 12.0))
        world.net.cuts.clear()
    run(world, 10.0)
    assert terms(world) == before, tail(world)
    assert primary(world) is world.a
    writes_again(world)


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_standby_that_promotes_itself_after_every_rejoin_is_left_stopped_after_the_third(seed: int) -> None:
    """It was rewound, promoted itself, and was rewound again, every ten seconds for ever, without a warning."""
    world = pair(seed)
    world.b.pg.promotes_itself = True
    world.b.pg.kill()
    until(world, lambda: bool(world.b.daemon and world.b.daemon.knowledge.promotion.strays >= 3), 90.0)
    starts = world.b.pg.starts
    run(world, 60.0)
    assert world.b.pg.starts == starts, tail(world)
    assert world.b.daemon is not None
    assert world.b.daemon.last is not None
    assert "stray" in {warning.name for warning in world.b.daemon.last.warnings}
    writes_again(world)
    world.b.pg.promotes_itself = False
    world.b.daemon.order(Order.REJOIN)
    until(world, world.healthy, 60.0)


@pytest.mark.parametrize("seed", range(1, 17))
def test_a_standby_that_somebody_promotes_whenever_it_streams_is_left_stopped_after_the_third(seed: int) -> None:
    """It streamed when its new server was first seen: what it had done before was forgotten."""
    world = pair(seed)
    world.replication.prompt.add("b")
    for _ in range(3):
        until(world, lambda: world.b.pg.phase == "standby" and sees_a_stream(world.b), 60.0)
        run(world, world.span(0.0, 1.0))
        world.b.pg.promoted_by_hand(world.b.pg.proc)
        until(world, lambda: world.b.pg.phase == "down", 60.0)
    assert world.b.daemon is not None
    assert world.b.daemon.knowledge.promotion.strays == 3, tail(world)
    starts = world.b.pg.starts
    run(world, 60.0)
    assert world.b.pg.starts == starts, tail(world)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_standby_that_receives_without_flushing_is_left_alone_until_it_flushes(seed: int) -> None:
    """The pair was made again at once, and left again, twenty times a second; commits waited all the time."""
    world = pair(seed)
    before = max(terms(world))
    world.replication.stalled.add("b")
    run(world, 15.0)
    assert writes_again(world, 1.0) < 1.0, tail(world)
    run(world, 30.0)
    assert max(terms(world)) <= before + 2, tail(world)
    world.replication.stalled.clear()
    until(world, world.healthy, 30.0)
    assert primary(world) is world.a


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_solo_primary_that_loses_its_power_is_switched_on_by_its_standby(seed: int) -> None:
    """Nobody may take its role, so nothing else could end that outage."""
    world = pair(seed)
    world.b.power_off("test")
    until(world, lambda: world.a.held == set(Vip), 30.0)
    world.b.power_on()
    until(world, lambda: world.b.daemon is not None and world.b.daemon.knowledge.confirmed, 60.0)
    assert world.a.held == set(Vip)
    world.a.power_off("test")
    until(world, world.healthy, 90.0)
    assert primary(world) is world.a


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_role_is_not_handed_to_data_that_are_being_rebuilt(seed: int) -> None:
    """The look at the processes hung, so that the standby went on saying that it was eligible (seed 2006054)."""
    world = pair(seed)
    assert world.b.daemon is not None
    world.b.daemon.order(Order.REJOIN, "clone")
    until(world, lambda: world.b.pg.broken, 10.0)
    world.b.blind["processes"] = "hangs"
    world.a.pg.kill(orphans=False)
    run(world, 20.0)
    world.b.blind.clear()
    until(world, world.healthy, 60.0)
    assert primary(world) is world.a


@pytest.mark.parametrize("seed", range(1, 9))
def test_data_to_which_the_role_is_being_given_are_not_rebuilt(seed: int) -> None:
    """A clone was ordered; an old message, in which the primary offers nothing, let it begin (seed 4016876)."""
    world = pair(seed)
    old: list[Message] = []

    def copies(host: Host, message: Message) -> bool:
        if host is world.a:
            old.append(message)
        return True

    world.passes = copies
    run(world, 3.0)
    world.passes = lambda _host, _message: True
    for host in world.hosts:
        host.kill_daemon()
        host.start_daemon()
    until(world, world.healthy, 60.0)
    run(world, 20.0)
    assert world.a.daemon is not None
    assert world.b.daemon is not None
    world.a.daemon.order(Order.SWITCHOVER)
    until(world, lambda: world.a.daemon is not None and world.a.daemon.knowledge.consent.giving_up is not None, 10.0)
    world.b.daemon.order(Order.REJOIN, "clone")
    world.arrive(world.b, old[-1])
    run(world, 0.5)
    assert not world.b.pg.broken, tail(world)
    until(world, world.healthy, 60.0)
