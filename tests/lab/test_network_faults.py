"""Cuts of every kind between hosts that live."""

from __future__ import annotations

import contextlib

import pytest

from tests.lab.nodes import LabError, wait_until
from tests.lab.scene import Scene

LINK_PORT, POSTGRES_PORT = 8432, 5432
STAYS_S = 5.0
WIDE = "select repeat(md5(n::text), 99) from generate_series(1, 999) n"
"""More WAL at once than one packet holds."""


def test_peer_link_cut_only(scene: Scene) -> None:
    """Nothing passes between the two; both are seen by the client and the gateway."""
    scene.strike()
    scene.switch.cut("alpha", "beta")
    assert scene.wait_writes() < 8
    scene.switch.heal()
    scene.finish(swapped=None, deadline_s=90)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) >= 1


@pytest.mark.parametrize("port", [LINK_PORT, POSTGRES_PORT])
def test_one_service_between_the_hosts_cut(scene: Scene, port: int) -> None:
    """Each path alone proves that the peer lives, so nobody is fenced."""
    scene.strike()
    scene.switch.cut("alpha", "beta", port=port)
    if port == LINK_PORT:
        scene.stays(STAYS_S, primary="primary", standby="standby")
    else:
        scene.wait_roles(primary="primary_standby")
    assert scene.wait_writes() < 15, "longer than sync_stall_s, after which a standby that flushes nothing is down"
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0
    scene.switch.heal()
    scene.finish(swapped=False)


def test_primary_cut_from_everything(scene: Scene) -> None:
    scene.strike()
    scene.primary.cut()
    assert scene.wait_writes() < 10
    assert scene.fenced(scene.primary) >= 1
    scene.primary.heal()
    scene.finish(swapped=True)


def test_standby_cut_from_everything(scene: Scene) -> None:
    scene.strike()
    scene.standby.cut()
    scene.wait_roles(primary="primary_standby")
    assert scene.wait_writes() < 8
    scene.standby.heal()
    scene.finish(swapped=False)


def test_frames_from_the_primary_lost_one_way(scene: Scene) -> None:
    scene.strike()
    scene.switch.cut(scene.primary.name, scene.standby.name, one_way=True)
    scene.wait_writes()
    scene.switch.heal()
    scene.finish(swapped=None, deadline_s=90)


def test_gateway_dead_for_both_changes_nothing(scene: Scene) -> None:
    scene.strike()
    scene.switch.disconnect("gateway")
    try:
        scene.stays(STAYS_S, primary="primary", standby="standby")
        assert scene.wait_writes() < 2
    finally:
        scene.switch.connect("gateway")
    scene.finish(swapped=False)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


@pytest.mark.pair(overrides={"timing": {"preset": "fast", "holdoff_s": 0}})
def test_gateway_dead_for_the_primary_alone_hands_over(scene: Scene) -> None:
    scene.strike()
    scene.switch.cut(scene.primary.name, "gateway")
    scene.wait_roles(standby="primary")
    scene.switch.heal()
    scene.finish(swapped=True)
    assert scene.fenced(scene.primary) == 0


def test_both_link_and_fence_path_cut(scene: Scene) -> None:
    """Nobody may change anything: the standby stays one, and the primary's commits wait for it."""
    scene.fence.cut_off.update(scene.pair.hosts)
    scene.strike()
    scene.switch.cut("alpha", "beta")
    scene.stays(STAYS_S, standby="standby")
    assert not scene.standby.writable()
    scene.switch.heal()
    scene.fence.soothe()
    scene.pair.wait_healthy(steady_s=5.0)  # the stream of before the cut may end by its time-out a moment later
    scene.finish(swapped=None)


@pytest.mark.pair(mode="async")
def test_async_both_link_and_fence_path_cut(scene: Scene) -> None:
    """In async the primary serves on, and the standby may not take over."""
    scene.fence.cut_off.update(scene.pair.hosts)
    scene.strike()
    scene.switch.cut("alpha", "beta")
    scene.stays(STAYS_S, primary="primary")
    assert scene.wait_writes() < 2
    scene.switch.heal()
    scene.fence.soothe()
    scene.finish(swapped=False)


def test_large_packets_lost_between_the_hosts(scene: Scene) -> None:
    """A smaller MTU on the way, and no ICMP that says so: what is small passes, and every full segment is lost.

    The daemons go on hearing each other, so the pair is left by consent, and both say what does not pass.
    """
    scene.strike()
    scene.switch.cut("alpha", "beta", above=1400)
    with contextlib.suppress(LabError):
        scene.primary.sql(f"begin; create table wide as {WIDE}; drop table wide; commit", timeout_s=1)
    scene.wait_roles(primary="primary_standby")
    assert scene.wait_writes() < 15, "longer than sync_stall_s, after which a standby that flushes nothing is down"
    wait_until(lambda: scene.says(scene.primary, "large packets pass"), 30, "the cause", 0.2)
    scene.switch.heal()
    scene.finish(swapped=False, deadline_s=90)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0
