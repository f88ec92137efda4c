"""Clones of real data: what is in their way, and what comes along."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import multiprocessing
import shutil
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2.extras import PhysicalReplicationConnection

from pgvip.actions import postgres, prepare, replication
from pgvip.core.values import Lsn, WalPoint
from pgvip.deadlines import wait_until
from pgvip.errors import RejoinError
from pgvip.rejoin import copy as cloning
from pgvip.rejoin import follow, own_files, source
from pgvip.system import pgconf, pgtools
from pgvip.system.commands import check
from pgvip.system.sql import REPLICATION_ROLE, connect_local
from pgvip.system.wal_files import segment_name
from tests.lab.actions.servers import caught_up, insert, look
from tests.lab.clusters import Pair, make_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config


REPLACED = "pgsql_tmp.pgvip-replaced"

pytestmark = pytest.mark.timeout(180)


def test_clone_keeps_the_old_data_under_another_name(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    (data / "mark").touch()
    shutil.chown(data / "mark", "postgres")  # a file of root's would be this host's own
    done: list[tuple[int, int]] = []
    follow.rejoin(streaming.b, clone=True, progress=print, on_bytes=lambda *pair: done.append(pair))
    assert (data.with_name("data.pgvip-replaced") / "mark").exists()
    assert not (data / "mark").exists()
    assert (data / "standby.signal").exists()
    assert done
    assert done[-1][0] == done[-1][1] > 1_000_000
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")


def test_clone_over_diverged_data_saves_what_only_they_have(streaming: Pair) -> None:
    """As `pgvip clone --replace` does; the clone after it removes the old data."""
    postgres.stop(streaming.b, clean=True)
    insert(streaming.a)
    insert(streaming.a)
    postgres.stop(streaming.a, clean=False)
    system_id = pgtools.control_data(streaming.a).system_id
    postgres.start(streaming.b, standby=True, sync=False)
    postgres.promote(streaming.b)
    before = set(streaming.a.paths.saved.glob("*"))
    assert follow.clone_over(streaming.a, print, system_id=system_id) == "cloned from b"
    (saved,) = set(streaming.a.paths.saved.iterdir()) - before
    assert json.loads((saved / "lost.json").read_text())["commits"] == 2


def test_clone_over_data_that_cannot_be_read_keeps_their_wal(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    system_id = pgtools.control_data(streaming.b).system_id
    wal = streaming.b.postgres.data_directory / "pg_wal"
    here = sorted(path for path in wal.iterdir() if len(path.name) == 24)
    for path in here:
        path.rename(path.with_suffix(".torn"))
    before = set(streaming.b.paths.saved.glob("*-unread"))
    assert follow.clone_over(streaming.b, print, system_id=system_id) == "cloned from a"
    assert follow.rejoin(streaming.b, clone=True, progress=print) == "cloned from a"
    (kept,) = set(streaming.b.paths.saved.glob("*-unread")) - before
    assert {path.with_suffix(".torn").name for path in here} <= {path.name for path in kept.iterdir()}


def test_clone_waits_for_nobody_who_uses_this_hosts_slot(streaming: Pair) -> None:
    """As after a power loss: the primary still serves a receiver that will never read again."""
    postgres.stop(streaming.b, clean=True)
    with frozen_receiver(streaming):
        assert cloning.clone(streaming.b, print) == "cloned from a"
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    replication.advance_slot(streaming.b)
    names = pgtools.psql(streaming.a, "SELECT slot_name FROM pg_replication_slots").split()
    assert names == ["pgvip_b"], "the base backup's own slot has gone"


def test_standby_runs_until_its_new_copy_is_whole(streaming: Pair) -> None:
    seen: list[bool] = []
    postmaster = look(streaming.b).postmaster
    follow.rejoin(streaming.b, clone=True, progress=print, on_bytes=lambda *_: seen.append(look(streaming.b).streaming))
    assert seen
    assert all(seen)
    postgres.start(streaming.b, standby=True, sync=False)
    assert look(streaming.b).postmaster != postmaster
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_copy_that_would_fail_is_not_begun(streaming: Pair, kind: str) -> None:
    secret = streaming.a.postgres.data_directory / "of-root"
    secret.touch(mode=0o600) if kind == "file" else secret.mkdir(mode=0o700)
    before = look(streaming.b)
    try:
        with pytest.raises(RejoinError, match="may not read all files") as refused:
            follow.rejoin(streaming.b, clone=True, progress=print)
        assert "of-root" in refused.value.detail
    finally:
        secret.unlink() if kind == "file" else secret.rmdir()
    wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")  # on a busy machine its last message is old
    assert look(streaming.b).postmaster == before.postmaster


def test_copy_that_fails_leaves_the_standby_running_and_no_slot(streaming: Pair) -> None:
    """What lies deeper is found by pg_basebackup."""
    secret = streaming.a.postgres.data_directory / "base" / "of-root"
    secret.touch(mode=0o600)
    before = look(streaming.b)
    try:
        with pytest.raises(RejoinError, match="base backup failed") as failed:
            follow.rejoin(streaming.b, clone=True, progress=print)
        assert "of-root" in failed.value.detail
    finally:
        secret.unlink()
    wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")  # on a busy machine its last message is old
    assert look(streaming.b).postmaster == before.postmaster
    names = pgtools.psql(streaming.a, "SELECT slot_name FROM pg_replication_slots").split()
    assert names == ["pgvip_b"]


def test_standby_is_started_again_when_its_new_copy_cannot_be_put_in_place(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(own_files, "set_aside", full)
        with pytest.raises(OSError, match="No space left"):
            follow.rejoin(streaming.b, clone=True, progress=print)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    assert not prepare.why_unusable(streaming.b)


@contextmanager
def frozen_receiver(pair: Pair) -> Iterator[None]:
    """Something that streams by `b`'s slot and never reads, for as long as the primary puts up with it."""
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'pgvip_b'"
    wait_until(lambda: pgtools.psql(pair.a, active).strip() == "f", 20, what="end of the standby's own stream")
    conninfo = source.conninfo(pair.b, REPLICATION_ROLE).replace("pgvip_b_copy", "frozen")
    position = pgtools.psql(pair.a, "SELECT pg_current_wal_flush_lsn()").strip()
    with closing(psycopg2.connect(conninfo, connection_factory=PhysicalReplicationConnection)) as connection:
        connection.cursor().start_replication(slot_name="pgvip_b", start_lsn=Lsn.parse(position))
        assert pgtools.psql(pair.a, active).strip() == "t"
        yield


