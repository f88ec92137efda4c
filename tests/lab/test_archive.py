"""Archives, base backups and restores on real servers: two clusters on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pgvip.actions import postgres, replication
from pgvip.archive import backups, basebackup, cleaning, inventory, maintenance, restoring, targets
from pgvip.archive.catalog import SEGMENT
from pgvip.archive.memory import DIRECTORY, INDEX, Memory
from pgvip.archive.packing import plain_name
from pgvip.config.model import ArchiveDestination, BackupConfig, Config
from pgvip.deadlines import wait_until
from pgvip.errors import ArchiveError, RefusedError
from pgvip.rejoin import copy as cloning
from pgvip.rejoin import follow
from pgvip.system import pgtools, processes
from pgvip.system.commands import check
from tests.lab.actions.servers import caught_up
from tests.lab.clusters import Pair, make_pair
from tests.lab.postgres import bin_directory

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def packed(config: Config, word: str) -> Config:
    """The same with a packed archive that nothing needs to be mounted for."""
    archive = dataclasses.replace(config.archive, mount_type="", compress=word)
    return dataclasses.replace(config, archive=archive, backup=BackupConfig(archive.directory / "backups"))


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """`a` primary with an lz4 archive, `b` its standby with a zstd one."""
    pair = make_pair(bin_directory(request.config.getoption("--postgres")))
    pair.a, pair.b = packed(pair.a, "lz4"), packed(pair.b, "zstd")
    try:
        pair.create(pair.a)
        pgtools.psql(pair.a, "CREATE TABLE public.numbers (n bigint)")
        cloning.clone(pair.b, print)
        yield pair
        for config in (pair.a, pair.b):
            postgres.stop(config, clean=True)
    finally:
        pair.close()


@pytest.fixture
def pair(made: Pair) -> Iterator[Pair]:
    """The pair with `a` primary and `b` caught up."""
    postgres.start(made.b, standby=True, sync=False)
    replication.ensure_slot(made.a)
    wait_until(lambda: caught_up(made.a, made.b), 30, what="catching up")
    for config in (made.a, made.b):
        maintenance.tell(config)
    yield made
    made.show_logs()


@pytest.fixture
def verifier(pair: Pair) -> None:
    """Tests of base backups need a pg_verifybackup that runs; that of 18 in the Python package crashes at --version."""
    try:
        basebackup.refuse_without_verifier(pair.a)
    except ArchiveError as failure:
        pytest.skip(str(failure))


def insert(config: Config, number: int) -> None:
    pgtools.psql(config, f"INSERT INTO public.numbers VALUES ({number})")


def rows(config: Config) -> list[int]:
    return [int(word) for word in pgtools.psql(config, "SELECT n FROM public.numbers ORDER BY n").split()]


def holds(config: Config, wanted: list[int]) -> bool:
    return rows(config) == wanted


def switch(config: Config) -> str:
    """End the segment, and wait until it is in the archive. Its name."""
    # An empty segment is not ended, and the name for its start is another one since PostgreSQL 17: so write something.
    script = "SELECT pg_create_restore_point('the last'); SELECT pg_walfile_name(pg_switch_wal());"
    name = pgtools.psql(config, script).split()[-1]
    wait_until(lambda: archived(config, name), 30, what=f"archiving of {name}")
    return name


def archived(config: Config, name: str) -> bool:
    return bool(list(config.archive.directory.glob(f"{name}*")))


def in_wal(config: Config, name: str) -> bool:
    return (config.postgres.data_directory / "pg_wal" / name).exists()


def push_out(config: Config, name: str) -> None:
    """Make WAL until the server has a segment no longer."""
    for number in range(12):
        insert(config, -number)
        switch(config)
        pgtools.psql(config, "CHECKPOINT")
        if not in_wal(config, name):
            break
    assert not in_wal(config, name)
    pgtools.psql(config, "DELETE FROM public.numbers WHERE n <= 0")


def drop_slot(config: Config) -> None:
    name = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    wait_until(lambda: "t" not in pgtools.psql(config, "SELECT active FROM pg_replication_slots"), 20, what="free slot")
    pgtools.psql(config, name)


# --- archiving -----------------------------------------------------------------------------------------------


def test_retry_after_a_partial_failure_does_only_the_missing_destination(pair: Pair) -> None:
    calls, far = pair.root / "calls", pair.root / "far"
    calls.touch()
    calls.chmod(0o666)
    store = ArchiveDestination("store", command=("/bin/sh", "-c", f"echo %f >> {calls}", "%p"), required=True)
    wanted = ArchiveDestination("far", far, compress="gzip", required=True)
    with_more = dataclasses.replace(pair.a.archive, destinations=(store, wanted))
    changed = dataclasses.replace(pair.a, archive=with_more)
    maintenance.refresh_commands(changed, print)
    insert(pair.a, 1)
    name = switch(pair.a)
    failures = "SELECT failed_count FROM pg_stat_archiver"
    wait_until(lambda: int(pgtools.psql(pair.a, failures)) >= 2, 30, what="two failed attempts")
    far.mkdir()
    far.chmod(0o777)
    last = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver"
    wait_until(lambda: pgtools.psql(pair.a, last).strip() >= name, 90, what="archived")
    assert calls.read_text().split().count(name) == 1
    assert [path.name for path in far.iterdir() if plain_name(path.name) == name] == [f"{name}.gz"]
    maintenance.refresh_commands(pair.a, print)


def test_optional_destination_gets_later_what_it_is_owed(pair: Pair) -> None:
    other = pair.root / "other"
    optional = ArchiveDestination("other", other, compress="zstd")
    changed = dataclasses.replace(pair.a, archive=dataclasses.replace(pair.a.archive, destinations=(optional,)))
    maintenance.refresh_commands(changed, print)
    insert(pair.a, 1)
    name = switch(pair.a)
    memory = Memory(pair.a.archive.directory / DIRECTORY)
    wait_until(lambda: name in memory.pending("other"), 30, what="a debt")
    other.mkdir()
    other.chmod(0o777)
    memory.works("other")
    maintenance.catch_up(changed)
    # or the archiver, which sends one file with each that it archives
    wait_until(lambda: memory.pending("other") == [], 20, what="nothing pending")
    assert f"{name}.zst" in {path.name for path in other.iterdir()}
    maintenance.refresh_commands(pair.a, print)


def test_standby_behind_its_slot_comes_back_through_the_packed_archive(pair: Pair) -> None:
    postgres.stop(pair.b, clean=True)
    insert(pair.a, 7)
    name = switch(pair.a)
    drop_slot(pair.a)
    push_out(pair.a, name)
    assert archived(pair.a, f"{name}.lz4")
    replication.ensure_slot(pair.a)
    postgres.start(pair.b, standby=True, sync=False)
    wait_until(lambda: caught_up(pair.a, pair.b), 60, what="catching up")
    assert rows(pair.b) == rows(pair.a)
    assert f'restored log file "{name}" from archive' in postgres.log_file(pair.b).read_text()


def test_rewind_takes_wal_from_the_packed_archive(pair: Pair) -> None:
    """`a` has no longer the WAL from the last common checkpoint on, and its archive holds what diverged."""
    if pgtools.major_version(pair.a.postgres.data_directory) < 15:
        pytest.skip("--config-file of pg_rewind is new in 15")
    common = switch(pair.a)
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    postgres.stop(pair.b, clean=True)
    drop_slot(pair.a)
    insert(pair.a, 99)
    push_out(pair.a, common)
    diverged = switch(pair.a)
    postgres.stop(pair.a, clean=False)
    alone = dataclasses.replace(pair.b.archive, peer_mount=pair.root / "none")
    postgres.start(dataclasses.replace(pair.b, archive=alone), standby=True, sync=False)
    postgres.promote(pair.b)
    assert follow.rejoin(pair.a, progress=print).startswith("rewound to")
    assert not archived(pair.a, diverged)
    (kept,) = [path for path in pair.a.paths.saved.rglob("archive/*") if plain_name(path.name) == diverged]
    assert kept.name == f"{diverged}.lz4"
    postgres.start(pair.a, standby=True, sync=False)
    wait_until(lambda: caught_up(pair.b, pair.a), 30, what="catching up")
    assert 99 not in rows(pair.a)
    # back to the roles that the other tests expect
    postgres.stop(pair.b, clean=True)
    postgres.promote(pair.a)
    assert follow.rejoin(pair.b, progress=print)


# --- base backups ----------------------------------------------------------------------------------------------


needs_verifier = pytest.mark.usefixtures("verifier")


@dataclass
class Restored:
    """A restored server, started and stopped."""

    config: Config

    def start(self) -> None:
        data = self.config.postgres.data_directory
        log = data.with_name("restored.log")
        log.touch(mode=0o666)
        log.chmod(0o666)
        # as for the other servers of these tests: /dev/shm is the machine's
        options = "-c dynamic_shared_memory_type=mmap"
        done = pgtools.pg_ctl(self.config, "start", "-w", "-t", "60", "-l", log, "-o", options, timeout_s=90)
        assert done.returncode == 0, done.said + log.read_text()

    def stop(self) -> None:
        if processes.postmaster(self.config.postgres.data_directory) is not None:
            pgtools.pg_ctl(self.config, "stop", "-m", "immediate", "-w", "-t", "30", timeout_s=60)


@contextlib.contextmanager
def restored(config: Config, to: str, backup: str = "", mount: Path | None = None) -> Iterator[Config]:
    """The database at a point in time, running; removed afterwards. `mount`: where it looks for the peer's archive."""
    place = restoring.Place.of(config.paths.state / "restored")
    seen = inventory.take(config)
    target = targets.parse(to)
    chosen = targets.choose(seen.backups, target, backup)
    port = config.postgres.port + 1
    order = restoring.Order(chosen, restoring.source(config, chosen, seen), target, place, port)
    archive = dataclasses.replace(config.archive, peer_mount=mount or config.archive.peer_mount)
    restoring.restore(dataclasses.replace(config, archive=archive), order, print, lambda _done, _total: None)
    where = dataclasses.replace(
        config.postgres, data_directory=place.data, config_directory=place.data, port=order.port
    )
    server = Restored(dataclasses.replace(config, postgres=where))
    try:
        server.start()
        yield server.config
    finally:
        server.stop()
        check(["rm", "-rf", place.data, place.tablespaces], timeout_s=30)


