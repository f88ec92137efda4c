"""A new copy of the primary by pg_basebackup, made beside the old data, which is renamed and not deleted.

Two names stand next to the data directory: NAME.pgvip-new while it is copied, NAME.pgvip-replaced for what was
there before (one only). A clone that was interrupted starts again, or, when only renaming is left, ends it: the
daemon does so when it starts, since between the two renames there is no data directory at all.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.actions import prepare
from pgvip.errors import CommandError, PostgresError, RejoinError
from pgvip.rejoin import source
from pgvip.rejoin.saved_wal import keep_directory
from pgvip.state import files
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.commands import check
from pgvip.system.sql import REPLICATION_ROLE
from pgvip.text.writing import too_little

if TYPE_CHECKING:
    from pgvip.config.model import Config

Say = Callable[[str], None]
Bytes = Callable[[int, int], None]

PROGRESS = re.compile(r"^\s*(?P<done>\d+)/(?P<total>\d+) kB")
HEADROOM = 1.05
"""The copy grows a little while it is made."""

SWAP = "exchange of old and new data"

UNSAVED = "pgvip-unsaved"
"""File in replaced data: what it has that the peer lacks could not be told, nor saved."""


@dataclass(frozen=True, slots=True)
class Places:
    """The three names of one directory's life."""

    data: Path
    new: Path
    replaced: Path

    @classmethod
    def of(cls, data: Path) -> Places:
        return cls(data, data.with_name(f"{data.name}.pgvip-new"), data.with_name(f"{data.name}.pgvip-replaced"))


def clone(
    config: Config, progress: Say, on_bytes: Bytes | None = None, *, system_id: str = "", replace_other: bool = False
) -> str:
    """Replace this host's data by a new base backup of the peer; returns a sentence.

    The server must be down. `on_bytes` gets bytes done and in total as it goes. Leaves standby.signal and
    pgvip.conf in place, and the server stopped. `system_id`: of the pair's record. `replace_other`: set aside
    even another cluster (the empty one that a distribution's package makes). Raises RejoinError; the old data
    is in its place then.
    """
    places = Places.of(config.postgres.data_directory)
    _refuse_running(config)
    if finish_swap(config):
        progress("finished the clone that was interrupted")
    found = source.prove_source(config, system_id)
    if not replace_other:
        _refuse_stranger(config, found.system_id)
    _refuse_mount(places.data)
    spaces = source.tablespaces(config)
    _make_room(config, places, spaces)
    source.prepare_source(config)
    source.await_free_slot(config, progress)
    progress(f"copying the database from {config.peer.name}")
    _copy(config, places, spaces, on_bytes)
    _settle(config, places, spaces)
    _refuse_running(config)
    prepare.mark_unusable(config, SWAP)
    finish_swap(config)
    progress("the new copy is in place")
    return f"cloned from {config.peer.name}"


def make_standby(config: Config) -> None:
    """Nothing of the source's identity is left in the data, and the next start is as a standby."""
    data = config.postgres.data_directory
    version = pgtools.major_version(data)
    clear_slots(data)
    (data / "postmaster.pid").unlink(missing_ok=True)
    pgconf.write(config, sync=False, version=version)
    pgconf.strip_auto_conf(config, version)
    prepare.write_signals(config, standby=True)


def mark_unsaved(config: Config) -> None:
    """Remember that nobody could tell what the data here has that the peer lacks: its WAL outlives it."""
    data = config.postgres.data_directory
    if (data / "pg_wal").is_dir():
        (data / UNSAVED).touch(mode=0o600)
        files.sync_directory(data)


def finish_swap(config: Config) -> bool:
    """Put a finished copy in place, or end a clone that was interrupted while it did so; True when there was one.

    The copy is whole: the marker is written after it was synced. Can be repeated. Raises RejoinError when a
    server runs here, and OSError when a directory cannot be renamed; the old data is in its place then.
    """
    places = Places.of(config.postgres.data_directory)
    if prepare.why_unusable(config) != SWAP:
        return False
    _refuse_running(config)
    if places.new.exists():
        _swap(config, places)
    make_standby(config)
    prepare.mark_usable(config)
    return True


def _refuse_running(config: Config) -> None:
    left = processes.cluster_processes(config.postgres.data_directory)
    if left:
        raise RejoinError("the database on this host is not stopped", f"Process {left[0].pid} is left.")


def _refuse_stranger(config: Config, system_id: str) -> None:
    """RejoinError when the data here is of another cluster: nobody has said that it may go."""
    with suppress(PostgresError):
        here = pgtools.control_data(config).system_id
        if here != system_id:
            raise RejoinError(
                f'"{config.postgres.data_directory}" holds another database cluster',
                f"Its system identifier is {here}, the peer's is {system_id}.",
                "Move it away if it is not needed.",
            )


def _refuse_mount(data: Path) -> None:
    if data.is_mount():
        raise RejoinError(
            f'"{data}" is a mount point',
            "The old data is renamed, not deleted, and a mount point cannot be renamed.",
            "Use a directory below the mount point as data directory.",
        )


