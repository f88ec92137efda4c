"""Replication slots of others (a third standby, a backup tool, a logical consumer) live on through every change."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres, replication
from pgvip.core.values import Lsn
from pgvip.deadlines import wait_until
from pgvip.errors import ProbeError
from pgvip.rejoin import follow
from pgvip.system import pgtools
from pgvip.system.commands import check
from tests.lab.actions.servers import caught_up, diverge, insert, look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgvip.config.model import Config
    from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(240)


def slots(config: Config, kind: str = "physical") -> dict[str, str]:
    """Name and restart_lsn of the slots of one kind that are not pgvip's own."""
    query = f"SELECT slot_name, restart_lsn FROM pg_replication_slots WHERE slot_type = '{kind}'"
    rows = [line.split("|") for line in pgtools.psql(config, query).split()]
    return {name: lsn for name, lsn in rows if not name.startswith("pgvip_")}


@pytest.fixture
def others(streaming: Pair) -> Iterator[Pair]:
    """The pair with a physical slot and a logical one of others on its primary; all of theirs are gone afterwards."""
    pgtools.psql(streaming.a, "SELECT pg_create_physical_replication_slot('barman', true)")
    pgtools.psql(streaming.a, "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')")
    replication.advance_slot(streaming.b)
    try:
        yield streaming
    finally:
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name !~ '^pgvip_'"
        for config in (streaming.a, streaming.b):
            if not up(config):
                postgres.start(config, standby=True, sync=False)
                wait_until(partial(up, config), 60, what="consistent data")
            replication.ensure_slot(config)  # as the daemon does: what a start was too slow for
            pgtools.psql(config, f"{drop} AND NOT active")


def up(config: Config) -> bool:
    try:
        look(config)
    except ProbeError:
        return False
    return True


@pytest.mark.parametrize("way", ["nothing", "rewound", "cloned"])
def test_a_return_keeps_them(others: Pair, way: str) -> None:
    before = slots(others.a)["barman"]
    if way == "nothing":
        postgres.stop(others.a, clean=True)
        end = postgres.end_of_wal(others.a)
        wait_until(lambda: look(others.b).point >= end, 20, what="shutdown checkpoint on the standby")
        postgres.promote(others.b)
    else:
        diverge(others)
    assert follow.rejoin(others.a, clone=way == "cloned", progress=print).startswith(way)
    postgres.start(others.a, standby=True, sync=False)
    wait_until(lambda: caught_up(others.b, others.a), 20, what="catching up")
    replication.ensure_slot(others.a)
    assert "barman" in slots(others.a)
    assert "barman" in slots(others.b)
    if way != "cloned":
        assert slots(others.a)["barman"] == before
        assert "cdc" in slots(others.a, "logical")


def test_a_clone_says_which_logical_slots_cannot_come_along(others: Pair) -> None:
    diverge(others)
    said: list[str] = []
    follow.rejoin(others.a, clone=True, progress=said.append)
    assert any("cdc" in line for line in said), said


def test_the_standby_has_a_copy_that_follows_its_user_and_never_overtakes_it(others: Pair) -> None:
    assert set(slots(others.b)) == {"barman"}
    insert(others.a)
    pgtools.psql(others.a, "SELECT pg_switch_wal()")
    insert(others.a)
    wait_until(lambda: caught_up(others.a, others.b), 20, what="catching up")
    replication.advance_slot(others.b)
    assert Lsn.parse(slots(others.b)["barman"]) <= Lsn.parse(slots(others.a)["barman"])
    pgtools.psql(others.a, "SELECT pg_replication_slot_advance('barman', pg_current_wal_flush_lsn())")
    replication.advance_slot(others.b)
    assert slots(others.b) == slots(others.a)


def test_what_others_made_on_the_standby_is_theirs(others: Pair) -> None:
    pgtools.psql(others.b, "SELECT pg_create_physical_replication_slot('local', true)")
    made = slots(others.b)["local"]
    pgtools.psql(others.a, "SELECT pg_create_physical_replication_slot('local', true)")
    insert(others.a)
    wait_until(lambda: caught_up(others.a, others.b), 20, what="catching up")
    pgtools.psql(others.a, "SELECT pg_replication_slot_advance('local', pg_current_wal_flush_lsn())")
    replication.advance_slot(others.b)
    assert slots(others.b)["local"] == made
    pgtools.psql(others.a, "SELECT pg_drop_replication_slot('local')")
    replication.advance_slot(others.b)
    assert slots(others.b)["local"] == made
    follow.rejoin(others.b, clone=True, progress=print)
    postgres.start(others.b, standby=True, sync=False)
    wait_until(lambda: up(others.b), 60, what="consistent data")
    replication.ensure_slot(others.b)
    assert set(slots(others.b)) == {"barman", "local"}


