"""The one PostgreSQL configuration file that pgvip owns: rendered, written, included.

`pgvip.conf` is written afresh before every start, because a clone or a rewind copies the peer's. What it
sets would be overridden by postgresql.auto.conf, so the same keys are removed there while the server is
down. What they are, and why, is one table: `server_settings`.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from pgvip.state import files
from pgvip.system import pgtools, server_settings, server_tls, session_settings, wal_commands
from pgvip.system.sql import REPLICATION_ROLE
from pgvip.system.workers import as_postgres
from pgvip.text.numbers import whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgvip.config.model import Config

FILE_NAME = "pgvip.conf"
FILE_BYTES_MAX = 16 << 20
BLANKS = " \t\r"
"""All that PostgreSQL takes for blanks in a configuration file."""
INCLUDE = f"include '{FILE_NAME}'"

HEADER = """\
# Written by pgvip before every start of this server. Changes made here are lost:
# what belongs to this database goes into postgresql.conf, what belongs to the pair into {file}.
"""

RAISED = "# As high as on the primary, or this standby could not replay its WAL (manual, 27.4.3)."
STANDBY_KEYS = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_transactions": "max_prepared_xacts",
    "max_locks_per_transaction": "max_locks_per_xact",
}
"""Settings that a standby needs at least as high as its primary, and what pg_control calls them."""

RESTART_AFTER_CRASH = "restart_after_crash"

RELOAD = signal.SIGHUP
"""To the postmaster: read the configuration again (manual, 19.5)."""

LOCK_S = 10.0
RELOADED = (*server_tls.SETTINGS, "primary_conninfo", "max_slot_wal_keep_size")
"""What follows the configuration while the server runs; the rest is the core's affair, or needs a restart."""

AUTO_KEY = re.compile(r"^\s*([A-Za-z_][\w.]*)\s*=?")


def slot_name(host: str) -> str:
    """Name of the replication slot that is kept for a host (manual, 27.2.6: lower case, digits, underscore).

    >>> slot_name("Db-1.example")
    'pgvip_db_1_example'
    """
    return "pgvip_" + re.sub(r"[^a-z0-9_]", "_", host.lower())[:57]


def sync_names(config: Config) -> str:
    """Value of synchronous_standby_names while commits wait for the peer: one quoted name, never `*`."""
    return 'FIRST 1 ("{}")'.format(config.peer_application_name.replace('"', '""'))


def render(config: Config, *, sync: bool, version: int, raised: Mapping[str, str] | None = None) -> str:
    """Return the text of pgvip.conf for a server of a major version.

    `raised`: settings that a standby needs at least as high as its primary has them.
    """
    lines = [HEADER.format(file=config.file)]
    lines += [f"{key} = {quoted(value)}" for key, value in _settings(config, sync=sync, version=version)]
    if raised:
        lines += ["", RAISED, *(f"{key} = {quoted(value)}" for key, value in raised.items())]
    return "\n".join(lines) + "\n"


@as_postgres()
def write(config: Config, *, sync: bool, version: int, raised: Mapping[str, str] | None = None) -> None:
    """Write pgvip.conf atomically and see that postgresql.conf includes it; PostgresError when it cannot.

    `raised`: see `render`; None, for a server that runs, keeps those that the file has, and its restart_after_crash.
    """
    main = config.postgres.config_directory / "postgresql.conf"
    path = config.postgres.config_directory / FILE_NAME
    try:
        with _alone(path):
            kept = _raised_in(path) if raised is None else raised
            text = render(config, sync=sync, version=version, raised=kept)
            if raised is None and path.exists():  # of a server that runs: this one is set by itself
                text = "\n".join(_with(text.split("\n"), _lines_of(path, RESTART_AFTER_CRASH)))
            files.write_like(path, text, main)
            ensure_include(main)
    except OSError as failure:
        raise PostgresError(f'could not write "{FILE_NAME}"', f"{failure}.") from failure


