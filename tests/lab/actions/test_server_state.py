"""What is said of a real server whose configuration is wrong, not in force, or keeps pgvip out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgvip.actions import postgres, replication
from pgvip.actions.postgres import make_log
from pgvip.checks.server_state import Findings, ServerState
from pgvip.config.model import Config
from pgvip.core.values import NEVER
from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError, ProbeError
from pgvip.system import pgtools
from pgvip.system.pgping import ping
from pgvip.system.sql import DATABASE_ROLE
from tests.lab.actions.servers import look
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


@contextmanager
def written_above(config: Config, name: str, line: str) -> Iterator[Path]:
    """A line at the top of a file of a server's; the file is as it was afterwards, and read again."""
    path = config.postgres.config_directory / name
    before = path.read_text()
    path.write_text(f"{line}\n{before}")
    try:
        yield path
    finally:
        path.write_text(before)
        pgtools.psql(config, "SELECT pg_reload_conf()")


def takes_none(config: Config) -> bool:
    where = config.postgres
    try:
        return not ping(where.socket_directory, where.port, DATABASE_ROLE, where.database, 1.0).serving
    except ProbeError:
        return False


def test_nothing_is_wrong_with_a_server_of_pgvips(streaming: Pair) -> None:
    assert ServerState().probe(streaming.a) == ServerState().probe(streaming.b) == Findings()
    assert ServerState().warnings(streaming.a) == ()


def test_a_wrong_line_is_named_before_anybody_reloads_it(streaming: Pair) -> None:
    with written_above(streaming.b, "postgresql.conf", "work_memm = '4MB'") as path:
        [warning] = ServerState().warnings(streaming.b)
        assert warning.name == "settings-wrong"
        assert f"{path} line 1: work_memm: unrecognized configuration parameter" in warning.text
    with written_above(streaming.b, "postgresql.conf", "work_mem = 'much'") as path:
        assert f"{path} line 1: work_mem: " in ServerState().probe(streaming.b).wrong
    with written_above(streaming.b, "pg_hba.conf", "hots all all all trust") as path:
        assert f'{path} line 1: invalid connection type "hots"' in ServerState().probe(streaming.b).wrong
    assert ServerState().probe(streaming.b) == Findings()


def test_what_waits_for_a_restart_is_no_mistake(streaming: Pair) -> None:
    with written_above(streaming.b, "postgresql.conf", "max_files_per_process = 900"):
        assert ServerState().probe(streaming.b) == Findings()
        pgtools.psql(streaming.b, "SELECT pg_reload_conf()")
        assert ServerState().probe(streaming.b) == Findings(pending="max_files_per_process")
    # PostgreSQL takes it back only where the value that is in force is written out.
    before = pgtools.psql(streaming.b, "SHOW max_files_per_process").strip()
    with written_above(streaming.b, "postgresql.conf", f"max_files_per_process = {before}"):
        pgtools.psql(streaming.b, "SELECT pg_reload_conf()")
        assert ServerState().probe(streaming.b) == Findings()


def test_what_is_pgvips_and_not_in_force_is_named(streaming: Pair) -> None:
    pgtools.psql(streaming.b, "ALTER SYSTEM SET listen_addresses = 'localhost'")
    pgtools.psql(streaming.b, "SELECT pg_reload_conf()")
    try:
        found = ServerState().probe(streaming.b)
        assert (found.pending, found.overridden, found.wrong) == ("listen_addresses", "listen_addresses", "")
    finally:
        pgtools.psql(streaming.b, "ALTER SYSTEM RESET listen_addresses")
        pgtools.psql(streaming.b, "SELECT pg_reload_conf()")


def test_a_standby_that_does_not_listen_as_configured_is_not_fit(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    given = "-c listen_addresses=127.0.0.3"  # as before the restart that `join` leaves to the administrator
    pgtools.pg_ctl(streaming.b, "start", "-w", "-s", "-l", make_log(streaming.b), "-o", given)
    try:
        wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")
        assert "listen_addresses is '127.0.0.3', not '127.0.0.2'" in look(streaming.b).unfit
    finally:
        postgres.stop(streaming.b, clean=True)


def test_a_server_that_refuses_pgvip_is_no_silent_one(streaming: Pair) -> None:
    pgtools.psql(streaming.a, "ALTER ROLE pgvip NOLOGIN")
    try:
        found = ServerState().probe(streaming.a)
        assert found.refused == 'role "pgvip" is not permitted to log in'
        assert "pgvip init" in found.way_out
    finally:
        pgtools.psql(streaming.a, "ALTER ROLE pgvip LOGIN")
    with written_above(streaming.a, "pg_hba.conf", "local all pgvip reject"):
        pgtools.psql(streaming.a, "SELECT pg_reload_conf()")
        [warning] = ServerState().warnings(streaming.a)
        assert warning.name == "database-refuses"
        assert "pg_hba.conf rejects connection" in warning.text
        assert "pg_hba.conf" in warning.hint


def test_a_standby_that_takes_no_connections_is_not_starting_for_ever(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ServerState()
    postgres.stop(streaming.b, clean=True)
    pgtools.pg_ctl(streaming.b, "start", "-W", "-s", "-l", make_log(streaming.b), "-o", "-c hot_standby=off")
    try:
        assert wait_until(lambda: takes_none(streaming.b), 10, what="a server that takes no connections")
        assert state.probe(streaming.b) == Findings()
        monkeypatch.setattr("pgvip.checks.server_state.NOT_YET_S", 0.0)
        wait_until(lambda: "not accepting" in state.probe(streaming.b).waiting, 10, what="consistent")
    finally:
        postgres.stop(streaming.b, clean=False)
    assert state.probe(streaming.b) == Findings()
    assert state._waits_since_s == NEVER


def test_a_standby_whose_replication_is_refused_says_so(streaming: Pair) -> None:
    pgtools.psql(streaming.a, "ALTER ROLE pgvip_replication NOLOGIN")
    try:
        pgtools.psql(streaming.a, "SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        wait_until(lambda: not look(streaming.b).streaming, 10, what="the end of the stream")
        found = ServerState().probe(streaming.b)
        assert found.not_followed == 'role "pgvip_replication" is not permitted to log in'
        assert "on a: " in found.way_out
    finally:
        pgtools.psql(streaming.a, "ALTER ROLE pgvip_replication LOGIN")


def test_names_that_are_not_set_for_a_wrong_line_say_which_line(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replication, "RELOAD_S", 1.0)
    with (
        written_above(streaming.a, "postgresql.conf", "work_memm = '4MB'") as path,
        pytest.raises(PostgresError) as caught,
    ):
        replication.set_sync_names(streaming.a, on=True)
    assert f"{path} line 1: work_memm" in caught.value.detail
