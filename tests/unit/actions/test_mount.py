"""Real mounts: bind mounts for a healthy archive, FUSE without a server for a dead one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import mount
from pgvip.deadlines import now_s
from pgvip.errors import MountError, ProbeError
from pgvip.probes import archive_mount
from pgvip.system import mounts
from tests.unit import configs
from tests.unit.stalled import stalled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    root = tmp_path / "with a blank"
    root.mkdir()
    (root / "export").mkdir()
    (root / "export" / "000000010000000000000001").write_text("wal")
    made = configs.make(root)
    archive = replace(
        made.archive, mount_type="none", mount_options="bind", mount_source=str(root / "export"), timeout_s=0.5
    )
    yield replace(made, archive=archive)
    subprocess.run(["umount", "-l", archive.peer_mount], check=False, capture_output=True)


def test_the_archive_is_mounted_and_dropped_and_both_can_be_repeated(config: Config) -> None:
    point = config.archive.peer_mount
    assert archive_mount.probe(config) is False
    for _ in range(2):
        mount.mount(config)
        assert (point / "000000010000000000000001").read_text() == "wal"
        assert archive_mount.probe(config) is True
    listed = Path("/proc/self/mountinfo").read_text()
    assert listed.count(str(point).replace(" ", "\\040")) == 1
    for _ in range(2):
        mount.unmount(config)
        assert mounts.mounted(point) is None
        assert list(point.iterdir()) == []


def test_over_the_link_nothing_is_mounted(config: Config) -> None:
    config = replace(config, archive=replace(config.archive, peer_archive="link"))
    mount.mount(config)
    assert mounts.mounted(config.archive.peer_mount) is None
    mount.unmount(config)


SYSTEMD_RUN = """#!/bin/sh
# systemd-run as far as it is used here: it calls what follows --, unless a unit of that name is there
here=$(dirname "$0")
echo "$*" >>"$here/calls"
for word in "$@"; do case "$word" in --unit=*) unit=${word#--unit=} ;; esac; done
[ -e "$here/$unit.hangs" ] && { echo "Unit $unit.service already exists." >&2; exit 1; }
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def test_a_service_lets_systemd_mount(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon's unit has neither the system calls nor the capability for it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "systemd-run").write_text(SYSTEMD_RUN)
    (programs / "systemd-run").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("INVOCATION_ID", "1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    mount.mount(config)
    assert archive_mount.probe(config) is True
    mount.unmount(config)
    assert archive_mount.probe(config) is False
    first, second = (programs / "calls").read_text().splitlines()
    for line, unit in ((first, "pgvip-mount"), (second, "pgvip-unmount")):
        assert f"--unit={unit} " in line
        assert "--wait --pipe" in line
        assert "--property=RuntimeMaxSec=0.5 " in line
    (programs / "pgvip-mount.hangs").touch()
    with pytest.raises(MountError, match="could not mount") as caught:
        mount.mount(config)
    assert "already exists" in caught.value.detail


def test_source_words_are_filled_in(config: Config) -> None:
    config = replace(config, archive=replace(config.archive, mount_source="{peer}:{directory}"))
    with pytest.raises(MountError, match=f"could not mount 10.9.0.2:{config.archive.directory}"):
        mount.mount(config)


def test_a_missing_export_is_an_error_with_mounts_words(config: Config) -> None:
    config = replace(config, archive=replace(config.archive, mount_source="/nowhere"))
    with pytest.raises(MountError) as caught:
        mount.mount(config)
    assert "/nowhere" in caught.value.detail
    assert mounts.mounted(config.archive.peer_mount) is None


def test_mounts_over_each_other_are_all_dropped(config: Config) -> None:
    mount.mount(config)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", config.archive.peer_mount], check=True)
    mount.unmount(config)
    assert mounts.mounted(config.archive.peer_mount) is None


def test_a_mount_in_use_is_dropped_too(config: Config) -> None:
    mount.mount(config)
    with (config.archive.peer_mount / "000000010000000000000001").open() as file:
        mount.unmount(config)
        assert file.read() == "wal"
    assert mounts.mounted(config.archive.peer_mount) is None


def test_a_dead_server_hangs_neither_probe_nor_mount_nor_unmount(config: Config) -> None:
    point = config.archive.peer_mount
    point.mkdir()
    with stalled(point):
        start_s = now_s()
        for _ in range(2):
            with pytest.raises(ProbeError, match="archive does not answer"):
                archive_mount.probe(config)
        mount.mount(config)  # it is mounted already; whether it answers is the probe's matter
        mount.unmount(config)
        assert mounts.mounted(point) is None
        assert now_s() - start_s < 3
    mount.mount(config)
    assert archive_mount.probe(config) is True


def test_a_mount_that_is_gone_although_umount_lingers_is_dropped(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFSv4 takes leave of its server after the mount has been detached: a dead one is waited for in the kernel."""
    program = tmp_path / "umount"
    program.write_text('#!/bin/sh\n/usr/bin/umount "$@"\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    mount.mount(config)
    mount.unmount(config)
    assert mounts.mounted(config.archive.peer_mount) is None


def test_a_mount_that_stays_is_an_error_also_when_umount_lingers(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "umount"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    mount.mount(config)
    with pytest.raises(MountError, match="did not finish"):
        mount.unmount(config)


def test_a_mount_that_only_says_so_is_an_error(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mount"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin")
    with pytest.raises(MountError, match="could not mount") as failed:
        mount.mount(config)
    assert "although mount succeeded" in failed.value.detail


def test_an_archive_that_the_administrator_mounts_is_only_looked_at(config: Config) -> None:
    config = replace(config, archive=replace(config.archive, mount_type=""))
    mount.mount(config)
    assert mounts.mounted(config.archive.peer_mount) is None
    with pytest.raises(ProbeError):
        archive_mount.probe(config)
    config.archive.peer_mount.mkdir()
    assert archive_mount.probe(config) is True
    mount.unmount(config)


def test_a_disabled_archive_is_left_alone(config: Config) -> None:
    config = replace(config, archive=replace(config.archive, enabled=False))
    mount.mount(config)
    mount.unmount(config)
    assert not config.archive.peer_mount.exists()
