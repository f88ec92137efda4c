"""Make a returned host's data follow the peer: save what diverged, rewind, else clone. Leaves it stopped.

Proves first that the peer's server is the pair's read-write primary, and that nothing runs here. Each step
can be repeated: a rewind that was interrupted left the data unusable, which a marker remembers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pgvip.actions import postgres, prepare
from pgvip.core.values import WalPoint
from pgvip.errors import CommandError, PgvipError, PostgresError, ProbeError, RejoinError
from pgvip.rejoin import copy as cloning
from pgvip.rejoin import source
from pgvip.rejoin.compare import Wal, parting
from pgvip.rejoin.places import Place
from pgvip.rejoin.rewind import rewind, why_no_rewind
from pgvip.rejoin.saved_wal import Divergence, prune, save_diverged, set_aside_archived
from pgvip.rejoin.unarchived import keep_unarchived
from pgvip.system import pgtools, processes, wal_commands
from pgvip.system.commands import run
from pgvip.system.sql import connect_local
from pgvip.system.stopped_wal import LAST, Piece, end_of_wal, fork_point, local_history, strange_timelines
from pgvip.system.wal_files import segment_name
from pgvip.system.workers import LONG_S, as_postgres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.config.model import Config
    from pgvip.rejoin.source import Source

Say = Callable[[str], None]


def rejoin(
    config: Config, *, clone: bool = False, progress: Say, on_bytes: cloning.Bytes | None = None, system_id: str = ""
) -> str:
    """Make this host's data follow the peer; returns a sentence that says how.

    `clone`: an operator wants a new base backup, whatever the data looks like. `system_id`: of the pair's
    record. Raises RejoinError, after which the same call may be repeated.
    """
    if cloning.finish_swap(config):
        progress("finished the clone that was interrupted")
    found = source.prove_source(config, own_system_id(config) or system_id)
    runs = processes.postmaster(config.postgres.data_directory) is not None
    if runs:
        _refuse_read_write(config)
    if clone and runs:
        done = _copy_and_stop(config, found, progress, on_bytes)
    else:
        _stop(config, progress)
        # Stopped, so it cannot be this host's own server that answers now.
        found = source.prove_source(config, found.system_id)
        done = follow_source(config, found, clone=clone, progress=progress, on_bytes=on_bytes)
    cloning.make_standby(config)
    for path in prune(config):
        progress(f'removed "{path}": it held no commits')
    return done


def _copy_and_stop(config: Config, found: Source, progress: Say, on_bytes: cloning.Bytes | None) -> str:
    """Clone as an operator wants it, beside a standby that runs until the copy is whole; it runs on when that fails."""
    saved: list[tuple[Divergence, Path]] = []

    def stop() -> None:
        _stop(config, progress)
        again = source.prove_source(config, found.system_id)
        saved.extend(filter(None, [keep_own(config, again, progress)]))

    progress("a new clone is needed: an operator asked for it")
    try:
        done = cloning.clone(config, progress, on_bytes, system_id=found.system_id, stop=stop)
    except (PgvipError, OSError):
        _start_again(config, found.system_id, progress)
        raise
    for one in saved:
        clean_archive(config, one, progress)
    return done


@as_postgres(LONG_S)
def keep_own(config: Config, found: Source, progress: Say) -> tuple[Divergence, Path] | None:
    """See that what only the data here have is kept before a copy replaces them; returns what `_save` does."""
    known = _divergence_if_readable(config, found, progress)
    saved = _keep(config, known, found, progress)
    if known is None:
        _mark_unsaved(config, progress)
    return saved


def _start_again(config: Config, system_id: str, progress: Say) -> None:
    """Bring the standby back whose data are still in their place; a start that fails is tried again by the daemon."""
    if prepare.why_unusable(config) or processes.postmaster(config.postgres.data_directory) is not None:
        return
    progress("starting the standby again: the clone has failed, and its data are as they were")
    try:
        postgres.start(config, standby=True, sync=False, system_id=system_id)
    except PgvipError as failure:
        progress(f"it did not start: {failure.message}")


@as_postgres(LONG_S)
def follow_source(
    config: Config, found: Source, *, clone: bool, progress: Say, on_bytes: cloning.Bytes | None
) -> str:
    """Choose the cheapest way that works, and go it."""
    reason = "an operator asked for it" if clone else unusable(config)
    if not reason and (config.postgres.data_directory / "backup_label").exists():
        # Its recovery never began, so pg_control does not tell where it stands; the start will.
        return "the data is a copy that has not been started yet"
    divergence = None if reason else divergence_from(config, found)
    known = divergence or _divergence_if_readable(config, found, progress)
    saved = _keep(config, known, found, progress)
    if divergence is not None and not divergence.diverged:
        reason = missing_wal(config, divergence, found)
        if not reason:
            return "nothing had diverged"
    if not reason:
        assert divergence is not None  # without one there is a reason
        reason = why_no_rewind(config, divergence.end, found, divergence.strange) or rewind(
            config, divergence.fork.lsn, progress
        )
    done = f"rewound to {divergence.fork}" if divergence and not reason else ""
    if reason:
        progress(f"a new clone is needed: {reason}")
        refuse_clone_now(config, reason, by_operator=clone)
        done = _clone(config, known, found, progress, on_bytes)
    clean_archive(config, saved, progress)
    # Not before: with diverged files in its archive, the rewound data would follow them instead of the source.
    prepare.mark_usable(config)
    return done


@as_postgres(LONG_S)
def clone_over(config: Config, progress: Say, on_bytes: cloning.Bytes | None = None, *, system_id: str) -> str:
    """Clone as an operator orders it, whatever is here; what only this cluster's data has is kept, as by a rejoin.

    The server must be down. `system_id`: of the pair's cluster. Returns a sentence; raises RejoinError, after which the
    same call may be repeated.
    """
    if cloning.finish_swap(config):
        progress("finished the clone that was interrupted")
    if own_system_id(config) != system_id:
        return cloning.clone(config, progress, on_bytes, system_id=system_id)
    found = source.prove_source(config, system_id)
    known = _divergence_if_readable(config, found, progress)
    saved = _keep(config, known, found, progress)
    done = _clone(config, known, found, progress, on_bytes)
    clean_archive(config, saved, progress)
    return done


def own_system_id(config: Config) -> str:
    """System identifier of the data here; "" when there is none that can be read."""
    with suppress(PostgresError):
        return pgtools.control_data(config).system_id
    return ""


def _refuse_read_write(config: Config) -> None:
    """RejoinError unless the server that runs here is a standby."""
    try:
        with connect_local(config) as session:
            standby = bool(session.query("in_recovery", timeout_s=postgres.ANSWER_S)[0][0])
    except ProbeError:
        standby = pgtools.control_data(config).state != "in production"
    if not standby:
        raise RejoinError(
            "the database on this host is read-write",
            "A rejoin would destroy what its clients write.",
            "Stop it first, if the peer is the rightful primary.",
        )


def _stop(config: Config, progress: Say) -> None:
    """Stop a standby that runs here; a read-write server is never stopped for a rejoin."""
    if processes.postmaster(config.postgres.data_directory) is None:
        postgres.stop(config, clean=False)
        return
    _refuse_read_write(config)
    progress("stopping the standby")
    try:
        postgres.stop(config, clean=True)
    except PostgresError:
        postgres.stop(config, clean=False)


# --- what is here ------------------------------------------------------------------------------------------


def unusable(config: Config) -> str:
    """Why the data here can be neither kept nor rewound; "" when it can."""
    if not (config.postgres.data_directory / "PG_VERSION").exists():
        return "there is no data"
    if why := prepare.why_unusable(config):
        return f"an earlier {why} was interrupted"
    try:
        end_of_wal(config)
    except PostgresError as failure:
        return failure.message
    return ""


def divergence_from(config: Config, found: Source) -> Divergence:
    """Compare this cluster's history with the source's; the server must be down."""
    control = pgtools.control_data(config)
    end = end_of_wal(config)
    mine = [*local_history(config, end.timeline), end]
    fork, strange = fork_from(config, mine, found)
    return Divergence(fork, end, _pieces(mine, fork), strange, control.segment_bytes)


def fork_from(config: Config, mine: Sequence[WalPoint], found: Source) -> tuple[WalPoint, frozenset[int]]:
    """Where this cluster's history leaves the source's, and the timelines that the source never had so.

    `mine`: this cluster's timelines, each with its end.
    """
    end = mine[-1]
    theirs = [*found.history, WalPoint(found.flush.timeline, LAST)]
    fork = fork_point(mine, theirs)
    if end.timeline == found.flush.timeline and end.lsn > found.flush.lsn:
        # On the source's own timeline, but further: it is told apart by what the source has flushed.
        fork = found.flush
    strange = strange_timelines(mine, theirs)
    parted = parting(Wal(config, pgtools.control_data(config), mine, theirs), fork.lsn)
    if parted is None:
        return fork, strange
    return parted, strange | {point.timeline for point in mine if point.lsn > parted.lsn}


def _pieces(mine: Sequence[WalPoint], fork: WalPoint) -> tuple[Piece, ...]:
    """This cluster's WAL from the fork on, by timeline."""
    pieces, start = [], fork.lsn
    for point in mine:
        if point.timeline >= fork.timeline and point.lsn > start:
            pieces.append(Piece(point.timeline, start, point.lsn))
            start = point.lsn
    return tuple(pieces)


