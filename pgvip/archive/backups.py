"""The base backups of a host: one directory each, and what `backup.json` in it says.

    20261125T223000Z/running.json    while it is made: who makes it, and the WAL that it will need
    20261125T223000Z/backup.json     written last: without it the backup is not whole
    20261125T223000Z/data            what pg_basebackup wrote
    20261125T223000Z/tablespaces/N   content of tablespace N

A host reports what it has, and what WAL it needs, by a small file in its archive, which the other has mounted.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.archive.memory import DIRECTORY, INDEX
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import ArchiveError, FormatError, RefusedError
from pgvip.state import codec, files
from pgvip.system import pgtools
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgvip.config.model import Config

NAME = re.compile(r"\d{8}T\d{6}Z")
DONE, RUNNING = "backup.json", "running.json"
DATA, TABLESPACES = "data", "tablespaces"
BYTES_MAX = 1 << 22
"""Of a file of facts; an index with a thousand backups has 400 kB."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One base backup. `state`: "good" (verified), "running", "incomplete". Times in seconds since 1970.

    `start` is where its WAL begins, `stop` where it is consistent.
    """

    name: str
    host: str
    state: str
    start: WalPoint
    stop: WalPoint
    begun_at: float = 0.0
    ended_at: float = 0.0
    size_bytes: int = 0
    system_id: str = ""
    version: int = 0
    source: str = ""
    verified_at: float = 0.0

    @property
    def good(self) -> bool:
        return self.state == "good"


@as_postgres()
def own(config: Config) -> list[Backup]:
    """The backups in this host's directory, oldest first. ArchiveError when it cannot be read."""
    directory = config.backup.directory
    try:
        names = sorted(path.name for path in directory.iterdir() if NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []
    except OSError as failure:
        raise ArchiveError(f"could not read {directory}", f"{failure}.") from failure
    return [_read(config, directory / name) for name in names]


def _read(config: Config, path: Path) -> Backup:
    nowhere = WalPoint(0, Lsn(0))
    unfinished = Backup(path.name, config.me.name, "incomplete", nowhere, nowhere)
    with suppress(FileNotFoundError):
        return _parse(path / DONE)
    with suppress(FileNotFoundError):
        running = _parse(path / RUNNING)
        if is_locked(config):
            return running
        unfinished = replace(running, state="incomplete")
    # It may have become whole since the first look: DONE is written before RUNNING goes and the lock with it.
    with suppress(FileNotFoundError):
        return _parse(path / DONE)
    return unfinished


def is_done(config: Config, backup: Backup) -> bool:
    """True when a backup of this host is whole now, whatever it was when it was checked."""
    return (config.backup.directory / backup.name / DONE).exists()


def _parse(file: Path) -> Backup:
    try:
        return codec.from_file(Backup, file, max_bytes=BYTES_MAX)
    except FileNotFoundError:
        raise
    except (OSError, FormatError) as failure:
        hint = "Nothing is removed while it is unknown what it is; repair it or move the directory away."
        raise ArchiveError(f"could not understand {file}", f"{failure}.", hint) from failure


def write(path: Path, value: object, config: Config) -> None:
    """Write a value as a JSON file, durably, by rename, owned by PostgreSQL's user. ArchiveError when that fails.

    The directory may be that user's as well: nothing that he put there is followed.
    """
    owner = pgtools.account(config)
    try:
        files.write(path, codec.to_text(value), mode=0o640, owner=(owner.pw_uid, owner.pw_gid))
    except OSError as failure:
        raise ArchiveError(f"could not write {path}", f"{failure}.") from failure


# --- one at a time -----------------------------------------------------------------------------------------


def lock_file(config: Config) -> Path:
    """Held while a backup is made, restored from or removed here."""
    return config.backup.directory / ".lock"


def is_locked(config: Config) -> bool:
    """True while a backup is made on this host."""
    try:
        descriptor = os.open(lock_file(config), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def held(config: Config, *, exclusive: bool) -> Iterator[None]:
    """Keep others from making or removing backups (`exclusive`), or from removing what is read.

    A lock of the kernel's: it ends with its process. RefusedError when it cannot be had.
    """
    path = lock_file(config)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failure:
        raise ArchiveError(f"could not open {path}", f"{failure}.") from failure
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "a backup is being made, removed or restored on this host"
            raise RefusedError(what, hint="Wait for its end.") from None
        yield
    finally:
        os.close(descriptor)


# --- what the other host is told ---------------------------------------------------------------------------


def write_index(config: Config, known: Sequence[Backup], need: WalPoint | None) -> None:
    """Report to the peer which backups are here and from where on this host itself needs WAL (None: unknown)."""
    notes = config.archive.directory / DIRECTORY
    try:
        notes.mkdir(mode=0o750, exist_ok=True)
        pgtools.give(config, notes)
    except OSError as failure:
        raise ArchiveError(f"could not make {notes}", f"{failure}.") from failure
    inside = config.archive.directory in config.backup.directory.parents
    within = str(config.backup.directory.relative_to(config.archive.directory)) if inside else ""
    index = Index(config.me.name, time.time(), config.backup.directory, within, tuple(known), need)
    write(notes / INDEX, index, config)


@dataclass(frozen=True, slots=True)
class Index:
    """What a host reports to the other. `need`: from where on it needs WAL itself; None: it did not know.

    `within`: where in its archive its backups are; "" when they are elsewhere.
    """

    host: str
    at: float
    directory: Path
    within: str
    backups: tuple[Backup, ...]
    need: WalPoint | None


def read_index(words: dict[str, Any], host: str) -> Index:
    """Understand the index in an archive; ArchiveError unless it is there, of that host, and understood."""
    if not words:
        hint = f"It is written by the daemon of {host}; see that it runs there, and is as new as this one."
        raise ArchiveError(f"there is no index in the archive of {host}", hint=hint)
    try:
        index = codec.decode(Index, words)
    except FormatError as failure:
        raise ArchiveError(f"could not understand the index in the archive of {host}", f"{failure}.") from failure
    if index.host != host:
        what = f"what is mounted as the archive of {host} is that of {index.host}"
        raise ArchiveError(what, hint="Check archive.mount_source.")
    return index
