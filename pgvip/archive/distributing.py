"""One finished WAL file into every archive, durably, once. Standard library alone.

A file that is there already with the same content is a success (PostgreSQL archives again after a crash: manual,
26.3.1); with another content it is never overwritten. A retry sends to those destinations only that lack the file. The
file is pending for an optional destination that fails, which gets it later from the first one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from pgvip.archive import packing, sending
from pgvip.archive.memory import Memory
from pgvip.archive.packing import ArchiveFailed
from pgvip.archive.sending import Destination, Sending, complain

REST_S = 60.0
"""For so long an optional destination that failed is left alone."""
PENDING_MAX = 1024
"""Files that may be pending for an optional destination (16 GB of segments); beyond, the oldest are given up."""


def archive_wal(
    source: Path, destinations: list[Destination], memory: Memory, held: dict[Path, Sending] | None = None
) -> None:
    """Bring a file to all destinations that lack it.

    `held`: children that have prepared a file for a destination, and are released here. Raises ArchiveFailed when a
    required destination does not have the file then.
    """
    if packing.plain_name(source.name) != source.name:
        raise ArchiveFailed(f'"{source.name}" is not the name of a WAL file')
    _try_to_read(source)
    noted = memory.noted(source.name)
    having = memory.having(source.name, _digest(source)) if noted else set[str]()
    wanted = [one for one in destinations if one.name not in having]
    wanted = [one for one in wanted if one.required or not _resting(one, source.name, memory)]
    sent = send(source, wanted, memory, held)
    got = having | {one.destination.name for one in sent if not one.why}
    failures = [one for one in sent if one.why and one.destination.required]
    for one in sent:
        if one.why and not one.destination.required:
            owe(one.destination, source.name, memory)
    if failures:
        if got:
            memory.remember(source.name, _digest(source), got)
        raise ArchiveFailed("; ".join(f"{one.destination.name}: {one.why}" for one in failures))
    if noted:
        memory.forget(source.name)


def _digest(source: Path) -> str:
    """By which a file is known again in the next attempt; it costs as much as half of the copying."""
    try:
        return packing.digest(source)
    except OSError as failure:
        raise ArchiveFailed(f'could not read "{source}": {failure}') from failure


def _try_to_read(source: Path) -> None:
    """ArchiveFailed at once when it is not there: no destination has failed then."""
    try:
        with source.open("rb"):
            return
    except OSError as failure:
        raise ArchiveFailed(f'could not read "{source}": {failure}') from failure


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


def send(
    source: Path, wanted: Iterable[Destination], memory: Memory, held: dict[Path, Sending] | None = None
) -> list[sending.Sent]:
    """Deliver to all of them at the same time; what failed is noted, and said."""
    prepared = held.get(source) if held else None
    results, started = [], []
    for one in wanted:
        hanging = memory.hanging(one.name)
        if hanging:
            results.append(sending.Sent(one, f"an earlier attempt still hangs in the kernel (process {hanging})"))
        elif held and prepared and prepared.destination == one:
            started.append(sending.release(held.pop(source)))
        else:
            started.append(sending.start(source, one))
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
        packing.digest(plain)  # what cannot be read is no failure of the debtor's
        done = send(plain, [debtor], memory)
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
