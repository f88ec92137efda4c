"""What was archived before PostgreSQL asked for it, and the answer when it does.

The archiver starts a program for each file and waits for it. So one program archives, after the file that it was asked
for, what `archive_status` says is ready next, in the archiver's own order, and notes it in `.pgvip/ahead` of the
archive; the next programs find the note and have nothing to do. Starting is all that they cost: nothing is imported
here but `os`.

A note counts only for the very files that were compared: the one in pg_wal and the one in the archive are still the
same inode, of the same size, not changed since (ctime); for the same options; and until the next boot, since the note
itself is not synced. In any other case the file is archived as if there were no note: it is found there, and compared.
"""

from __future__ import annotations

import os

OPTION = "--ahead"
NOTE = ".pgvip/ahead"
NOTE_BYTES_MAX = 1 << 16
BOOT_ID = "/proc/sys/kernel/random/boot_id"
STATUS = "archive_status"
READY = ".ready"
NAME_CHARS, NAME_CHARS_MIN, NAME_CHARS_MAX = frozenset("0123456789ABCDEF.history.backup.partial"), 16, 40
"""Of the names that the archiver takes (src/include/postmaster/pgarch.h)."""


def answered(words: list[str]) -> bool:
    """True when the file at the end of the command line was archived ahead by the same command."""
    if OPTION not in words or "--directory" not in words[:-1]:
        return False
    directory, path = words[words.index("--directory") + 1], words[-1]
    name = _name(path)
    try:
        with open(f"{directory}/{NOTE}", encoding="utf-8", errors="surrogateescape") as file:
            key, *lines = file.read(NOTE_BYTES_MAX).split("\n")
        if key != _key(words[:-1]):
            return False
        noted = next((line for line in lines if line.startswith(f"{name} ")), "")
        return noted != "" and noted == entry(path, identity(path), f"{directory}/{noted.rpartition(' ')[2]}")
    except (OSError, ValueError):
        return False


def note(words: list[str], entries: list[str]) -> None:
    """Note what was archived ahead; best effort, by rename."""
    path = f"{words[words.index('--directory') + 1]}/{NOTE}"
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join([_key(words[:-1]), *entries, ""]))
        os.replace(temporary, path)
    except OSError:
        return


def entry(path: str, looked: str, stored: str) -> str:
    """The line for a file: what it was before it was read, and what it is in the archive."""
    return f"{_name(path)} {looked} {identity(stored)} {_name(stored)}"


def identity(path: str) -> str:
    """By which a file is known to be the same and unchanged. OSError when it is not there."""
    found = os.stat(path)
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def ready(path: str) -> list[str]:
    """Names of the files that wait beside this one to be archived, in the archiver's order: histories, then the oldest.

    Empty where the file is in no pg_wal.
    """
    own = _name(path)
    try:
        marks = os.listdir(f"{path.rpartition('/')[0] or '.'}/{STATUS}")
    except OSError:
        return []
    names = (mark.removesuffix(READY) for mark in marks if mark.endswith(READY))
    return sorted((one for one in names if one != own and _valid(one)), key=lambda one: (one[8:] != ".history", one))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _valid(name: str) -> bool:
    return NAME_CHARS_MIN <= len(name) <= NAME_CHARS_MAX and NAME_CHARS.issuperset(name)


def _key(options: list[str]) -> str:
    with open(BOOT_ID, encoding="utf-8") as file:
        return f"{file.read().strip()} {options!r}"
