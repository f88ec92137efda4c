"""A primary that is cut off from everything and that nobody can fence."""

from __future__ import annotations

import time

import pytest

from tests.lab.network import PRIMARY_VIP
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene

LIMIT_S = 3.0
TIMING = {"timing": {"preset": "fast", "isolation_demote_s": LIMIT_S}}


@pytest.mark.pair(overrides=TIMING)
def test_an_isolated_primary_gives_up_and_serves_again_by_itself(scene: Scene) -> None:
    timeline = "select timeline_id from pg_control_checkpoint()"
    before = scene.primary.sql(timeline)
    scene.fence.cut_off.update(scene.pair.hosts)
    cut_s = scene.strike()
    scene.primary.cut()
    wait_until(lambda: PRIMARY_VIP not in scene.primary.addresses(), 15, "the address is dropped")
    wait_until(lambda: not scene.primary.postmaster(), 20, "its server is stopped")
    assert time.monotonic() - cut_s > LIMIT_S - 1
    wait_until(lambda: scene.says(scene.primary, "does not serve"), 15, "its status tells of it")
    scene.stays(3, primary="none", standby="standby")
    scene.primary.heal()
    scene.wait_roles(primary="primary", deadline_s=20)
    scene.fence.soothe()
    scene.finish(swapped=False)
    assert scene.primary.sql(timeline) == before
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


@pytest.mark.pair(overrides=TIMING)
def test_a_solo_primary_without_a_gateway_serves_on(scene: Scene) -> None:
    scene.fence.failures[scene.standby.name].stay_off = True
    scene.standby.power_off()
    scene.wait_roles(primary="primary_standby")
    scene.switch.disconnect("gateway")
    try:
        scene.strike()
        scene.stays(2 * LIMIT_S, primary="primary_standby")
        assert scene.wait_writes() < 2
    finally:
        scene.switch.connect("gateway")
    scene.fence.soothe()
    scene.standby.boot()
    scene.finish(swapped=False)
