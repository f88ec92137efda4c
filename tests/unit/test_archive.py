"""archive_command and restore_command, run as PostgreSQL runs them: through a shell, as scripts."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pgvip.archive import archive_wal, restore_wal
from pgvip.archive.archive_wal import ArchiveFailed

NAME = "000000010000000000000001"


def run_script(module_file: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", module_file, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "pg_wal" / NAME
    path.parent.mkdir()
    path.write_bytes(os.urandom(3_000_000))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


def test_archives_the_file_and_leaves_nothing_else(segment: Path, archive: Path) -> None:
    done = run_script(archive_wal.__file__, "--directory", archive, segment)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in archive.iterdir()] == [NAME]
    assert (archive / NAME).read_bytes() == segment.read_bytes()


def test_same_file_again_is_a_success(segment: Path, archive: Path) -> None:
    assert archive_wal.archive_wal(segment, archive)
    assert not archive_wal.archive_wal(segment, archive)


@pytest.mark.parametrize("content", [b"", b"other", None])
def test_different_file_is_never_overwritten(segment: Path, archive: Path, content: bytes | None) -> None:
    there = bytes(segment.stat().st_size) if content is None else content
    (archive / NAME).write_bytes(there)
    with pytest.raises(ArchiveFailed, match="another content"):
        archive_wal.archive_wal(segment, archive)
    assert run_script(archive_wal.__file__, "--directory", archive, segment).returncode == 1
    assert (archive / NAME).read_bytes() == there


def test_left_over_temporary_file_is_in_nobodys_way(segment: Path, archive: Path) -> None:
    (archive / f".{NAME}.{os.getpid()}.tmp").write_bytes(b"half")
    assert archive_wal.archive_wal(segment, archive)
    assert [path.name for path in archive.iterdir()] == [NAME]


def test_missing_archive_is_exit_code_1(segment: Path, tmp_path: Path) -> None:
    done = run_script(archive_wal.__file__, "--directory", tmp_path / "none", segment)
    assert done.returncode == 1
    assert NAME in done.stderr


def test_hanging_archive_is_exit_code_1_in_time(segment: Path, archive: Path) -> None:
    os.mkfifo(archive / f"fifo-{NAME}")
    os.mkfifo(segment.parent / "fifo")
    begun_s = time.monotonic()
    done = run_script(archive_wal.__file__, "--timeout", 0.5, "--directory", archive, segment.parent / "fifo")
    assert done.returncode == 1
    assert time.monotonic() - begun_s < 3


def restore(directories: list[Path], target: Path, flag: Path, timeout_s: float = 5.0) -> int:
    options = [word for directory in directories for word in ("--directory", str(directory))]
    return run_script(restore_wal.__file__, "--timeout", timeout_s, "--flag", flag, *options, NAME, target).returncode


def test_restores_from_the_first_archive_that_has_it(tmp_path: Path, archive: Path) -> None:
    other = tmp_path / "peer"
    other.mkdir()
    (other / NAME).write_bytes(b"peer's")
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag") == 0
    assert (tmp_path / "target").read_bytes() == b"peer's"
    (archive / NAME).write_bytes(b"own")
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag") == 0
    assert (tmp_path / "target").read_bytes() == b"own"


def test_missing_file_is_exit_code_1_and_leaves_nothing(tmp_path: Path, archive: Path) -> None:
    assert restore([archive, tmp_path / "none"], tmp_path / "target", tmp_path / "flag") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


def test_flag_stops_it_at_once(tmp_path: Path, archive: Path) -> None:
    (archive / NAME).write_bytes(b"own")
    (tmp_path / "flag").touch()
    assert restore([archive], tmp_path / "target", tmp_path / "flag") == 1
    assert not (tmp_path / "target").exists()


def test_hanging_archive_does_not_hide_the_next_one(tmp_path: Path, archive: Path) -> None:
    other = tmp_path / "peer"
    other.mkdir()
    os.mkfifo(archive / NAME)
    (other / NAME).write_bytes(b"peer's")
    begun_s = time.monotonic()
    assert restore([archive, other], tmp_path / "target", tmp_path / "flag", 1.0) == 0
    assert time.monotonic() - begun_s < 3
    assert (tmp_path / "target").read_bytes() == b"peer's"


def test_flag_that_appears_while_an_archive_hangs_ends_the_wait(tmp_path: Path, archive: Path) -> None:
    os.mkfifo(archive / NAME)
    timer = threading.Timer(0.5, (tmp_path / "flag").touch)
    timer.start()
    begun_s = time.monotonic()
    assert restore([archive], tmp_path / "target", tmp_path / "flag", 15.0) == 1
    assert time.monotonic() - begun_s < 5
    timer.join()


def test_scripts_start_fast_and_need_nothing_of_pgvip(tmp_path: Path) -> None:
    """PostgreSQL starts one for each file; below -S neither pgvip nor any library can be imported."""
    times = []
    for _ in range(5):
        begun_s = time.monotonic()
        assert restore([tmp_path], tmp_path / "target", tmp_path / "flag") == 1
        times.append(time.monotonic() - begun_s)
    assert min(times) < 0.2


def test_an_archive_that_hung_is_not_asked_again_for_a_while(tmp_path: Path) -> None:
    own, peer, target = tmp_path / "own", tmp_path / "peer", tmp_path / "target"
    own.mkdir()
    peer.mkdir()
    os.mkfifo(peer / "00000001000000000000000A")  # opening it waits for a writer that never comes
    (peer / "00000001000000000000000B").write_bytes(b"wal")
    flag = tmp_path / "flag"
    assert not restore_wal.restore_wal("00000001000000000000000A", target, [own, peer], flag, 0.4)
    assert not restore_wal.restore_wal("00000001000000000000000B", target, [own, peer], flag, 5.0)
    (own / restore_wal.HANGS).unlink()
    assert restore_wal.restore_wal("00000001000000000000000B", target, [own, peer], flag, 5.0)