@needs_verifier
def test_backup_from_the_standby_restores_to_lsn_time_name_and_end(pair: Pair) -> None:
    pgtools.psql(pair.a, "DELETE FROM public.numbers")
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    said: list[str] = []
    made = basebackup.make(pair.b, said.append, bandwidth_mb_s=900)
    assert (made.source, made.host, made.good) == ("standby", "b", True)
    assert made.stop.lsn >= made.start.lsn
    insert(pair.a, 1)
    lsn = pgtools.psql(pair.a, "SELECT pg_current_wal_insert_lsn()").strip()
    insert(pair.a, 2)
    at = pgtools.psql(pair.a, "SELECT clock_timestamp()").strip()
    insert(pair.a, 3)
    pgtools.psql(pair.a, "SELECT pg_create_restore_point('before 4')")
    insert(pair.a, 4)
    switch(pair.a)
    for to, wanted in ((lsn, [1]), (at, [1, 2]), ("before 4", [1, 2, 3]), ("latest", [1, 2, 3, 4])):
        with restored(pair.b, to) as server:
            wait_until(partial(holds, server, wanted), 30, what=f"{to}: {wanted}")
            assert pgtools.server_setting(server, "archive_mode") == "off"
    assert rows(pair.a) == [1, 2, 3, 4]
    # the mount is lost after the command has looked: not the end of WAL, at which 4 would be missing
    lost = pair.root / "nothing-is-mounted"
    lost.mkdir()
    lost.chmod(0o755)
    stops = pytest.raises(AssertionError, match=f"no {DIRECTORY}/{INDEX} in {lost}; is anything mounted there")
    with stops, restored(pair.b, "latest", mount=lost):
        pass
    # the other host's archive and its backups serve as well
    with restored(pair.a, lsn) as server:
        assert rows(server) == [1]


