"""A base backup made into a directory that PostgreSQL can be started in, to recover to a point in time.

It is a database of its own: another port, no network, no archiving, nothing that would let it touch the pair. The live
data directory is never written to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgvip.archive import backups, basebackup
from pgvip.archive.backups import DATA, TABLESPACES, Backup
from pgvip.errors import ArchiveError, CommandError, RefusedError
from pgvip.system import pgconf, pgtools, processes, wal_commands
from pgvip.system.commands import check
from pgvip.text.writing import too_little

if TYPE_CHECKING:
    from pgvip.archive.inventory import Picture
    from pgvip.archive.targets import Target
    from pgvip.config.model import Config

Say = Callable[[str], None]
Bytes = Callable[[int, int], None]
ACTIONS = ("pause", "promote", "shutdown")
SYNC_S = 3600.0
LOG = "pgvip-restore.log"
"""In the restored data directory: there PostgreSQL's user may write."""
ASIDE = ".of-backup"
"""Suffix of what the backup brought along and the restored server must not read."""

HEADER = """\
# Written by pgvip restore: backup {name}, to {target}.
# This server is not the pair's: another port, no network, no archiving. The settings that the backup brought along
# are in the files that end in {aside}.
"""


class Place(NamedTuple):
    """Where a database is restored to: its data, and its tablespaces, one directory for each by number."""

    data: Path
    tablespaces: Path

    @classmethod
    def of(cls, data: Path) -> Place:
        return cls(data, data.with_name(f"{data.name}.tablespaces"))


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be restored where. `files`: the backup's directory. `timeline`: "latest" or a number.

    `without_peer`: its archive cannot be read, and recovery does not ask it.
    """

    backup: Backup
    files: Path
    target: Target
    place: Place
    port: int
    action: str = "pause"
    timeline: str = "latest"
    without_peer: bool = False


def refuse_place(config: Config, place: Place) -> None:
    """RefusedError unless both directories are empty or absent, and apart from everything of the pair's."""
    taken = {
        config.postgres.config_directory: "the server's configuration",
        config.postgres.data_directory: "the live data directory",  # often the same
        config.archive.directory: "the archive",
        config.archive.peer_mount: "the other host's archive",
        config.backup.directory: "the backups",
        config.paths.state: "pgvip's state",
    }
    for path in place:
        if not path.is_absolute():
            raise RefusedError(f"{path} is not an absolute path", hint="Write the whole path.")
        real = path.resolve()
        for directory, what in taken.items():
            other = directory.resolve()
            if other == real or real in other.parents or (other in real.parents and what != "pgvip's state"):
                said = f"{path} is, is within or holds {what} ({directory})"
                raise RefusedError(said, hint="Name another directory.")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RefusedError(f"{path} is not empty", hint="Name an empty directory, or one that does not exist yet.")


def source(config: Config, backup: Backup, seen: Picture) -> Path:
    """Where the files of a backup are; RefusedError when they cannot be reached from this host."""
    if backup.host == config.me.name:
        return config.backup.directory / backup.name
    index = seen.index
    if config.archive.by_link:
        what = f'backup {backup.name} is on {backup.host}, and peer_archive = "link" gives WAL alone'
        raise RefusedError(what, hint=f"Run pgvip restore on {backup.host}.")
    if index is not None and index.within:
        return config.archive.peer_mount / index.within / backup.name
    where = "cannot be read now" if index is None else f"is not in its archive, but in {index.directory}"
    raise RefusedError(
        f"backup {backup.name} is on {backup.host} and {where}", hint=f"Run pgvip restore on {backup.host}."
    )


def restore(config: Config, order: Order, progress: Say, on_bytes: Bytes) -> None:
    """Copy the backup, prove the copy, and make it ready to start. What was begun is removed when it fails."""
    backup, place = order.backup, order.place
    refuse_place(config, place)
    refuse_full_disk(backup, place)
    with _reading(config, backup), _removed_on_failure(place):
        progress(f"copying backup {backup.name} of {backup.host} into {place.data}")
        copied = _Count(backup.size_bytes, on_bytes)
        try:
            _copy(order.files, place, copied)
            _give(config, place)
        except (OSError, shutil.Error) as failure:
            raise ArchiveError(f"could not copy {order.files}", f"{failure}.") from failure
        progress("verifying the copy (pg_verifybackup)")
        basebackup.verify(config, place.data)
        progress("settings for the recovery")
        try:
            _settle(config, order)
        except OSError as failure:
            raise ArchiveError(f"could not write the settings in {place.data}", f"{failure}.") from failure
        _sync(config, place)


def refuse_full_disk(backup: Backup, place: Place) -> None:
    """ArchiveError unless the backup fits where it is restored to."""
    there = next(path for path in (place.data, *place.data.parents) if path.exists())
    free = processes.disk_space(there).free_bytes
    if free < backup.size_bytes:
        raise ArchiveError("no space to restore the backup", too_little(there, free, backup.size_bytes))


