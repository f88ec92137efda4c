"""What lies in an archive, asked in one go by a child process with a time limit: the archive may be on a dead server.

As a script (standard library alone) it prints what it finds, a JSON object on each line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, with -I: only the standard library is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgvip.archive.memory import DIRECTORY, INDEX

SMALL_BYTES = 1 << 16
"""Timeline histories and notes are never longer."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of an archive. `name`: as PostgreSQL knows it; `file`: as it lies there. `at`: seconds since 1970."""

    name: str
    file: str
    size_bytes: int
    at: float


@dataclass(slots=True)
class Survey:
    """An archive. `histories`: text by file name. By destination, `failed`: (why, at), and `pending`: names."""

    files: list[Stored] = field(default_factory=list)
    histories: dict[str, str] = field(default_factory=dict)
    failed: dict[str, tuple[str, float]] = field(default_factory=dict)
    pending: dict[str, list[str]] = field(default_factory=dict)
    index: dict[str, Any] = field(default_factory=dict)
    free_bytes: int = 0
    complete: bool = False


def look(directory: Path) -> Iterator[dict[str, object]]:
    """Everything that a survey wants to know, as the objects that are printed. Raises OSError."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                continue
            status = entry.stat()
            yield {"is": "file", "file": _name(entry), "size": status.st_size, "at": status.st_mtime}
            if entry.name.endswith(".history") and status.st_size <= SMALL_BYTES:
                yield {"is": "history", "file": _name(entry), "text": _text(Path(entry.path))}
    notes = directory / DIRECTORY
    for note in _children(notes / "failed"):
        yield {"is": "failed", "name": note.name, "why": _text(note).strip(), "at": note.stat().st_mtime}
    for debtor in _children(notes / "pending"):
        yield {"is": "pending", "name": debtor.name, "files": [path.name for path in _children(debtor)]}
    if (notes / INDEX).exists():
        yield {"is": "index", "text": (notes / INDEX).read_text(encoding="utf-8")}
    room = os.statvfs(directory)
    yield {"is": "end", "free": room.f_bavail * room.f_frsize}


def _name(entry: os.DirEntry[str]) -> str:
    """Its name in whole characters: one that is no UTF-8 is of no WAL file."""
    return entry.name.encode(errors="replace").decode()


def _children(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if not path.name.startswith("."))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[:SMALL_BYTES]


def main(argv: list[str]) -> int:
    """Print what is in an archive."""
    try:
        for found in look(Path(argv[0])):
            sys.stdout.write(json.dumps(found) + "\n")
    except OSError as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
