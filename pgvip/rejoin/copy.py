"""A new copy of the primary by pg_basebackup, made beside the old data, which is renamed and not deleted.

Where an operator wants a copy in place of good data, the standby runs on until the copy is whole, and is stopped then.
Two names stand next to the data directory: NAME.pgvip-new while it is copied, NAME.pgvip-replaced for what was there
before (one only); see pgvip.rejoin.places for mount points and links. A clone that was interrupted starts again, or,
when only renaming is left, ends it: the daemon does so when it starts, since between the two renames there is no data
directory at all.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.actions import prepare, slots
from pgvip.errors import CommandError, PostgresError, RejoinError
from pgvip.rejoin import own_files, places, source
from pgvip.rejoin.places import Place
from pgvip.rejoin.saved_wal import keep_directory
from pgvip.state import files
from pgvip.system import pgconf, pgtools, processes, session_settings
from pgvip.system.commands import check
from pgvip.system.sql import REPLICATION_ROLE
from pgvip.system.workers import LONG_S, as_postgres
from pgvip.text.writing import too_little

if TYPE_CHECKING:
    from pgvip.config.model import Config

Say = Callable[[str], None]
Bytes = Callable[[int, int], None]
Spaces = list[tuple[int, str]]

PROGRESS = re.compile(r"^\s*(?P<done>\d{1,15})/(?P<total>\d{1,15}) kB")
HEADROOM = 1.05
"""The copy grows a little while it is made."""

SWAP = "exchange of old and new data"

UNSAVED = "pgvip-unsaved"
"""File in replaced data: what it has that the peer lacks could not be found out, nor saved."""


@as_postgres(LONG_S)
def clone(
    config: Config,
    progress: Say,
    on_bytes: Bytes | None = None,
    *,
    system_id: str = "",
    replace_other: bool = False,
    stop: Callable[[], None] | None = None,
) -> str:
    """Replace this host's data by a new base backup of the peer; returns a sentence.

    `on_bytes` gets bytes done and in total as it goes. Leaves standby.signal and pgvip.conf in place, and the server
    stopped. `system_id`: of the pair's record. `replace_other`: set aside even another cluster (the empty one that a
    distribution's package makes). `stop`: ends the server when the copy is whole; without it, the server must be down.
    Raises RejoinError; the old data is in its place then.
    """
    if stop is None:
        _refuse_running(config)
    if finish_swap(config):
        progress("finished the clone that was interrupted")
    found = source.prove_source(config, system_id)
    if not replace_other:
        _refuse_stranger(config, found.system_id)
    places.refuse_what_cannot_be_exchanged(config)
    source.refuse_unreadable(config)
    spaces = source.tablespaces(config)
    _make_room(config, spaces)
    source.prepare_source(config)
    with source.slot_for_copy(config) as slot:
        progress(f"copying the database from {config.peer.name}")
        _copy(config, spaces, slot, on_bytes)
        _settle(config, spaces)
        if stop is not None:
            stop()
        _refuse_running(config)
        _take_along(config, progress)
        prepare.mark_unusable(config, SWAP)
    finish_swap(config)
    progress("the new copy is in place")
    return f"cloned from {config.peer.name}"


@as_postgres()
def make_standby(config: Config) -> None:
    """Nothing of the source's identity is left in the data, and the next start is as a standby."""
    data = config.postgres.data_directory
    version = pgtools.major_version(data)
    (data / "postmaster.pid").unlink(missing_ok=True)
    pgconf.write(config, sync=False, version=version)
    pgconf.strip_auto_conf(config, version)
    prepare.write_signals(config, standby=True)


@as_postgres()
def mark_unsaved(config: Config) -> bool:
    """Remember that nobody could find out what the data here has that the peer lacks: its WAL outlives it.

    False when there is no WAL.
    """
    data = config.postgres.data_directory
    if not (data / "pg_wal").is_dir():
        return False
    (data / UNSAVED).touch(mode=0o600)
    pgtools.give(config, data / UNSAVED)  # a file of root's would be taken for this host's own
    files.sync_directory(data)
    return True


@as_postgres(LONG_S)
def finish_swap(config: Config) -> bool:
    """Put a finished copy in place, or end a clone that was interrupted while it did so; True when there was one.

    The copy is whole: the marker is written after it was synced. Can be repeated. Raises RejoinError when a
    server runs here, and OSError when a directory cannot be renamed; the old data is in its place then.
    """
    if prepare.why_unusable(config) != SWAP:
        return False
    _refuse_running(config)
    if Place.of_data(config).waiting:
        _swap(config)
    make_standby(config)
    own_files.forget(config)
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


def _make_room(config: Config, spaces: Spaces) -> None:
    """Remove what earlier clones left under pgvip's own names, and see that the new copy fits."""
    data, wal = Place.of_data(config), places.wal_of(config)
    _keep_unsaved(config, data.replaced)
    for place in (data, *([wal] if wal else ()), *(_space(place) for _, place in spaces)):
        for leftover in (place.new, place.replaced):
            if leftover.exists():
                shutil.rmtree(leftover)
    data.disk.mkdir(parents=True, exist_ok=True)
    databases, of_wal = source.size_bytes(config)
    # Where tablespaces are, a part of it goes elsewhere; pg_basebackup will say when that does not fit.
    wanted = {} if spaces else {data.disk: databases}
    apart = wal is not None and wal.disk.stat().st_dev != data.disk.stat().st_dev
    directory = wal.disk if wal is not None and apart else data.disk
    if apart or not spaces:
        wanted[directory] = wanted.get(directory, 0) + of_wal
    for disk, needed in wanted.items():
        _refuse_full_disk(config, disk, int(needed * HEADROOM))


