"""Bounded append-only files of JSON lines, one set for each host.

A file that has grown to `SEGMENT_BYTES` becomes NAME.1.jsonl, that one NAME.2.jsonl, and the oldest of `SEGMENTS` goes.
A line that a power cut tore, or that cannot be read for another reason, is skipped, never an error. Each batch of
lines is written with one write(2) and one fdatasync(2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgvip.errors import FormatError
from pgvip.state import codec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SEGMENT_BYTES = 1 << 20
"""About 4000 events."""
SEGMENTS = 4
LINE_BYTES_MAX = 64 * 1024


def path_of(directory: Path, name: str, age: int = 0) -> Path:
    """The file of `name`: the current one, or the `age`-th before it."""
    return directory / (f"{name}.{age}.jsonl" if age else f"{name}.jsonl")


def write(directory: Path, name: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Append one line for each document, durably. OSError when it cannot be done; then some lines may be there."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = path_of(directory, name)
    _rotate_when_full(directory, name)
    lines = b"".join(codec.plain_to_line(one) + b"\n" for one in documents)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + lines
        while data:
            data = data[os.write(descriptor, data) :]
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def read(directory: Path, name: str) -> Iterator[object]:
    """Every readable document of `name`, oldest first. What is not there, or cannot be read, is left out."""
    for age in range(SEGMENTS - 1, -1, -1):
        yield from _parsed(_raw_lines(path_of(directory, name, age)))


def newest(directory: Path, name: str, count: int) -> tuple[list[object], bool]:
    """The newest `count` readable documents, oldest first, and whether these are all that there are.

    Reads no more files than it needs: a daemon that starts must not take in a month.
    """
    found: list[object] = []
    for age in range(SEGMENTS):
        lines = _raw_lines(path_of(directory, name, age))
        wanted = count - len(found)
        found = [*_parsed(lines[-wanted:]), *found]
        if len(lines) > wanted or len(found) == count:
            older = any(path_of(directory, name, more).exists() for more in range(age + 1, SEGMENTS))
            return found, len(lines) <= wanted and not older
    return found, True


def names(directory: Path) -> list[str]:
    """Whose files there are."""
    try:
        found = {path.name.split(".")[0] for path in directory.glob("*.jsonl")}
    except OSError:
        return []
    return sorted(found)


def _rotate_when_full(directory: Path, name: str) -> None:
    path = path_of(directory, name)
    try:
        if path.stat().st_size < SEGMENT_BYTES:
            return
    except FileNotFoundError:
        return
    for age in range(SEGMENTS - 2, -1, -1):
        old = path_of(directory, name, age)
        if old.exists():
            old.replace(path_of(directory, name, age + 1))


def _raw_lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError:
        return []


def _parsed(lines: Iterable[bytes]) -> Iterator[object]:
    for line in lines:
        try:
            yield codec.parse(line, max_bytes=LINE_BYTES_MAX)
        except FormatError:  # torn, or not UTF-8
            continue