@as_postgres()
def refresh_commands(config: Config) -> bool:
    """Bring the archive and restore commands in pgvip.conf up to date; True when the server must read it again.

    Every other line stays as it is: they are the core's affair. PostgresError when it cannot be written.
    """
    path = config.postgres.config_directory / FILE_NAME
    wanted = {
        "archive_command": wal_commands.archive_command(config),
        "restore_command": wal_commands.restore_command(config),
    }
    return _replace(path, {key: f"{key} = {quoted(value)}" for key, value in wanted.items()})


@as_postgres()
def refresh(config: Config) -> bool:
    """Bring what follows the configuration (`RELOADED`) up to date; True when the server must read it again.

    PostgresError when it cannot be written.
    """
    path = config.postgres.config_directory / FILE_NAME
    version = pgtools.major_version(config.postgres.data_directory)
    settings = dict(_settings(config, sync=False, version=version))
    wanted = {key: f"{key} = {quoted(settings[key])}" for key in RELOADED if key in settings}
    return _replace(path, wanted, drop=frozenset(RELOADED) - settings.keys(), add=True)


@as_postgres()
def set_restart_after_crash(config: Config, *, on: bool) -> bool:
    """Set restart_after_crash; True when the server must read it again. PostgresError when it cannot be written."""
    line = f"{RESTART_AFTER_CRASH} = {quoted('on' if on else 'off')}"
    return _replace(config.postgres.config_directory / FILE_NAME, {RESTART_AFTER_CRASH: line})


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While pgvip.conf is read and written: of those who do so, none may undo what another has just written.

    They are threads of the daemon, its workers and commands: what is locked is the directory. PostgresError, OSError.
    """
    place = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wait_until(lambda: _locked(place), LOCK_S, what=f"another one writes {path}", error=PostgresError)
        yield
    finally:
        os.close(place)


def _locked(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(
    path: Path, wanted: Mapping[str, str], *, drop: frozenset[str] = frozenset(), add: bool = False
) -> bool:
    """Put lines of our own in the place of those of the same key; True when something changed.

    `drop`: keys whose lines go. `add`: those that are not there come at the end.
    """
    try:
        with _alone(path):
            lines = _lines(path)
            new = [line for line in _with(lines, wanted) if _key(line) not in drop]
            new += [line for key, line in wanted.items() if add and key not in set(map(_key, lines))]
            if new == lines:
                return False
            files.write_like(path, "\n".join([*new, ""]), path)
    except FileNotFoundError:
        return False
    except OSError as failure:
        raise PostgresError(f'could not write "{path}"', f"{failure}.") from failure
    return True


def _with(lines: list[str], wanted: Mapping[str, str]) -> list[str]:
    return [wanted.get(_key(line), line) for line in lines]


def _lines_of(path: Path, key: str) -> dict[str, str]:
    """The file's last line of a key."""
    found = [line for line in _lines(path) if _key(line) == key]
    return {key: found[-1]} if found else {}


def _raised_in(path: Path) -> dict[str, str]:
    """Read the raised settings back from the file, so that a reload does not seem to take them away."""
    if not path.exists():
        return {}
    found = [line.partition(" = ") for line in _lines(path) if _key(line) in STANDBY_KEYS]
    values = {key: value.strip("'") for key, _, value in found}
    return {key: value for key, value in values.items() if whole(value) is not None}


def ensure_include(main: Path) -> None:
    """Append the include line to postgresql.conf unless it is the last include there already.

    `include`, not `include_if_exists`: without the file a standby would come up with settings of nobody.
    """
    lines = _lines(main)
    settings = [word for line in lines if (word := line.strip(BLANKS)) and not word.startswith("#")]
    if settings and settings[-1] == INCLUDE:
        return
    kept = [line for line in lines if line.strip(BLANKS) != INCLUDE]
    text = "\n".join([*kept, "", "# pgvip: must stay the last line", INCLUDE, ""])
    files.write_like(main, text, main)


def owned(config: Config, version: int) -> frozenset[str]:
    """Names of the settings that pgvip.conf has: nobody else may set them."""
    return frozenset(name for name, _ in _settings(config, sync=True, version=version))


