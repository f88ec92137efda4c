"""The one writer of files that must outlive a power cut, and the reader that takes no more than its limit.

A file gets its name when its content is on disk (rename(2), fsync(2)), so whoever reads it finds the old or the new
content, never a part. The directory may be another user's: nothing that lies there is followed or reused. The archive
commands, which use the standard library alone, have their own (`archive.packing`).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 20


class UnsyncedError(OSError):
    """The new content has the name, but its directory could not be synced: a power cut may bring back the old one."""


def write(
    path: Path, content: str | bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None, durable: bool = True
) -> None:
    """Replace a file, or make it, at once and durably; its mode is `mode` whatever the umask.

    `owner`: user and group, given before the file has its name; None: who calls. Without `durable` nothing is synced.
    OSError: the old content stands, and nothing new is left; but UnsyncedError: nobody knows which one will stand.
    """
    data = content if isinstance(content, bytes) else content.encode(errors="surrogateescape")
    with _replacing(path, mode, owner, durable=durable) as file:
        file.write(data)
    if durable:
        try:
            sync_directory(path.parent)
        except OSError as failure:
            raise UnsyncedError(failure.errno, failure.strerror, str(path)) from failure


def write_like(path: Path, content: str | bytes, like: Path) -> None:
    """As `write`, with the owner, the group and the permissions of the file `like`."""
    mode, owner = _as(like.stat())
    write(path, content, mode=mode, owner=owner)


def _as(model: os.stat_result) -> tuple[int, tuple[int, int] | None]:
    """The mode and the owner of a file that is to be like another one.

    Only root gives files away: in anybody else's hands, what few could read is for the new owner alone.
    """
    # Not the bits above: a setuid bit that another user has set must not pass to a file that root writes.
    mode = stat.S_IMODE(model.st_mode) & 0o777
    if os.geteuid() == 0:
        return mode, (model.st_uid, model.st_gid)
    return mode if model.st_uid == os.geteuid() or mode & stat.S_IROTH else mode & 0o700, None


def remove_left_over(path: Path) -> None:
    """Remove what killed writers left of a file. Only where nobody else can be writing it now."""
    for left in path.parent.glob(f".{path.name}.????????.new"):
        with suppress(OSError):
            left.unlink()


def read(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file; OSError, also when it is longer than `max_bytes` or no regular file."""
    content = bytearray()
    with open_regular(path) as file:
        # read(N) takes memory for N at once, and a limit may be higher than what a machine has
        while len(content) <= max_bytes and (more := file.read(min(CHUNK_BYTES, max_bytes + 1 - len(content)))):
            content += more
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"longer than {max_bytes} bytes", str(path))
    return bytes(content)


def open_regular(path: Path, flags: int = 0) -> BinaryIO:
    """Open a regular file to read; OSError when it is none. `flags`: more of open(2)."""
    # A FIFO without a writer would hold an open(2) without O_NONBLOCK for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def sync(path: Path) -> None:
    """Have the content of a file on disk."""
    _sync(path, 0)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on disk."""
    _sync(directory, os.O_DIRECTORY)


def rename(old: Path, new: Path) -> None:
    """Give a file or a directory another name, and have that name on disk."""
    old.replace(new)
    sync_directory(new.parent)


def copy(source: Path, target: Path, *, owner: tuple[int, int] | None = None, as_source: bool = False) -> None:
    """Have the content of a regular file in the file `target`, at once; the caller syncs the directory. OSError.

    `as_source`: with the owner, the group and the permissions of the source, else 0600 and `owner` as for `write`. The
    source's directory may be another user's: a link is not followed.
    """
    with open_regular(source, os.O_NOFOLLOW) as old:
        mode, whose = _as(os.fstat(old.fileno())) if as_source else (0o600, owner)
        with _replacing(target, mode, whose, durable=True) as new:
            shutil.copyfileobj(old, new, CHUNK_BYTES)


@contextmanager
def new_directory(target: Path, partial: Path) -> Iterator[Path]:
    """Fill the directory `partial`, which is `target` once all that was put into it is on disk.

    What an earlier attempt left as `partial` is removed first; after a failure it stays under that name.
    """
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    yield partial
    for made in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
        sync_directory(made)
    rename(partial, target)


@contextmanager
def _replacing(path: Path, mode: int, owner: tuple[int, int] | None, *, durable: bool) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when it is whole."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
