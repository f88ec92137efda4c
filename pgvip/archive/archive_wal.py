"""archive_command: put one finished WAL file into the archive, durably, once.

PostgreSQL starts this file as a script for every segment, so it imports the standard library alone and
nothing of pgvip. A file that is there already with the same content is a success (PostgreSQL archives
again after a crash: manual, 26.3.1); with another content it is never overwritten.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

CHUNK_BYTES = 1 << 20


class ArchiveFailed(Exception):
    """The file is not in the archive; PostgreSQL keeps it and tries again."""


def archive_wal(source: Path, directory: Path) -> bool:
    """Copy `source` into the archive; False when the same file was there already.

    On return the content and the name are on disk. Raises ArchiveFailed.
    """
    target = directory / source.name
    try:
        if target.exists():
            return _same_or_fail(source, target)
        temporary = _copy(source, directory)
        try:
            # link(2), unlike rename(2), fails when the name is taken: two archivers cannot overwrite each other.
            os.link(temporary, target)
        except FileExistsError:
            return _same_or_fail(source, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(directory)
    except OSError as failure:
        raise ArchiveFailed(f'could not archive "{source.name}": {failure}') from failure
    return True


def _copy(source: Path, directory: Path) -> Path:
    temporary = directory / f".{source.name}.{os.getpid()}.tmp"
    try:
        with source.open("rb") as old, temporary.open("wb") as new:
            while chunk := old.read(CHUNK_BYTES):
                new.write(chunk)
            new.flush()
            os.fsync(new.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The peer reads it through a read-only export, as the same numeric user.
    temporary.chmod(0o640)
    return temporary


def _same_or_fail(source: Path, target: Path) -> bool:
    if not _same(source, target):
        raise ArchiveFailed(
            f'"{target}" is already there with another content: two clusters share this archive, '
            "or it was copied incompletely by something else; it is not overwritten"
        )
    # An earlier attempt may have ended between the link and the fsync.
    _sync(target)
    _sync(target.parent)
    return False


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while chunk := left.read(CHUNK_BYTES):
            if chunk != right.read(len(chunk)):
                return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _out_of_time(_number: int, _frame: object) -> None:
    raise TimeoutError("timed out")


def parser() -> argparse.ArgumentParser:
    """What `archive-wal` understands."""
    parser = argparse.ArgumentParser(
        prog="pgvip archive-wal",
        description="Archive one WAL file (archive_command). "
        "Example: pgvip archive-wal --directory /var/lib/pgvip/archive pg_wal/000000010000000000000001",
        epilog="exit codes: 0 archived, 1 not archived (PostgreSQL tries again), 2 wrong usage",
    )
    parser.add_argument("--directory", type=Path, required=True, help="the archive")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds after which this attempt has failed")
    parser.add_argument("path", type=Path, help="the file to archive (%%p)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Archive one file; exit code 0 or 1, never a signal, which would stop the archiver."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, arguments.timeout)
    try:
        archive_wal(arguments.path, arguments.directory)
    except ArchiveFailed as failure:
        sys.stderr.write(f"pgvip: {failure}\n")
        return 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
