"""The daemon is not the database: killing or stopping it moves nothing."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene

FROZEN_S = 5.0


def host_of(scene: Scene, role: str) -> Host:
    return scene.primary if role == "primary" else scene.standby


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_daemon_killed_and_restarted(scene: Scene, role: str) -> None:
    host = host_of(scene, role)
    postmaster, daemon = host.postmaster(), host.service_pid("pgvip")
    status = Path(f"/proc/{daemon}/status").read_text()
    assert "VmLck:" in status
    assert not re.search(r"^VmLck:\s+0 kB", status, re.MULTILINE), "the daemon's memory is not locked"
    scene.strike()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: host.service_pid("pgvip") not in {0, daemon}, 10, "restarted")
    scene.stays(4, primary="primary", standby="standby")
    assert host.postmaster() == postmaster
    scene.finish(swapped=False, outage_max_s=1)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_daemon_stopped_in_an_orderly_way_and_started(scene: Scene, role: str) -> None:
    host = host_of(scene, role)
    postmaster = host.postmaster()
    scene.strike()
    host.stop_service("pgvip")
    scene.stays(3, primary="primary", standby="standby")
    scene.pair.start_services(host)
    assert host.postmaster() == postmaster
    scene.finish(swapped=False, outage_max_s=1)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_daemon_frozen(scene: Scene, role: str) -> None:
    host = host_of(scene, role)
    daemon = host.service_pid("pgvip")
    scene.strike()
    os.kill(daemon, signal.SIGSTOP)
    try:
        scene.stays(FROZEN_S, primary="primary", standby="standby")
    finally:
        os.kill(daemon, signal.SIGCONT)
    scene.finish(swapped=False, outage_max_s=2)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


def test_the_standby_s_daemon_is_stopped_and_its_replication_stands_still(scene: Scene) -> None:
    """In sync no commit could end, while its database answers: after `unfollowed_s` it is fenced."""
    scene.standby.stop_service("pgvip")
    [receiver] = [process for process in scene.standby.processes("postgres") if "walreceiver" in process.command]
    scene.strike()
    os.kill(receiver.pid, signal.SIGSTOP)
    scene.wait_roles(primary="primary_standby", deadline_s=40)
    assert scene.wait_writes() < 25
    assert scene.fenced(scene.standby) == 1
    scene.finish(swapped=False, deadline_s=90)


def test_both_daemons_killed_at_once(scene: Scene) -> None:
    scene.strike()
    for host in scene.pair.hosts.values():
        os.kill(host.service_pid("pgvip"), signal.SIGKILL)
    scene.stays(4, primary="primary", standby="standby")
    scene.finish(swapped=False, outage_max_s=1)


def test_postmaster_dies_while_the_daemon_is_frozen(scene: Scene) -> None:
    daemon = scene.primary.service_pid("pgvip")
    scene.strike()
    os.kill(daemon, signal.SIGSTOP)
    os.kill(scene.primary.postmaster(), signal.SIGKILL)
    scene.wait_roles(standby="primary_standby", deadline_s=40)
    scene.finish(swapped=True, deadline_s=90)


def test_switchover_and_back(scene: Scene) -> None:
    scene.strike()
    scene.pair.pgvip(scene.primary, "switchover")
    scene.wait_roles(primary="standby", standby="primary", deadline_s=40)
    scene.pair.wait_healthy()
    scene.pair.pgvip(scene.standby, "switchover")
    scene.finish(swapped=False, outage_max_s=5)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


@contextmanager
def no_descriptor_left(daemon: int) -> Iterator[None]:
    """Something in the daemon has used them up, while this lasts."""
    used = {int(path.name) for path in Path(f"/proc/{daemon}/fd").iterdir()}
    free = next(number for number in count(3) if number not in used)
    soft, hard = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (free, hard))
    yield
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_no_descriptor_is_left_when_the_other_host_loses_power(scene: Scene, role: str) -> None:
    """What a fence, a promotion and the sockets that raise and announce an address need was set aside."""
    host, lost = host_of(scene, role), host_of(scene, "standby" if role == "primary" else "primary")
    daemon = host.service_pid("pgvip")
    scene.fence.failures[lost.name].stay_off = True
    with no_descriptor_left(daemon):
        scene.strike()
        lost.power_off()
        assert scene.wait_writes(40) < 8
        assert host.service_pid("pgvip") == daemon, "the daemon has ended"
    scene.fence.soothe()
    lost.boot()
    scene.finish(swapped=role == "standby")
