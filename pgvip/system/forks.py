"""Where a promotion left the timeline before it, and whether all that had been flushed there came along.

Flushed is not replayable: recovery may end at a target, before what the standby had received and acknowledged.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import FormatError, PostgresError
from pgvip.state import files
from pgvip.system import pgtools, processes
from pgvip.system.stopped_wal import record_at, waldump
from pgvip.system.wal_files import read_history, segment_name
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config


NOTHING_VALID = "could not find a valid record"
"""How pg_waldump says that it has read the file and nothing whole begins there (src/bin/pg_waldump/pg_waldump.c)."""

FLUSHED_BYTES_MAX = 100


def remember(config: Config, flushed: Lsn) -> None:
    """Keep how far the server had flushed before its promotion, for whoever looks where it forks after this process.

    The promotion matters more than the note: where it cannot be written, only a later look knows less.
    """
    with suppress(OSError):
        text = f"{processes.postmaster(config.postgres.data_directory)} {flushed}"
        files.write(config.paths.flushed, text, durable=False)


def remembered(config: Config) -> Lsn | None:
    """What was kept for the server that runs now; None for nothing."""
    with suppress(OSError, ValueError):
        text = files.read(config.paths.flushed, FLUSHED_BYTES_MAX).decode()
        postmaster, _, flushed = text.partition(" ")
        if postmaster == str(processes.postmaster(config.postgres.data_directory)):
            return Lsn.parse(flushed)
    return None


def forget(config: Config) -> None:
    """It was seen where the promotion forks: the note is over."""
    with suppress(OSError):
        config.paths.flushed.unlink(missing_ok=True)


def left_out(config: Config, timeline: int, flushed: Lsn | None) -> str:
    """What was flushed before the promotion to `timeline` and is not on it, in words; "" for nothing.

    `flushed`: how far the server had flushed just before; None when that is not known (it was promoted earlier): then
    only a record that is still there is held against it. The last record that arrived may be torn, since its sender has
    died: no client has its commit acknowledged, and a promotion leaves it out. It must be seen to be torn: what cannot
    be read counts as left out. Raises PostgresError when the new timeline's history cannot be read.
    """
    if timeline <= 1:
        return ""
    try:
        fork = read_history(config.postgres.data_directory / "pg_wal", timeline)[-1]
    except (OSError, FormatError) as failure:
        if flushed is None:
            return ""  # a history file that was lost later says nothing of a promotion long ago
        raise PostgresError("it was not seen where the new timeline forks", f"{failure}.") from failure
    if flushed is not None and fork.lsn >= flushed:
        return ""
    if flushed is None:
        if not record_follows(config, fork):
            return ""  # the file may be gone since long ago
        return f"the promotion left timeline {fork.timeline} at {fork.lsn}, before what had been flushed there"
    left = f"the promotion left timeline {fork.timeline} at {fork.lsn}, before {flushed}, which had been flushed"
    segment_bytes = pgtools.control_data(config).segment_bytes
    if fork.lsn // segment_bytes != (flushed - 1) // segment_bytes:
        return left
    follows = record_follows(config, fork)
    if follows is None:
        return f"{left}, and the WAL file that would show whether a whole record is missing cannot be read"
    return left if follows else ""


@as_postgres(30.0)
def record_follows(config: Config, fork: WalPoint) -> bool | None:
    """Whether a whole record begins where a timeline was left; None when its file is gone or cannot be read.

    A promotion renames the file that it leaves in the middle (src/backend/access/transam/xlog.c,
    CleanupAfterArchiveRecovery), so it is read under its old name.
    """
    wal = config.postgres.data_directory / "pg_wal"
    control = pgtools.control_data(config)
    name = segment_name(fork.timeline, fork.lsn, control.segment_bytes)
    found = [file for file in (wal / f"{name}.partial", wal / name) if file.exists()]
    if not found:
        return None
    with tempfile.TemporaryDirectory(prefix="pgvip-fork-") as directory:
        where = Path(directory)
        (where / name).symlink_to(found[0])
        end = Lsn(fork.lsn - fork.lsn % control.segment_bytes + control.segment_bytes)
        if record_at(config, control, fork, end, where):
            return True
        said = waldump(config, fork.timeline, fork.lsn, end, "-n", "1", directory=where)
        return False if said.returncode == 0 or NOTHING_VALID in said.stderr else None
