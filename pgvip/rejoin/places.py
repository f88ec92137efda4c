"""Where new data are made and old data are kept: beside a directory, or in it where it is a mount point.

Links are followed: what is exchanged is the directory that they lead to, so that data and WAL stay on their disks.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import RejoinError
from pgvip.state import files
from pgvip.system import mounts

if TYPE_CHECKING:
    from pgvip.config.model import Config

HIDDEN = "pgsql_tmp.pgvip"
"""How names begin inside PostgreSQL's directories: base backups leave out what is named so, and pg_rewind does below
the top of the data directory (PG_TEMP_FILE_PREFIX in basebackup.c and filemap.c)."""

NOT_OURS = "lost+found"


@dataclass(frozen=True, slots=True)
class Place:
    """The names of one directory's life: what it holds, what shall replace that, and what was replaced (one only).

    `inside`: the directory is a mount point, which cannot be renamed: its content is.
    """

    data: Path
    new: Path
    replaced: Path
    inside: bool = False

    @classmethod
    def of(cls, directory: Path) -> Place:
        """Names for a directory of files."""
        data = directory.resolve()
        if data.is_mount():
            return cls(data, data / f"{HIDDEN}-new", data / f"{HIDDEN}-replaced", inside=True)
        return cls(data, data.with_name(f"{data.name}.pgvip-new"), data.with_name(f"{data.name}.pgvip-replaced"))

    @classmethod
    def of_data(cls, config: Config) -> Place:
        """Names for the data directory; inside a mount point, old data are kept below the top."""
        place = cls.of(config.postgres.data_directory)
        if place.inside:
            return cls(place.data, place.new, place.data / "base" / place.replaced.name, inside=True)
        return place

    @classmethod
    def of_space(cls, directory: Path) -> Place:
        """Names for a tablespace, which may be a mount point: always in it."""
        return cls(directory, directory / f"{HIDDEN}-new", directory / f"{HIDDEN}-replaced", inside=True)

    @property
    def ready(self) -> Path:
        """Inside a mount point: the new content, from the moment on when the old content is out of its way."""
        return self.data / f"{HIDDEN}-ready"

    @property
    def aside(self) -> Path:
        """Inside a mount point: the old content while it is exchanged."""
        return self.data / f"{HIDDEN}-aside"

    @property
    def waiting(self) -> bool:
        """True while there is new content that is not in its place."""
        return self.new.exists() or (self.inside and (self.ready.exists() or self.aside.exists()))

    @property
    def disk(self) -> Path:
        """A directory on the file system that new content is made on; it may have to be made itself."""
        return self.data if self.inside else self.data.parent

    def exchange(self) -> None:
        """Put the new content in its place; what was there gets another name. Can be repeated after any step.

        Raises OSError; the old content is in its place then, or the next call goes on.
        """
        if self.inside:
            self._exchange_content()
        elif self.new.exists():
            self._rename()
            files.sync_directory(self.data.parent)

    def _rename(self) -> None:
        aside = self.data.exists() and any(self.data.iterdir())
        if aside:
            self.data.rename(self.replaced)
        elif self.data.exists():
            self.data.rmdir()
        try:
            self.new.rename(self.data)
        except OSError:
            if aside:
                # Data that must be cloned again is better than none, which nobody could tell from a missing mount.
                self.replaced.rename(self.data)
            raise

    def _exchange_content(self) -> None:
        if self.new.exists():
            self._move_aside()
            files.sync_directory(self.data)
        if self.ready.exists():
            for path in self.ready.iterdir():
                path.rename(self.data / path.name)
            self.ready.rmdir()
        if self.aside.exists():
            self.aside.rename(self.replaced)
            files.sync_directory(self.replaced.parent)
        files.sync_directory(self.data)

    def _move_aside(self) -> None:
        """Get the old content out of the way of the new one; when that fails, it is back in its place."""
        old = [p for p in sorted(self.data.iterdir()) if p.name != NOT_OURS and not p.name.startswith(HIDDEN)]
        if old and not self.aside.exists():
            self.aside.mkdir(mode=0o700)
            give_like(self.aside, self.new)
        try:
            for path in old:
                path.rename(self.aside / path.name)
            self.new.rename(self.ready)
        except OSError:
            for path in sorted(self.aside.iterdir()) if self.aside.exists() else ():
                path.rename(self.data / path.name)
            raise


def give_like(path: Path, like: Path) -> None:
    """Make a path belong to the owner of another one."""
    status = like.stat()
    os.chown(path, status.st_uid, status.st_gid)


def wal_of(config: Config) -> Place | None:
    """The directory of WAL, where a link in the data directory leads to one elsewhere; None without such a link."""
    link = config.postgres.data_directory / "pg_wal"
    return Place.of(link) if link.is_symlink() else None


def refuse_what_cannot_be_exchanged(config: Config) -> None:
    """RejoinError when the data directory, or a link on the way to it or in it, does not let new data in."""
    place = Place.of_data(config)
    link = config.postgres.data_directory
    if not place.data.exists() and link.is_symlink() and not place.data.parent.is_dir():
        raise RejoinError(
            f'"{link}" is a link to "{place.data}", which is not there',
            hint="Mount its file system, or correct the link.",
        )
    parent = next(path for path in (place.disk, *place.disk.parents) if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        user = config.postgres.user
        raise RejoinError(
            f'"{user}" cannot make new data in "{parent}"',
            "A copy is made beside the old data, and takes their name when it is whole.",
            f'Give that directory to "{user}", or make "{place.data}" a mount point.',
        )
    if not place.inside:
        _refuse_what_cannot_be_renamed(place)
    points = mounts.below(place.data)
    if points:
        raise RejoinError(
            f'"{points[0]}" in the data directory is a mount point',
            "It would go away with the old data, which is renamed.",
            "Mount that file system outside of the data directory, and put a symbolic link in its place.",
        )


def _refuse_what_cannot_be_renamed(place: Place) -> None:
    """RejoinError when the kernel would not rename the data directory, which is known before hours of copying.

    The trial can never succeed, since the new name is that of a directory that is not empty: ENOTEMPTY (EEXIST) says
    that this alone prevents it. EXDEV is what an overlay says of a directory that lies in a lower layer (rename(2)).
    """
    if not place.data.is_dir():
        return
    trial = place.data.with_name(f"{place.data.name}.pgvip-trial")
    try:
        (trial / "full").mkdir(mode=0o700, parents=True, exist_ok=True)
        place.data.rename(trial)
    except OSError as failure:
        if failure.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise RejoinError(
                f'"{place.data}" cannot be renamed: {failure.strerror}',
                "A copy is made beside the old data, which then get another name.",
                f'Put the data on a file system of its own, and make "{place.data}" its mount point.',
            ) from failure
    else:
        trial.rename(place.data)  # somebody has emptied it meanwhile
    finally:
        with suppress(OSError):
            (trial / "full").rmdir()
            trial.rmdir()
