"""pgvip.conf as text: quoting is where such files go wrong."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pgvip.archive import archive_command, archive_wal, restore_wal
from pgvip.config.model import ArchiveConfig, ArchiveDestination, Config, Host, PostgresConfig
from pgvip.config.paths import Paths
from pgvip.core.settings import Settings
from pgvip.errors import PostgresError
from pgvip.system import pgconf, wal_commands

GOLDEN = """\
# Written by pgvip before every start of this server. Changes made here are lost:
# what belongs to this database goes into postgresql.conf, what belongs to the pair into /etc/pgvip/pgvip.toml.

listen_addresses = '*'
port = '5433'
hot_standby = 'on'
wal_log_hints = 'on'
restart_after_crash = 'off'
synchronous_standby_names = 'FIRST 1 ("pgvip_db2")'
primary_conninfo = 'host=db2 hostaddr=192.0.2.12 sslmode=verify-full \
sslrootcert=/var/lib/pgvip/work/tls/authorities.crt sslcert=/var/lib/pgvip/work/tls/pgvip_replication.crt \
sslkey=/var/lib/pgvip/work/tls/pgvip_replication.key port=5433 user=pgvip_replication dbname=postgres \
application_name=pgvip_db1 connect_timeout=3 tcp_user_timeout=10000 gssencmode=disable \
options=''-c role=none -c statement_timeout=0 -c wal_sender_timeout=10s'''
primary_slot_name = 'pgvip_db1'
recovery_target_timeline = 'latest'
recovery_target = ''
recovery_target_lsn = ''
recovery_target_name = ''
recovery_target_time = ''
recovery_target_xid = ''
recovery_target_action = 'pause'
recovery_target_inclusive = 'on'
recovery_min_apply_delay = '0'
recovery_end_command = ''
promote_trigger_file = ''
wal_retrieve_retry_interval = '100ms'
wal_receiver_status_interval = '1s'
wal_receiver_timeout = '10s'
max_slot_wal_keep_size = '8192MB'
default_transaction_read_only = 'off'
archive_mode = 'on'
archive_library = ''
archive_command = 'PYTHON -I -S PGVIP/archive_wal.py --timeout 10 --directory /var/lib/pgvip/archive --ahead "%p"'
restore_command = '[ ! -e /run/pgvip/no-restore ] && [ -x PYTHON ] && exec PYTHON -I -S PGVIP/restore_wal.py \
--timeout 10 --flag /run/pgvip/no-restore --directory /var/lib/pgvip/archive --directory /var/lib/pgvip/peer-archive \
--directory /var/lib/pgvip/peer-archive/salvage "%f" "%p"'
archive_cleanup_command = ''
ssl = 'on'
ssl_cert_file = '/var/lib/pgvip/work/tls/server.crt'
ssl_key_file = '/var/lib/pgvip/work/tls/server.key'
ssl_ca_file = '/var/lib/pgvip/work/tls/authorities.crt'
"""


TRY = """
import fcntl, os, sys
try:
    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        name="test",
        me=Host("db1", "192.0.2.11", "eth0"),
        peer=Host("db2", "192.0.2.12", "eth0"),
        vips={},
        postgres=PostgresConfig(tmp_path, tmp_path, tmp_path, tmp_path, port=5433),
        settings=Settings(me="db1", peer="db2", me_first=True),
    )


def value(text: str, key: str) -> str:
    return next(line.partition(" = ")[2] for line in text.splitlines() if line.startswith(f"{key} = "))


def test_golden_text(config: Config) -> None:
    text = pgconf.render(config, sync=True, version=15)
    scripts = Path(archive_wal.__file__ or "").resolve().parent
    assert text.replace(wal_commands.interpreter(), "PYTHON").replace(str(scripts), "PGVIP") == GOLDEN


def test_names_are_empty_in_async_and_alone(config: Config) -> None:
    assert value(pgconf.render(config, sync=False, version=15), "synchronous_standby_names") == "''"


def test_version_decides_what_is_there(config: Config) -> None:
    assert "archive_library" not in pgconf.render(config, sync=False, version=14)
    assert "idle_replication_slot_timeout" not in pgconf.render(config, sync=False, version=17)
    assert "promote_trigger_file" not in pgconf.render(config, sync=False, version=16)
    assert "idle_replication_slot_timeout = '0'" in pgconf.render(config, sync=False, version=18)


