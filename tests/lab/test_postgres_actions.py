"""What pgvip does to PostgreSQL, on real servers: two clusters of one pair on this machine."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2.extras import PhysicalReplicationConnection

from pgvip.actions import clone as cloning
from pgvip.actions import postgres, prepare, rejoin, replication, source
from pgvip.core.model import Database, Lsn, WalPoint
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import PgvipError, PostgresError, ProbeError, PromoteError, RejoinError
from pgvip.probes import commits, peer_database
from pgvip.probes.database import DatabaseProbe
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.commands import check
from pgvip.system.sql import REPLICATION_ROLE, ServerAnswered, connect_local
from pgvip.system.walfiles import segment_name
from tests.lab.clusters import Pair, make_cluster, make_pair
from tests.lab.postgres import bin_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgvip.config import Config

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two hosts, `a` with a cluster of its own, `b` with a clone of it."""
    made = make_pair(bin_directory(request.config.getoption("--postgres")))
    try:
        made.create(made.a)
        pgtools.psql(made.a, "CREATE TABLE numbers (n bigint)")
        cloning.clone(made.b, print)
        yield made
    finally:
        made.close()


@pytest.fixture
def streaming(pair: Pair) -> Iterator[Pair]:
    """The pair with `a` primary and `b` streaming; each test may leave it in any state."""
    try:
        yield restored(pair)
    finally:
        pair.show_logs()


def restored(pair: Pair) -> Pair:
    if not role_is(pair.a, in_recovery=False):
        postgres.stop(pair.a, clean=False)
        if role_is(pair.b, in_recovery=False):
            rejoin.rejoin(pair.a, progress=print)
            postgres.start(pair.a, standby=True, sync=False)
            wait_until(lambda: caught_up(pair.b, pair.a), 20, what="catching up")
            postgres.stop(pair.b, clean=True)
            postgres.promote(pair.a)
        else:
            postgres.start(pair.a, standby=False, sync=False)
    replication.set_sync_names(pair.a, on=False)
    if not role_is(pair.b, in_recovery=True):
        postgres.stop(pair.b, clean=False)
        rejoin.rejoin(pair.b, progress=print)
    postgres.start(pair.b, standby=True, sync=False)
    replication.ensure_slot(pair.a)
    wait_until(lambda: caught_up(pair.a, pair.b), 20, what="catching up")
    return pair


def role_is(config: Config, *, in_recovery: bool) -> bool:
    try:
        return look(config).in_recovery is in_recovery
    except ProbeError:
        return False


def look(config: Config) -> Database:
    probe = DatabaseProbe(config)
    try:
        return probe.probe(2.0)
    finally:
        probe.close()


def caught_up(primary: Config, standby: Config) -> bool:
    try:
        own, other = look(primary), look(standby)
    except ProbeError:
        return False
    return own.replica is not None and other.streaming and other.replay_lsn >= own.point.lsn


def count(config: Config) -> int:
    return int(pgtools.psql(config, "SELECT count(*) FROM numbers"))


def insert(config: Config, number: int = 1) -> None:
    pgtools.psql(config, f"INSERT INTO numbers VALUES ({number})")


def stopped(pid: int) -> Callable[[], None]:
    """SIGSTOP; returns what lets it go on (a child of the archiver may have ended by then)."""

    def go_on() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    return go_on


# --- probes ----------------------------------------------------------------------------------------------------


def test_primary_and_standby_as_they_see_themselves(streaming: Pair) -> None:
    replication.confirm_grant(streaming.a, sync=False, timeout_s=10)
    primary, standby = look(streaming.a), look(streaming.b)
    assert not primary.in_recovery
    assert primary.replica is not None
    assert primary.replica.streaming
    assert primary.replica.sync_state == "async"
    assert not primary.slot_lost
    assert primary.postmaster == str(processes.postmaster(streaming.a.postgres.data_directory))
    assert standby.in_recovery
    assert standby.streaming
    assert not standby.replay_paused
    assert standby.point.timeline == primary.point.timeline
    assert standby.history == primary.history
    assert len(standby.history) == standby.point.timeline - 1


