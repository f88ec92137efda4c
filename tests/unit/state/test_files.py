"""The one writer of durable files, on real file systems and against those who prepare the directory."""

from __future__ import annotations

import errno
import os
import stat
import threading
import tracemalloc
from pathlib import Path

import pytest

from pgvip.state import files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_content_mode_and_owner_are_as_ordered(path: Path, mode: int) -> None:
    old = os.umask(0o077)
    try:
        files.write(path, "first \udcff", mode=mode, owner=(4321, 8765))
    finally:
        os.umask(old)
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, 4321, 8765)
    assert path.read_bytes() == b"first \xff"
    files.write(path, b"second")
    found = path.stat()
    assert (path.read_bytes(), stat.S_IMODE(found.st_mode), found.st_uid) == (b"second", 0o600, os.geteuid())
    assert names(path) == ["file"]


def test_nobody_sees_a_part(path: Path) -> None:
    """Several write at once, one reads: each content is whole, and nothing is left."""
    whole = [bytes([number]) * 100_000 for number in range(4)]
    files.write(path, whole[0])
    ended = threading.Event()
    writers = [threading.Thread(target=_again, args=(path, one, ended)) for one in whole]
    for writer in writers:
        writer.start()
    try:
        seen = {path.read_bytes() for _ in range(300)}
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert seen <= set(whole)
    assert names(path) == ["file"]


def _again(path: Path, content: bytes, ended: threading.Event) -> None:
    while not ended.is_set():
        files.write(path, content, durable=False)


def seen_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fsyncs and renames that are made, in their order."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        calls.append("fsync new" if name.endswith(".new") else f"fsync {name}")
        fsync(descriptor)

    def seen_rename(self: Path, target: Path) -> Path:
        calls.append(f"rename to {Path(target).name}")
        replace(self, target)
        return target

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(Path, "replace", seen_rename)
    return calls


def test_the_order_of_a_durable_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = seen_calls(monkeypatch)
    files.write(path, "x")
    assert calls == ["fsync new", "rename to file", f"fsync {path.parent.name}"]
    calls.clear()
    files.write(path, "x", durable=False)
    assert calls == ["rename to file"]
    calls.clear()
    files.copy(path, path.with_name("copy"))
    files.rename(path, path.with_name("other"))
    assert calls == ["fsync new", "rename to copy", "rename to other", f"fsync {path.parent.name}"]


def test_what_fails_before_the_rename_leaves_the_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(path, "old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space") as caught:
            files.write(path, "new")
        assert not isinstance(caught.value, files.UnsyncedError)
    assert (path.read_text(), names(path)) == ("old", ["file"])


def test_what_fails_after_the_rename_is_told_apart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write(path, "old")

    def broken_disk(_directory: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "sync_directory", broken_disk)
    with pytest.raises(files.UnsyncedError):
        files.write(path, "new")
    assert (path.read_text(), names(path)) == ("new", ["file"])


def test_links_are_not_followed(path: Path) -> None:
    """A directory of another user: a link under the file's name is replaced, its target untouched."""
    target = path.with_name("target")
    target.write_text("mine")
    path.symlink_to(target)
    files.write(path, "new")
    assert (target.read_text(), path.read_text(), path.is_symlink()) == ("mine", "new", False)


def test_a_file_is_replaced_by_one_of_the_same_owner_without_special_bits(path: Path) -> None:
    path.write_text("old")
    os.chown(path, 4321, 8765)
    path.chmod(0o4750)
    files.write_like(path, "new", path)
    found = path.stat()
    assert (path.read_text(), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == ("new", 0o750, 4321, 8765)


def test_reading_takes_memory_for_what_is_there_not_for_the_limit(path: Path) -> None:
    """A limit of 1 GB fails where memory is short or is not overcommitted (vm.overcommit_memory = 2)."""
    path.write_bytes(b"short")
    tracemalloc.start()
    try:
        assert files.read(path, 1 << 30) == b"short"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 << 20


def test_reading_is_bounded(path: Path) -> None:
    path.write_bytes(b"12345")
    assert files.read(path, 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes"):
        files.read(path, 4)
    with pytest.raises(FileNotFoundError):
        files.read(path.with_name("gone"), 4)


def test_what_is_no_regular_file_is_refused_at_once(path: Path) -> None:
    """A FIFO would wait for a writer for ever, a device has no end."""
    os.mkfifo(path)
    for other in (path, Path("/dev/zero"), path.parent):
        with pytest.raises(OSError, match=r"regular file|directory"):
            files.read(other, 10)
    with pytest.raises(OSError, match="regular file"):
        files.copy(path, path.with_name("copy"))
    assert names(path) == ["file"]


def test_a_copy_is_as_its_source_or_as_ordered_and_follows_no_link(path: Path) -> None:
    path.write_text("key")
    os.chown(path, 4321, 8765)
    path.chmod(0o4640)
    copy = path.with_name("copy")
    for options, expected in (
        ({"as_source": True}, (0o640, 4321, 8765)),
        ({"owner": (17, 18)}, (0o600, 17, 18)),
        ({}, (0o600, os.geteuid(), os.getegid())),
    ):
        files.copy(path, copy, **options)
        found = copy.stat()
        assert (copy.read_text(), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == ("key", *expected)
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        files.copy(link, copy)


def test_a_directory_has_its_name_when_it_is_whole(path: Path) -> None:
    partial = path.with_name("partial")
    partial.mkdir()
    (partial / "of an earlier attempt").touch()
    with pytest.raises(OSError, match="in the middle"), files.new_directory(path, partial):
        raise OSError("in the middle")
    assert names(path) == ["partial"]
    with files.new_directory(path, partial) as made:
        (made / "sub").mkdir()
        files.write(made / "sub" / "one", "1")
    assert names(path) == ["file"]
    assert [entry.name for entry in path.iterdir()] == ["sub"]
