"""Making a base backup of this host's server by pg_basebackup, verified before it counts."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.archive import backups, cleaning, inventory
from pgvip.archive.backups import DATA, DONE, RUNNING, TABLESPACES, Backup
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import ArchiveError, CommandError, FormatError, PgvipError, ProbeError
from pgvip.state import codec, files
from pgvip.system import pgtools, processes, session_settings
from pgvip.system.commands import check, run
from pgvip.system.sql import connect_local
from pgvip.text.writing import too_little

if TYPE_CHECKING:
    from pgvip.config.model import Config

Say = Callable[[str], None]
Bytes = Callable[[int, int], None]

PROGRESS = re.compile(r"^\s*(?P<done>\d{1,15})/(?P<total>\d{1,15}) kB")
HEADROOM = 1.05
"""The copy grows a little while it is made."""
QUERY_S = 60.0
LABEL_START = re.compile(r"^START WAL LOCATION: (?P<lsn>[0-9A-F]{1,8}/[0-9A-F]{1,8})", re.MULTILINE)
LABEL_TIMELINE = re.compile(r"^START TIMELINE: (?P<timeline>\d{1,10})", re.MULTILINE)

MANIFEST_BYTES_MAX = 1 << 30
"""It has about 150 bytes for each file of the cluster."""


@dataclass(frozen=True, slots=True)
class _Range:
    """WAL that a backup needs, as its manifest says (PostgreSQL manual, "Backup Manifest Format")."""

    timeline: int = field(metadata=codec.key("Timeline"))
    end: Lsn = field(metadata=codec.key("End-LSN"))


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What is read of a backup's manifest."""

    ranges: tuple[_Range, ...] = field(metadata=codec.key("WAL-Ranges"))


def make(
    config: Config, progress: Say, on_bytes: Bytes | None = None, *, bandwidth_mb_s: int = 0, spread: bool = False
) -> Backup:
    """Make and verify a base backup of the local server; only one at a time on a host.

    `bandwidth_mb_s` 0: no limit. `spread`: let the checkpoint of a primary take its time. Raises ArchiveError, or
    RefusedError when another is under way. What an interrupted one left is removed first.
    """
    refuse_without_verifier(config)
    make_directory(config)
    with backups.held(config, exclusive=True):
        remove_interrupted(config, progress)
        spaces = _tablespaces(config)
        _refuse_full_disk(config)
        begun = _begin(config)
        path = config.backup.directory / begun.name
        try:
            progress(f"copying the {begun.source}'s database into {path}")
            _copy(config, path, spaces, on_bytes, bandwidth_mb_s, spread=spread)
            done = _facts(path, begun)
        except PgvipError:
            with suppress(ArchiveError):
                cleaning.remove_backup(config, begun)
                tell(config)
            raise
        progress("verifying it (pg_verifybackup)")
        verify(config, path / DATA)
        done = replace(done, state="good", verified_at=time.time())
        backups.write(path / DONE, done, config)
        (path / RUNNING).unlink()
        tell(config)
    return done


def make_directory(config: Config) -> None:
    """The directory of this host's backups; ArchiveError when it cannot be made."""
    directory = config.backup.directory
    try:
        if not directory.is_dir():
            directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            directory.mkdir(mode=0o750)
            pgtools.give(config, directory)
    except OSError as failure:
        raise ArchiveError(f"could not make {directory}", f"{failure}.") from failure


def remove_interrupted(config: Config, progress: Say) -> None:
    """Remove backups that never became whole; the caller holds the lock, so nobody is making one."""
    for backup in backups.own(config):
        if backup.state != "good":
            progress(f"removing backup {backup.name}, which was interrupted")
            cleaning.remove_backup(config, backup)


def tell(config: Config) -> None:
    """Write the index again for the peer; the need for WAL as the server reports it."""
    if config.archive.enabled:
        backups.write_index(config, backups.own(config), inventory.ask_server(config).redo)


def verify(config: Config, data: Path) -> None:
    """Compare every file with the backup's manifest, and read its WAL. ArchiveError when it is not whole."""
    command: list[str | Path] = [pgtools.tool(config, "pg_verifybackup"), "--quiet", data]
    try:
        check(command, timeout_s=config.backup.timeout_s, user=config.postgres.user, die_with_caller=True)
    except CommandError as failure:
        hint = f"It is not counted as a backup, and removed by the next one. To inspect it: {data}"
        raise ArchiveError("the backup is not whole", failure.detail or str(failure), hint) from failure


def refuse_without_verifier(config: Config) -> None:
    """ArchiveError when pg_verifybackup does not run: better known before hours of copying than after."""
    program = pgtools.tool(config, "pg_verifybackup")
    try:
        check([program, "--version"], timeout_s=pgtools.TOOL_TIMEOUT_S, user=config.postgres.user)
    except CommandError as failure:
        hint = "A backup that cannot be verified does not count; repair the installation of PostgreSQL."
        raise ArchiveError(f"{program} does not run", str(failure), hint) from failure


def replication_answers(config: Config) -> str:
    """Why the local server gives its own user no replication connection; "" when it does."""
    where = config.postgres
    command: list[str | Path] = [
        *(pgtools.tool(config, "psql"), "-X", "-A", "-t", "-c", "IDENTIFY_SYSTEM"),
        f"host={where.socket_directory} port={where.port} user={where.user} dbname=postgres replication=true",
    ]
    try:
        done = run(command, timeout_s=pgtools.TOOL_TIMEOUT_S, user=config.postgres.user)
    except CommandError as failure:
        return str(failure)
    return "" if done.returncode == 0 else done.said


