"""The peer's WAL archive on kernel NFS: its server vanishes while mounted, and nothing hangs."""

from __future__ import annotations

import time

import pytest

from tests.lab.nodes import wait_until
from tests.vm import setting
from tests.vm.lab import Host
from tests.vm.scene import Scene

MOUNT = "/var/lib/pgvip/peer-archive"
MOUNTED_S = 120.0
OUTAGE_S = 180.0
HUNG = """awk '{ pid = $1; sub(/^[0-9]+ [(]/, ""); name = $0; sub(/[)] [A-Z] .*/, "", name); sub(/.*[)] /, "")
  if (substr($0, 1, 1) == "D") print pid, name }' /proc/[0-9]*/stat 2>/dev/null; true"""
"""Processes in the state D; one awk, for the machine forks slowly."""
HUNG_S = 5.0
"""Every fsync is in the state D for a moment; what stays there is hung."""


class Watch:
    """Looks for processes of pgvip and PostgreSQL that stay in the state D."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.since_s: dict[str, float] = {}
        self.hung: set[str] = set()

    def look(self) -> None:
        """One look."""
        now_s = time.monotonic()
        lines = self.host.run(HUNG).stdout.splitlines()
        found = {line for line in lines if line.split(" ", 1)[-1] in ("postgres", "pgvip")}
        self.since_s = {line: self.since_s.get(line, now_s) for line in found}
        self.hung |= {line for line, since_s in self.since_s.items() if now_s - since_s > HUNG_S}


def mount_of(host: Host) -> str:
    """Type and options of the mount of the peer's archive; "" without one."""
    lines = host.run("cat /proc/mounts").stdout.splitlines()
    return next((line for line in lines if line.split()[1] == MOUNT), "")


def is_served(host: Host) -> bool:
    """True when the archive of the peer is mounted and can be listed."""
    return bool(mount_of(host)) and host.run(f"timeout 5 ls {MOUNT}", check=False).returncode == 0


def use_version(host: Host, version: str) -> None:
    """Have the archive mounted with this version of NFS."""
    options = "ro,soft,timeo=10,retrans=2,retry=0,nosuid,nodev,noexec" + (f",vers={version}" if version else "")
    path = "/etc/pgvip/pgvip.toml"
    host.run(f"sed -i 's/^#* *mount_options = .*/mount_options = \"{options}\"/' {path} && pgvip config check")
    host.run(f"umount -l {MOUNT} || true; systemctl restart pgvip", timeout_s=120)


@pytest.mark.parametrize("version", ["3", "4.2"])
def test_the_archive_s_server_loses_power_while_mounted(scene: Scene, version: str) -> None:
    for host in (scene.primary, scene.standby):
        use_version(host, version)
    for host in (scene.primary, scene.standby):
        wait_until(lambda host=host: is_served(host), MOUNTED_S, f"{host.name} has mounted the archive", 2.0)  # type: ignore[misc]  # a default binds it
        assert f"vers={version}" in mount_of(host)
    setting.wait_healthy(scene.lab)
    standby = scene.standby
    standby.run(f"ls {MOUNT}")
    scene.strike()
    scene.primary.order("off")
    watch = Watch(standby)

    def writes_again() -> bool:
        watch.look()
        return any(event.ok and event.sent_s > scene.struck_s + 1 for event in scene.writer.events())

    wait_until(writes_again, 180, "writes on the other machine", 0.5)
    print(f"write outage with NFS {version} mounted from the dead host: {scene.outage_s():.1f} s")
    assert scene.outage_s() < OUTAGE_S
    assert not watch.hung, watch.hung
    scene.finish(swapped=True)
    for host in (scene.primary, scene.standby):
        wait_until(lambda host=host: is_served(host), MOUNTED_S, f"the mount is back on {host.name}", 2.0)  # type: ignore[misc]  # a default binds it


def test_the_export_is_removed_and_comes_back(scene: Scene) -> None:
    host, peer = scene.standby, scene.primary
    wait_until(lambda: is_served(host), MOUNTED_S, "mounted", 2.0)
    peer.run("systemctl stop nfs-server", timeout_s=120)
    scene.strike()
    wait_until(lambda: not mount_of(host), 180, "the dead mount is dropped", 2.0)
    peer.run("systemctl start nfs-server", timeout_s=120)
    wait_until(lambda: is_served(host), MOUNTED_S, "the mount is back", 2.0)
    scene.finish(swapped=False)
    assert scene.outage_s() < 4
