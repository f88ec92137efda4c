"""What makes a host one of a pair: the steps that `init`, `clone` and `join` share.

Each step can be repeated, and an interrupted set-up is finished by running the command again. The record is
written last: until then the daemon has no right to anything.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgvip.actions import postgres
from pgvip.config.observing import observes
from pgvip.deadlines import wait_until
from pgvip.errors import CommandError, PgvipError, PostgresError, RefusedError
from pgvip.setup import access
from pgvip.state import files
from pgvip.system import (
    lock,
    own_directories,
    pgconf,
    pgtools,
    processes,
    server_settings,
    sql,
    units,
    wal_commands,
)
from pgvip.system.commands import check
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pgvip.config.model import Config

VERSION_MIN = 14
PROGRAM_TIMEOUT_S = 20.0
INITDB_TIMEOUT_S = 600.0
SQL_TIMEOUT_S = 60.0
ANSWER_S = 5.0
RELOAD_S = 10.0


# --- what is here ------------------------------------------------------------------------------------------


def program_version(config: Config) -> int:
    """Major version of the installed server. PostgresError when it is too old, or says something odd."""
    version = pgtools.program_version(config)
    if version < VERSION_MIN:
        raise PostgresError(
            f"PostgreSQL {version} is too old",
            f"pgvip needs {VERSION_MIN} or newer.",
            "Name the programs of a newer version with postgresql.bin_directory, or upgrade with pg_upgrade first.",
        )
    return version


def is_empty(directory: Path) -> bool:
    """True when the directory is absent, or has nothing in it."""
    return pgtools.is_empty(directory)


def is_running(config: Config) -> bool:
    """True when a postmaster of this cluster lives."""
    return processes.postmaster(config.postgres.data_directory) is not None


def refuse_daemon(config: Config) -> None:
    """RefusedError while the local daemon runs: it would act on half of what is being set up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(config.paths.socket))
        except OSError:
            if config.paths.run.is_dir():
                lock.take(config.paths.run)  # nor does it start before this command has ended
            return
    raise RefusedError("the pgvip daemon runs on this host", hint="Run systemctl stop pgvip first; it moves no role.")


COPY = "Use pgvip clone --replace, which keeps the old directory under another name."


def begins_anew(config: Config) -> str:
    """What to do about a cluster that is not this host's pair's, where it may have been made by pg_upgrade."""
    return (
        f"If pg_upgrade has made it, it begins a new pair: put aside what is in {config.paths.state}, then run this "
        f"again ({pgtools.UPGRADE}). Else correct data_directory, or copy {config.peer.name}'s database: "
        "pgvip clone --replace."
    )


def misplaced(config: Config, system_id: str = "", hint: str = COPY) -> list[PgvipError]:
    """What is wrong with an existing cluster here; `system_id`: of the pair, when it is known.

    `hint`: what to do about a cluster that is not the pair's.
    """
    data, wrong = config.postgres.data_directory, pgtools.version_problem(config)
    found: list[PgvipError] = [] if wrong is None else [wrong]
    found += [
        PostgresError(f"there is a recovery.conf in {directory}", hint="It is of PostgreSQL 11 or older; remove it.")
        for directory in {data, config.postgres.config_directory}
        if pgtools.is_there(directory / "recovery.conf")
    ]
    here = pgtools.control_data(config).system_id
    if system_id and here != system_id:
        found.append(
            PostgresError(
                f"{data} is another database cluster",
                f"Its system identifier is {here}, the pair's is {system_id}.",
                hint,
            )
        )
    if not pgtools.is_there(config.postgres.config_directory / "postgresql.conf"):
        found.append(
            PostgresError(
                f"there is no postgresql.conf in {config.postgres.config_directory}",
                hint="Correct postgresql.config_directory; Debian keeps it in /etc/postgresql/VERSION/NAME.",
            )
        )
    return found


def weak_settings(config: Config) -> list[PgvipError]:
    """Settings in the server's files under which an acknowledged commit may be lost, or nothing can follow."""
    found: list[PgvipError] = []
    for setting in server_settings.TABLE:
        if not setting.refused or (setting.name == server_settings.COMMIT and not config.settings.sync):
            continue
        name, value = setting.name, pgtools.server_setting(config, setting.name)
        if value not in setting.good:
            hint = f"Set {name} = {setting.good[0]} in postgresql.conf, or remove it."
            found.append(PostgresError(f"{name} is {value}: {setting.why}", hint=hint))
    sockets = [word.strip() for word in pgtools.server_setting(config, "unix_socket_directories").split(",")]
    wanted = config.postgres.socket_directory
    if not any(os.path.realpath(word) == os.path.realpath(wanted) for word in sockets if word):
        found.append(
            PostgresError(
                f"the server has no socket in {wanted}",
                f"Its unix_socket_directories: {', '.join(sockets)}.",
                "Correct postgresql.socket_directory, or the server's setting.",
            )
        )
    return found


