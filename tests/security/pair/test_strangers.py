"""Somebody else's server at the address of a host that is dead: only the pair's own words count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.nodes import wait_until
from tests.lab.scene import Scene

PROGRAM = Path(__file__).parents[2] / "lab" / "stranger.py"
PORT = 5432
LIMIT_S = 8.0
"""Usually 2 to 4 s pass. When the pause of a probe of the peer was waited out, it took 10.8 s."""


@contextmanager
def server_of_a_stranger(scene: Scene, how: str) -> Iterator[None]:
    """It listens, and has no address of the pair yet."""
    program = scene.lab.stranger.popen([sys.executable, PROGRAM, PORT, how], stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        program.kill()
        program.wait(10)


def address(scene: Scene, verb: str, of: str) -> None:
    scene.lab.stranger.run(["ip", "addr", verb, f"{of}/32", "dev", "eth0"])


@pytest.mark.parametrize("how", ["refuses", "no-row", "other", "accepts"])
def test_a_stranger_at_the_address_of_a_dead_primary_delays_no_takeover(scene: Scene, how: str) -> None:
    dead, survivor = scene.primary, scene.standby
    scene.fence.failures[dead.name].stay_off = True
    daemon = survivor.service_pid("pgvip")
    with server_of_a_stranger(scene, how):
        scene.strike()
        dead.power_off()
        address(scene, "add", dead.address)
        survivor.run(["ip", "neigh", "flush", "dev", "eth0"])
        try:
            outage_s = scene.wait_writes()
            if how != "accepts":  # which a kernel does for a frozen host, too
                wait_until(lambda: scene.says(survivor, "is not known to be"), 20, "people are told", every_s=0.5)
            assert survivor.service_pid("pgvip") == daemon
            assert outage_s < LIMIT_S
        finally:
            address(scene, "del", dead.address)
    survivor.run(["ip", "neigh", "flush", "dev", "eth0"])
    scene.fence.soothe()
    dead.boot()
    scene.finish(swapped=True)
