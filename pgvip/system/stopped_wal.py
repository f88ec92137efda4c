"""The WAL of a cluster that is down: where it ends, and where it left the peer's history.

pg_controldata does not know the end of WAL after a crash, nor that of a standby; pg_waldump from the last checkpoint
or restartpoint does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import FormatError, PostgresError, RejoinError
from pgvip.system import pgtools, processes
from pgvip.system.commands import run
from pgvip.system.wal_files import read_history, segment_name
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.system.commands import Completed
    from pgvip.system.pgtools import ControlData

WALDUMP_S = 600.0
"""For reading all WAL since the last checkpoint: a second for each gigabyte or so, from a slow disk."""

LONG_HEADER_BYTES = 40
SHORT_HEADER_BYTES = 24
"""Headers of the first page of a segment, and of every other (src/include/access/xlog_internal.h)."""

ALIGN_BYTES = 8

RECORD = re.compile(
    r"len \(rec/tot\):\s*\d{1,10}/\s*(?P<length>\d{1,10}), tx:\s*(?P<tx>\d{1,10}), "
    r"lsn: (?P<lsn>[0-9A-F]{1,8}/[0-9A-F]{1,8})"
)
SEGMENT = re.compile(r"[0-9A-F]{24}")
CHECKPOINT = re.compile(r"desc: CHECKPOINT\w* redo (?P<lsn>[0-9A-F]{1,8}/[0-9A-F]{1,8})")
LAST_READ = re.compile(r"error in WAL record at (?P<lsn>[0-9A-F]{1,8}/[0-9A-F]{1,8})")
OTHER_WAL = "the data were not made by the WAL beside them"
LAST = Lsn((1 << 64) - 1)
"""After every position: where a timeline that goes on ends."""


class Piece(NamedTuple):
    """A stretch of WAL on one timeline."""

    timeline: int
    start: Lsn
    end: Lsn


def record_end(start: int, length: int, segment_bytes: int, page_bytes: int = 8192) -> Lsn:
    """Where a record ends that starts at `start`: page headers lie in between.

    >>> record_end(Lsn.parse("0/3000028"), 114, 1 << 24)
    Lsn('0/30000A0')
    """
    position, left = start, length
    while left > (room := page_bytes - position % page_bytes):
        left -= room
        position += room
        position += SHORT_HEADER_BYTES if position % segment_bytes else LONG_HEADER_BYTES
    end = position + left
    return Lsn(end + -end % ALIGN_BYTES)


@as_postgres(2 * WALDUMP_S)
def end_of_wal(config: Config) -> WalPoint:
    """Find the newest timeline and the end of valid WAL of the cluster, which must be down.

    Raises PostgresError.
    """
    left = processes.cluster_processes(config.postgres.data_directory)
    if left:
        detail = f"Process {left[0].pid} is left."
        raise PostgresError("the end of WAL cannot be determined while the server runs", detail)
    control = pgtools.control_data(config)
    timeline = control.timeline
    start = control.checkpoint.lsn if control.closed else control.redo
    if timeline != control.checkpoint.timeline:
        # Promoted, and crashed before the first checkpoint: the new timeline's files begin at the switch.
        start = max(start, *(point.lsn for point in local_history(config, timeline)))
    end = _last_end(config, control, timeline, Lsn(start))
    if end <= control.checkpoint.lsn:
        missing = segment_name(control.checkpoint.timeline, control.checkpoint.lsn, control.segment_bytes)
        raise PostgresError(f"WAL ends at {end}, before the cluster's last checkpoint", f"That is in {missing}.")
    _refuse_other_wal(config, control, timeline, Lsn(start), end)
    return WalPoint(timeline, end)


def _refuse_other_wal(config: Config, control: ControlData, timeline: int, start: Lsn, end: Lsn) -> None:
    """PostgresError when a standby's data were not made by the WAL beside them.

    A standby whose WAL had left its primary's streams over it all the same, from the beginning of a file. So its last
    checkpoint is read, and what its data have replayed: that ends where a record ends, which other WAL has there
    by chance alone. A copy or rewound data that were never started have yet to get their WAL.
    """
    if not control.in_recovery or (config.postgres.data_directory / "backup_label").exists():
        return
    checkpoint, replayed = control.checkpoint, control.min_recovery
    if checkpoint.timeline == timeline:
        said = record_at(config, control, checkpoint, end)
        redo = CHECKPOINT.search(said)
        if redo is None or Lsn.parse(redo["lsn"]) != control.redo:
            raise PostgresError(OTHER_WAL, f"There is no checkpoint record at {checkpoint}.")
    # The rest of a file after a switch to the next one counts as replayed, though nothing is in it.
    ends = (end, Lsn(end + -end % control.segment_bytes))
    if replayed.timeline != timeline or replayed.lsn < start or replayed.lsn in ends:
        return
    if replayed.lsn > end or not record_at(config, control, replayed, end):
        detail = f"They have replayed {replayed}, and valid WAL from {start} to {end} has no record there."
        raise PostgresError(OTHER_WAL, detail)


def record_at(
    config: Config, control: ControlData, point: WalPoint, end: Lsn, directory: Path | None = None
) -> str:
    """What pg_waldump says of the record that begins at a point, or after the page header there; "" without one.

    `directory`: see `waldump`.
    """
    said = waldump(config, point.timeline, point.lsn, end, "-n", "1", directory=directory).stdout
    found = RECORD.search(said)
    header = 0
    if point.lsn % control.page_bytes == 0:
        header = SHORT_HEADER_BYTES if point.lsn % control.segment_bytes else LONG_HEADER_BYTES
    # Where none begins it goes on to the next one.
    return said if found is not None and Lsn.parse(found["lsn"]) in (point.lsn, point.lsn + header) else ""


@as_postgres()
def local_history(config: Config, timeline: int) -> tuple[WalPoint, ...]:
    """Timelines before this one, by the file in pg_wal; PostgresError when it is missing or damaged."""
    try:
        return read_history(config.postgres.data_directory / "pg_wal", timeline)
    except (OSError, FormatError) as failure:
        raise PostgresError(f"could not read the history of timeline {timeline}", f"{failure}.") from failure


def fork_point(mine: Sequence[WalPoint], theirs: Sequence[WalPoint]) -> WalPoint:
    """Last point that two histories share; each ends with its present timeline and end of WAL.

    As pg_rewind does (findCommonAncestorTimeline). RejoinError when they share nothing.

    >>> fork_point([WalPoint(1, Lsn(900))], [WalPoint(1, Lsn(700)), WalPoint(2, LAST)])
    WalPoint(timeline=1, lsn=Lsn('0/2BC'))
    """
    fork = None
    for own, other in zip(mine, theirs, strict=False):
        if own.timeline != other.timeline:
            break
        fork = WalPoint(own.timeline, min(own.lsn, other.lsn))
        if own.lsn != other.lsn:
            break
    if fork is None:
        raise RejoinError("the two clusters share no timeline", "They do not descend from one base backup.")
    return fork


def strange_timelines(mine: Sequence[WalPoint], theirs: Sequence[WalPoint]) -> frozenset[int]:
    """Timelines that the source never had; of the same number, but left at another point, is never had, too.

    >>> sorted(strange_timelines([WalPoint(1, Lsn(7)), WalPoint(2, LAST)], [WalPoint(1, Lsn(8)), WalPoint(2, LAST)]))
    [2]
    """
    known = {point.timeline: tuple(theirs[:number]) for number, point in enumerate(theirs)}
    return frozenset(
        point.timeline for number, point in enumerate(mine) if known.get(point.timeline) != tuple(mine[:number])
    )


def _last_end(config: Config, control: ControlData, timeline: int, start: Lsn) -> Lsn:
    """The end of the last valid record from `start` on.

    pg_waldump is given the end of the files: it would wait five seconds for the next one to appear.
    """
    files_end = _files_end(config, timeline, start, control.segment_bytes)
    if control.closed:
        return _end_of(control, waldump(config, timeline, start, files_end, "-n", "1"))
    said = waldump(config, timeline, start, files_end, "-q")
    stopped = LAST_READ.search(said.stderr)
    if stopped is not None:
        return _end_of(control, waldump(config, timeline, Lsn.parse(stopped["lsn"]), files_end, "-n", "1"))
    if said.returncode != 0:
        raise PostgresError("could not find the end of WAL", said.said)
    # Valid to the end of the last file: its last record is the end.
    start = max(start, Lsn(files_end - control.segment_bytes))
    return _end_of(control, waldump(config, timeline, start, files_end))


def _files_end(config: Config, timeline: int, start: Lsn, segment_bytes: int) -> Lsn:
    """Where the last of the WAL files ends that follow each other from `start` on."""
    position = start - start % segment_bytes
    while (config.postgres.data_directory / "pg_wal" / segment_name(timeline, position, segment_bytes)).exists():
        position += segment_bytes
    if position <= start:
        missing = segment_name(timeline, start, segment_bytes)
        raise PostgresError(f"WAL file {missing} is missing", "It holds the cluster's last checkpoint.")
    return Lsn(position)


def _end_of(control: ControlData, said: Completed) -> Lsn:
    """The end of the last record that was printed."""
    records = list(RECORD.finditer(said.stdout))
    if not records:
        raise PostgresError("could not read the last WAL record", said.said)
    last = records[-1]
    return record_end(Lsn.parse(last["lsn"]), int(last["length"]), control.segment_bytes, control.page_bytes)


def waldump(
    config: Config,
    timeline: int,
    start: Lsn,
    end: Lsn,
    *options: str,
    directory: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Run pg_waldump over a stretch of WAL; it ends with an error at the end of valid WAL, which is no failure.

    `directory`: where the files are, by default the cluster's own. It gets the first and the last file: else it asks
    any one for the size of segments, and one that was made ahead of its time holds nothing. Raises CommandError,
    PostgresError.
    """
    where = directory or config.postgres.data_directory / "pg_wal"
    size = _segment_bytes(where)
    command: list[str | Path] = [
        pgtools.tool(config, "pg_waldump"),
        *("-p", where, "-t", str(timeline), "-s", str(start), "-e", str(end)),
        *options,
        *(segment_name(timeline, position, size) for position in (start, max(start, end - 1))),
    ]
    return run(command, timeout_s=WALDUMP_S, on_line=on_line)


def _segment_bytes(directory: Path) -> int:
    """Size of WAL files: that of any one, for they are whole from the beginning. PostgresError without one."""
    try:
        size = next(path.stat().st_size for path in directory.iterdir() if SEGMENT.fullmatch(path.name))
    except (OSError, StopIteration) as failure:
        raise PostgresError(f'there are no WAL files in "{directory}"') from failure
    if not 1 << 20 <= size <= 1 << 30 or size & (size - 1):
        raise PostgresError(f'the WAL files in "{directory}" are not whole', f"One of them has {size} bytes.")
    return size
