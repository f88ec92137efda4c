"""Real file systems: tmpfs that fill up, FUSE without a server for a disk that hangs."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.deadlines import now_s, wait_until
from pgvip.errors import ProbeError
from pgvip.probes import disk_writer
from pgvip.probes.disks import DiskProbe, cluster_directories
from tests.unit.stalled import stalled

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "nobody"


def mount_tmpfs(point: Path, options: str) -> Path:
    point.mkdir(parents=True, exist_ok=True)
    account = pwd.getpwnam(OWNER)
    words = f"{options},uid={account.pw_uid},gid={account.pw_gid},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", words, "tmpfs", point], check=True)
    return point


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A data directory on a file system of its own, of 1 MB, below directories that its owner may pass."""
    data = tmp_path / "data"
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    mount_tmpfs(data, "size=1m")
    yield data
    for point in (data / "pg_wal", tmp_path / "space", data):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


@pytest.fixture
def probe(disk: Path) -> Iterator[DiskProbe]:
    probe = DiskProbe([disk], OWNER)
    yield probe
    probe.close()


def pid_of(probe: DiskProbe) -> int:
    assert probe._child is not None
    return probe._child.pid


def test_a_healthy_disk_is_written_by_one_small_process(probe: DiskProbe, disk: Path) -> None:
    assert probe.probe(5.0)
    pid = pid_of(probe)
    start_s = now_s()
    for _ in range(20):
        assert probe.probe(5.0)
    assert (now_s() - start_s) / 20 < 0.5
    assert pid_of(probe) == pid
    assert list(disk.iterdir()) == [], "nothing is left behind"
    status = Path(f"/proc/{pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 16_000
    owner = pwd.getpwnam(OWNER)
    assert status.partition("Uid:")[2].split()[:4] == [str(owner.pw_uid)] * 4


def test_files_are_the_owners(disk: Path) -> None:
    probe = DiskProbe([disk], OWNER)
    shutil.chown(disk, "root")  # and the writer is not root
    with pytest.raises(ProbeError) as caught:
        probe.probe(5.0)
    assert "denied" in caught.value.detail.lower() or "not permitted" in caught.value.detail.lower()
    probe.close()


def test_no_name_comes_and_goes(disk: Path) -> None:
    """pg_rewind lists the data directory, and fails on a name that is there no more when it comes to it."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    in_create, in_delete = 0x100, 0x200
    assert libc.inotify_add_watch(watch, bytes(disk), in_create | in_delete) > 0
    disk_writer.write_and_sync(str(disk))
    with pytest.raises(BlockingIOError):
        os.read(watch, 4096)
    os.close(watch)


def test_each_round_waits_until_what_was_written_is_on_the_disk(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write alone ends in memory, and succeeds on a disk that is gone."""
    synced: list[int] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", seen)
    assert disk_writer.look([str(disk)]) == ""
    assert synced == [disk_writer.BYTES]


def test_a_file_system_without_nameless_files_has_one_that_stays(disk: Path) -> None:
    for _ in range(2):
        descriptor = disk_writer.open_named(str(disk))
        os.write(descriptor, b"x")
        os.close(descriptor)
    assert [path.name for path in disk.iterdir()] == [disk_writer.NAME]


def test_a_full_disk_is_a_failure_and_recovers(probe: DiskProbe, disk: Path) -> None:
    assert probe.probe(5.0)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk}/fill", "bs=4k"], check=False, capture_output=True)
    with pytest.raises(ProbeError, match="a disk cannot be written to") as caught:
        probe.probe(5.0)
    assert "No space left on device" in caught.value.detail
    assert str(disk) in caught.value.detail
    (disk / "fill").unlink()
    assert probe.probe(5.0)


def test_a_read_only_disk_is_a_failure(probe: DiskProbe, disk: Path) -> None:
    assert probe.probe(5.0)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(ProbeError) as caught:
        probe.probe(5.0)
    assert "Read-only file system" in caught.value.detail


def test_each_file_system_of_the_cluster_is_written(probe: DiskProbe, disk: Path, tmp_path: Path) -> None:
    wal = mount_tmpfs(disk / "pg_wal", "size=1m")
    space = mount_tmpfs(tmp_path / "space", "size=1m")
    same = disk / "same"
    same.mkdir()
    (disk / "pg_tblspc").mkdir()
    (disk / "pg_tblspc" / "16400").symlink_to(space)
    (disk / "pg_tblspc" / "16401").symlink_to(same)
    assert cluster_directories(disk) == [disk, wal, space]
    assert probe.probe(5.0)
    subprocess.run(["mount", "-o", "remount,ro", space], check=True)
    with pytest.raises(ProbeError) as caught:
        probe.probe(5.0)
    assert caught.value.detail.startswith(str(space))


def test_a_missing_data_directory_is_a_failure(probe: DiskProbe, disk: Path) -> None:
    subprocess.run(["umount", disk], check=True)
    disk.rmdir()
    with pytest.raises(ProbeError, match="cannot be written"):
        probe.probe(5.0)


def test_a_hanging_disk_holds_one_child_and_no_thread(probe: DiskProbe, disk: Path) -> None:
    assert probe.probe(5.0)
    pid = pid_of(probe)
    with stalled(disk):
        for _ in range(3):
            start_s = now_s()
            with pytest.raises(ProbeError, match="a disk does not answer"):
                probe.probe(0.2)
            assert now_s() - start_s < 2.0
        assert pid_of(probe) == pid
    # the disk is back: the same child answers, first the old question, then the new one
    wait_until(lambda: answers(probe), 30)
    assert pid_of(probe) == pid


def answers(probe: DiskProbe) -> bool:
    try:
        return probe.probe(1.0)
    except ProbeError:
        return False


def test_a_writer_that_dies_is_started_again(probe: DiskProbe) -> None:
    assert probe.probe(5.0)
    pid = pid_of(probe)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: answers(probe), 30)
    assert pid_of(probe) != pid


def test_a_stopped_writer_is_a_failure_in_time(probe: DiskProbe) -> None:
    assert probe.probe(5.0)
    os.kill(pid_of(probe), signal.SIGSTOP)
    with pytest.raises(ProbeError, match="does not answer"):
        probe.probe(0.2)
    os.kill(pid_of(probe), signal.SIGCONT)
    assert probe.probe(5.0)


def test_the_writer_ends_with_the_daemon(disk: Path) -> None:
    probe = DiskProbe([disk], OWNER)
    assert probe.probe(5.0)
    pid = pid_of(probe)
    probe.close()
    assert not Path(f"/proc/{pid}").exists()


def test_an_unknown_user_is_an_error(disk: Path) -> None:
    with pytest.raises(ProbeError, match="no-such-user"):
        DiskProbe([disk], "no-such-user").probe(1.0)


def test_the_script_names_the_place_that_failed(tmp_path: Path) -> None:
    assert disk_writer.look([str(tmp_path)]) == ""
    assert disk_writer.look([str(tmp_path), str(tmp_path / "none")]).startswith(str(tmp_path / "none"))
