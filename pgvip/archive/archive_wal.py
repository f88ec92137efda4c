"""archive_command: put one finished WAL file into every archive, durably, once.

PostgreSQL starts this file as a script for every segment, so it and what it imports use the standard library alone.
A file that is there already with the same content is a success (PostgreSQL archives again after a crash: manual,
26.3.1); with another content it is never overwritten. A retry sends to those destinations only that lack the file. The
file is pending for an optional destination that fails, which gets it later from the first one.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

if __name__ == "__main__":  # as a script, with -I: only the standard library is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgvip.archive import packing, sending
from pgvip.archive.memory import DIRECTORY, Memory
from pgvip.archive.packing import PACKINGS, ArchiveFailed
from pgvip.archive.sending import Destination, complain

REST_S = 60.0
"""For so long an optional destination that failed is left alone."""
PENDING_MAX = 1024
"""Files that may be pending for an optional destination (16 GB of segments); beyond, the oldest are given up."""


def archive_wal(source: Path, destinations: list[Destination], memory: Memory) -> None:
    """Bring a file to all destinations that lack it.

    Raises ArchiveFailed when a required one does not have it then.
    """
    if packing.plain_name(source.name) != source.name:
        raise ArchiveFailed(f'"{source.name}" is not the name of a WAL file')
    try:
        digest = packing.digest(source)
    except OSError as failure:
        raise ArchiveFailed(f'could not read "{source}": {failure}') from failure
    having = memory.having(source.name, digest)
    wanted = [one for one in destinations if one.name not in having]
    wanted = [one for one in wanted if one.required or not _resting(one, source.name, memory)]
    sent = send(source, digest, wanted, memory)
    got = having | {one.destination.name for one in sent if not one.why}
    failures = [one for one in sent if one.why and one.destination.required]
    for one in sent:
        if one.why and not one.destination.required:
            owe(one.destination, source.name, memory)
    if failures:
        if got:
            memory.remember(source.name, digest, got)
        raise ArchiveFailed("; ".join(f"{one.destination.name}: {one.why}" for one in failures))
    memory.forget(source.name)


def _resting(destination: Destination, segment: str, memory: Memory) -> bool:
    """True for an optional destination that failed a moment ago, or has older files pending: it gets this one later."""
    if memory.failed_ago_s(destination.name) >= REST_S:
        return False
    owe(destination, segment, memory)
    return True


def owe(destination: Destination, segment: str, memory: Memory) -> None:
    """Note that an optional destination lacks a file; ArchiveFailed when that cannot be noted."""
    try:
        memory.owe(destination.name, segment)
    except OSError as failure:
        raise ArchiveFailed(f"{destination.name} failed, and that could not be noted: {failure}") from failure
    for oldest in memory.pending(destination.name)[:-PENDING_MAX]:
        complain(f'{destination.name} will never get "{oldest}": more than {PENDING_MAX} files are pending for it')
        memory.settle(destination.name, oldest)


def send(source: Path, digest: str, wanted: Iterable[Destination], memory: Memory) -> list[sending.Sent]:
    """Deliver to all of them at the same time; what failed is noted, and said."""
    results, started = [], []
    for one in wanted:
        hanging = memory.hanging(one.name)
        if hanging:
            results.append(sending.Sent(one, f"an earlier attempt still hangs in the kernel (process {hanging})"))
        else:
            started.append(sending.start(source, digest, one))
    results += [sending.finish(one) for one in started]
    for done in results:
        if not done.why:
            memory.works(done.destination.name)
            continue
        memory.failed(done.destination.name, f'"{source.name}": {done.why}')
        if done.hung:
            memory.hung(done.destination.name, done.hung)
        if not done.destination.required:
            complain(f'optional destination {done.destination.name}: "{source.name}": {done.why}')
    return results


# --- what is pending ------------------------------------------------------------------------------------------


def catch_up(destinations: list[Destination], memory: Memory, most: int, end_s: float) -> int:
    """Give optional destinations what is pending for them, from the first one; how many files are still pending then.

    `most`: files for each in this run. `end_s`: nothing new is begun after it (monotonic seconds). A file that cannot
    be read in the first one is in the way of no other; it raises ArchiveFailed at the end.
    """
    unreadable: list[ArchiveFailed] = []
    optional = [one for one in destinations if not one.required and memory.pending(one.name)]
    for one in optional:
        if memory.failed_ago_s(one.name) < REST_S:
            continue
        with memory.paying(one.name) as mine:
            for segment in memory.pending(one.name)[:most] if mine else ():
                try:
                    if time.monotonic() >= end_s or not _pay(segment, one, destinations[0], memory):
                        break
                except ArchiveFailed as failure:
                    unreadable.append(failure)
    if unreadable:
        raise unreadable[0]
    return sum(len(memory.pending(one.name)) for one in optional)


def _pay(segment: str, debtor: Destination, first: Destination, memory: Memory) -> bool:
    """Send one file that is pending; False when it failed. ArchiveFailed, noted, when the first does not give it."""
    assert first.directory is not None  # parsed so
    plain = stored = first.directory / segment
    try:
        found = packing.find(first.directory, segment)
        if found is None:
            complain(f'{debtor.name} will never get "{segment}": it is no longer in {first.directory}')
            memory.settle(debtor.name, segment)
            return True
        plain = stored = found
        if stored.name != segment:
            plain = memory.temporary(segment)
            packing.unpack(stored, plain)
        done = send(plain, packing.digest(plain), [debtor], memory)
    except (OSError, ArchiveFailed) as failure:
        why = f'could not read "{stored}", which is pending for {debtor.name}: {failure}'
        memory.failed(debtor.name, why)
        raise ArchiveFailed(why) from failure
    finally:
        if plain != stored:
            plain.unlink(missing_ok=True)
    if done[0].why:
        return False
    memory.settle(debtor.name, segment)
    return True


# --- the command -------------------------------------------------------------------------------------------


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
    given, destinations = read_arguments(argv)
    memory = Memory(given.directory / DIRECTORY)
    signal.signal(signal.SIGALRM, _out_of_time)
    # Reading the file itself can hang, too.
    signal.setitimer(signal.ITIMER_REAL, given.timeout + max(one.timeout_s for one in destinations))
    try:
        if given.path is not None:
            archive_wal(given.path, destinations, memory)
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
