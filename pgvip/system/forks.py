"""Where a promotion left the timeline before it, and whether all that had been flushed there came along.

Flushed is not replayable: recovery may end at a target, before what the standby had received and acknowledged.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import FormatError, PostgresError
from pgvip.system import pgtools
from pgvip.system.stopped_wal import record_at
from pgvip.system.wal_files import read_history, segment_name
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config


def left_out(config: Config, timeline: int, flushed: Lsn | None) -> str:
    """What was flushed before the promotion to `timeline` and is not on it, in words; "" for nothing.

    `flushed`: how far the server had flushed just before; None when it was promoted earlier: then only a record that is
    still there is held against it. The last record that arrived may be torn, since its sender has died: no client has
    its commit acknowledged, and a promotion leaves it out. Raises PostgresError when the new timeline's history cannot
    be read.
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
    segment_bytes = pgtools.control_data(config).segment_bytes
    torn = flushed is None or fork.lsn // segment_bytes == (flushed - 1) // segment_bytes
    if torn and not record_follows(config, fork):
        return ""
    upto = "what had been flushed there" if flushed is None else f"{flushed}, which had been flushed"
    return f"the promotion left timeline {fork.timeline} at {fork.lsn}, before {upto}"


@as_postgres(30.0)
def record_follows(config: Config, fork: WalPoint) -> bool:
    """Whether a whole record begins where a timeline was left.

    A promotion renames the file that it leaves in the middle (src/backend/access/transam/xlog.c,
    CleanupAfterArchiveRecovery), so it is read under its old name. Without the file nothing is known to follow.
    """
    wal = config.postgres.data_directory / "pg_wal"
    control = pgtools.control_data(config)
    name = segment_name(fork.timeline, fork.lsn, control.segment_bytes)
    files = [file for file in (wal / f"{name}.partial", wal / name) if file.exists()]
    if not files:
        return False
    with tempfile.TemporaryDirectory(prefix="pgvip-fork-") as directory:
        (Path(directory) / name).symlink_to(files[0])
        end = Lsn(fork.lsn - fork.lsn % control.segment_bytes + control.segment_bytes)
        return bool(record_at(config, control, fork, end, Path(directory)))
