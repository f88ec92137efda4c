"""The peer's archive, mounted from a server that hangs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.lab.hosts import PROGRAMS, SHARED, Host
from tests.lab.nodes import wait_until
from tests.lab.pair import PEER_STATE
from tests.lab.scene import Scene

SERVED = "/run/pgvip-lab-served"
MOUNT = "/var/lib/pgvip/peer-archive"
SERVED_BY_USER_SPACE = {"archive": {"mount_type": "none", "mount_source": SERVED, "mount_options": "bind,ro"}}


def serve(host: Host) -> None:
    """The stand-in for the peer's NFS server, one that can hang."""
    argv = [sys.executable, "-IS", PROGRAMS / "stalling_fs.py", f"{PEER_STATE}/archive", SERVED, f"{SHARED}/stall"]
    host.popen(argv)
    wait_until(partial(is_mounted, host, SERVED), 10, "served")


def is_mounted(host: Host, path: str) -> bool:
    return path in host.run(["cat", "/proc/mounts"]).stdout


@pytest.fixture
def hanging(scene: Scene) -> Iterator[Scene]:
    """A scene whose hosts have the peer's archive mounted, and can be made to hang on it."""
    for host in scene.pair.hosts.values():
        serve(host)
    for host in scene.pair.hosts.values():
        wait_until(partial(is_mounted, host, MOUNT), 40, "the daemon has mounted it")
    yield scene
    for host in scene.pair.hosts.values():
        (host.directory / "shared/stall").unlink(missing_ok=True)


def stall(scene: Scene) -> None:
    for host in scene.pair.hosts.values():
        (host.directory / "shared/stall").touch()


def picture(scene: Scene) -> dict[str, str]:
    """The archive as the standby sees it."""
    said: dict[str, str] = json.loads(scene.pair.pgvip(scene.standby, "archive", "status", "--json").stdout)
    return said


@pytest.mark.pair(overrides=SERVED_BY_USER_SPACE)
def test_a_hanging_archive_delays_no_takeover(hanging: Scene) -> None:
    stall(hanging)
    hanging.strike()
    os.kill(hanging.primary.postmaster(), signal.SIGKILL)
    hanging.wait_roles(standby="primary_standby")
    assert hanging.wait_writes() < 4
    for host in hanging.pair.hosts.values():
        (host.directory / "shared/stall").unlink(missing_ok=True)
    hanging.finish(swapped=True)


@pytest.mark.pair(overrides=SERVED_BY_USER_SPACE)
def test_a_hanging_archive_hangs_neither_daemon_nor_status(hanging: Scene) -> None:
    stall(hanging)
    hanging.strike()
    hanging.stays(6, primary="primary", standby="standby")
    for host in hanging.pair.hosts.values():
        asked_s = time.monotonic()
        hanging.pair.status(host)
        assert time.monotonic() - asked_s < 5
    # The daemon drops a mount that does not answer, and makes it anew: now and then nothing is mounted.
    wait_until(lambda: "does not answer" in picture(hanging)["other_why"], 60, "the archive's picture tells of it")
    asked_s = time.monotonic()
    refused = hanging.pair.pgvip(hanging.standby, "archive", "clean", check=False)
    assert refused.returncode == 5
    assert "does not answer" in refused.stderr or "nothing is mounted" in refused.stderr
    assert time.monotonic() - asked_s < 30
    hanging.pair.pgvip(hanging.primary, "switchover")
    hanging.wait_roles(standby="primary", deadline_s=40)
    for host in hanging.pair.hosts.values():
        (host.directory / "shared/stall").unlink(missing_ok=True)
    hanging.finish(swapped=True)


@pytest.mark.pair(overrides=SERVED_BY_USER_SPACE)
def test_a_daemon_that_starts_beside_a_dead_mount_drops_it(hanging: Scene) -> None:
    """It has never seen it answer, and the peer is off: nobody mounts it again."""
    hanging.standby.stop_service("pgvip")
    hanging.primary.stop_service("pgvip")
    (hanging.standby.directory / "shared/stall").touch()
    hanging.pair.start_services(hanging.standby)
    wait_until(lambda: not is_mounted(hanging.standby, MOUNT), 60, "it is dropped")
    (hanging.standby.directory / "shared/stall").unlink()
    hanging.pair.start_services(hanging.primary)
    wait_until(partial(is_mounted, hanging.standby, MOUNT), 40, "it is mounted again")
    hanging.finish(swapped=None)
