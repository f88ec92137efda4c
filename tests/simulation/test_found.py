"""What random faults on real PostgreSQL found (`scripts/chaos`), as scenarios of the simulation that find it too."""

from __future__ import annotations

import pytest

from tests.simulation.scenario import pair, primary, run, tail, writes_again
from tests.simulation.world import World

pytestmark = pytest.mark.simulation


def terms(world: World) -> list[int]:
    return [host.durable.record.term for host in world.hosts if host.durable.record]


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