def test_a_copy_goes_when_the_slot_was_dropped_on_the_primary(others: Pair) -> None:
    assert "barman" in slots(others.b)
    pgtools.psql(others.a, "SELECT pg_drop_replication_slot('barman')")
    replication.advance_slot(others.b)
    assert slots(others.b) == {}


def test_a_slot_that_the_new_primary_never_had_stays_on_the_old_one(others: Pair) -> None:
    """It was made a moment before the takeover: nobody has dropped it."""
    diverged_slot = "SELECT pg_create_physical_replication_slot('late', true)"
    pgtools.psql(others.a, diverged_slot)
    diverge(others)
    follow.rejoin(others.a, progress=print)
    postgres.start(others.a, standby=True, sync=False)
    for _ in range(2):
        replication.advance_slot(others.a)
    assert {"late", "barman"} <= set(slots(others.a))


def synced(config: Config) -> bool:
    query = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'consumer' AND synced AND NOT temporary"
    return pgtools.psql(config, query).strip() == "1"


def test_a_failover_slot_is_copied_to_the_old_primary_too(streaming: Pair) -> None:
    """PostgreSQL copies none over a slot that the standby had itself, when it was the primary."""
    if pgtools.major_version(streaming.a.postgres.data_directory) < 17:
        pytest.skip("failover slots are there from version 17 on")
    on = "ALTER SYSTEM SET sync_replication_slots = on;\nALTER SYSTEM SET hot_standby_feedback = on"
    for config in (streaming.b, streaming.a):
        pgtools.psql(config, f"{on}; SELECT pg_reload_conf()")
    pgtools.psql(streaming.a, "SELECT pg_create_logical_replication_slot('consumer', 'pgoutput', false, false, true)")
    wait_until(lambda: synced(streaming.b), 60, what="the copy")
    postgres.stop(streaming.a, clean=True)
    end = postgres.end_of_wal(streaming.a)
    wait_until(lambda: look(streaming.b).point >= end, 20, what="shutdown checkpoint on the standby")
    postgres.promote(streaming.b)
    follow.rejoin(streaming.a, progress=print)
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")
    assert not synced(streaming.a)
    replication.advance_slot(streaming.a)

    def consumed_and_synced() -> bool:
        """PostgreSQL keeps a copy when the slot's user has come further than where the copy began."""
        pgtools.psql(streaming.b, "SELECT pg_log_standby_snapshot()")
        pgtools.psql(streaming.b, "SELECT pg_replication_slot_advance('consumer', pg_current_wal_flush_lsn())")
        return synced(streaming.a)

    wait_until(consumed_and_synced, 60, every_s=1.0, what="the copy on the old primary")
    pgtools.psql(streaming.b, "SELECT pg_drop_replication_slot('consumer')")
    for config in (streaming.b, streaming.a):
        off = "ALTER SYSTEM RESET sync_replication_slots; ALTER SYSTEM RESET hot_standby_feedback"
        pgtools.psql(config, f"{off}; SELECT pg_reload_conf()")


@contextmanager
def receiving(pair: Pair, directory: Path, slot: str) -> Iterator[None]:
    """pg_receivewal of somebody, who follows the primary wherever it is, as through the primary VIP."""
    server = f"host={pair.a.me.address},{pair.b.me.address} port={pair.a.postgres.port} target_session_attrs=primary"
    words = [str(pgtools.tool(pair.a, "pg_receivewal")), "-D", str(directory), "-S", slot, "--synchronous"]
    account = pgtools.account(pair.a)
    conninfo = f"{server} user=pgvip_replication passfile={pair.a.paths.passwords} application_name=barman"
    with subprocess.Popen([*words, "-d", conninfo], user=account.pw_uid, group=account.pw_gid, cwd="/") as process:
        try:
            yield
            assert process.poll() is None, "it has given up"
        finally:
            process.terminate()