def foreign_archiving(config: Config) -> str:
    """The archive_command that ours would replace; "" when there is none."""
    if not config.archive.enabled or pgtools.server_setting(config, "archive_mode") == "off":
        return ""
    command = pgtools.server_setting(config, "archive_command")
    return "" if command in ("", "(disabled)") or wal_commands.is_ours(command) else command


def unit_problems(config: Config) -> list[PgvipError]:
    """A server that runs outside of the unit that pgvip would stop it by."""
    unit, postmaster = config.postgres.unit, processes.postmaster(config.postgres.data_directory)
    if not unit:
        return []
    if not units.has_systemd():
        hint = 'Write unit = "", so that pg_ctl is used.'
        return [PostgresError(f'postgresql.unit = "{unit}": systemd does not run here', hint=hint)]
    try:
        pid, restart = units.main_pid(unit), units.restarts(unit)
    except CommandError as failure:
        hint = f"Try again when this answers at once: systemctl show {unit}."
        return [PostgresError(f'systemd did not answer about postgresql.unit = "{unit}"', str(failure), hint)]
    if restart:
        # A server that systemd brings back after its role was handed over is a second writer.
        hint = f"Run systemctl edit {unit}, and write [Service] and Restart=no."
        return [PostgresError(f"{unit} has Restart={restart}: systemd would start the server behind pgvip", "", hint)]
    if postmaster is not None and pid != postmaster.pid:
        return [
            PostgresError(
                f'the server does not run in postgresql.unit = "{unit}"',
                f"The postmaster's pid is {postmaster.pid}, the unit's is {pid or 'none'}.",
                "Correct the unit's name, or stop the server and start it by its unit.",
            )
        ]
    return []


# --- steps --------------------------------------------------------------------------------------------------


def make_directories(config: Config) -> None:
    """State, run and archive directories, and the data directory, with the owners and modes that they need."""
    for directory in _roots(config):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Given away once, while they are root's alone: what root's side works in later belongs to root.
    for directory, mode in _given(config):
        own_directories.make(config, directory, mode=mode)


def _roots(config: Config) -> list[Path]:
    """Directories that stay root's."""
    mounts = [] if config.archive.by_link else [config.archive.peer_mount]
    return [config.paths.state, config.paths.run, *mounts]


def _given(config: Config) -> Iterator[tuple[Path, int]]:
    """Directories of PostgreSQL's user that may lie in root's."""
    if not observes(config):
        yield config.postgres.data_directory, 0o700
    yield config.paths.work, 0o700
    yield config.paths.saved, 0o700
    if config.archive.enabled and not observes(config):
        yield config.archive.directory, 0o750


def directories_ready(config: Config) -> bool:
    """True when `make_directories` has nothing to do."""
    wanted = _roots(config)
    uid = pgtools.account(config).pw_uid
    given = [directory for directory, _ in _given(config) if directory != config.postgres.data_directory]
    return all(directory.is_dir() for directory in (*wanted, *given)) and all(
        directory.stat().st_uid == uid for directory in given
    )


@as_postgres(INITDB_TIMEOUT_S + 60.0)
def make_cluster(config: Config, locale: str) -> None:
    """Run initdb with data checksums, as PostgreSQL's user. PostgresError when it fails."""
    data = config.postgres.data_directory
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    pgtools.give(config, data)
    command: list[str | Path] = [
        *(pgtools.tool(config, "initdb"), "-D", data, "--data-checksums"),
        *("--encoding=UTF8", f"--locale={locale}", "--auth-local=peer", "--auth-host=scram-sha-256"),
    ]
    try:
        check(command, timeout_s=INITDB_TIMEOUT_S, user=config.postgres.user)
    except CommandError as failure:
        raise PostgresError("initdb failed", failure.detail or str(failure)) from failure
    compiled = pgtools.server_setting(config, "unix_socket_directories")
    if str(config.postgres.socket_directory) not in compiled.split(", "):
        main = config.postgres.config_directory / "postgresql.conf"
        line = f"unix_socket_directories = '{config.postgres.socket_directory}'\n"
        files.write_like(main, main.read_text(encoding="utf-8") + line, main)


