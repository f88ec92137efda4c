"""Answers one question of the other host out of this host's archive.

The daemon starts this script as PostgreSQL's user, and passes what it prints on to the other host. It reads the archive
and nothing else: a name has the form of a WAL file, no link is followed, and only regular files are opened.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # as a script, with -I: only the standard library is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgvip.archive import listing, peer_wire
from pgvip.archive.memory import DIRECTORY, INDEX
from pgvip.archive.peer_wire import Ask, WireError

SALVAGE = "salvage"
"""As in archive.restore_wal, which asks for it."""

Put = Callable[[bytes], None]


def answer(directory: Path, ask: Ask, put: Put) -> None:
    """Give `put` every frame of the answer. Raises OSError."""
    if ask.what == peer_wire.PING:
        os.statvfs(directory)
    elif ask.what == peer_wire.LIST:
        _list(directory, put)
    elif not _file(directory, ask, put):
        put(peer_wire.frame(peer_wire.MISSING))
        return
    put(peer_wire.frame(peer_wire.END))


def _list(directory: Path, put: Put) -> None:
    for found in listing.look(directory):
        text = json.dumps(found).encode() + b"\n"
        for at in range(0, len(text), peer_wire.CHUNK_BYTES):
            put(peer_wire.frame(peer_wire.DATA, text[at : at + peer_wire.CHUNK_BYTES]))


def _file(directory: Path, ask: Ask, put: Put) -> bool:
    """Send a file as it lies there; False when there is none. Raises OSError."""
    archive = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A directory without its index is an empty mount point, and says nothing of what there is.
        os.stat(f"{DIRECTORY}/{INDEX}", dir_fd=archive)
        folder = archive
        if ask.what == peer_wire.SALVAGED:
            try:
                folder = os.open(SALVAGE, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=archive)
            except FileNotFoundError:
                return False
        return any(_send(folder, ask.name + suffix, put) for suffix in peer_wire.SUFFIXES)
    finally:
        os.close(archive)


def _send(folder: int, name: str, put: Put) -> bool:
    try:
        # O_NONBLOCK: a FIFO must not hold the reader.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return False
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{name} is no regular file")
    if status.st_size > peer_wire.FILE_MAX_BYTES:
        raise OSError(f"{name} has {status.st_size} bytes, no WAL file has more than {peer_wire.FILE_MAX_BYTES}")
    put(peer_wire.frame(peer_wire.HEAD, name.encode("ascii")))
    left = status.st_size
    while left:
        chunk = os.read(file, min(left, peer_wire.CHUNK_BYTES))
        if not chunk:
            raise OSError(f"{name} ends before its size")
        put(peer_wire.frame(peer_wire.DATA, chunk))
        left -= len(chunk)
    os.close(file)
    return True


def main(argv: list[str]) -> int:
    """Answer what is asked: the archive's directory, and the question's words."""
    out = sys.stdout.buffer

    def put(data: bytes) -> None:
        out.write(data)

    try:
        answer(Path(argv[0]), peer_wire.read_ask(" ".join(argv[1:]).encode()), put)
    except (OSError, WireError, ValueError, IndexError) as failure:
        put(peer_wire.failed(str(failure)))
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