def test_lost_data_is_cloned(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=False)
    kept = data.rename(data.with_name("kept"))
    data.mkdir()
    assert follow.rejoin(streaming.b, progress=print) == "cloned from a"
    assert (kept / "PG_VERSION").exists()


def test_other_cluster_is_not_touched(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=False)
    with pytest.raises(RejoinError, match="another database cluster"):
        cloning.clone(streaming.b, print, system_id="1234")
    own = data.rename(data.with_name("own"))
    make_cluster(streaming.b)
    with pytest.raises(RejoinError, match="another database cluster"):
        follow.rejoin(streaming.b, progress=print)
    with pytest.raises(RejoinError, match="another database cluster"):
        cloning.clone(streaming.b, print)
    assert (data / "PG_VERSION").exists()
    cloning.clone(streaming.b, print, replace_other=True)
    assert (data.with_name("data.pgvip-replaced") / "PG_VERSION").exists()
    assert (own / "PG_VERSION").exists()


def test_standby_whose_wal_is_gone_is_cloned(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    with connect_local(streaming.a) as session:
        session.query("slot_drop", (pgconf.slot_name("b"),), timeout_s=5)
    no_archive = dataclasses.replace(streaming.b, archive=dataclasses.replace(streaming.b.archive, enabled=False))
    for _ in range(3):
        insert(streaming.a)
        pgtools.psql(streaming.a, "SELECT pg_switch_wal()")
    wanted = postgres.end_of_wal(streaming.b)
    wait_until(lambda: recycled(streaming.a, wanted), 20, every_s=0.2, what="recycling")
    assert follow.rejoin(no_archive, progress=print) == "cloned from a"


def recycled(config: Config, wanted: WalPoint) -> bool:
    """By a checkpoint after the segment was archived, which takes its time."""
    pgtools.psql(config, "CHECKPOINT")
    directory = config.postgres.data_directory / "pg_wal"
    return not (directory / segment_name(wanted.timeline, wanted.lsn, 1 << 24)).exists()


def test_tablespaces_come_along_and_are_exchanged(streaming: Pair) -> None:
    """The standby has a directory of its own below the tablespace's name, as on a host of its own."""
    place, other = streaming.root / "space", streaming.root / "other"
    for directory in (place, other):
        directory.mkdir()
        shutil.chown(directory, "postgres")
    postgres.stop(streaming.b, clean=True)
    pgtools.psql(streaming.a, f"CREATE TABLESPACE space LOCATION '{place}'")
    pgtools.psql(streaming.a, "CREATE TABLE public.spaced TABLESPACE space AS SELECT generate_series(1, 7) AS n")

    def elsewhere() -> None:
        clone_newns = 0x20000
        assert ctypes.CDLL(None).unshare(clone_newns) == 0
        check(["mount", "--make-rprivate", "/"], timeout_s=10)
        check(["mount", "--bind", other, place], timeout_s=10)
        for _ in range(2):
            assert cloning.clone(streaming.b, print) == "cloned from a"
        postgres.start(streaming.b, standby=True, sync=False)
        assert pgtools.psql(streaming.b, "SELECT count(*) FROM public.spaced").strip() == "7"
        postgres.stop(streaming.b, clean=True)

    child = multiprocessing.get_context("fork").Process(target=elsewhere)
    child.start()
    child.join(120)
    assert child.exitcode == 0
    versions = [path.name for path in place.iterdir()]
    assert sorted(path.name for path in other.iterdir()) == [*versions, REPLACED]
    assert (other / REPLACED).owner() == "postgres", "else nobody could be rewound to follow this host"
    link = next((streaming.b.postgres.data_directory / "pg_tblspc").iterdir())
    assert link.readlink() == place
