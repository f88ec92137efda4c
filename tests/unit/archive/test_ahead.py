"""What is archived before PostgreSQL asks for it, and when the answer for it counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgvip.archive import ahead, archive_command, archive_wal, sending
from pgvip.archive.memory import DIRECTORY
from pgvip.deadlines import wait_until

HISTORY = "00000002.history"


def name(number: int) -> str:
    return f"0000000100000000{number:08X}"


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    """A pg_wal in which four segments and a history wait, and one more is done."""
    path = tmp_path / "pg_wal"
    (path / "archive_status").mkdir(parents=True)
    for one in (name(2), name(3), name(1), name(4), HISTORY):
        (path / one).write_bytes(os.urandom(100_000))
        (path / "archive_status" / f"{one}.ready").touch()
    (path / name(9)).write_bytes(b"done")
    (path / "archive_status" / f"{name(9)}.done").touch()
    (path / "archive_status" / "odd.ready").touch()
    return path


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need more than the two seconds for five files."""
    monkeypatch.setattr(archive_command, "AHEAD_S", 60.0)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


def words(archive: Path, file: Path, *options: str) -> list[str]:
    return ["--directory", str(archive), ahead.OPTION, *options, str(file)]


def stored(archive: Path) -> list[str]:
    return sorted(path.name for path in archive.iterdir() if path.name != DIRECTORY)


PATIENT = f"""
import runpy, sys
sys.path.insert(0, {str(Path(archive_wal.__file__).parents[2])!r})
from pgvip.archive import archive_command
archive_command.AHEAD_S = 60.0
runpy.run_path({archive_wal.__file__!r}, run_name="__main__")
"""
"""The script in a process of its own, where a busy machine ends nothing early."""


def test_the_script_archives_what_is_ready_and_then_answers(wal: Path, archive: Path) -> None:
    def run(file: str, *script: str) -> int:
        program = [sys.executable, "-I", "-S", *(script or (archive_wal.__file__,))]
        return subprocess.run([*program, *words(archive, wal / file)], timeout=50, check=False).returncode

    assert run(name(1), "-c", PATIENT) == 0
    assert stored(archive) == [*map(name, range(1, 5)), HISTORY]
    for one in (HISTORY, name(2), name(3), name(4)):
        assert (archive / one).read_bytes() == (wal / one).read_bytes()
        assert ahead.answered(words(archive, wal / one))
        assert run(one) == 0
    assert not ahead.answered(words(archive, wal / name(1))), "asked for itself: the answer was the exit code"


def test_the_order_is_the_archivers(wal: Path) -> None:
    assert ahead.ready(str(wal / name(2))) == [HISTORY, name(1), name(3), name(4)]
    assert ahead.ready("nowhere/at-all") == []


def test_nothing_is_archived_ahead_unless_it_is_wanted(wal: Path, archive: Path) -> None:
    """Salvaging copies single files, into a directory where nothing else belongs."""
    assert archive_command.main(["--directory", str(archive), str(wal / name(1))]) == 0
    assert stored(archive) == [name(1)]
    assert not ahead.answered(["--directory", str(archive), str(wal / name(1))])


