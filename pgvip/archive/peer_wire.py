"""How a file of the other host's archive crosses the pair's TLS connection: one line that asks, frames that answer.

The daemons between the two ends pass the frames on and do not read them. Both ends run as PostgreSQL's user; this
module is the standard library alone, since one end is `restore_command`.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

ASK_MAX_BYTES = 128
"""Of the line that asks, its end included."""
HEADER = struct.Struct(">BI")
CHUNK_BYTES = 1 << 17
"""Of a frame: the daemons' threads give the interpreter up between two of them, so the heartbeats go on."""
FILE_MAX_BYTES = (1 << 30) + (1 << 24)
"""The largest segment that initdb makes, and what a packer adds to one that cannot be packed."""
LIST_MAX_BYTES = 64 << 20
"""A list of half a million files."""
STREAM_MAX_BYTES = FILE_MAX_BYTES + (FILE_MAX_BYTES // CHUNK_BYTES + 16) * HEADER.size
"""Of everything that answers one question."""
TEXT_MAX_BYTES = 4096

HEAD, DATA, END, MISSING, FAILED = range(1, 6)
"""Kinds of frames: the file's name as it lies there; a part of it; it is whole; there is none; why it failed.

To a ping the daemon of this host answers MISSING when that of the other one is not connected."""

NAME = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history")
"""All that may be asked for by name."""
SUFFIXES = ("", ".zst", ".lz4", ".gz")
"""As in archive.packing; a test compares them."""

GET, SALVAGED, LIST, PING = "get", "salvaged", "list", "ping"


class WireError(Exception):
    """The other end did not keep to the form."""


class Ask(NamedTuple):
    """What is wanted: a file of the archive, one of its folder `salvage`, the list of all files, or a sign of life."""

    what: str
    name: str = ""

    def line(self) -> bytes:
        return " ".join(filter(None, self)).encode("ascii") + b"\n"


def read_ask(line: bytes) -> Ask:
    """Understand the line that asks, without its end. WireError for everything but the four questions.

    >>> read_ask(b"get 00000002.history")
    Ask(what='get', name='00000002.history')
    """
    try:
        what, _, name = line.decode("ascii").partition(" ")
    except UnicodeDecodeError:
        raise WireError("the question is not ASCII") from None
    known = NAME.fullmatch(name) if what in (GET, SALVAGED) else what in (LIST, PING) and not name
    if not known:
        raise WireError("the question asks for no WAL file")
    return Ask(what, name)


def frame(kind: int, body: bytes = b"") -> bytes:
    """Pack one frame."""
    return HEADER.pack(kind, len(body)) + body


def failed(why: str) -> bytes:
    """The frame for a failure, bounded."""
    return frame(FAILED, why.encode("utf-8", "replace")[:TEXT_MAX_BYTES])


class Frames:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what came; every frame that is whole now. WireError for a kind or a length that there is not."""
        self._held += data
        found = []
        while len(self._held) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._held)
            if not HEAD <= kind <= FAILED or length > (CHUNK_BYTES if kind == DATA else TEXT_MAX_BYTES):
                raise WireError(f"a frame of kind {kind} with {length} bytes")
            if len(self._held) < HEADER.size + length:
                break
            found.append((kind, bytes(self._held[HEADER.size : HEADER.size + length])))
            del self._held[: HEADER.size + length]
        return found
