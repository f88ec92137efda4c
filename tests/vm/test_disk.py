"""The primary's data disk fails under load: a device-mapper table of the guest's kernel that errs, or stands still."""

from __future__ import annotations

import pytest

from tests.lab.nodes import wait_until
from tests.vm import setting
from tests.vm.lab import Host
from tests.vm.scene import Scene

OUTAGE_S = 240.0


def fail(host: Host, table: str) -> None:
    """Exchange the table under PostgreSQL's file system; `table`: all but its range, from the old one's device on."""
    host.run(
        "set -e; size=$(blockdev --getsz /dev/mapper/pgdisk); disk=$(dmsetup table pgdisk | cut -d' ' -f4);"
        "modprobe dm-flakey; dmsetup suspend --noflush --nolockfs pgdisk;"
        f'dmsetup reload pgdisk --table "0 $size {table}"; dmsetup resume --noudevsync pgdisk',
    )


def hang(host: Host) -> None:
    """Let every read, write and fsync stand still, in the state D, as long as nobody resumes it."""
    host.run("dmsetup suspend --noflush --nolockfs pgdisk")


FAULTS = {
    "errors": lambda host: fail(host, "error"),
    "flakey": lambda host: fail(host, "flakey $disk 0 4 2"),  # well for 4 s, errors for 2 s, and again
    "hangs": hang,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_standby_takes_over_from_a_primary_whose_disk_fails(scene: Scene, fault: str) -> None:
    scene.strike()
    FAULTS[fault](scene.primary)
    # a flakey disk does well at first
    wait_until(lambda: setting.roles(scene.lab)[scene.standby.name].startswith("primary"), OUTAGE_S, "a takeover", 2.0)
    print(f"write outage, data disk {fault}: {scene.wait_writes(OUTAGE_S):.1f} s")
    # a new disk table, a new start: what an operator does who has exchanged the cable
    scene.primary.order("reset")
    scene.finish(swapped=True)