def test_it_ends_with_the_first_that_fails(wal: Path, archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gap would look like an archive that has everything up to the newest file."""
    (archive / name(3)).write_bytes(b"of another cluster")
    assert archive_command.main(words(archive, wal / name(1))) == 0
    assert stored(archive) == [name(1), name(2), name(3), HISTORY]
    assert [ahead.answered(words(archive, wal / name(n))) for n in (2, 3, 4)] == [True, False, False]
    assert capsys.readouterr().err == ""
    assert archive_command.main(words(archive, wal / name(3))) == 1
    assert "another content" in capsys.readouterr().err
    assert (archive / name(3)).read_bytes() == b"of another cluster"
    assert not (archive / name(4)).exists()


def test_a_file_alone_is_archived(wal: Path, archive: Path) -> None:
    """As it is most of the time; also where the mark of the file itself is there."""
    for one in (HISTORY, name(2), name(3), name(4)):
        (wal / "archive_status" / f"{one}.ready").unlink()
    assert archive_command.main(words(archive, wal / name(1))) == 0
    assert stored(archive) == [name(1)]
    assert not (archive / ahead.NOTE).exists()


def test_nothing_is_archived_ahead_of_one_that_failed(wal: Path, tmp_path: Path) -> None:
    assert archive_command.main(words(tmp_path / "none", wal / name(1))) == 1
    assert not (tmp_path / "none").exists()


def test_files_and_time_are_bounded(wal: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_command, "AHEAD_MAX", 2)
    assert archive_command.main(words(archive, wal / name(1))) == 0
    assert stored(archive) == [name(1), name(2), HISTORY]
    monkeypatch.setattr(archive_command, "AHEAD_S", 0.0)
    assert archive_command.main(words(archive, wal / name(3))) == 0
    assert name(4) not in stored(archive)


def test_a_file_that_changed_since_is_compared_again(wal: Path, archive: Path) -> None:
    """Of the same size, and with the same time of change as cp --preserve leaves it."""
    assert archive_command.main(words(archive, wal / name(1))) == 0
    found = (wal / name(2)).stat()
    time.sleep(0.02)  # beyond the grain of the file system's clock
    (wal / name(2)).write_bytes(os.urandom(100_000))
    os.utime(wal / name(2), ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not ahead.answered(words(archive, wal / name(2)))
    assert archive_wal.main(words(archive, wal / name(2))) == 1
    assert ahead.answered(words(archive, wal / name(3)))


def test_a_file_that_is_no_longer_in_the_archive_is_archived_again(wal: Path, archive: Path) -> None:
    assert archive_command.main(words(archive, wal / name(1))) == 0
    (archive / name(2)).unlink()
    (archive / name(3)).write_bytes(b"cut")
    assert archive_wal.main(words(archive, wal / name(2))) == 0
    assert (archive / name(2)).read_bytes() == (wal / name(2)).read_bytes()
    assert archive_wal.main(words(archive, wal / name(3))) == 1


def test_an_answer_is_for_the_same_options_and_the_same_boot(
    wal: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that was added meanwhile has not got the file; notes are not synced before the machine fails."""
    assert archive_command.main(words(archive, wal / name(1))) == 0
    assert ahead.answered(words(archive, wal / name(2)))
    assert not ahead.answered(words(archive, wal / name(2), "--timeout", "9"))
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(ahead, "BOOT_ID", str(other))
    assert not ahead.answered(words(archive, wal / name(2)))


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"\xff\xfe\n"])
def test_a_note_that_cannot_be_read_is_none(wal: Path, archive: Path, content: bytes) -> None:
    (archive / DIRECTORY).mkdir()
    (archive / ahead.NOTE).write_bytes(content)
    assert not ahead.answered(words(archive, wal / name(2)))
    assert archive_wal.main(words(archive, wal / name(2))) == 0


def test_an_optional_destination_gets_them_too_or_later(wal: Path, archive: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    option = ("--destination", f'{{"name": "far", "directory": "{far}", "required": false}}')
    assert archive_command.main(words(archive, wal / name(1), *option)) == 0
    pending = archive / DIRECTORY / "pending" / "far"
    assert sorted(path.name for path in pending.iterdir()) == stored(archive)
    assert ahead.answered(words(archive, wal / name(4), *option)), "it is pending there, which is all that is promised"


def test_none_is_seen_before_those_that_it_follows(
    wal: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is prepared while the one before it is archived, and waits for it; so does an operator's command."""
    seen: list[set[str]] = []
    release = sending.release

    def released(one: sending.Sending) -> sending.Sending:
        seen.append(set(stored(archive)))
        return release(one)

    monkeypatch.setattr(sending, "release", released)
    log = archive.with_name("log")
    option = ("--destination", json.dumps({"name": "log", "command": ["/bin/sh", "-c", f"echo %f >>{log}"]}))
    assert archive_command.main(words(archive, wal / name(1), *option)) == 0
    order = [name(1), HISTORY, name(2), name(3), name(4)]
    assert log.read_text().split() == order
    assert seen == [set(order[:number]) for number in (2, 3, 4)]
    assert list((archive / DIRECTORY / sending.NEW).iterdir()) == []


def test_what_is_held_is_not_seen_until_it_is_released(wal: Path, archive: Path) -> None:
    own = sending.Destination("archive", archive)
    held = sending.start(wal / name(1), own, hold=True)
    folder = archive / DIRECTORY / sending.NEW
    wait_until(lambda: folder.is_dir() and list(folder.iterdir()) != [], 10, what="it is prepared")
    assert stored(archive) == []
    assert sending.finish(sending.release(held)).why == ""
    assert stored(archive) == [name(1)]
    sending.abandon(sending.start(wal / name(2), own, hold=True))
    assert (stored(archive), list(folder.iterdir())) == ([name(1)], [])


def test_an_answer_imports_nothing_but_os(wal: Path, archive: Path) -> None:
    assert archive_command.main(words(archive, wal / name(1))) == 0
    script = (
        "import os, sys; before = set(sys.modules)\n"
        f"sys.path.insert(0, {str(Path(archive_wal.__file__).parents[2])!r})\n"
        f"from pgvip.archive import archive_wal; assert archive_wal.main({words(archive, wal / name(2))!r}) == 0\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["__future__", "pgvip", "pgvip.archive", "pgvip.archive.ahead",
                                   "pgvip.archive.archive_wal"]  # fmt: skip