def settings_for(config: Config, order: Order) -> dict[str, str]:
    """What makes it recover to its target, and keeps it away from the pair."""
    flag = order.place.data / "no-restore"
    words = [
        *wal_commands.restore_argv(config, flag),
        *wal_commands.strict_words(config, without_peer=order.without_peer),
    ]
    found = {
        "listen_addresses": "",
        "port": str(order.port),
        "unix_socket_directories": str(config.postgres.socket_directory),
        "hot_standby": "on",
        "archive_mode": "off",
        "restore_command": f'{wal_commands.shell_command(words)} "%f" "%p"',
        "recovery_target_timeline": order.timeline,
        **order.target.settings(),
    }
    if order.target.kind != "latest":
        found["recovery_target_action"] = order.action
    return found


@contextmanager
def _reading(config: Config, backup: Backup) -> Iterator[None]:
    """While it is read nobody removes it; the other host's are removed by the other host, which does not know."""
    if backup.host != config.me.name:
        yield
        return
    with backups.held(config, exclusive=False):
        yield


@contextmanager
def _removed_on_failure(place: Place) -> Iterator[None]:
    """Both directories were empty: what is in them is of this attempt."""
    existed = {path for path in place if path.exists()}
    try:
        yield
    except BaseException:
        for path in place:
            for child in list(path.iterdir()) if path.exists() else []:
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
            if path.exists() and path not in existed:
                with suppress(PermissionError):  # made by root for this restore: an empty directory stays
                    path.rmdir()
        raise


class _Count:
    """Counts what was copied, and says so."""

    def __init__(self, total_bytes: int, on_bytes: Bytes) -> None:
        self._done, self._total, self._on_bytes = 0, total_bytes, on_bytes

    def copy(self, old: str, new: str) -> str:
        """One file, with its times and mode (shutil's copy_function)."""
        shutil.copy2(old, new, follow_symlinks=False)
        made = Path(new)
        if not made.is_symlink():
            made.chmod(made.stat().st_mode & 0o777)  # no bit of a backup lets anybody be anybody else
        self._done += made.lstat().st_size
        self._on_bytes(self._done, self._total)
        return new


def _copy(files: Path, place: Place, count: _Count) -> None:
    shutil.copytree(files / DATA, place.data, symlinks=True, copy_function=count.copy, dirs_exist_ok=True)
    place.data.chmod(0o700)
    spaces = files / TABLESPACES
    if not spaces.is_dir():
        return
    place.tablespaces.mkdir(mode=0o700, exist_ok=True)
    for space in spaces.iterdir():
        shutil.copytree(space, place.tablespaces / space.name, symlinks=True, copy_function=count.copy)
        link = place.data / "pg_tblspc" / space.name
        link.unlink()
        link.symlink_to(place.tablespaces / space.name)


def _give(config: Config, place: Place) -> None:
    owner = pgtools.account(config)
    for top in place:
        for directory, inner, names in os.walk(top):
            for path in (directory, *(str(Path(directory) / name) for name in (*inner, *names))):
                if os.lstat(path).st_uid != owner.pw_uid:
                    os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _settle(config: Config, order: Order) -> None:
    """Make it a server of its own: its configuration is ours alone, and it recovers as soon as it starts."""
    data = order.place.data
    for name in ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", pgconf.FILE_NAME):
        if os.path.lexists(data / name):
            (data / name).replace(data / f"{name}{ASIDE}")
    for name in ("standby.signal", "recovery.signal", "postmaster.pid"):
        (data / name).unlink(missing_ok=True)
    control = dict(pgtools.control_data(config, data).settings)
    # Recovery refuses to start with less than the primary had when the WAL was written (manual, 27.4.3).
    raised = {key: control[name] for key, name in pgconf.STANDBY_KEYS.items() if name in control}
    settings = {**settings_for(config, order), **raised}
    lines = [HEADER.format(name=order.backup.name, target=order.target, aside=ASIDE)]
    lines += [f"{key} = {pgconf.quoted(value)}" for key, value in settings.items()]
    files = {
        "postgresql.conf": "\n".join([*lines, ""]),
        "postgresql.auto.conf": "",
        "pg_hba.conf": "local all all peer\n",
        "pg_ident.conf": "",
        "recovery.signal": "",
    }
    owner = pgtools.account(config)
    for name, text in files.items():
        # The directory is that user's by now: "x" follows no link.
        with (data / name).open("x", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o600)
            os.fchown(file.fileno(), owner.pw_uid, owner.pw_gid)


def _sync(config: Config, place: Place) -> None:
    """Have it all on disk; the server's own processes sync what they write only."""
    left = processes.cluster_processes(place.data)
    assert not left  # it was empty, nobody can have started here
    for path in place:
        if path.exists():
            try:
                check(["sync", "--file-system", path], timeout_s=SYNC_S)
            except CommandError as failure:
                raise ArchiveError(f"could not sync {path}", str(failure)) from failure
    assert config.postgres.data_directory not in place
