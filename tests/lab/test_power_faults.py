"""Hosts that lose power, and come back in every order."""

from __future__ import annotations

import threading

import pytest

from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene

ALONE_S = 5.0
"""How long a host that may not serve alone is watched not to."""


def both_off(scene: Scene) -> None:
    """Both lose power at one instant, and neither can switch the other on."""
    scene.fence.cut_off.update(scene.pair.hosts)
    scene.strike()
    threads = [threading.Thread(target=host.power_off) for host in scene.pair.hosts.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_primary_power_off(scene: Scene) -> None:
    scene.strike()
    scene.primary.power_off()
    outage_s = scene.wait_writes()
    assert scene.fenced(scene.primary) >= 1
    assert outage_s < 8
    scene.finish(swapped=True)


def test_standby_power_off(scene: Scene) -> None:
    scene.fence.failures[scene.standby.name].stay_off = True
    scene.strike()
    scene.standby.power_off()
    scene.wait_roles(primary="primary_standby")
    assert scene.wait_writes() < 8
    scene.reader.wait_success()
    assert scene.lab.vip_holders() == {"primary": {scene.primary.name}, "standby": {scene.primary.name}}
    scene.fence.failures[scene.standby.name].stay_off = False
    scene.standby.boot()
    scene.finish(swapped=False)


def stays_alone(scene: Scene, host: Host) -> None:
    """For some seconds after its daemon is there, it serves nobody."""
    wait_until(lambda: scene.says(host, host.name), 30, "its daemon answers", every_s=0.2)
    role = "primary" if host is scene.primary else "standby"
    scene.stays(ALONE_S, **{role: "none"})
    assert not host.writable()


@pytest.mark.parametrize("order", ["primary-first", "standby-first", "at-once"])
def test_both_power_off_and_return(scene: Scene, order: str) -> None:
    both_off(scene)
    first, second = (scene.primary, scene.standby) if order != "standby-first" else (scene.standby, scene.primary)
    first.boot()
    if order != "at-once":
        stays_alone(scene, first)
    second.boot()
    scene.finish(swapped=False)


@pytest.mark.parametrize("which", ["primary", "standby"])
def test_one_host_never_comes_back_and_an_operator_decides(scene: Scene, which: str) -> None:
    both_off(scene)
    left, gone = (scene.primary, scene.standby) if which == "primary" else (scene.standby, scene.primary)
    left.boot()
    stays_alone(scene, left)
    scene.pair.pgvip(left, "promote", "--force", "--without-fence", "--yes", "lab")
    scene.pair.wait_roles(30, **{left.name: "primary_standby"})
    scene.wait_writes()
    scene.fence.soothe()
    gone.boot()
    if which == "standby":  # the old primary may have commits that nobody else has: they are kept until someone looks
        wait_until(lambda: scene.says(gone, "hold"), 60, "status tells of the hold", every_s=1)
        scene.pair.pgvip(gone, "hold", "clear", "--yes", gone.name)
    scene.finish(swapped=which == "standby", deadline_s=90)


def test_a_solo_primary_comes_back_alone(scene: Scene) -> None:
    scene.fence.failures[scene.standby.name].stay_off = True
    scene.standby.power_off()
    scene.wait_roles(primary="primary_standby")
    scene.wait_writes()
    scene.primary.power_off()
    scene.strike()
    scene.primary.boot()
    scene.wait_roles(primary="primary_standby", deadline_s=40)
    scene.wait_writes()
    scene.fence.soothe()
    scene.standby.boot()
    scene.finish(swapped=False)


def test_old_primary_returns_while_the_new_one_is_down(scene: Scene) -> None:
    scene.fence.failures[scene.primary.name].stay_off = True
    scene.strike()
    scene.primary.power_off()
    scene.wait_writes()
    scene.fence.cut_off.update(scene.pair.hosts)
    scene.standby.power_off()
    scene.primary.boot()
    stays_alone(scene, scene.primary)
    scene.standby.boot()
    scene.finish(swapped=True)


@pytest.mark.pair(mode="async")
def test_old_primary_returns_with_diverged_wal(scene: Scene) -> None:
    cut_s = scene.strike()
    scene.switch.cut("alpha", "beta", port=5432)
    wait_until(lambda: len(scene.writer.acknowledged(cut_s)) > 10, 10, "writes that the standby does not have", 0.01)
    scene.primary.power_off()
    scene.switch.heal()
    scene.wait_roles(standby="primary_standby")
    lost = scene.lost(scene.standby)
    assert lost, "nothing has diverged: the scene proves nothing"
    scene.finish(swapped=True, lost_max=len(lost))
    saved = scene.primary.directory / "state/saved"
    assert list(saved.rglob("*")), "the diverged WAL was not kept"


@pytest.mark.pair(mode="async")
def test_async_primary_power_off_loses_at_most_the_limit(scene: Scene) -> None:
    scene.strike()
    scene.primary.power_off()
    scene.finish(swapped=True, lost_max=50)


@pytest.mark.pair(mode="async")
def test_async_standby_power_off_stalls_no_writes(scene: Scene) -> None:
    scene.strike()
    scene.standby.power_off()
    scene.finish(swapped=False, outage_max_s=2)
