"""A host that is shut down in order: the peer goes on before its server ends."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene


def shut_down(scene: Scene, host: Host, *words: str) -> str:
    """What systemd does at a shutdown: pgvip-handover.service's stop first, then the daemon, PostgreSQL, the power."""
    said = scene.pair.pgvip(host, "leave", "--anyway", *words).stdout
    host.stop_service("pgvip")
    scene.pair.stop_postgres(host)
    host.power_off()
    return said


@pytest.mark.parametrize("mode", [pytest.param("sync"), pytest.param("async", marks=pytest.mark.pair(mode="async"))])
def test_shutdown_of_the_primary_hands_over(scene: Scene, mode: str) -> None:
    scene.fence.failures[scene.primary.name].stay_off = True
    scene.strike()
    said = shut_down(scene, scene.primary)
    assert f"{scene.standby.name} is primary" in said
    scene.wait_roles(standby="primary_standby")
    assert scene.wait_writes() < 5, mode
    assert scene.fenced(scene.primary) == 0
    scene.fence.soothe()
    scene.primary.boot()
    scene.finish(swapped=True)


def test_shutdown_of_the_standby_leaves_writes_flowing(scene: Scene) -> None:
    scene.fence.failures[scene.standby.name].stay_off = True
    scene.strike()
    said = shut_down(scene, scene.standby)
    assert f"{scene.primary.name} serves alone" in said
    scene.wait_roles(primary="primary_standby")
    assert scene.wait_writes() < 2
    scene.reader.wait_success()
    assert scene.fenced(scene.standby) == 0
    scene.fence.soothe()
    scene.standby.boot()
    scene.finish(swapped=False)


def test_shutdown_of_both_at_once(scene: Scene) -> None:
    """Nobody takes a role from a host that leaves, for the other leaves too; the primary serves again, even alone."""
    scene.fence.cut_off.update(scene.pair.hosts)
    scene.strike()
    threads = [threading.Thread(target=shut_down, args=(scene, host)) for host in scene.pair.hosts.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(host.is_on() for host in scene.pair.hosts.values())
    scene.fence.soothe()
    for host in scene.pair.hosts.values():
        host.boot()
    scene.finish(swapped=None)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


def linked(scene: Scene) -> bool:
    return bool(scene.pair.status(scene.standby)["link"]["connected"])


def test_a_primary_without_an_eligible_standby_stops_cleanly_and_comes_back(scene: Scene) -> None:
    scene.fence.cut_off.update(scene.pair.hosts)
    scene.pair.pgvip(scene.primary, "pause", "so that nobody takes over")
    refused = scene.pair.pgvip(scene.primary, "leave", check=False)
    assert refused.returncode == 5
    assert "nobody can take over" in refused.stderr
    assert scene.primary.writable()
    scene.strike()
    said = shut_down(scene, scene.primary)
    assert "nothing is handed over" in said
    scene.fence.soothe()
    scene.primary.boot()
    connected = partial(linked, scene)  # before the other host may act again
    wait_until(connected, 60, "the daemons hear each other", every_s=0.2)
    scene.pair.pgvip(scene.standby, "resume")
    scene.finish(swapped=False)


def test_a_host_that_stays_after_all_gets_its_role_back(scene: Scene) -> None:
    scene.strike()
    scene.pair.pgvip(scene.primary, "leave")
    scene.wait_roles(standby="primary_standby")
    assert scene.says(scene.primary, "shutting down")
    scene.pair.pgvip(scene.primary, "leave", "--cancel")
    scene.finish(swapped=True, outage_max_s=5)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0
