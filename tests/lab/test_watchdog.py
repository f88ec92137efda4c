"""A watchdog that must be there and is not, with real daemons. (One that resets needs a kernel of its own.)"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tests.lab.nodes import wait_until
from tests.lab.pair import Options
from tests.lab.scene import Scene

ABSENT = {"mode": "required", "device": "/run/pgvip-lab/no-watchdog", "timeout_s": 8}


def restart_daemons(scene: Scene, options: Options) -> None:
    scene.pair.write_config(options)
    for host in scene.pair.hosts.values():
        host.stop_service("pgvip")
        scene.pair.start_services(host)


def test_without_a_required_watchdog_a_primary_serves_on_and_nobody_takes_its_role(scene: Scene) -> None:
    usual = scene.pair.options
    postmaster = scene.primary.postmaster()
    scene.strike()
    restart_daemons(scene, replace(usual, overrides={**usual.overrides, "watchdog": ABSENT}))
    words = "may not begin to serve without its watchdog"
    for host in scene.pair.hosts.values():
        wait_until(partial(scene.says, host, words), 20, f"{host.name} says so", every_s=0.5)
    scene.stays(2, primary="primary", standby="standby")
    refused = scene.pair.pgvip(scene.primary, "switchover", check=False)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "may not begin to serve without its watchdog" in refused.stderr
    restart_daemons(scene, usual)
    scene.finish(swapped=False, outage_max_s=1)
    assert scene.primary.postmaster() == postmaster
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0