@needs_verifier
def test_clean_keeps_what_backup_and_standby_need(pair: Pair) -> None:
    first = basebackup.make(pair.b, print)
    old = switch(pair.a)
    pgtools.psql(pair.a, "CHECKPOINT")  # a backup of a standby begins at the last one that it has replayed
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    second = basebackup.make(pair.b, print)
    postgres.stop(pair.b, clean=True)
    behind = switch(pair.a)
    for path in pair.a.archive.directory.iterdir():
        if path.is_file():
            check(["touch", "-d", "30 days ago", path], timeout_s=10)
    clean(pair.a)
    assert archived(pair.a, old)
    only_newest = dataclasses.replace(pair.b, backup=dataclasses.replace(pair.b.backup, keep=1))
    with pytest.raises(RefusedError, match="in doubt"):
        clean(only_newest)  # its server is down
    postgres.start(pair.b, standby=True, sync=False)
    wait_until(lambda: caught_up(pair.a, pair.b), 30, what="catching up")
    clean(only_newest)
    assert [one.name for one in backups.own(pair.b)] == [second.name]
    assert first.name != second.name
    maintenance.tell(pair.b)
    pgtools.psql(pair.a, "CHECKPOINT")
    clean(pair.a)
    names = sorted(plain_name(path.name) for path in pair.a.archive.directory.iterdir())
    segments = [name for name in names if SEGMENT.fullmatch(name)]
    assert old not in segments
    assert behind in segments
    with restored(pair.b, "latest") as server:
        wait_until(lambda: rows(server) == rows(pair.a), 30, what="all of it")


def clean(config: Config) -> list[str]:
    seen = inventory.take(config)
    decided = cleaning.plan(config, seen)
    cleaning.carry_out(config, decided, seen)
    return [file.name for file in decided.wal.files]


@needs_verifier
def test_broken_backup_is_no_backup(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real = basebackup._copy

    def spoil(config: Config, path: Path, *words: object, **more: object) -> None:
        real(config, path, *words, **more)  # type: ignore[arg-type]  # passed on
        (path / "data" / "PG_VERSION").write_text("99\n")

    monkeypatch.setattr(basebackup, "_copy", spoil)
    with pytest.raises(ArchiveError, match="not whole"):
        basebackup.make(pair.b, print)
    assert [one.state for one in backups.own(pair.b)][-1] == "incomplete"
    monkeypatch.undo()
    said: list[str] = []
    basebackup.make(pair.b, said.append)
    assert any("interrupted" in line for line in said)
    assert all(one.good for one in backups.own(pair.b))