def test_standbys_clock_moves_only_while_wal_arrives(streaming: Pair) -> None:
    probe = DatabaseProbe(streaming.b)
    beat = DatabaseProbe(streaming.a)
    first = probe.probe()
    beat.heartbeat()
    wait_until(lambda: probe.probe().moved_at_s > first.moved_at_s, 5, what="movement")
    wait_until(lambda: caught_up(streaming.a, streaming.b), 5, what="catching up")
    before = probe.probe()
    postmaster = processes.postmaster(streaming.a.postgres.data_directory)
    assert postmaster is not None
    senders = [
        ref.pid
        for ref in processes.cluster_processes(streaming.a.postgres.data_directory)
        if b"walsender" in Path(f"/proc/{ref.pid}/cmdline").read_bytes()
    ]
    go_on = [stopped(pid) for pid in senders]
    try:
        beat.heartbeat()
        limit_s = streaming.b.settings.dead_after_s
        wait_until(lambda: not probe.probe().streaming, limit_s + 3, what="end of streaming")
        assert probe.probe().moved_at_s == before.moved_at_s
    finally:
        for start_again in go_on:
            start_again()
        probe.close()
        beat.close()


def test_orphaned_backend_is_not_the_database(streaming: Pair) -> None:
    probe = DatabaseProbe(streaming.a)
    probe.probe()
    postmaster = processes.postmaster(streaming.a.postgres.data_directory)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    for call in (probe.probe, probe.heartbeat, probe.connection):
        with pytest.raises(ProbeError):
            wait_until(lambda call=call: call(1.0) and False, 5)  # type: ignore[misc]  # a bound default
    probe.close()


@pytest.mark.parametrize("everything", [False, True])
def test_stopped_dead_server_costs_the_deadline(streaming: Pair, everything: bool) -> None:
    probe = DatabaseProbe(streaming.a)
    probe.probe()
    probe.heartbeat()
    data = streaming.a.postgres.data_directory
    frozen = processes.cluster_processes(data) if everything else [processes.postmaster(data)]
    go_on = [stopped(ref.pid) for ref in frozen if ref is not None]
    try:
        begun_s = now_s()
        with pytest.raises(ProbeError):
            probe.connection(0.3)
        if everything:
            for call in (probe.probe, probe.heartbeat):
                with pytest.raises(ProbeError):
                    call(0.3)
        else:
            assert probe.heartbeat(1.0)
        assert now_s() - begun_s < 1.5
        with pytest.raises(ProbeError):
            peer_database.probe(streaming.b, streaming.a.me.address, 0.3)
    finally:
        for start_again in go_on:
            start_again()
    assert probe.connection(5.0)
    assert not probe.probe(5.0).in_recovery
    probe.close()


def test_peer_database_over_the_network(streaming: Pair) -> None:
    seen = peer_database.probe(streaming.b, streaming.a.me.address, 2.0)
    own = look(streaming.a)
    assert (seen.in_recovery, seen.timeline) == (False, own.point.timeline)
    assert seen.system_id == pgtools.control_data(streaming.a).system_id
    assert peer_database.probe(streaming.a, streaming.b.me.address, 2.0).in_recovery
    assert peer_database.port_open(streaming.b, streaming.a.me.address, 2.0)


def test_too_many_clients_is_an_answer(streaming: Pair) -> None:
    sessions = [connect_local(streaming.a) for _ in range(30)]

    def take_all() -> None:
        for session in sessions:
            session.connect(2.0)

    try:
        with pytest.raises(ServerAnswered):
            take_all()
        probe = DatabaseProbe(streaming.a)
        assert probe.connection()
        assert peer_database.probe(streaming.b, streaming.a.me.address, 2.0).in_recovery is None
    finally:
        for session in sessions:
            session.close()


# --- start, stop, promote ------------------------------------------------------------------------------------------


