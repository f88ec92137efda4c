"""What PostgreSQL's archive_command does when there is something to copy: one file, and ahead what is ready after it.

Standard library alone, as all that it imports. `archive_wal` is the script that PostgreSQL starts.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from itertools import zip_longest
from pathlib import Path

from pgvip.archive import ahead, packing
from pgvip.archive.distributing import PENDING_MAX, archive_wal, catch_up
from pgvip.archive.memory import DIRECTORY, Memory
from pgvip.archive.packing import PACKINGS, ArchiveFailed
from pgvip.archive.sending import Destination, Sending, abandon, complain, start

AHEAD_MAX = 32
"""Files that are archived after the one that PostgreSQL asked for (half a GB): its notes are a few KB."""
AHEAD_S = 2.0
"""No further one is begun after so long: PostgreSQL waits, and does not know that the first is archived."""


def read_destination(text: str, timeout_s: float) -> Destination:
    """A destination as a JSON object (pgconf writes it). Raises ValueError, KeyError or TypeError."""
    import json  # noqa: PLC0415 - most archives have no further destination, and start faster without

    words = json.loads(text)
    if not isinstance(words, dict):
        raise TypeError("not an object")
    directory, command = words.get("directory"), tuple(words.get("command", ()))
    if bool(directory) == bool(command):
        raise ValueError("a destination is either a directory or a command")
    return Destination(
        words["name"],
        Path(directory) if directory else None,
        command,
        words.get("compress", "none"),
        words.get("required", True),
        float(words.get("timeout_s", timeout_s)),
    )


def parser() -> argparse.ArgumentParser:
    """What `archive-wal` understands."""
    parser = argparse.ArgumentParser(
        prog="pgvip archive-wal",
        description="Archive one WAL file (archive_command). What failed is tried again next time, and that alone. "
        "Example: pgvip archive-wal --directory /var/lib/pgvip/archive --compress lz4 pg_wal/000000010000000000000001",
        epilog="exit codes: 0 every required destination has it on disk, 1 one lacks it (PostgreSQL tries again), "
        "2 wrong usage",
    )
    parser.add_argument("--directory", type=Path, required=True, help="the archive")
    parser.add_argument("--compress", choices=list(PACKINGS), default="none", help="how segments are packed there")
    parser.add_argument("--destination", action="append", default=[], help="a further one, as a JSON object")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one file in one destination")
    parser.add_argument("--catch-up", type=float, metavar="SECONDS", help="only send what is pending for destinations")
    parser.add_argument(
        ahead.OPTION, action="store_true",
        help="also archive what archive_status says is ready after the file, and answer at once when it is asked for",
    )  # fmt: skip
    parser.add_argument("path", type=Path, nargs="?", help="the file to archive (%%p)")
    return parser


def read_arguments(argv: list[str] | None) -> tuple[argparse.Namespace, list[Destination]]:
    """The command line; exits with 2 when it is wrong."""
    wanted = parser()
    given = wanted.parse_args(argv)
    if given.path is None and given.catch_up is None:
        wanted.error("name the file to archive")
    first = Destination("archive", given.directory, (), given.compress, True, given.timeout)
    try:
        others = [read_destination(text, given.timeout) for text in given.destination]
    except (ValueError, KeyError, TypeError) as failure:
        wanted.error(f"--destination: {failure!r}")
    return given, [first, *others]


def main(argv: list[str] | None = None) -> int:
    """Archive one file; exit code 0 or 1, never a signal, which would stop the archiver."""
    words = sys.argv[1:] if argv is None else argv
    given, destinations = read_arguments(words)
    memory = Memory(given.directory / DIRECTORY)
    signal.signal(signal.SIGALRM, _out_of_time)
    # Reading the file itself can hang, too.
    one_file_s = given.timeout + max(one.timeout_s for one in destinations)
    signal.setitimer(signal.ITIMER_REAL, one_file_s)
    try:
        if given.path is not None:
            archive_wal(given.path, destinations, memory)
            if given.ahead:
                _go_ahead(words, destinations, memory, one_file_s)
            _catch_up_aside(destinations, memory, time.monotonic() + given.timeout)
        else:
            signal.setitimer(signal.ITIMER_REAL, 0)
            end_s = time.monotonic() + given.catch_up
            left = catch_up(destinations, memory, PENDING_MAX, end_s)
            sys.stdout.write(f"{left} files are pending\n")
    except ArchiveFailed as failure:
        complain(str(failure))
        return 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0


def _go_ahead(words: list[str], destinations: list[Destination], memory: Memory, one_file_s: float) -> None:
    """Archive what PostgreSQL will ask for next, in its order; the first failure is the end.

    While one is archived the next one is prepared for the first destination: it is seen there only after the others.
    """
    first, end_s, done = destinations[0], time.monotonic() + AHEAD_S, list[str]()
    assert first.directory is not None  # parsed so
    files = [Path(words[-1]).with_name(name) for name in ahead.ready(words[-1])[:AHEAD_MAX]]
    looked: dict[Path, str] = {}
    held: dict[Path, Sending] = {}
    try:
        for file, following in zip_longest(files, files[1:]):
            if time.monotonic() >= end_s:
                break
            signal.setitimer(signal.ITIMER_REAL, one_file_s)
            looked.setdefault(file, ahead.identity(str(file)))
            if following:
                looked[following] = ahead.identity(str(following))
                held[following] = start(following, first, hold=True)
            archive_wal(file, destinations, memory, held)
            stored = packing.find(first.directory, file.name)
            done.append(ahead.entry(str(file), looked[file], str(stored)))
    except (OSError, ArchiveFailed):
        pass  # PostgreSQL is told why when it asks for this one
    finally:
        for one in held.values():
            abandon(one)
        if done:
            ahead.note(words, done)


def _catch_up_aside(destinations: list[Destination], memory: Memory, end_s: float) -> None:
    """Send a little of what is pending. A failure is only logged: the file that PostgreSQL asked for is archived."""
    try:
        catch_up(destinations, memory, 1, end_s)
    except (OSError, ArchiveFailed) as failure:
        complain(str(failure))


def _out_of_time(_number: int, _frame: object) -> None:
    raise ArchiveFailed("timed out")


if __name__ == "__main__":
    sys.exit(main())