def test_without_archive_the_administrators_settings_stay(config: Config) -> None:
    config = dataclasses.replace(config, archive=ArchiveConfig(enabled=False))
    assert "archive" not in pgconf.render(config, sync=False, version=15)
    assert "restore_command" not in pgconf.render(config, sync=False, version=15)


def test_odd_names_are_quoted(config: Config) -> None:
    config = dataclasses.replace(
        config,
        peer=Host('db "2"', "192.0.2.12", "eth0"),
        me=Host("db-1.example", "192.0.2.11", "eth0"),
        paths=Paths(state=Path("/etc/it's/the state")),
        archive=ArchiveConfig(directory=Path("/mnt/100%/o'clock")),
    )
    text = pgconf.render(config, sync=True, version=15)
    assert value(text, "synchronous_standby_names") == '\'FIRST 1 ("pgvip_db ""2""")\''
    assert value(text, "primary_slot_name") == "'pgvip_db_1_example'"
    assert r"sslkey=''/etc/it\\''s/the state/work/tls/pgvip_replication.key''" in value(text, "primary_conninfo")
    assert "/mnt/100%%/o" in value(text, "archive_command")


DESTINATIONS = (
    ArchiveDestination("far", Path("/mnt/it's 100%"), compress="zstd", required=True, timeout_s=7.0),
    ArchiveDestination("store", command=("/bin/put", "%p", "a 'b' \\c"), restore=("/bin/get", "%f", "%p")),
)


def as_postgres_runs_it(setting: str, path: str, name: str) -> list[str]:
    """The words that the shell sees: quotes of the file taken off, placeholders filled in (manual, 20.1.2, 20.5.3)."""
    command = setting[1:-1].replace("''", "'").replace("\\\\", "\\")
    filled = command.replace("%%", "\0").replace("%p", path).replace("%f", name).replace("\0", "%")
    return shlex.split(filled)


def test_destinations_reach_the_script_as_they_are_configured(config: Config) -> None:
    config = dataclasses.replace(config, archive=ArchiveConfig(compress="lz4", destinations=DESTINATIONS))
    text = pgconf.render(config, sync=False, version=15)
    words = as_postgres_runs_it(value(text, "archive_command"), "pg_wal/0A", "0A")
    given, found = archive_command.read_arguments(words[4:])
    assert (given.path, given.ahead) == (Path("pg_wal/0A"), True)
    assert [(one.name, one.directory, one.command, one.word, one.required, one.timeout_s) for one in found] == [
        ("archive", ArchiveConfig().directory, (), "lz4", True, 10.0),
        ("far", DESTINATIONS[0].directory, (), "zstd", True, 7.0),
        ("store", None, DESTINATIONS[1].command, "none", False, 10.0),
    ]
    restore = as_postgres_runs_it(value(text, "restore_command"), "pg_wal/X", "0A")
    assert restore[-2:] == ["0A", "pg_wal/X"]
    directories = [restore[at + 1] for at, word in enumerate(restore) if word == "--directory"]
    own, peer = "/var/lib/pgvip/archive", "/var/lib/pgvip/peer-archive"
    assert directories == [own, peer, f"{peer}/salvage", "/mnt/it's 100%"]
    assert restore_wal.read_command(restore[restore.index("--command") + 1]) == ("/bin/get", "%f", "%p")


def test_commands_are_refreshed_and_nothing_else(config: Config) -> None:
    path = config.postgres.config_directory / pgconf.FILE_NAME
    assert not pgconf.refresh_commands(config)
    before = pgconf.render(config, sync=True, version=15, raised={"max_connections": "300"})
    path.write_text(before)
    assert not pgconf.refresh_commands(config)
    changed = dataclasses.replace(config, archive=ArchiveConfig(compress="lz4", destinations=DESTINATIONS))
    assert pgconf.refresh_commands(changed)
    assert path.read_text() == pgconf.render(changed, sync=True, version=15, raised={"max_connections": "300"})
    assert wal_commands.is_ours(value(path.read_text(), "archive_command"))
    assert not wal_commands.is_ours("pgbackrest --stanza=orders archive-push %p")