def _refuse_full_disk(config: Config, directory: Path, needed: int) -> None:
    free = processes.disk_space(directory).free_bytes
    if free < needed:
        raise RejoinError(
            "no space for a new copy beside the old data",
            too_little(directory, free, needed),
            f'Make space, or remove "{config.postgres.data_directory}" by hand once you are sure that nobody needs it.',
        )


def _keep_unsaved(config: Config, replaced: Path) -> None:
    """WAL that could not be read when its data was replaced is kept where diverged WAL is, for people to examine.

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


def _space(place: str) -> Place:
    return Place.of_space(Path(place))


def _copy(config: Config, spaces: Spaces, slot: str, on_bytes: Bytes | None) -> None:
    data, wal = Place.of_data(config), places.wal_of(config)
    for directory in (data.new, *([wal.new] if wal else ()), *(_space(place).new for _, place in spaces)):
        if not directory.parent.exists():
            directory.parent.mkdir(mode=0o700, parents=True)
            pgtools.give(config, directory.parent)
        directory.mkdir(mode=0o700)
        pgtools.give(config, directory)
    command: list[str | Path] = [
        pgtools.tool(config, "pg_basebackup"),
        *("-d", source.conninfo(config, REPLICATION_ROLE), "-D", data.new),
        *("-X", "stream", "-S", slot),
        *("-c", "fast", "-P", "-w"),
        *(f"--tablespace-mapping={_mapped(place)}={_mapped(str(_space(place).new))}" for _, place in spaces),
    ]
    if wal is not None:
        command.append(f"--waldir={wal.new}")
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
            env=session_settings.environment(),
            on_line=line,
            die_with_caller=True,
        )
    except CommandError as failure:
        raise RejoinError("the base backup failed", failure.detail or str(failure)) from failure


def _mapped(place: str) -> str:
    """A path in --tablespace-mapping, where an equals sign must be escaped."""
    return place.replace("=", "\\=")


def _settle(config: Config, spaces: Spaces) -> None:
    """Make the copy this host's own before it gets the name under which it could be started."""
    new, wal = Place.of_data(config).new, places.wal_of(config)
    (new / "standby.signal").touch(mode=0o600)
    pgtools.give(config, new / "standby.signal")
    (new / "postmaster.pid").unlink(missing_ok=True)
    for oid, place in spaces:
        _point(config, new / "pg_tblspc" / str(oid), Path(place))
    if wal is not None:
        _point(config, new / "pg_wal", wal.data)
    files.sync_directory(new)


def _point(config: Config, link: Path, place: Path) -> None:
    """Let a link lead elsewhere, durably."""
    fresh = link.with_name(f".{link.name}.pgvip")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(place)
    pgtools.give(config, fresh)
    fresh.replace(link)
    files.sync_directory(link.parent)


def _take_along(config: Config, progress: Say) -> None:
    """Keep what belongs to this host and not to the cluster: slots of others, keys and links of an administrator."""
    logical = [slot for slot in slots.set_aside(config) if slot.logical]
    if logical:
        old = Place.of_data(config).replaced
        progress(f'a new copy has none of the logical slots here: {slots.names(logical)}; they stay in "{old}"')
    own_files.set_aside(config, lend=False)
    own_files.give_back(config, Place.of_data(config).new)


def _swap(config: Config) -> None:
    """Put the finished copy in place; what was there gets another name. Can be repeated after any step."""
    data = Place.of_data(config)
    fresh = next(path for path in (data.new, data.ready, data.data) if path.exists())
    for link in (fresh / "pg_tblspc").iterdir():
        if link.is_symlink():
            _swap_space(config, _space(str(link.readlink())))
    link = fresh / "pg_wal"
    if link.is_symlink():
        wal = Place.of(link)
        wal.exchange()
        _follow_replaced_wal(config, data, wal)
    data.exchange()


def _follow_replaced_wal(config: Config, data: Place, wal: Place) -> None:
    """Let the old data lead to the old WAL, wherever they are by now."""
    for old in (data.data, data.aside):
        link = old / "pg_wal"
        waiting = data.new.exists() or old == data.aside
        if waiting and wal.replaced.exists() and link.is_symlink() and link.resolve() == wal.data:
            _point(config, link, wal.replaced)


def _swap_space(config: Config, place: Place) -> None:
    """The same inside a tablespace's directory, whose content is one directory for each version.

    What was there stays PostgreSQL's: were it root's, a server that lists its tablespaces for pg_rewind would fail.
    """
    if not place.new.exists():
        return
    for directory in list(place.new.iterdir()):
        old = place.data / directory.name
        if old.exists():
            place.replaced.mkdir(mode=0o700, exist_ok=True)
            pgtools.give(config, place.replaced)
            old.rename(place.replaced / directory.name)
        directory.rename(old)
    place.new.rmdir()
    files.sync_directory(place.data)
