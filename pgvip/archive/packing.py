"""WAL files as they lie in an archive: plain, or packed by zstd, lz4 or gzip. Standard library alone.

Packing is done by the programs of these names, found in every distribution: what they wrote a DBA can read without
pgvip, a library would have to be installed for the interpreter that PostgreSQL starts, and the data does not pass
through Python. Their formats carry a checksum of the content.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CHUNK_BYTES = 1 << 20
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ArchiveFailed(Exception):
    """The file is not in the archive; PostgreSQL keeps it and tries again."""


class Packing(NamedTuple):
    """How files are packed: the suffix of their names, and the filters (standard input to standard output)."""

    suffix: str
    pack: tuple[str, ...]
    unpack: tuple[str, ...]


PACKINGS = {
    "none": Packing("", (), ()),
    # -1: WAL of 16 MB takes 30 to 60 ms; the higher levels gain some per cent and cost several times as much.
    "zstd": Packing(".zst", ("zstd", "-1", "-q", "-c"), ("zstd", "-d", "-q", "-c")),
    "lz4": Packing(".lz4", ("lz4", "-1", "-q", "-z", "-c"), ("lz4", "-d", "-q", "-c")),
    "gzip": Packing(".gz", ("gzip", "-1", "-c"), ("gzip", "-d", "-c")),
}
"""By the word of the configuration."""

BIG = re.compile(r"[0-9A-F]{24}(\.partial)?")
"""Only segments are packed; timeline histories and backup labels are a few lines that people read."""


def plain_name(stored: str) -> str:
    """The name that PostgreSQL knows a file by.

    >>> plain_name("000000010000000000000001.zst"), plain_name("00000002.history")
    ('000000010000000000000001', '00000002.history')
    """
    for packing in PACKINGS.values():
        if packing.suffix and stored.endswith(packing.suffix):
            return stored.removesuffix(packing.suffix)
    return stored


def packing_of(stored: Path) -> Packing:
    """How a file in an archive is packed, by its suffix."""
    for packing in PACKINGS.values():
        if packing.suffix and stored.name.endswith(packing.suffix):
            return packing
    return PACKINGS["none"]


def packing_for(name: str, word: str) -> Packing:
    """How a file is to be packed where the destination says `word`."""
    return PACKINGS[word if BIG.fullmatch(name) else "none"]


def find(directory: Path, name: str) -> Path | None:
    """The file of this name in an archive, however it is packed; OSError when the archive is not there."""
    for packing in PACKINGS.values():
        path = directory / (name + packing.suffix)
        try:
            path.stat()
        except FileNotFoundError:
            continue
        return path
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no directory {directory}")
    return None


def digest(path: Path) -> str:
    """SHA-256 of what a file in an archive gives back when it is unpacked. Raises OSError, ArchiveFailed."""
    import hashlib  # noqa: PLC0415 - only after a failure, and before a restore: the archive command starts faster

    found = hashlib.sha256()
    with _unpacked(path) as reader:
        while chunk := os.read(reader, CHUNK_BYTES):
            found.update(chunk)
    return found.hexdigest()


def same(stored: Path, source: Path) -> bool:
    """True when a file in an archive gives back exactly what `source` holds. Raises OSError, ArchiveFailed."""
    with source.open("rb") as expected, _unpacked(stored) as reader:
        equal = True
        while chunk := os.read(reader, CHUNK_BYTES):
            # What is not equal is read to its end all the same: its packer would end by a signal otherwise.
            equal = equal and expected.read(len(chunk)) == chunk
        return equal and not expected.read(1)


@contextmanager
def _unpacked(path: Path) -> Iterator[int]:
    """Where to read what a file in an archive gives back; ArchiveFailed in the end when it was not all of it."""
    unpack = packing_of(path).unpack
    with path.open("rb") as file:
        if not unpack:
            yield file.fileno()
            return
        reader, writer = os.pipe()
        try:
            child = _spawn(unpack, file.fileno(), writer)
        except ArchiveFailed:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        try:
            yield reader
        finally:
            os.close(reader)
            _collect(unpack, child)


def content(path: Path) -> bytes:
    """What a file in an archive gives back when it is unpacked. Raises OSError, ArchiveFailed."""
    unpack = packing_of(path).unpack
    if not unpack:
        return path.read_bytes()
    with path.open("rb") as file:
        reader, writer = os.pipe()
        try:
            child = _spawn(unpack, file.fileno(), writer)
        finally:
            os.close(writer)
        chunks = []
        try:
            while chunk := os.read(reader, CHUNK_BYTES):
                chunks.append(chunk)
        finally:
            os.close(reader)
            _collect(unpack, child)
        return b"".join(chunks)


def pack(source: Path, target: Path, packing: Packing) -> None:
    """Write `source` packed into the new file `target`, and have it on disk. Raises OSError, ArchiveFailed."""
    with source.open("rb") as old, target.open("xb") as new:
        if packing.pack:
            _collect(packing.pack, _spawn(packing.pack, old.fileno(), new.fileno()))
        else:
            _copy(old.fileno(), new.fileno())
        os.fsync(new.fileno())


def unpack(stored: Path, target: Path) -> None:
    """Write what a file in an archive holds into `target`, and have it on disk. Raises OSError, ArchiveFailed."""
    words = packing_of(stored).unpack
    with stored.open("rb") as old, target.open("wb") as new:
        if words:
            _collect(words, _spawn(words, old.fileno(), new.fileno()))
        else:
            _copy(old.fileno(), new.fileno())
        os.fsync(new.fileno())


def forget_cached(path: Path) -> None:
    """Let the kernel drop its copy of a file that was synced, so that reading it back asks the disk or the server."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Have a file or the names in a directory on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run(words: tuple[str, ...]) -> None:
    """Run a command to its end; ArchiveFailed unless it ends with 0. Its errors go where ours go."""
    _collect(words, _spawn(words, None, None))


def _copy(old: int, new: int) -> None:
    while chunk := os.read(old, CHUNK_BYTES):
        view = memoryview(chunk)
        while view:
            view = view[os.write(new, view) :]


def _spawn(words: tuple[str, ...], stdin: int | None, stdout: int | None) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)] if stdin is not None else []
    # What a command says goes into PostgreSQL's log with its errors.
    actions.append((os.POSIX_SPAWN_DUP2, 2 if stdout is None else stdout, 1))
    try:
        return os.posix_spawnp(words[0], words, {**os.environ, "PATH": PATH, "LC_ALL": "C"}, file_actions=actions)
    except OSError as failure:
        raise ArchiveFailed(f"could not run {words[0]}: {failure.strerror}; is it installed?") from failure


def _collect(words: tuple[str, ...], child: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise ArchiveFailed(f"{words[0]} {how}")