def test_what_follows_the_configuration_is_refreshed_and_nothing_else(config: Config) -> None:
    (config.postgres.data_directory / "PG_VERSION").write_text("15\n")
    path = config.postgres.config_directory / pgconf.FILE_NAME
    assert not pgconf.refresh(config)
    before = pgconf.render(config, sync=True, version=15, raised={"max_connections": "300"})
    path.write_text(before)
    assert not pgconf.refresh(config)
    changed = dataclasses.replace(config, max_slot_wal_keep_mb=77)
    assert pgconf.refresh(changed)
    assert path.read_text() == pgconf.render(changed, sync=True, version=15, raised={"max_connections": "300"})
    assert pgconf.refresh(config)
    assert path.read_text() == before
    off = dataclasses.replace(config, postgres=dataclasses.replace(config.postgres, tls="off"))
    assert pgconf.refresh(off)
    assert path.read_text() == pgconf.render(off, sync=True, version=15, raised={"max_connections": "300"})
    assert pgconf.refresh(config)
    assert not pgconf.refresh(config)
    assert sorted(path.read_text().splitlines()) == sorted(before.splitlines())


def test_nobody_undoes_what_another_one_has_just_written(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a thread nor a worker: what one has read must not be written after the other's lines."""
    (config.postgres.data_directory / "PG_VERSION").write_text("15\n")
    path = config.postgres.config_directory / pgconf.FILE_NAME
    path.write_text(pgconf.render(config, sync=True, version=15))
    monkeypatch.setattr(pgconf, "LOCK_S", 0.05)
    with pgconf._alone(path):
        done = subprocess.run([sys.executable, "-c", TRY, path.parent], check=False)
        assert done.returncode == 3, "another process waits"
        with pytest.raises(PostgresError, match="another one writes"):
            pgconf.set_restart_after_crash(config, on=True)
    assert pgconf.set_restart_after_crash(config, on=True)


def test_include_is_the_last_line_once(tmp_path: Path) -> None:
    main = tmp_path / "postgresql.conf"
    main.write_text("port = 1\ninclude 'pgvip.conf'\nport = 2\n")
    main.chmod(0o640)
    pgconf.ensure_include(main)
    once = main.read_text()
    pgconf.ensure_include(main)
    assert main.read_text() == once
    assert once.splitlines()[-1] == "include 'pgvip.conf'"
    assert once.count("include") == 1
    assert main.stat().st_mode & 0o777 == 0o640


def test_auto_conf_does_not_hold_down_what_the_primary_has_raised(config: Config) -> None:
    pgconf.raise_auto_conf(config, {"max_connections": "200"})
    path = config.postgres.data_directory / "postgresql.auto.conf"
    path.write_text("# by ALTER SYSTEM\nmax_connections = '150'\nwork_mem = '8MB'\n")
    pgconf.raise_auto_conf(config, {"max_connections": "200", "max_wal_senders": "20"})
    assert path.read_text() == "# by ALTER SYSTEM\nmax_connections = '200'\nwork_mem = '8MB'\n"


def test_auto_conf_loses_our_keys_only(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "postgresql.auto.conf"
    path.write_text(
        "# Do not edit this file manually!\n"
        "work_mem = '8MB'\n"
        "primary_conninfo = 'host=elsewhere'\n"
        "Synchronous_Standby_Names = '*'\n"
        "recovery_target_time 'yesterday'\n"
        "port_is_not_port = 'x'\n"
    )
    assert pgconf.strip_auto_conf(config, 15) == [
        "primary_conninfo",
        "synchronous_standby_names",
        "recovery_target_time",
    ]
    assert path.read_text() == "# Do not edit this file manually!\nwork_mem = '8MB'\nport_is_not_port = 'x'\n"
    assert pgconf.strip_auto_conf(config, 15) == []


def test_slot_names_stay_within_the_limit() -> None:
    assert len(pgconf.slot_name("x" * 100)) == 63


def test_restart_after_crash_stays_over_changes_of_a_running_server(config: Config) -> None:
    """It is set in a pause; only a start makes it `off` again."""
    main = config.postgres.config_directory / "postgresql.conf"
    main.touch()
    pgconf.write(config, sync=False, version=15, raised={})
    path = config.postgres.config_directory / pgconf.FILE_NAME
    assert not pgconf.set_restart_after_crash(config, on=False)
    assert pgconf.set_restart_after_crash(config, on=True)
    assert not pgconf.set_restart_after_crash(config, on=True)
    pgconf.write(config, sync=True, version=15)
    assert value(path.read_text(), "restart_after_crash") == "'on'"
    assert value(path.read_text(), "synchronous_standby_names") != "''"
    pgconf.write(config, sync=True, version=15, raised={})
    assert value(path.read_text(), "restart_after_crash") == "'off'"