def _divergence_if_readable(config: Config, found: Source, progress: Say) -> Divergence | None:
    """None where nobody can find out what only this host has: not silently, since it cannot be saved either."""
    if prepare.why_unusable(config):
        return None
    try:
        return divergence_from(config, found)
    except (PostgresError, RejoinError) as failure:
        if (config.postgres.data_directory / "pg_wal").is_dir():
            progress(f"what only this host has cannot be determined: {failure.message}. {failure.detail}".rstrip())
        return None


def missing_wal(config: Config, divergence: Divergence, found: Source) -> str:
    """Why this data cannot simply go on; "" when the WAL from its end on can still be had.

    The source may have it under the name of any later timeline.
    """
    timelines = [point.timeline for point in found.history] + [found.flush.timeline]
    wanted = [
        segment_name(timeline, divergence.end.lsn, divergence.segment_bytes)
        for timeline in timelines
        if timeline >= divergence.end.timeline
    ]
    if source.has_segment(config, wanted):
        return ""
    if config.archive.enabled and any(_archived(config, name) for name in wanted):
        return ""
    return f"the peer has no longer the WAL that this host needs next ({wanted[0]})"


def _archived(config: Config, name: str) -> bool:
    """Look into both archives as a recovery would: by the program that PostgreSQL runs, bounded in time."""
    with TemporaryDirectory(dir=config.paths.work) as directory:
        command = [*wal_commands.restore_argv(config), name, str(Path(directory) / name)]
        try:
            return run(command, timeout_s=config.archive.timeout_s + 5.0).returncode == 0
        except CommandError:
            return False


