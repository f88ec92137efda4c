"""A BMC that cannot be reached, refuses the password, or is slow: known before it is needed, and nothing is promoted
without its answer."""

from __future__ import annotations

from tests.lab.nodes import wait_until
from tests.vm import setting
from tests.vm.lab import Host
from tests.vm.scene import Scene

KNOWN_S = 180.0
NEVER_S = 25.0
"""Longer than detection and a whole fence attempt take: who were to promote in spite of all would have done so."""


def fence_test(host: Host) -> int:
    """Exit code of `pgvip fence test`."""
    return host.run("pgvip fence test", check=False, timeout_s=200).returncode


def fence_troubles(host: Host) -> list[str]:
    """Warnings about fencing that `status` shows."""
    return [warning["name"] for warning in setting.status(host).get("warnings", []) if "fence" in warning["name"]]


def test_nobody_is_promoted_while_the_bmc_is_unreachable(scene: Scene) -> None:
    scene.primary.cut_off_bmc()
    assert fence_test(scene.standby) == 1
    wait_until(lambda: fence_troubles(scene.standby), KNOWN_S, "status tells of the fence device", 2.0)
    scene.strike()
    scene.primary.order("off")
    scene.stays(NEVER_S, scene.standby, "standby")
    scene.primary.reconnect_bmc()
    scene.wait_writes(300)
    scene.finish(swapped=True)


def test_a_frozen_primary_that_could_not_be_fenced_goes_on_when_it_thaws(scene: Scene) -> None:
    scene.primary.cut_off_bmc()
    scene.strike()
    scene.primary.order("freeze")
    scene.stays(NEVER_S, scene.standby, "standby")
    scene.primary.order("thaw")
    print(f"write outage, frozen for {NEVER_S:g} s: {scene.wait_writes():.1f} s")
    scene.primary.reconnect_bmc()
    scene.finish(swapped=False)
    assert scene.fenced(scene.primary) == scene.fenced(scene.standby) == 0


def test_nobody_is_promoted_with_a_wrong_password(scene: Scene) -> None:
    setting.write_password(scene.standby, "wrong")
    try:
        assert fence_test(scene.standby) == 1
        scene.strike()
        scene.primary.order("off")
        scene.stays(NEVER_S, scene.standby, "standby")
    finally:
        setting.write_password(scene.standby)
    scene.wait_writes(300)
    scene.finish(swapped=True)


def test_a_slow_bmc_makes_a_takeover_slow_and_nothing_worse(scene: Scene) -> None:
    scene.primary.order("slow", delay_s=2)
    scene.strike()
    scene.primary.order("freeze")
    print(f"write outage, BMC answers after 2 s each time: {scene.wait_writes(300):.1f} s")
    scene.primary.order("slow", delay_s=0)
    scene.finish(swapped=True)
    assert scene.fenced(scene.primary) >= 1
