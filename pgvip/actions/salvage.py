"""Hand the WAL that the standby lacks to it, when the primary's server is dead and its host lives.

The files go into a folder of their own in the archive, where the standby's recovery looks for them: not under the
archive's own names, since a file that is cut short today may be archived whole tomorrow, if this host serves on.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pgvip.deadlines import Deadline
from pgvip.errors import ArchiveError, CommandError
from pgvip.system import pgtools, wal_commands
from pgvip.system.commands import check
from pgvip.system.stopped_wal import end_of_wal
from pgvip.system.wal_files import segment_name
from pgvip.system.workers import LONG_S, as_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.core.values import Lsn, WalPoint


@as_postgres(LONG_S)
def salvage(config: Config, start: Lsn, timeout_s: float) -> WalPoint:
    """Put the files from `start` to the end of valid WAL where the peer finds them; returns that end.

    The server must be down. Copies that an earlier call left are replaced: their originals are in pg_wal, or were
    saved before it was rewound. Raises PostgresError, ArchiveError when it is not done within `timeout_s`.
    """
    deadline = Deadline.after(timeout_s)
    end = end_of_wal(config)
    directory = _empty_directory(config)
    size = pgtools.control_data(config).segment_bytes
    for position in range(start - start % size, end.lsn, size):
        file = config.postgres.data_directory / "pg_wal" / segment_name(end.timeline, position, size)
        if deadline.expired:
            raise ArchiveError("the WAL that the peer lacks could not be copied in time", f"{file.name} was next.")
        try:
            command: list[str | Path] = [*wal_commands.salvage_argv(config, directory), file]
            check(command, timeout_s=max(0.1, deadline.left_s()), user=config.postgres.user)
        except CommandError as failure:
            raise ArchiveError("the WAL that the peer lacks could not be copied", str(failure)) from failure
    return end


def _empty_directory(config: Config) -> Path:
    directory = config.archive.directory / wal_commands.SALVAGE
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o750, exist_ok=True)
    pgtools.give(config, directory)
    return directory
