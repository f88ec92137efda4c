"""systemd's side: restarts and upgrades of the daemon, reboots, shutdowns, a unit that starts PostgreSQL by itself."""

from __future__ import annotations

import pytest

from tests.lab.nodes import wait_until
from tests.vm import setting
from tests.vm.lab import Host
from tests.vm.scene import Scene

BLINK_S = 10.0
"""A daemon's restart moves no address: a client sees no more than the machine's load."""
HAND_OVER_S = 240.0


def postmaster(host: Host) -> str:
    """The postmaster's process id, as its own file tells."""
    return host.run("head -1 /var/lib/postgresql/15/main/postmaster.pid").stdout.strip()


def main_pid(host: Host, unit: str) -> str:
    """systemd's idea of a unit's main process."""
    return host.run(f"systemctl show --property=MainPID --value {unit}").stdout.strip()


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_restart_of_the_daemon_leaves_postgresql_and_addresses_alone(scene: Scene, role: str) -> None:
    host = scene.primary if role == "primary" else scene.standby
    before, daemon = postmaster(host), main_pid(host, "pgvip")
    scene.strike()
    host.run("systemctl restart pgvip", timeout_s=120)
    assert main_pid(host, "pgvip") not in ("0", daemon)
    scene.finish(swapped=False)
    assert postmaster(host) == before
    print(f"longest time between two writes, {role}'s daemon restarted: {scene.outage_s():.1f} s")
    assert scene.outage_s() < BLINK_S


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_upgrade_leaves_postgresql_and_addresses_alone(scene: Scene, role: str) -> None:
    host = scene.primary if role == "primary" else scene.standby
    before, daemon = postmaster(host), main_pid(host, "pgvip")
    scene.strike()
    said = setting.install(host)
    assert "systemctl restart pgvip" in said
    assert main_pid(host, "pgvip") not in ("0", daemon)
    scene.finish(swapped=False)
    assert postmaster(host) == before
    assert scene.outage_s() < BLINK_S


def test_postgresql_is_in_its_own_unit(scene: Scene) -> None:
    for host in (scene.primary, scene.standby):
        assert main_pid(host, "postgresql@15-main") == postmaster(host)
        group = host.run(f"cat /proc/{postmaster(host)}/cgroup").stdout
        assert "pgvip" not in group
        assert host.run("systemctl is-enabled pgvip").stdout.strip() == "enabled"
        assert host.run("systemctl show --property=NRestarts --value pgvip").stdout.strip() == "0"
    scene.finish(swapped=False)


def test_a_unit_that_starts_postgresql_at_boot_is_reported_and_does_not_make_a_second_primary(scene: Scene) -> None:
    host = scene.primary
    start = "/etc/postgresql/15/main/start.conf"
    host.run(f"echo auto >{start}; sync")
    try:
        scene.strike()
        host.order("off")
        scene.wait_writes()
        scene.finish(swapped=True)
        said = host.run("journalctl -u pgvip -b --no-pager").stdout
        assert "starts-at-boot" in said
        assert start in said
    finally:
        host.wait_ssh()
        host.run(f"echo manual >{start}")


def boot_id(host: Host) -> str:
    """What the kernel calls this boot; "" while the machine cannot be asked."""
    return host.ask("cat /proc/sys/kernel/random/boot_id", timeout_s=15)


def reboot(host: Host) -> None:
    """An orderly reboot, to the shell after it: the command itself returns long before the first service ends."""
    before = boot_id(host)
    host.run("systemctl reboot", check=False)
    wait_until(lambda: boot_id(host) not in ("", before), 300, f"{host.name} has booted", 1.0)


def test_orderly_reboot_of_the_standby(scene: Scene) -> None:
    scene.strike()
    reboot(scene.standby)
    print(f"longest time between two writes, orderly reboot of the standby: {scene.outage_s():.1f} s")
    scene.finish(swapped=False)
    assert scene.fenced(scene.standby) == 0


def test_orderly_reboot_of_the_primary(scene: Scene) -> None:
    since = scene.standby.run("date +%s").stdout.strip()
    scene.strike()
    reboot(scene.primary)
    print(f"write outage, orderly reboot of the primary: {scene.wait_writes(HAND_OVER_S):.1f} s")
    scene.finish(swapped=True)
    assert scene.fenced(scene.primary) == 0
    said = scene.standby.run(f"journalctl -u pgvip --since @{since} --no-pager").stdout
    assert f"solo({scene.standby.name}): hand-over-leaving" in said