def received(directory: Path, config: Config) -> bool:
    """Whether the WAL file of now was begun there."""
    name = pgtools.psql(config, "SELECT pg_walfile_name(pg_current_wal_flush_lsn())").strip()
    return (directory / f"{name}.partial").exists() or (directory / name).exists()


@contextmanager
def third(pair: Pair, data: Path) -> Iterator[Path]:
    """A standby of somebody, with a slot on the primary; yields the directory of its socket."""
    server = f"host={pair.a.me.address},{pair.b.me.address} port={pair.a.postgres.port} target_session_attrs=primary"
    conninfo = f"{server} user=pgvip_replication passfile={pair.a.paths.passwords} application_name=third"
    copy: list[str | Path] = [pgtools.tool(pair.a, "pg_basebackup"), "-D", data, "-d", conninfo, "-c", "fast"]
    # Another test's tablespace is on this very machine.
    elsewhere = ["-T", f"{pair.root / 'space'}={data.parent / 'space'}"]
    check([*copy, *elsewhere, "-C", "-S", "third", "-w"], timeout_s=60, user="postgres")
    (data / "postgresql.conf").write_text(
        f"port = 1\nlisten_addresses = ''\nunix_socket_directories = '{data.parent}'\nshared_buffers = 16MB\n"
        f"dynamic_shared_memory_type = mmap\nwal_level = logical\nmax_connections = 20\n"
        f"primary_conninfo = '{conninfo}'\nprimary_slot_name = 'third'\nwal_retrieve_retry_interval = '100ms'\n"
    )
    (data / "pg_hba.conf").write_text("local all all trust\n")
    (data / "standby.signal").touch()
    for name in ("postgresql.conf", "pg_hba.conf", "standby.signal"):
        shutil.chown(data / name, "postgres", "postgres")
    pg_ctl = pgtools.tool(pair.a, "pg_ctl")
    check([pg_ctl, "start", "-D", data, "-l", data.parent / "log"], timeout_s=60, user="postgres")
    try:
        yield data.parent
    finally:
        check([pg_ctl, "stop", "-D", data, "-m", "immediate"], timeout_s=60, user="postgres")


def rows(pair: Pair, socket: Path) -> int:
    psql: list[str | Path] = [pgtools.tool(pair.a, "psql"), "-XAt", "-h", socket, "-p", "1", "-d", "postgres", "-c"]
    return int(check([*psql, "SELECT count(*) FROM public.numbers"], timeout_s=20, user="postgres").stdout)


def expect(pair: Pair, primary: Config, socket: Path, directory: Path) -> None:
    """Both of the others have what the primary writes now."""
    insert(primary)
    wanted = int(pgtools.psql(primary, "SELECT count(*) FROM public.numbers"))
    wait_until(lambda: rows(pair, socket) == wanted, 20, what="the third standby")
    pgtools.psql(primary, "SELECT pg_switch_wal()")
    insert(primary)
    wait_until(lambda: received(directory, primary), 20, what="pg_receivewal")


def test_a_third_standby_and_a_receiver_follow_every_change(others: Pair) -> None:
    a, b = others.a, others.b
    directory, home = others.root / "received-from-primary", others.root / "third"
    for made in (directory, home):
        made.mkdir()
        shutil.chown(made, "postgres")
    with third(others, home / "data") as socket, receiving(others, directory, "barman"):
        expect(others, a, socket, directory)
        replication.advance_slot(b)
        assert {"barman", "third"} <= set(slots(b))
        postgres.stop(a, clean=True)  # a switchover
        end = postgres.end_of_wal(a)
        wait_until(lambda: look(b).point >= end, 20, what="shutdown checkpoint on the standby")
        postgres.promote(b)
        follow.rejoin(a, progress=print)
        postgres.start(a, standby=True, sync=False)
        expect(others, b, socket, directory)
        wait_until(lambda: caught_up(b, a), 20, what="catching up")
        replication.advance_slot(a)
        postgres.stop(b, clean=False)  # a takeover
        postgres.promote(a)
        expect(others, a, socket, directory)
        assert follow.rejoin(b, clone=True, progress=print) == "cloned from a"
        postgres.start(b, standby=True, sync=False)
        expect(others, a, socket, directory)
        replication.advance_slot(b)
        assert {"barman", "third"} <= set(slots(b))
    shutil.rmtree(directory)
    shutil.rmtree(home)
