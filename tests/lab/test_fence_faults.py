"""Fence devices that fail, work late, and are used by both at once; and no device at all."""

from __future__ import annotations

import pytest

from tests.lab.nodes import wait_until
from tests.lab.scene import Scene


def test_fence_fails_then_works(scene: Scene) -> None:
    scene.fence.failures[scene.primary.name].fail_next = 2
    scene.strike()
    scene.primary.cut()
    wait_until(lambda: scene.fence.failures[scene.primary.name].fail_next == 0, 30, "two failures", every_s=0.02)
    assert not scene.standby.writable(), "promoted although the fence had failed"
    scene.wait_roles(standby="primary_standby", deadline_s=40)
    scene.primary.heal()
    scene.finish(swapped=True)


def test_an_order_reported_as_failed_is_executed_late(scene: Scene) -> None:
    scene.fence.failures[scene.primary.name].late_s = 1.0
    scene.strike()
    scene.primary.cut()
    wait_until(lambda: not scene.primary.is_on(), 30, "executed late", every_s=0.02)
    scene.fence.failures[scene.primary.name].late_s = 0.0
    scene.primary.heal()
    scene.finish(swapped=None, deadline_s=90)


def test_fence_device_hangs(scene: Scene) -> None:
    scene.fence.failures[scene.primary.name].hang.set()
    scene.strike()
    scene.primary.cut()
    scene.stays(6, standby="standby")
    scene.fence.failures[scene.primary.name].hang.clear()
    scene.wait_roles(standby="primary_standby", deadline_s=40)
    scene.primary.heal()
    scene.finish(swapped=True)


def test_fence_race(scene: Scene) -> None:
    """Both can fence and neither hears the other: one of them wins, and only one."""
    scene.strike()
    scene.switch.cut("alpha", "beta")
    wait_until(lambda: scene.fenced(scene.primary) + scene.fenced(scene.standby), 20, "a fence")
    assert scene.wait_writes() < 8
    assert min(scene.fenced(scene.primary), scene.fenced(scene.standby)) == 0
    scene.switch.heal()
    scene.finish(swapped=None, deadline_s=90)


@pytest.mark.pair(fencing=False)
def test_without_fencing_nobody_is_promoted_on_silence(scene: Scene) -> None:
    scene.strike()
    scene.primary.cut()
    scene.stays(6, standby="standby")
    assert not scene.standby.writable()
    scene.primary.heal()
    scene.finish(swapped=False)


@pytest.mark.pair(fencing=False)
def test_without_fencing_a_forced_promotion_must_be_told_so(scene: Scene) -> None:
    scene.strike()
    scene.primary.power_off()
    wait_until(lambda: scene.says(scene.standby, "peer-silent"), 20, "the primary is missed")
    words = ("promote", "--force", "--yes", "lab")
    refused = scene.pair.pgvip(scene.standby, *words, check=False)
    assert "cannot be fenced first" in refused.stderr, refused
    assert not scene.standby.writable()
    said = scene.pair.pgvip(scene.standby, *words, "--without-fence").stdout
    assert f"forced by an operator; {scene.primary.name} was not fenced" in said
    scene.wait_writes()
    scene.primary.boot()
    told = f"{scene.primary.name} was not fenced"
    wait_until(lambda: told in scene.primary.log(), 30, "the other host has logged it")
    wait_until(lambda: scene.says(scene.primary, "hold"), 60, "status tells of the hold", every_s=1)
    scene.pair.pgvip(scene.primary, "hold", "clear", "--yes", scene.primary.name)
    scene.finish(swapped=True, deadline_s=90)


@pytest.mark.pair(fencing=False)
def test_without_fencing_consent_still_moves_the_role(scene: Scene) -> None:
    scene.strike()
    scene.pair.pgvip(scene.primary, "switchover")
    scene.finish(swapped=True)