def _begin(config: Config) -> Backup:
    """Note what is to be made, with a position before which it needs no WAL: a start is never before the last one."""
    server = inventory.ask_server(config)
    if server.redo is None:
        raise ArchiveError("the local database does not answer", server.doubts[0].what if server.doubts else "")
    control = pgtools.control_data(config)
    path = _new_directory(config)
    begun = Backup(
        path.name,
        config.me.name,
        "running",
        start=server.redo,
        stop=server.redo,
        begun_at=time.time(),
        system_id=control.system_id,
        version=pgtools.major_version(config.postgres.data_directory),
        source=server.role,
    )
    backups.write(path / RUNNING, begun, config)
    tell(config)
    return begun


def _new_directory(config: Config) -> Path:
    """Made, and named by the second it was begun; the next free one when one was begun in that already."""
    moment = datetime.now(UTC)
    while True:
        path = config.backup.directory / moment.strftime("%Y%m%dT%H%M%SZ")
        try:
            path.mkdir(mode=0o750)
            pgtools.give(config, path)
        except FileExistsError:
            moment += timedelta(seconds=1)
        except OSError as failure:
            raise ArchiveError(f"could not make {path}", f"{failure}.") from failure
        else:
            return path


def _tablespaces(config: Config) -> list[tuple[int, str]]:
    try:
        with connect_local(config) as session:
            return [(oid, place) for oid, place in session.query("tablespaces", timeout_s=QUERY_S)]
    except ProbeError as failure:
        raise ArchiveError("the local database does not answer", str(failure)) from failure


def _refuse_full_disk(config: Config) -> None:
    try:
        with connect_local(config) as session:
            databases, wal = session.query("cluster_bytes", timeout_s=QUERY_S)[0]
    except ProbeError as failure:
        raise ArchiveError("could not ask the local database for its size", str(failure)) from failure
    needed = int((databases + wal) * HEADROOM)
    free = processes.disk_space(config.backup.directory).free_bytes
    if free < needed:
        raise ArchiveError(
            "no space for a base backup",
            too_little(config.backup.directory, free, needed),
            "Make space there (pgvip archive clean), or set backup.directory.",
        )


def _copy(
    config: Config,
    path: Path,
    spaces: list[tuple[int, str]],
    on_bytes: Bytes | None,
    bandwidth_mb_s: int,
    *,
    spread: bool,
) -> None:
    places = [(place, path / TABLESPACES / str(oid)) for oid, place in spaces]
    for directory in (path / DATA, *([path / TABLESPACES] if places else []), *(to for _, to in places)):
        directory.mkdir(mode=0o700)
        pgtools.give(config, directory)
    command: list[str | Path] = [
        pgtools.tool(config, "pg_basebackup"),
        *("-h", config.postgres.socket_directory, "-p", str(config.postgres.port), "-U", config.postgres.user),
        *("-D", path / DATA, "-X", "stream", "-c", "spread" if spread else "fast", "-P", "-w"),
        *("-l", f"pgvip backup {path.name}"),
        *(f"--tablespace-mapping={_mapped(place)}={_mapped(str(to))}" for place, to in places),
    ]
    if bandwidth_mb_s:
        command.append(f"--max-rate={bandwidth_mb_s}M")

    def line(text: str) -> None:
        found = PROGRESS.match(text)
        if found is not None and on_bytes is not None:
            on_bytes(int(found["done"]) * 1024, int(found["total"]) * 1024)

    try:
        check(
            command,
            timeout_s=config.backup.timeout_s,
            user=config.postgres.user,
            env=session_settings.environment(session_settings.SUPERUSER) | {"PGREQUIREPEER": config.postgres.user},
            on_line=line,
            die_with_caller=True,
        )
    except CommandError as failure:
        raise ArchiveError("pg_basebackup failed", failure.detail or str(failure)) from failure
    files.sync_directory(path)


def _mapped(place: str) -> str:
    """A path in --tablespace-mapping, where an equals sign must be escaped."""
    return place.replace("=", "\\=")


def _facts(path: Path, begun: Backup) -> Backup:
    """What the copy itself says: where its WAL begins and where it is consistent. ArchiveError when it does not."""
    try:
        label = (path / DATA / "backup_label").read_text(encoding="utf-8", errors="replace")
        (start,), (timeline,) = LABEL_START.findall(label), LABEL_TIMELINE.findall(label)
        manifest = codec.from_file(_Manifest, path / DATA / "backup_manifest", max_bytes=MANIFEST_BYTES_MAX)
        # One range for each timeline, the newest first (src/backend/backup/backup_manifest.c).
        ends = [WalPoint(one.timeline, one.end) for one in manifest.ranges]
        return replace(
            begun,
            start=WalPoint(int(timeline), Lsn.parse(start)),
            stop=max(ends, key=lambda end: end.lsn),
            ended_at=time.time(),
            size_bytes=_size(path),
        )
    except (OSError, ValueError, FormatError) as failure:
        raise ArchiveError(f"did not understand the backup in {path}", f"{failure}.") from failure


def _size(path: Path) -> int:
    return sum(
        (Path(directory) / file).lstat().st_size for directory, _, files in os.walk(path) for file in files
    )
