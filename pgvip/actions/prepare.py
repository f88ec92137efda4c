"""Everything before a start: prove that the cluster is ours and down, then write settings and signal files."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import CommandError, PostgresError, ProbeError
from pgvip.state import files
from pgvip.system import pgconf, pgtools, processes, server_settings, server_tls
from pgvip.system.sql import connect_peer
from pgvip.system.stopped_wal import end_of_wal
from pgvip.system.workers import as_postgres
from pgvip.text.numbers import whole

if TYPE_CHECKING:
    from pgvip.config.model import Config

UNUSABLE = "data-unusable"
"""File in the work directory: what it names was begun, and the data is not whole until it has ended."""

PEER_S = 1.0
"""For the peer to report its settings; a standby also starts without them."""


@as_postgres()
def prepare(config: Config, *, standby: bool, sync: bool, system_id: str) -> None:
    """Everything before the start: prove that it is ours and down, then write settings and signal files."""
    data = config.postgres.data_directory
    version = pgtools.major_version(data)
    left = processes.cluster_processes(data)
    if left:
        raise PostgresError(
            "processes of the cluster are left from an earlier run",
            f"Their pids: {', '.join(str(ref.pid) for ref in left)}.",
            "Stop the database first.",
        )
    if why := why_unusable(config):
        raise PostgresError(
            "the data on this host is not whole", f"An earlier {why} was interrupted.", "It must be cloned again."
        )
    _refuse_other_version(config)  # first: such programs may read the control data wrongly
    _refuse_strangers(config, system_id)
    _refuse_without_keys(config)
    if standby:
        # First of all: whoever starts it from now on, starts a standby.
        write_signals(config, standby=True)
    else:
        _refuse_older_data(config)
    forget_killed_postmaster(config)
    pgconf.strip_auto_conf(config, version)
    pgconf.write(config, sync=sync, version=version, raised={})
    if standby and (raised := _too_low(config)):
        pgconf.write(config, sync=sync, version=version, raised=raised)
        pgconf.raise_auto_conf(config, raised)
    if sync:
        _refuse_weak_commit(config)
    write_signals(config, standby=standby)


def _refuse_without_keys(config: Config) -> None:
    """The server would say it as well, but in its log and without a hint."""
    for name, value in server_tls.server_settings(config):
        if name != "ssl" and not Path(value).is_file():
            raise PostgresError(
                f"{value} ({name}) is missing",
                'With postgresql.tls = "pair" the server proves itself to the other host by it.',
                f"Run pgvip bundle on {config.peer.name}, and pgvip join with that bundle here; or restore the file.",
            )


@as_postgres()
def mark_unusable(config: Config, why: str) -> None:
    """Remember, durably, that the data is about to be changed in a way that must be brought to its end.

    standby.signal goes: data that is not whole must not look like a standby either.
    """
    path = config.paths.work / UNUSABLE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, why, mode=0o644)
    (config.postgres.data_directory / "standby.signal").unlink(missing_ok=True)
    if config.postgres.data_directory.exists():
        files.sync_directory(config.postgres.data_directory)


@as_postgres()
def why_unusable(config: Config) -> str:
    """Return the reason that `mark_unusable` has kept; "" when the data is whole."""
    try:
        return (config.paths.work / UNUSABLE).read_text(encoding="utf-8") or UNUSABLE
    except FileNotFoundError:
        return ""


@as_postgres()
def mark_usable(config: Config) -> None:
    """Forget it: what was begun has ended well."""
    (config.paths.work / UNUSABLE).unlink(missing_ok=True)


def _too_low(config: Config) -> dict[str, str]:
    """Find settings lower than the primary's, and the values that they need.

    The primary's own report counts, if there is one, and what this cluster's control file has seen of its WAL.
    """
    seen = dict(pgtools.control_data(config).settings)
    needed = {key: int(seen.get(name, "0")) for key, name in pgconf.STANDBY_KEYS.items()}
    with suppress(ProbeError), connect_peer(config, config.peer.address) as session:
        for key, value in session.query("standby_minimums", timeout_s=PEER_S):
            needed[key] = max(needed[key], int(value))
    raised = {}
    for key, value in needed.items():
        # Settings that cannot be read are the server's to complain of when it starts.
        with suppress(PostgresError, ValueError):
            if int(pgtools.server_setting(config, key)) < value:
                raised[key] = str(value)
    return raised


def forget_killed_postmaster(config: Config) -> None:
    """Remove the lock files of a postmaster that was killed and that nobody has collected yet.

    The server takes the zombie for a live one and refuses to start. No process of the cluster is left, which
    is more than the files could show.
    """
    postgres = config.postgres
    socket_lock = postgres.socket_directory / f".s.PGSQL.{postgres.port}.lock"
    for file in (postgres.data_directory / "postmaster.pid", socket_lock):
        with suppress(FileNotFoundError):
            pid = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
            number = whole(pid)
            if number is None or processes.ref_of(number) is None:
                file.unlink()


def _refuse_other_version(config: Config) -> None:
    try:
        wrong = pgtools.version_problem(config)
    except CommandError:
        return  # not known; the start itself will say more
    if wrong is not None:
        raise wrong


def _refuse_strangers(config: Config, system_id: str) -> None:
    data = config.postgres.data_directory
    for directory in {data, config.postgres.config_directory}:
        if (directory / "recovery.conf").exists():
            raise PostgresError(
                f'there is a "recovery.conf" in "{directory}"',
                "PostgreSQL 12 and newer refuse to start with it; it belongs to an older version.",
                "Move its settings to postgresql.conf and remove it.",
            )
    found = pgtools.control_data(config).system_id
    if system_id and found != system_id:
        raise PostgresError(
            f'"{data}" is another database cluster',
            f"Its system identifier is {found}, the pair's is {system_id}.",
            f"Clone this host again, or correct data_directory. If pg_upgrade has made it: {pgtools.UPGRADE}.",
        )


def _refuse_older_data(config: Config) -> None:
    """PostgresError when the peer's standby has replayed WAL of this very timeline that this host does not have.

    The primary had flushed all that it sent: its data were put back to an older copy, or its disk has forgotten what it
    had synced. Started, it would write other WAL in its place, and what was acknowledged would be gone on both hosts.
    """
    try:
        with connect_peer(config, config.peer.address) as session:
            rows = session.query("replayed", timeout_s=PEER_S)
    except ProbeError:
        return  # nobody there has more, or nobody can say so
    control = pgtools.control_data(config)
    if not rows or rows[0][0] != control.timeline or rows[0][1] <= control.checkpoint.lsn:
        return
    replayed, end = Lsn(int(rows[0][1])), end_of_wal(config)
    # After a switch to the next file, the rest of the last one counts as replayed.
    if replayed > end.lsn and replayed != end.lsn + -end.lsn % control.segment_bytes:
        raise PostgresError(
            f"the data on this host are older than those of {config.peer.name}, its standby",
            f"{config.peer.name} has replayed {WalPoint(end.timeline, replayed)}, the WAL here ends at {end}.",
            f"Let {config.peer.name} take over: pgvip failover there; this host then follows it.",
        )


def _refuse_weak_commit(config: Config) -> None:
    setting = pgtools.server_setting(config, "synchronous_commit")
    if setting not in server_settings.GOOD_COMMITS:
        raise PostgresError(
            f"synchronous_commit is {setting}",
            "Commits would be acknowledged before the standby has them.",
            'Remove the setting from postgresql.conf, or configure mode = "async".',
        )


@as_postgres()
def write_signals(config: Config, *, standby: bool) -> None:
    """Make standby.signal say what was asked for; durable before the server may read it."""
    data = config.postgres.data_directory
    wanted = data / "standby.signal"
    (data / "recovery.signal").unlink(missing_ok=True)
    (data / "promote").unlink(missing_ok=True)
    if standby:
        wanted.touch(mode=0o600)
        pgtools.give(config, wanted)
    else:
        wanted.unlink(missing_ok=True)
    files.sync_directory(data)


def open_directory(directory: Path) -> None:
    """See that PostgreSQL's user can look up names in one of our directories (the restore flag's)."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    mode = directory.stat().st_mode
    if not mode & stat.S_IXOTH:
        directory.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
