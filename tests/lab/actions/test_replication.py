"""Synchronous replication, the grant and the slots, on real servers."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.actions import postgres, replication
from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from pgvip.probes import commits
from pgvip.probes.database import DatabaseProbe
from pgvip.rejoin import source
from pgvip.system import pgtools, processes
from pgvip.system.sql import REPLICATION_ROLE
from tests.lab.actions.servers import caught_up, insert, look, stopped
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


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
    wait_until(lambda: look(streaming.a).sync_names == names, 20, what="what the administrator wants")
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
            assert probe.heartbeat(1.0) == "", "the heartbeat must not wait for the standby"
            probe.close()
    finally:
        for start_again in go_on:
            start_again()
        replication.set_sync_names(streaming.a, on=False)
    replication.confirm_grant(streaming.a, sync=False, timeout_s=10)


def test_grant_is_not_confirmed_by_a_standby_that_answers_and_flushes_nothing(streaming: Pair) -> None:
    """A WAL receiver that writes and does not sync, as a disk that hangs makes of every one; it answers each second."""
    postgres.stop(streaming.b, clean=True)
    primary = replace(streaming.a, settings=replace(streaming.a.settings, lag_bytes_max=0))
    heard = f"SELECT count(*) FROM pg_stat_replication WHERE application_name = '{streaming.b.application_name}'"
    conninfo = source.conninfo(streaming.b, REPLICATION_ROLE)
    name = f"application_name={streaming.b.application_name}"
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        program = str(pgtools.tool(streaming.a, "pg_receivewal"))
        words = [program, "-D", directory, "-s", "1", "-d", f"{conninfo} {name}"]
        user = pgtools.account(streaming.a)
        with subprocess.Popen(words, user=user.pw_uid, group=user.pw_gid, cwd="/") as receiver:
            try:
                answered = f"{heard} AND state = 'streaming' AND reply_time > backend_start + interval '1 s'"
                wait_until(lambda: pgtools.psql(streaming.a, answered).strip() == "1", 20, what="its answers")
                with pytest.raises(PostgresError, match=r"flush of .* by the peer|did not answer in time"):
                    replication.confirm_grant(primary, sync=False, timeout_s=3)
            finally:
                receiver.terminate()
    wait_until(lambda: pgtools.psql(streaming.a, heard).strip() == "0", 20, what="end of the receiver")


def test_slots_are_made_and_advance(streaming: Pair) -> None:
    replication.ensure_slot(streaming.b)
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 10, what="catching up")
    replication.advance_slot(streaming.b)
    replication.advance_slot(streaming.a)
    slot = pgtools.psql(streaming.b, "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'pgvip_a'").strip()
    assert slot == str(look(streaming.b).replay_lsn)


def test_the_sender_to_a_silent_receiver_ends_soon_and_that_of_others_does_not(streaming: Pair) -> None:
    """A returned standby finds its slot in use until then; a slow logical consumer keeps the server's own limit."""
    assert pgtools.psql(streaming.a, "SHOW wal_sender_timeout").strip() == "1min"
    senders = "SELECT count(*) FROM pg_stat_replication WHERE usename = 'pgvip_replication'"
    receivers = [
        ref.pid
        for ref in processes.cluster_processes(streaming.b.postgres.data_directory)
        if b"walreceiver" in Path(f"/proc/{ref.pid}/cmdline").read_bytes()
    ]
    go_on = [stopped(pid) for pid in receivers]
    try:
        wait_until(lambda: pgtools.psql(streaming.a, senders).strip() == "0", 20, every_s=0.5, what="the sender's end")
    finally:
        for start_again in go_on:
            start_again()
