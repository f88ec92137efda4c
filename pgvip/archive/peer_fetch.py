"""Fetches from the other host's archive through the daemon of this host. Standard library alone.

The daemon has the keys of the link; this asks it on a socket that PostgreSQL's user may open. As a script it prints the
list of what lies in the archive, as archive.listing does of a directory.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

if __name__ == "__main__":  # as a script, with -I: only the standard library is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgvip.archive import packing, peer_wire
from pgvip.archive.packing import ArchiveFailed
from pgvip.archive.peer_wire import Ask, Frames, WireError


def fetch(daemon: Path, ask: Ask, temporary: Path, timeout_s: float) -> bool:
    """Write a WAL file into `temporary`, unpacked and on disk; False when the archive has none.

    ArchiveFailed and OSError as `take`.
    """
    return take(_frames(daemon, ask, timeout_s), ask.name, temporary)


def take(frames: Iterable[tuple[int, bytes]], name: str, temporary: Path) -> bool:
    """Write the file of an answer; False when it says that there is none.

    ArchiveFailed for an answer without its end: a file that was half sent is not taken. Raises OSError.
    """
    received: Path | None = None
    file = -1
    size = 0
    try:
        for kind, body in frames:
            if kind == peer_wire.HEAD and file < 0:
                received = _received(name, body, temporary)
                file = os.open(received, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            elif kind == peer_wire.DATA and file >= 0:
                size += len(body)
                if size > peer_wire.FILE_MAX_BYTES:
                    raise ArchiveFailed(f"{name} is longer than any WAL file")
                _write(file, body)
            elif kind == peer_wire.MISSING and file < 0:
                return False
            elif kind != peer_wire.END or file < 0:
                raise ArchiveFailed(f"did not understand the answer: a frame of kind {kind} out of its order")
        assert received is not None  # the last frame was an end, after a head
        if received == temporary:
            packing.sync(temporary)
        else:
            packing.unpack(received, temporary)
        return True
    finally:
        if file >= 0:
            os.close(file)
        if received is not None and received != temporary:
            received.unlink(missing_ok=True)


def forget(temporary: Path) -> None:
    """Remove what a fetch that was ended may have left beside `temporary`."""
    for suffix in peer_wire.SUFFIXES[1:]:
        temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def print_list(daemon: Path, timeout_s: float, put: Callable[[bytes], object]) -> None:
    """Give `put` the lines of the list. ArchiveFailed when it did not come whole; raises OSError."""
    size = 0
    for kind, body in _frames(daemon, Ask(peer_wire.LIST), timeout_s):
        size += len(body)
        if kind not in (peer_wire.DATA, peer_wire.END) or size > peer_wire.LIST_MAX_BYTES:
            raise ArchiveFailed("did not understand the answer: it is no list, or too long")
        put(body)


def ping(daemon: Path, timeout_s: float) -> bool:
    """See that the archive answers; False when the other host's daemon is not connected.

    ArchiveFailed when it does not; raises OSError.
    """
    kinds = [kind for kind, _ in _frames(daemon, Ask(peer_wire.PING), timeout_s)]
    if kinds not in ([peer_wire.END], [peer_wire.MISSING]):
        raise ArchiveFailed("did not understand the answer: it has a content")
    return kinds == [peer_wire.END]


def _received(name: str, head: bytes, temporary: Path) -> Path:
    """Where the file is written as it comes: beside `temporary` when it must be unpacked."""
    for suffix in peer_wire.SUFFIXES:
        if head == (name + suffix).encode("ascii"):
            return temporary.with_name(temporary.name + suffix)
    raise ArchiveFailed(f"another file was sent than {name}")


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _frames(daemon: Path, ask: Ask, timeout_s: float) -> Iterator[tuple[int, bytes]]:
    """The frames of an answer; the last one is an end, or says that the file is missing.

    ArchiveFailed for a failure, and when the connection ends before the answer. Raises OSError.
    """
    end_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(daemon))
        except (FileNotFoundError, ConnectionRefusedError):
            raise ArchiveFailed("the pgvip daemon of this host does not run") from None
        sock.sendall(ask.line())

        def receive() -> bytes:
            sock.settimeout(max(0.001, end_s - time.monotonic()))
            return sock.recv(peer_wire.CHUNK_BYTES)

        yield from frames_of(receive)


def frames_of(receive: Callable[[], bytes]) -> Iterator[tuple[int, bytes]]:
    """What `receive` brings, as frames: as `_frames`."""
    frames = Frames()
    while True:
        data = receive()
        if not data:
            raise ArchiveFailed("the connection ended before the answer")
        try:
            found = frames.feed(data)
        except WireError as failure:
            raise ArchiveFailed(f"did not understand the answer: {failure}") from None
        for kind, body in found:
            if kind == peer_wire.FAILED:
                raise ArchiveFailed(_readable(body))
            yield kind, body
            if kind in (peer_wire.END, peer_wire.MISSING):
                return


def _readable(body: bytes) -> str:
    """A text of the other host, which goes into logs: without control characters."""
    return "".join(one if one.isprintable() else "?" for one in body.decode("utf-8", "replace"))


def main(argv: list[str]) -> int:
    """Print what is in the other host's archive: the daemon's socket, and the time for it in seconds."""
    out = sys.stdout.buffer
    try:
        print_list(Path(argv[0]), float(argv[1]), out.write)
    except (OSError, ArchiveFailed) as failure:
        out.flush()
        sys.stderr.write(f"{failure}\n")
        return 1
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