@as_postgres()
def strip_auto_conf(config: Config, version: int) -> list[str]:
    """Remove pgvip's keys from postgresql.auto.conf, which would override them; returns those removed.

    Only while the server is down: it rewrites the file itself.
    """
    path = config.postgres.data_directory / "postgresql.auto.conf"
    ours = owned(config, version)
    try:
        lines = _lines(path)
    except FileNotFoundError:
        return []
    removed = [key for line in lines if (key := _key(line)) in ours]
    if removed:
        files.write_like(path, "".join(f"{line}\n" for line in lines if _key(line) not in ours), path)
    return removed


@as_postgres()
def raise_auto_conf(config: Config, raised: Mapping[str, str]) -> None:
    """Raise settings in postgresql.auto.conf, where they would win over the higher ones of pgvip.conf.

    Raised and not removed: whoever made them with ALTER SYSTEM wanted this much also on a primary. Only while
    the server is down.
    """
    path = config.postgres.data_directory / "postgresql.auto.conf"
    try:
        lines = _lines(path)
    except FileNotFoundError:
        return
    new = [f"{key} = {quoted(raised[key])}" if (key := _key(line)) in raised else line for line in lines]
    if new != lines:
        files.write_like(path, "\n".join([*new, ""]), path)


@as_postgres()
def auto_conf_keys(config: Config) -> frozenset[str]:
    """The settings that somebody made with ALTER SYSTEM; they win over pgvip.conf."""
    path = config.postgres.data_directory / "postgresql.auto.conf"
    try:
        lines = _lines(path)
    except FileNotFoundError:
        return frozenset()
    except OSError as failure:
        raise PostgresError(f'could not read "{path}"', f"{failure}.") from failure
    return frozenset(key for line in lines if (key := _key(line)))


def _lines(path: Path) -> list[str]:
    """The lines of a configuration file, in whatever encoding: only a line feed ends one (guc-file.l), not U+2028."""
    lines = files.read(path, FILE_BYTES_MAX).decode(errors="surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


def _key(line: str) -> str:
    found = AUTO_KEY.match(line)
    return found[1].lower() if found else ""


def _settings(config: Config, *, sync: bool, version: int) -> Iterator[tuple[str, str]]:
    """Every setting that pgvip owns, in the order of the file; what they are for is in `server_settings`."""
    for setting in server_settings.pinned(version, archive=config.archive.enabled):
        assert setting.pinned is not None
        fixed = setting.pinned != server_settings.CONFIGURED
        yield setting.name, setting.pinned if fixed else _configured(config, setting.name, version, sync=sync)
    yield from server_tls.server_settings(config)


def _configured(config: Config, name: str, version: int, *, sync: bool) -> str:
    """What the configuration makes of a setting."""
    match name:
        case "listen_addresses":
            return config.postgres.listen_addresses
        case "port":
            return str(config.postgres.port)
        case "synchronous_standby_names":
            return sync_names(config) if sync else ""
        case "synchronized_standby_slots":
            return slot_name(config.peer.name) if sync else ""
        case "primary_conninfo":
            return _conninfo(config, version)
        case "primary_slot_name":
            return slot_name(config.me.name)
        case "max_slot_wal_keep_size":
            return f"{config.max_slot_wal_keep_mb}MB"
        case "archive_command":
            return wal_commands.archive_command(config)
        case "restore_command":
            return wal_commands.restore_command(config)
    raise AssertionError(name)


def _conninfo(config: Config, version: int) -> str:
    """How this host's WAL receiver reaches the peer: by its own address, the stream must work before a VIP does."""
    words = {
        **server_tls.client_words(config, REPLICATION_ROLE, config.peer.address, version, program=True),
        "port": str(config.postgres.port),
        "user": REPLICATION_ROLE,
        # For the worker that keeps logical failover slots in step (17 and newer); a WAL receiver ignores it.
        "dbname": config.postgres.database,
        "application_name": config.application_name,
        "connect_timeout": "3",
        "tcp_user_timeout": "10000",
        "gssencmode": "disable",
        "options": session_settings.options(session_settings.RECEIVER),
    }
    return " ".join(f"{key}={conninfo_value(value)}" for key, value in words.items())


def quoted(value: str) -> str:
    """Quote a value for a configuration file (manual, 20.1.2)."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def conninfo_value(value: str) -> str:
    """Quote a value within a connection string where it needs it (manual, 34.1.1.1)."""
    if value and re.fullmatch(r"[\w./:-]+", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
