"""The order in which a file gets into an archive: PostgreSQL removes its own as soon as it is said to be there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgvip.archive.sending import Destination, deliver

NAME = "000000010000000000000001"


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "pg_wal" / NAME
    path.parent.mkdir()
    path.write_bytes(os.urandom(300_000))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Destination:
    path = tmp_path / "archive"
    path.mkdir()
    return Destination("archive", path, (), "none", True, 5.0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fsyncs and links that are made, in their order."""
    made: list[str] = []
    fsync, link = os.fsync, os.link

    def seen_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        made.append(f"fsync {path.name.rpartition('.')[2]}: {path.stat().st_size if path.is_file() else 'names'}")
        fsync(descriptor)

    def seen_link(old: Path, new: Path) -> None:
        made.append(f"link to {new.name}")
        link(old, new)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "link", seen_link)
    return made


def test_a_file_is_on_the_disk_before_it_has_its_name(segment: Path, archive: Destination, calls: list[str]) -> None:
    assert deliver(segment, archive)
    assert calls == [f"fsync {NAME}: 300000", f"link to {NAME}", "fsync archive: names"]


def test_a_file_that_is_there_already_is_synced(segment: Path, archive: Destination, calls: list[str]) -> None:
    """The attempt that put it there may have ended before it had synced the names."""
    deliver(segment, archive)
    calls.clear()
    assert not deliver(segment, archive)
    assert calls == [f"fsync {NAME}: 300000", "fsync archive: names"]