def reset_auto_conf(config: Config, version: int) -> None:
    """Take pgvip's keys out of postgresql.auto.conf, which would override them; works on a running server."""
    if not is_running(config):
        pgconf.strip_auto_conf(config, version)
        return
    for key in sorted(pgconf.auto_conf_keys(config) & pgconf.owned(config, version)):
        pgtools.psql(config, f"ALTER SYSTEM RESET {key};\n")


def write_settings(config: Config, version: int) -> None:
    """Write pgvip.conf, without synchronous names: the pair does not exist yet. A running server reloads it."""
    pgconf.write(config, sync=False, version=version)
    reset_auto_conf(config, version)
    reload(config)


def reload(config: Config) -> None:
    """Have a running server read its files again, and see that it has done so."""
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None:
        return
    before = pgtools.psql(config, "SELECT pg_conf_load_time();")
    processes.send(postmaster, signal.SIGHUP)
    wait_until(
        lambda: pgtools.psql(config, "SELECT pg_conf_load_time();") != before,
        RELOAD_S,
        every_s=0.05,
        what="reload of the server's settings",
        error=PostgresError,
    )


def write_access(config: Config, allowed: Sequence[tuple[str, str]] = ()) -> None:
    """Let pgvip's roles in; a running server reads it at once."""
    if not access.write_access(config, allowed):
        return
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is not None:
        # Without psql: it may be these very lines that let it in.
        processes.send(postmaster, signal.SIGHUP)
        wait_until(lambda: _lets_in(config), RELOAD_S, every_s=0.1, what="access to the server", error=PostgresError)


def _lets_in(config: Config) -> bool:
    try:
        pgtools.psql(config, "SELECT 1;")
    except PostgresError:
        return False
    return True


def make_roles(config: Config, passwords: str) -> None:
    """Roles, schema and heartbeat row. The passwords go to the server as verifiers, by standard input.

    Without `passwords` the roles have none, and one that they had is cleared.
    """
    names = {"verifier": sql.DATABASE_ROLE, "replication_verifier": sql.REPLICATION_ROLE}
    words = {name: access.password_of(passwords, role) for name, role in names.items()}
    verifiers = {name: access.scram_verifier(word) if word else "" for name, word in words.items()}
    preamble = "".join(f"\\set {name} '{value}'\n" for name, value in verifiers.items())
    pgtools.psql(config, preamble + sql.load_sql("setup", program_version(config)), timeout_s=SQL_TIMEOUT_S)


def pending_restart(config: Config) -> list[str]:
    """Settings that a running server takes up only at its next start."""
    said = pgtools.psql(config, "SELECT name FROM pg_settings WHERE pending_restart ORDER BY name;")
    return said.split()


def weak_roles(config: Config) -> list[str]:
    """Databases and roles whose commits are not protected, as sentences."""
    with sql.connect_local(config) as session:
        rows = session.query("weak_commit", timeout_s=ANSWER_S)
    return [f"{setting} for {role} in {database}" for database, role, setting in rows]


@contextmanager
def private_server(config: Config) -> Iterator[None]:
    """The server for the length of a set-up: as it is when it runs, else started here without a network.

    What was started is stopped again, cleanly.
    """
    if is_running(config):
        yield
        return
    log = postgres.make_log(config)
    options = shlex.join([*pgtools.config_file_option(config), "-c", "listen_addresses="])
    limit_s = config.postgres.start_timeout_s
    begin: list[str | Path] = [
        *(pgtools.tool(config, "pg_ctl"), "start", "-D", config.postgres.data_directory, "-s", "-w"),
        *("-t", f"{limit_s:.0f}", "-l", log, "-o", options),
    ]
    try:
        check(begin, timeout_s=limit_s + PROGRAM_TIMEOUT_S, user=config.postgres.user)
    except CommandError as failure:
        lines = postgres.end_of_log(config)
        raise PostgresError("could not start the server", f"{failure.detail}\n{lines}") from failure
    try:
        yield
    finally:
        end: list[str | Path] = [
            *(pgtools.tool(config, "pg_ctl"), "stop", "-D", config.postgres.data_directory),
            *("-s", "-w", "-m", "fast", "-t", f"{config.postgres.stop_timeout_s:.0f}"),
        ]
        check(end, timeout_s=config.postgres.stop_timeout_s + PROGRAM_TIMEOUT_S, user=config.postgres.user)