# --- save, rewind, clone ---------------------------------------------------------------------------------------


def _keep(
    config: Config, divergence: Divergence | None, found: Source, progress: Say
) -> tuple[Divergence, Path] | None:
    """See that all WAL that only this host has is archived or saved; returns what `_save` does."""
    if divergence is not None:
        keep_unarchived(config, divergence, progress)
    return _save(config, divergence, found, progress)


def _save(
    config: Config, divergence: Divergence | None, found: Source, progress: Say
) -> tuple[Divergence, Path] | None:
    """Keep the diverged WAL, once; None when there is none, or none that can be found out."""
    if divergence is None or not divergence.diverged:
        return None
    target, lost = save_diverged(config, divergence, found.heartbeat_files)
    count = "an unknown number of" if lost is None else str(lost.commits)
    progress(
        f"saved {divergence.size_bytes} bytes of diverged WAL with {count} lost transactions,"
        f' {divergence.fork} to {divergence.end}, in "{target}"'
    )
    return divergence, target


def _clone(
    config: Config, known: Divergence | None, found: Source, progress: Say, on_bytes: cloning.Bytes | None
) -> str:
    """Replace the data here by a copy; where nobody could find out what only they have, their WAL outlives them."""
    if known is None:
        _mark_unsaved(config, progress)
    return cloning.clone(config, progress, on_bytes, system_id=found.system_id)


def _mark_unsaved(config: Config, progress: Say) -> None:
    if not prepare.why_unusable(config) and cloning.mark_unsaved(config):
        progress(f'the data of now are kept until the next clone, in "{Place.of_data(config).replaced}"')


@as_postgres(LONG_S)
def clean_archive(config: Config, saved: tuple[Divergence, Path] | None, progress: Say) -> None:
    """Move what `_keep` saved out of the archive, where a recovery would follow it."""
    if saved is not None:
        for name in set_aside_archived(config, *saved):
            progress(f"moved {name} out of the archive: it belongs to the diverged part")


def refuse_clone_now(config: Config, reason: str, *, by_operator: bool) -> None:
    """RejoinError when the configuration does not allow a clone at this time."""
    rule = config.rejoin
    if by_operator or rule.clone == "now":
        return
    if rule.clone == "never":
        raise RejoinError(
            f"a new clone is needed, and is not allowed to start by itself: {reason}",
            hint="Run `pgvip clone`, or set clone in section [rejoin].",
        )
    if not in_window(rule.window, datetime.now().astimezone()):
        raise RejoinError(f"a new clone waits for its window {rule.window}: {reason}")


def in_window(window: str, at: datetime) -> bool:
    """True within a daily window of local time; one that ends before it begins spans midnight.

    >>> in_window("22:00-04:00", datetime(2026, 1, 1, 3, 59)), in_window("01:00-02:00", datetime(2026, 1, 1, 2, 0))
    (True, False)
    """
    begin, _, end = window.partition("-")
    now, first, last = (time.strptime(word, "%H:%M")[3:5] for word in (f"{at:%H:%M}", begin.strip(), end.strip()))
    return first <= now < last if first <= last else now >= first or now < last
