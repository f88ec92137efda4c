"""Clones where data and WAL are not in plain directories: behind links, and in mount points."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres
from pgvip.deadlines import wait_until
from pgvip.errors import RejoinError
from pgvip.rejoin import follow
from pgvip.system import processes
from pgvip.system.commands import check
from tests.lab.actions.servers import caught_up, count, diverge, insert, look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(240)


@contextmanager
def elsewhere(pair: Pair, place: Path, directory: Path) -> Iterator[None]:
    """`place`, of a server that is down, is a link to a directory of another file system, until the end."""
    directory.parent.mkdir(exist_ok=True)
    shutil.chown(directory.parent, "postgres")
    shutil.move(place, directory)
    place.symlink_to(directory)
    processes._RESOLVED.clear()  # known for the life of a daemon, which does not outlive such a move
    try:
        yield
    finally:
        postgres.stop(pair.b, clean=False)
        assert place.is_symlink()
        place.unlink()
        directory.rename(place)
        processes._RESOLVED.clear()


@contextmanager
def mounted(place: Path) -> Iterator[None]:
    """A file system of its own there, with what the directory held; that is put back at the end."""
    kept = place.rename(place.with_name(f"{place.name}.plain"))
    place.mkdir()
    check(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", place], timeout_s=10)
    shutil.chown(place, "postgres", "postgres")
    check(["cp", "-a", f"{kept}/.", place], timeout_s=60)
    (place / "lost+found").mkdir(mode=0o755)
    shutil.rmtree(kept)
    try:
        yield
    finally:
        kept.mkdir(mode=0o700)
        (place / "lost+found").rmdir()
        check(["cp", "-a", f"{place}/.", kept], timeout_s=60)
        shutil.chown(kept, "postgres", "postgres")
        check(["umount", place], timeout_s=10)
        place.rmdir()
        kept.rename(place)


def clone_twice(pair: Pair) -> None:
    """While the standby runs, and while it is down."""
    postgres.start(pair.b, standby=True, sync=False)
    assert follow.rejoin(pair.b, clone=True, progress=print) == "cloned from a"
    assert follow.rejoin(pair.b, clone=True, progress=print) == "cloned from a"
    postgres.start(pair.b, standby=True, sync=False)
    insert(pair.a)
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    assert count(pair.b) == count(pair.a)


def test_data_behind_a_link_stay_on_their_disk(streaming: Pair) -> None:
    place, disk = streaming.b.postgres.data_directory, streaming.root / "disk"
    postgres.stop(streaming.b, clean=True)
    with elsewhere(streaming, place, disk / "data"):
        clone_twice(streaming)
        assert place.readlink() == disk / "data"
        assert sorted(path.name for path in disk.iterdir()) == ["data", "data.pgvip-replaced"]
        shutil.rmtree(disk / "data.pgvip-replaced")


def test_wal_behind_a_link_stays_on_its_disk(streaming: Pair) -> None:
    data, disk = streaming.b.postgres.data_directory, streaming.root / "fast"
    postgres.stop(streaming.b, clean=True)
    old = data.with_name("data.pgvip-replaced")
    with elsewhere(streaming, data / "pg_wal", disk / "wal"):
        clone_twice(streaming)
        assert (data / "pg_wal").resolve() == disk / "wal"
        assert (old / "pg_wal").resolve() == disk / "wal.pgvip-replaced"
        assert any((old / "pg_wal").iterdir())
        shutil.rmtree(disk / "wal.pgvip-replaced")
        shutil.rmtree(old)


def test_wal_in_a_mount_point_stays_there(streaming: Pair) -> None:
    data, disk = streaming.b.postgres.data_directory, streaming.root / "wal-disk"
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    shutil.move(data / "pg_wal", disk)
    (data / "pg_wal").symlink_to(disk)
    with mounted(disk):
        clone_twice(streaming)
        assert (data / "pg_wal").resolve() == disk
        assert {path.name for path in disk.iterdir()} >= {"lost+found", "archive_status", "pgsql_tmp.pgvip-replaced"}
        postgres.stop(streaming.b, clean=True)
        shutil.rmtree(disk / "pgsql_tmp.pgvip-replaced")
    (data / "pg_wal").unlink()
    disk.rename(data / "pg_wal")
    shutil.rmtree(data.with_name("data.pgvip-replaced"))


def test_data_directory_that_is_a_mount_point(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    with mounted(data):
        clone_twice(streaming)
        kept = data / "base" / "pgsql_tmp.pgvip-replaced"
        assert (kept / "PG_VERSION").exists()
        assert sorted(path.name for path in data.iterdir() if "pgvip-" in path.name) == []
        # Nothing of the old data goes to the peer, neither by a rewind nor by a base backup.
        diverge(streaming)
        assert follow.rejoin(streaming.a, progress=print).startswith("rewound")
        assert not list(streaming.a.postgres.data_directory.rglob("*pgvip-replaced"))
        assert follow.rejoin(streaming.a, clone=True, progress=print) == "cloned from b"
        assert not list(streaming.a.postgres.data_directory.rglob("*pgvip-replaced"))
        postgres.start(streaming.a, standby=True, sync=False)
        wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")
        postgres.stop(streaming.b, clean=True)
        postgres.promote(streaming.a)
        shutil.rmtree(kept)


@pytest.mark.parametrize("kind", ["mount point in it", "link to nowhere"])
def test_what_cannot_be_exchanged_is_refused_while_the_standby_runs(streaming: Pair, kind: str) -> None:
    data = streaming.b.postgres.data_directory
    before = look(streaming.b).postmaster
    if kind == "mount point in it":
        (data / "more").mkdir()
        check(["mount", "-t", "tmpfs", "tmpfs", data / "more"], timeout_s=10)
        with pytest.raises(RejoinError, match="is a mount point") as refused:
            follow.rejoin(streaming.b, clone=True, progress=print)
        check(["umount", data / "more"], timeout_s=10)
        (data / "more").rmdir()
        assert "symbolic link" in refused.value.hint
        assert look(streaming.b).postmaster == before
        return
    postgres.stop(streaming.b, clean=True)
    kept = data.rename(data.with_name("moved"))
    data.symlink_to(streaming.root / "not-mounted" / "data")
    with pytest.raises(RejoinError, match="which is not there"):
        follow.rejoin(streaming.b, clone=True, progress=print)
    data.unlink()
    kept.rename(data)