def test_start_and_stop_can_be_repeated(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.start(streaming.b, standby=True, sync=False)
    for clean in (True, False, True):
        postgres.stop(streaming.b, clean=clean)
        assert processes.cluster_processes(data) == []
    assert pgtools.control_data(streaming.b).state == "shut down in recovery"


def test_running_in_the_other_role_is_refused(streaming: Pair) -> None:
    with pytest.raises(PostgresError, match="read-write"):
        postgres.start(streaming.a, standby=True, sync=False)
    with pytest.raises(PostgresError, match="as a standby"):
        postgres.start(streaming.b, standby=False, sync=False)
    assert look(streaming.b).in_recovery


def test_start_refuses_strangers_and_relics(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    with pytest.raises(PostgresError, match="another database cluster"):
        postgres.start(streaming.b, standby=True, sync=False, system_id="1234")
    relic = streaming.b.postgres.data_directory / "recovery.conf"
    relic.touch()
    try:
        with pytest.raises(PostgresError, match=r"recovery\.conf"):
            postgres.start(streaming.b, standby=True, sync=False)
    finally:
        relic.unlink()


def test_start_refuses_weak_commits_in_sync(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    main = streaming.b.postgres.config_directory / "postgresql.conf"
    text = main.read_text()
    main.write_text("synchronous_commit = local\n" + text)
    try:
        with pytest.raises(PostgresError, match="synchronous_commit is local"):
            postgres.start(streaming.b, standby=True, sync=True)
    finally:
        main.write_text(text)


def test_start_tells_what_the_server_said(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    main = streaming.b.postgres.config_directory / "postgresql.conf"
    text = main.read_text()
    main.write_text("no_such_setting = 1\n" + text)
    try:
        with pytest.raises(PostgresError) as caught:
            postgres.start(streaming.b, standby=True, sync=False)
    finally:
        main.write_text(text)
    assert "no_such_setting" in caught.value.detail


def test_left_over_settings_of_a_clone_are_removed(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    auto = streaming.b.postgres.data_directory / "postgresql.auto.conf"
    auto.write_text("primary_conninfo = 'host=192.0.2.99'\nwork_mem = '5MB'\n")
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")
    assert auto.read_text() == "work_mem = '5MB'\n"


def test_standby_gets_settings_as_high_as_the_primarys(streaming: Pair) -> None:
    main = streaming.a.postgres.config_directory / "postgresql.conf"
    text = main.read_text()
    postgres.stop(streaming.a, clean=False)
    main.write_text(text.replace("max_connections = 20", "max_connections = 23"))
    try:
        postgres.start(streaming.a, standby=False, sync=False)
        wait_until(lambda: higher_is_known(streaming.b), 20, what="the change arriving, and the standby's stop")
        postgres.stop(streaming.b, clean=False)
        postgres.start(streaming.b, standby=True, sync=False)
        wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
        assert pgtools.psql(streaming.b, "SHOW max_connections").strip() == "23"
        replication.set_sync_names(streaming.b, on=False)
        assert "max_connections = '23'" in (streaming.b.postgres.config_directory / "pgvip.conf").read_text()
    finally:
        main.write_text(text)
        postgres.stop(streaming.a, clean=False)


def higher_is_known(config: Config) -> bool:
    return ("max_connections", "23") in pgtools.control_data(config).settings


def test_kill_ends_a_frozen_server_with_a_busy_backend(streaming: Pair) -> None:
    data = streaming.a.postgres.data_directory
    thread = threading.Thread(target=lambda: swallow(lambda: pgtools.psql(streaming.a, "SELECT pg_sleep(60)", 90)))
    thread.start()
    wait_until(lambda: "1" in pgtools.psql(streaming.a, BUSY), 10, what="a busy backend")
    postmaster = processes.postmaster(data)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGSTOP)
    begun_s = now_s()
    postgres.stop(streaming.a, clean=False)
    assert now_s() - begun_s < 2
    assert processes.cluster_processes(data) == []
    thread.join(20)
    assert not thread.is_alive()


BUSY = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()"


def swallow(call: Callable[[], object]) -> None:
    with suppress(PgvipError):
        call()


def test_promotion_is_fast_and_can_be_repeated(streaming: Pair) -> None:
    insert(streaming.a)
    replication.confirm_grant(streaming.a, sync=False, timeout_s=10)
    postgres.stop(streaming.a, clean=False)
    begun_s = now_s()
    postgres.promote(streaming.b)
    assert now_s() - begun_s < 2
    after = look(streaming.b)
    assert not after.in_recovery
    assert after.history[-1].timeline == after.point.timeline - 1
    assert not streaming.b.paths.no_restore.exists()
    postgres.promote(streaming.b)
    assert look(streaming.b).postmaster == after.postmaster


def test_hanging_archive_does_not_hold_up_a_promotion(streaming: Pair, tmp_path: Path) -> None:
    """A history file that is a FIFO: whoever opens it hangs, as on a dead NFS server."""
    hanging = streaming.a.archive.directory
    timeline = look(streaming.b).point.timeline
    names = [hanging / f"{number:08X}.history" for number in range(timeline + 1, timeline + 4)]
    for name in names:
        os.mkfifo(name, 0o644)
    try:
        postgres.stop(streaming.a, clean=False)
        begun_s = now_s()
        postgres.promote(streaming.b)
        assert now_s() - begun_s < 2
    finally:
        for name in names:
            name.unlink()


def test_promotion_of_a_dead_server_says_so(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=False)
    with pytest.raises(PromoteError):
        postgres.promote(streaming.b)
    assert not streaming.b.paths.no_restore.exists()


def test_end_of_wal_is_where_recovery_ends(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    with pytest.raises(PostgresError, match="while the server runs"):
        postgres.end_of_wal(streaming.a)
    pgtools.psql(streaming.a, "INSERT INTO numbers SELECT generate_series(1, 20000)")
    flushed = look(streaming.a).point
    postgres.stop(streaming.a, clean=False)
    crashed = postgres.end_of_wal(streaming.a)
    assert crashed.timeline == flushed.timeline
    assert flushed.lsn <= crashed.lsn <= flushed.lsn + 65536
    postgres.start(streaming.a, standby=False, sync=False)
    log = postgres.log_file(streaming.a).read_text()
    redone = [line for line in log.splitlines() if "redo done at" in line][-1]
    assert Lsn.parse(redone.split("redo done at ")[1].split()[0]) < crashed.lsn


def test_clean_stop_leaves_the_checkpoint_with_the_standby(streaming: Pair) -> None:
    postgres.stop(streaming.a, clean=True)
    end = postgres.end_of_wal(streaming.a)
    wait_until(lambda: look(streaming.b).point >= end, 5, what="shutdown checkpoint on the standby")
    assert look(streaming.b).point == end


# --- sync and the grant ----------------------------------------------------------------------------------------


def test_sync_names_are_in_effect_when_it_returns(streaming: Pair) -> None:
    replication.set_sync_names(streaming.a, on=True)
    assert look(streaming.a).sync_names == 'FIRST 1 ("pgvip_b")'
    point = replication.confirm_grant(streaming.a, sync=True, timeout_s=10)
    assert look(streaming.b).point.lsn >= point.lsn
    replication.set_sync_names(streaming.a, on=False)
    assert look(streaming.a).sync_names == ""
    with pytest.raises(PostgresError, match="not set to the peer"):
        replication.confirm_grant(streaming.a, sync=True, timeout_s=5)


@pytest.mark.parametrize("names", ["", "other"])
def test_names_that_somebody_hid_with_alter_system_are_set_again(streaming: Pair, names: str) -> None:
    replication.set_sync_names(streaming.a, on=True)
    pgtools.psql(streaming.a, f"ALTER SYSTEM SET synchronous_standby_names = '{names}'; SELECT pg_reload_conf();")
    wait_until(lambda: look(streaming.a).sync_names == names, 5, what="what the administrator wants")
    assert look(streaming.a).foreign_names is bool(names)
    replication.set_sync_names(streaming.a, on=True)
    said = look(streaming.a)
    assert (said.sync_names, said.foreign_names) == ('FIRST 1 ("pgvip_b")', False)
    replication.set_sync_names(streaming.a, on=False)


def test_standby_that_vanishes_from_the_view_is_no_sign_of_life(streaming: Pair) -> None:
    with closing(DatabaseProbe(streaming.a)) as probe:
        looks = [probe.probe()]
        assert looks[0].replica is not None
        postgres.stop(streaming.b, clean=False)

        def vanished() -> bool:
            looks.append(probe.probe())
            return looks[-1].replica is None

        wait_until(vanished, 15, what="end of the sender")
        assert looks[-1].moved_at_s == looks[-2].moved_at_s


def test_commits_that_do_not_wait_are_found_wherever_that_was_set(streaming: Pair) -> None:
    assert commits.probe(streaming.a, 5.0) == ""
    weak = "ALTER SYSTEM SET synchronous_commit = local; ALTER ROLE pgvip SET synchronous_commit = off"
    pgtools.psql(streaming.a, weak)
    try:
        said = commits.probe(streaming.a, 5.0)
        assert "synchronous_commit=local for the whole server" in said
        assert "synchronous_commit=off for pgvip in all databases" in said
    finally:
        pgtools.psql(streaming.a, "ALTER SYSTEM RESET synchronous_commit; ALTER ROLE pgvip RESET synchronous_commit")
    assert commits.probe(streaming.a, 5.0) == ""


def test_another_standby_under_the_peers_name_is_not_the_peer(streaming: Pair) -> None:
    """A base backup's WAL receiver acknowledges commits in the peer's name; nobody may become eligible by that."""
    pgtools.psql(streaming.a, "SELECT pg_create_physical_replication_slot('stranger', true);")
    postgres.stop(streaming.b, clean=True)
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        words = [str(pgtools.tool(streaming.a, "pg_receivewal")), "-D", directory, "-S", "stranger", "--synchronous"]
        server = f"host={streaming.a.postgres.socket_directory} port={streaming.a.postgres.port}"
        name = streaming.b.application_name
        conninfo = f"{server} user={streaming.a.postgres.user} application_name={name}"
        count = f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}'"
        user = pgtools.account(streaming.a)
        with subprocess.Popen([*words, "-d", conninfo], user=user.pw_uid, group=user.pw_gid, cwd="/") as stranger:
            try:
                wait_until(lambda: pgtools.psql(streaming.a, count).strip() == "1", 10, what="the stranger")
                assert look(streaming.a).replica is None
                with pytest.raises(PostgresError, match="another standby"):
                    replication.confirm_grant(streaming.a, sync=False, timeout_s=5)
            finally:
                stranger.terminate()
    wait_until(lambda: pgtools.psql(streaming.a, count).strip() == "0", 10, what="end of the stranger")
    pgtools.psql(streaming.a, "SELECT pg_drop_replication_slot('stranger');")


def test_grant_is_not_confirmed_by_what_was_seen_before(streaming: Pair) -> None:
    """A standby whose host froze: its row stays in pg_stat_replication, streaming, with its last position."""
    go_on = [stopped(ref.pid) for ref in processes.cluster_processes(streaming.b.postgres.data_directory)]
    try:
        for sync in (False, True):
            replication.set_sync_names(streaming.a, on=sync)
            with pytest.raises(PostgresError):
                replication.confirm_grant(streaming.a, sync=sync, timeout_s=1.5)
            probe = DatabaseProbe(streaming.a)
            assert probe.heartbeat(1.0), "the heartbeat must not wait for the standby"
            probe.close()
    finally:
        for start_again in go_on:
            start_again()
        replication.set_sync_names(streaming.a, on=False)
    replication.confirm_grant(streaming.a, sync=False, timeout_s=10)


def test_slots_are_made_and_advance(streaming: Pair) -> None:
    replication.ensure_slot(streaming.b)
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 10, what="catching up")
    replication.advance_slot(streaming.b)
    replication.advance_slot(streaming.a)
    slot = pgtools.psql(streaming.b, "SELECT slot_name, restart_lsn FROM pg_replication_slots").strip()
    assert slot == f"pgvip_a|{look(streaming.b).replay_lsn}"


# --- rejoin and clone --------------------------------------------------------------------------------------------


def test_crashed_primary_with_more_wal_is_rewound_and_its_loss_listed(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    before = count(streaming.a)
    beat = DatabaseProbe(streaming.a)
    for number in range(3):
        insert(streaming.a, number)
        beat.heartbeat()
    beat.close()
    postgres.stop(streaming.a, clean=False)
    end = postgres.end_of_wal(streaming.a)
    postgres.start(streaming.b, standby=True, sync=False)
    postgres.promote(streaming.b)
    said: list[str] = []
    done = rejoin.rejoin(streaming.a, progress=said.append)
    assert done.startswith("rewound to")
    saved = max(streaming.a.paths.saved.iterdir())
    facts = json.loads((saved / "lost.json").read_text())
    assert facts["commits"] == 3
    assert facts["heartbeats"] == 3
    assert facts["to"] == str(end.lsn)
    assert all((saved / name).stat().st_size == 1 << 24 for name in facts["files"] if "." not in name)
    assert any("3 lost transactions" in line for line in said)
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")
    assert count(streaming.a) == before
    assert pgtools.psql(streaming.a, "SELECT slot_name FROM pg_replication_slots").strip() == "pgvip_b"


def test_primary_without_more_wal_needs_nothing(streaming: Pair) -> None:
    postgres.stop(streaming.a, clean=True)
    end = postgres.end_of_wal(streaming.a)
    wait_until(lambda: look(streaming.b).point >= end, 5, what="shutdown checkpoint on the standby")
    postgres.promote(streaming.b)
    assert rejoin.rejoin(streaming.a, progress=print) == "nothing had diverged"
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")


def test_diverged_files_leave_the_own_archive(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    insert(streaming.a)
    wal_file = pgtools.psql(streaming.a, "SELECT pg_walfile_name(pg_current_wal_lsn())").strip()
    pgtools.psql(streaming.a, "SELECT pg_switch_wal()")
    archived = streaming.a.archive.directory / wal_file
    wait_until(archived.exists, 20, what="archiving")
    postgres.stop(streaming.a, clean=False)
    postgres.start(streaming.b, standby=True, sync=False)
    # It may fetch the whole segment from the archive first; then nothing diverged, and all may stay.
    postgres.promote(streaming.b)
    fork = look(streaming.b).history[-1]
    rejoin.rejoin(streaming.a, progress=print)
    after = Lsn((int(wal_file[8:16], 16) << 32) + (int(wal_file[16:], 16) + 1) * (1 << 24))
    assert archived.exists() is not (fork.lsn < after)


def test_rewound_data_is_not_started_before_its_archive_is_clean(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between: the standby would read the diverged files of its own archive."""
    pgtools.psql(streaming.a, "INSERT INTO numbers VALUES (2)")
    postgres.stop(streaming.b, clean=True)
    pgtools.psql(streaming.a, "INSERT INTO numbers VALUES (3)")
    postgres.stop(streaming.a, clean=False)
    postgres.start(streaming.b, standby=True, sync=False)
    postgres.promote(streaming.b)

    def crash(*_: object) -> list[str]:
        raise RejoinError("the daemon is killed now")

    with monkeypatch.context() as patch:
        patch.setattr(rejoin, "set_aside_archived", crash)
        with pytest.raises(RejoinError, match="killed now"):
            rejoin.rejoin(streaming.a, progress=print)
    with pytest.raises(PostgresError, match="not whole"):
        postgres.start(streaming.a, standby=True, sync=False)
    assert rejoin.rejoin(streaming.a, progress=print) == "cloned from b"
    assert prepare.why_unusable(streaming.a) == ""


def test_wal_that_could_not_be_read_outlives_the_data_it_was_in(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    wal = streaming.b.postgres.data_directory / "pg_wal"
    last = segment_name(1, pgtools.control_data(streaming.b).checkpoint.lsn, 1 << 24)
    here = sorted(path for path in wal.iterdir() if path.name[8:] >= last[8:] and len(path.name) == 24)
    for path in here:
        path.rename(path.with_suffix(".torn"))
    assert rejoin.rejoin(streaming.b, progress=print) == "cloned from a"
    assert not list(streaming.b.paths.saved.glob("*-unread"))
    assert rejoin.rejoin(streaming.b, clone=True, progress=print) == "cloned from a"
    (kept,) = streaming.b.paths.saved.glob("*-unread")
    assert {path.with_suffix(".torn").name for path in here} <= {path.name for path in kept.iterdir()}
    assert not (streaming.b.postgres.data_directory / cloning.UNSAVED).exists()
    postgres.start(streaming.b, standby=True, sync=False)


def test_read_write_server_is_never_rejoined(streaming: Pair) -> None:
    postmaster = look(streaming.a).postmaster
    with pytest.raises(RejoinError, match="is a standby"):
        rejoin.rejoin(streaming.a, progress=print)
    postgres.promote(streaming.b)
    with pytest.raises(RejoinError, match="read-write"):
        rejoin.rejoin(streaming.a, progress=print)
    assert look(streaming.a).postmaster == postmaster


def test_rejoin_to_a_silent_peer_touches_nothing(streaming: Pair) -> None:
    postgres.stop(streaming.a, clean=True)
    with pytest.raises(RejoinError, match="does not answer"):
        rejoin.rejoin(streaming.b, progress=print)
    assert look(streaming.b).in_recovery


def test_clone_keeps_the_old_data_under_another_name(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    (data / "mark").touch()
    done: list[tuple[int, int]] = []
    rejoin.rejoin(streaming.b, clone=True, progress=print, on_bytes=lambda *pair: done.append(pair))
    assert (data.with_name("data.pgvip-replaced") / "mark").exists()
    assert not (data / "mark").exists()
    assert (data / "standby.signal").exists()
    assert done
    assert done[-1][0] == done[-1][1] > 1_000_000
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")


def test_clone_waits_for_the_sender_to_a_receiver_that_is_gone(streaming: Pair) -> None:
    """As after a power loss: the primary still serves a receiver that will never read again."""
    postgres.stop(streaming.b, clean=True)
    said: list[str] = []
    with frozen_receiver(streaming):
        assert cloning.clone(streaming.b, said.append) == "cloned from a"
    waited = [text for text in said if text.startswith("waiting for slot pgvip_b on a: it is in use by process")]
    assert len(waited) == 1, said
    assert waited[0].endswith("which serves frozen at 127.0.0.1")
    postgres.start(streaming.b, standby=True, sync=False)


def test_clone_names_who_does_not_let_go_of_its_slot(streaming: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    postgres.stop(streaming.b, clean=True)
    monkeypatch.setattr(source, "SLOT_FREE_S", 0.5)
    with frozen_receiver(streaming), pytest.raises(RejoinError, match="stays in use") as refused:
        cloning.clone(streaming.b, print)
    assert "which serves frozen at 127.0.0.1" in refused.value.detail
    assert "pg_terminate_backend(" in refused.value.hint
    assert rejoin.rejoin(streaming.b, progress=print) == "nothing had diverged"
    postgres.start(streaming.b, standby=True, sync=False)


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


def test_interrupted_rewind_leads_to_a_clone(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    prepare.mark_unusable(streaming.b, "rewind")
    assert not (streaming.b.postgres.data_directory / "standby.signal").exists()
    with pytest.raises(PostgresError, match="not whole"):
        postgres.start(streaming.b, standby=True, sync=False)
    never = dataclasses.replace(streaming.b, rejoin=dataclasses.replace(streaming.b.rejoin, clone="never"))
    with pytest.raises(RejoinError, match="not allowed"):
        rejoin.rejoin(never, progress=print)
    assert rejoin.rejoin(streaming.b, progress=print) == "cloned from a"
    postgres.start(streaming.b, standby=True, sync=False)


@pytest.mark.parametrize("renamed", [False, True])
def test_clone_that_was_interrupted_while_renaming_is_finished(streaming: Pair, renamed: bool) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    check(["cp", "-a", data, data.with_name("data.pgvip-new")], timeout_s=60)
    prepare.mark_unusable(streaming.b, cloning.SWAP)
    if renamed:
        data.rename(data.with_name("data.pgvip-replaced"))
    else:
        (data / "old").touch()
    rejoin.rejoin(streaming.b, progress=print)
    assert (data / "standby.signal").exists()
    assert not (data / "old").exists()
    assert not data.with_name("data.pgvip-new").exists()


def test_renaming_that_fails_leaves_the_old_data_in_its_place(streaming: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    check(["cp", "-a", data, data.with_name("data.pgvip-new")], timeout_s=60)
    (data / "old").touch()
    prepare.mark_unusable(streaming.b, cloning.SWAP)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "data.pgvip-new":
            raise OSError(errno.EIO, "the disk does not want to")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(OSError, match="does not want to"):
            cloning.finish_swap(streaming.b)
    assert (data / "old").exists()
    assert cloning.finish_swap(streaming.b)
    assert not (data / "old").exists()
    assert (data.with_name("data.pgvip-replaced") / "old").exists()
    postgres.start(streaming.b, standby=True, sync=False)


def test_finished_copy_is_not_thrown_away_by_the_next_clone(streaming: Pair) -> None:
    """Between the two renames it is all there is: were the next copy to fail, nothing would be left."""
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data.with_name("data.pgvip-replaced"), ignore_errors=True)
    check(["cp", "-a", data, data.with_name("data.pgvip-new")], timeout_s=60)
    (data / "old").touch()
    prepare.mark_unusable(streaming.b, cloning.SWAP)
    data.rename(data.with_name("data.pgvip-replaced"))
    broken = dataclasses.replace(streaming.b.postgres, bin_directory=Path("/nowhere"))
    with pytest.raises(PgvipError):
        cloning.clone(dataclasses.replace(streaming.b, postgres=broken), print)
    assert (data / "PG_VERSION").exists()


def test_lost_data_is_cloned(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=False)
    kept = data.rename(data.with_name("kept"))
    data.mkdir()
    assert rejoin.rejoin(streaming.b, progress=print) == "cloned from a"
    assert (kept / "PG_VERSION").exists()


def test_other_cluster_is_not_touched(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.stop(streaming.b, clean=False)
    with pytest.raises(RejoinError, match="another database cluster"):
        cloning.clone(streaming.b, print, system_id="1234")
    own = data.rename(data.with_name("own"))
    make_cluster(streaming.b)
    with pytest.raises(RejoinError, match="another database cluster"):
        rejoin.rejoin(streaming.b, progress=print)
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
        pgtools.psql(streaming.a, "CHECKPOINT")
    wanted = postgres.end_of_wal(streaming.b)
    oldest = streaming.a.postgres.data_directory / "pg_wal"
    wait_until(lambda: recycled(oldest, wanted), 20, what="recycling")
    assert rejoin.rejoin(no_archive, progress=print) == "cloned from a"


def recycled(directory: Path, wanted: WalPoint) -> bool:
    return not (directory / segment_name(wanted.timeline, wanted.lsn, 1 << 24)).exists()


def test_tablespaces_come_along_and_are_exchanged(streaming: Pair) -> None:
    """The standby has a directory of its own below the tablespace's name, as on a host of its own."""
    place, other = streaming.root / "space", streaming.root / "other"
    for directory in (place, other):
        directory.mkdir()
        shutil.chown(directory, "postgres")
    postgres.stop(streaming.b, clean=True)
    pgtools.psql(streaming.a, f"CREATE TABLESPACE space LOCATION '{place}'")
    pgtools.psql(streaming.a, "CREATE TABLE spaced TABLESPACE space AS SELECT generate_series(1, 7) AS n")

    def elsewhere() -> None:
        clone_newns = 0x20000
        assert ctypes.CDLL(None).unshare(clone_newns) == 0
        check(["mount", "--make-rprivate", "/"], timeout_s=10)
        check(["mount", "--bind", other, place], timeout_s=10)
        for _ in range(2):
            assert cloning.clone(streaming.b, print) == "cloned from a"
        postgres.start(streaming.b, standby=True, sync=False)
        assert pgtools.psql(streaming.b, "SELECT count(*) FROM spaced").strip() == "7"
        postgres.stop(streaming.b, clean=True)

    child = multiprocessing.get_context("fork").Process(target=elsewhere)
    child.start()
    child.join(120)
    assert child.exitcode == 0
    versions = [path.name for path in place.iterdir()]
    assert sorted(path.name for path in other.iterdir()) == [".pgvip-replaced", *versions]
    link = next((streaming.b.postgres.data_directory / "pg_tblspc").iterdir())
    assert link.readlink() == place