def _make_room(config: Config, places: Places, spaces: list[tuple[int, str]]) -> None:
    """Remove what earlier clones left under pgvip's own names, and see that the new copy fits."""
    _keep_unsaved(config, places.replaced)
    for leftover in (places.new, places.replaced):
        if leftover.exists():
            shutil.rmtree(leftover)
    for _, place in spaces:
        for leftover in (_space(place).new, _space(place).replaced):
            if leftover.exists():
                shutil.rmtree(leftover)
    places.data.parent.mkdir(parents=True, exist_ok=True)
    databases, wal = source.size_bytes(config)
    needed = int((databases + wal) * HEADROOM)
    free = processes.disk_space(places.data.parent).free_bytes
    # Where tablespaces are, a part of it goes elsewhere; pg_basebackup will say when that does not fit.
    if free < needed and not spaces:
        raise RejoinError(
            "no space for a new copy beside the old data",
            too_little(places.data.parent, free, needed),
            f'Make space, or remove "{places.data}" by hand once you are sure that nobody needs it.',
        )


def _keep_unsaved(config: Config, replaced: Path) -> None:
    """WAL that could not be read when its data was replaced is kept where diverged WAL is, for people to look at.

    Can be repeated: the copy has the time of the marker in its name. Raises RejoinError when there is no space.
    """
    marker = replaced / UNSAVED
    if not marker.exists():
        return
    wal = (replaced / "pg_wal").resolve()
    if wal == (config.postgres.data_directory / "pg_wal").resolve():
        marker.unlink()  # somebody gave it to the data of now, whose WAL it is: nothing here removes it
        return
    if wal.is_dir():
        seconds, rest = divmod(marker.stat().st_mtime_ns, 1_000_000_000)
        stamp = time.strftime(f"%Y%m%dT%H%M%S.{rest:09d}Z", time.gmtime(seconds))
        keep_directory(config, wal, f"{stamp}-unread")
    marker.unlink()
    if wal.is_dir() and wal.parent != replaced.resolve():
        # Elsewhere, by a symbolic link, which is all that goes with the old data.
        for path in wal.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _space(place: str) -> Places:
    """The names inside a tablespace's directory, which may be a mount point itself."""
    directory = Path(place)
    return Places(directory, directory / ".pgvip-new", directory / ".pgvip-replaced")


def _copy(config: Config, places: Places, spaces: list[tuple[int, str]], on_bytes: Bytes | None) -> None:
    for directory in (places.new, *(_space(place).new for _, place in spaces)):
        if not directory.parent.exists():
            directory.parent.mkdir(mode=0o700, parents=True)
            pgtools.give(config, directory.parent)
        directory.mkdir(mode=0o700)
        pgtools.give(config, directory)
    command: list[str | Path] = [
        pgtools.tool(config, "pg_basebackup"),
        *("-d", source.conninfo(config, REPLICATION_ROLE), "-D", places.new),
        *("-X", "stream", "-S", pgconf.slot_name(config.me.name)),
        *("-c", "fast", "-P", "-w"),
        *(f"--tablespace-mapping={_mapped(place)}={_mapped(str(_space(place).new))}" for _, place in spaces),
    ]
    if config.rejoin.bandwidth_mb_s:
        command.append(f"--max-rate={config.rejoin.bandwidth_mb_s}M")

    def line(text: str) -> None:
        found = PROGRESS.match(text)
        if found is not None and on_bytes is not None:
            on_bytes(int(found["done"]) * 1024, int(found["total"]) * 1024)

    try:
        check(
            command,
            timeout_s=config.rejoin.timeout_s,
            user=config.postgres.user,
            on_line=line,
            die_with_caller=True,
        )
    except CommandError as failure:
        raise RejoinError("the base backup failed", failure.detail or str(failure)) from failure


def _mapped(place: str) -> str:
    """A path in --tablespace-mapping, where an equals sign must be escaped."""
    return place.replace("=", "\\=")


def _settle(config: Config, places: Places, spaces: list[tuple[int, str]]) -> None:
    """Make the copy this host's own before it gets the name under which it could be started."""
    (places.new / "standby.signal").touch(mode=0o600)
    pgtools.give(config, places.new / "standby.signal")
    clear_slots(places.new)
    (places.new / "postmaster.pid").unlink(missing_ok=True)
    for oid, place in spaces:
        link = places.new / "pg_tblspc" / str(oid)
        link.unlink()
        link.symlink_to(place)
        pgtools.give(config, link)
        files.sync_directory(link.parent)
    files.sync_directory(places.new)


def clear_slots(data: Path) -> None:
    """Remove replication slots that a copy took along: they would hold WAL for ever."""
    for slot in (data / "pg_replslot").iterdir():
        shutil.rmtree(slot)


def _swap(config: Config, places: Places) -> None:
    """Put the finished copy in place; what was there gets another name. Can be repeated after any step."""
    links = (places.new / "pg_tblspc").iterdir()
    for place in [link.readlink() for link in links if link.is_symlink()]:
        _swap_space(config, _space(str(place)))
    aside = places.data.exists() and any(places.data.iterdir())
    if aside:
        places.data.rename(places.replaced)
    elif places.data.exists():
        places.data.rmdir()
    try:
        places.new.rename(places.data)
    except OSError:
        if aside:
            # Data that must be cloned again is better than none, which nobody could tell from a missing mount.
            places.replaced.rename(places.data)
        raise
    files.sync_directory(places.data.parent)


def _swap_space(config: Config, places: Places) -> None:
    """The same inside a tablespace's directory, whose content is one directory for each version.

    What was there stays PostgreSQL's: were it root's, a server that lists its tablespaces for pg_rewind would fail.
    """
    if not places.new.exists():
        return
    fresh = list(places.new.iterdir())
    for directory in fresh:
        old = places.data / directory.name
        if old.exists():
            places.replaced.mkdir(mode=0o700, exist_ok=True)
            pgtools.give(config, places.replaced)
            old.rename(places.replaced / directory.name)
        directory.rename(old)
    places.new.rmdir()
    files.sync_directory(places.data)
