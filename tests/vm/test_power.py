"""A machine that is gone, or seems so: its peer takes over after its BMC has said that it is off, and it comes back."""

from __future__ import annotations

import pytest

from tests.lab.nodes import wait_until
from tests.vm.scene import Scene

OUTAGE_S = 180.0
"""Detection 9 s (`setting.TIMING`), fence_ipmilan 8 s on an idle machine: the rest is for one that is not idle."""


def panic(scene: Scene) -> None:
    """The primary's kernel panics; its power stays on."""
    host = scene.primary
    host.run("echo 1 >/proc/sys/kernel/sysrq; (sleep 0.2; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
    wait_until(lambda: host.power == "hung" or host.ask("echo yes", timeout_s=10) != "yes", 60, "the kernel is dead")


FAULTS = {
    "powered-off": lambda scene: scene.primary.order("off"),
    "frozen": lambda scene: scene.primary.order("freeze"),
    "cut-off": lambda scene: scene.primary.cut_off(),
    "panic": panic,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_standby_takes_over_by_fence_and_the_old_primary_returns(scene: Scene, fault: str) -> None:
    scene.strike()
    FAULTS[fault](scene)
    outage_s = scene.wait_writes()
    print(f"write outage, {fault}: {outage_s:.1f} s")
    assert outage_s < OUTAGE_S
    scene.primary.reconnect()
    scene.finish(swapped=True)
    assert scene.fenced(scene.primary) >= 1
    assert scene.fenced(scene.standby) == 0


def test_a_standby_that_is_powered_off_stops_writes_only_until_it_is_fenced(scene: Scene) -> None:
    scene.strike()
    scene.standby.order("off")
    print(f"write stall, standby powered off: {scene.wait_writes():.1f} s")
    scene.finish(swapped=False)
    assert scene.fenced(scene.primary) == 0


def test_both_machines_powered_off_at_once_come_back_by_themselves(scene: Scene) -> None:
    for host in (scene.primary, scene.standby):
        host.order("off")
    for host in (scene.standby, scene.primary):
        host.order("on")
    scene.finish(swapped=None)
