"""Who restarts the server after a crash of one of its processes: PostgreSQL itself where pgvip does not.

While pgvip acts, the postmaster ends instead (`restart_after_crash = off`): a synchronous primary would show clients
commits that the standby lacks, and a standby is there to take over. In a pause, and after an orderly stop of the
daemon, nobody would start it again, so it does what PostgreSQL does without pgvip.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.errors import PgvipError, PostgresError
from pgvip.events.event_log import log
from pgvip.system import pgconf, processes

if TYPE_CHECKING:
    from pgvip.config.model import Config

LEAVE_S = 3.0
"""For the daemon's end; a disk that hangs must not hold it up."""


def set_restart(config: Config, *, on: bool) -> bool:
    """Set restart_after_crash and have the server read it; True when it was something else. PostgresError."""
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None or not pgconf.set_restart_after_crash(config, on=on):
        return False  # every start writes `off`
    if not processes.send(postmaster, pgconf.RELOAD):
        raise PostgresError("there is no server to set restart_after_crash on")
    return True


def leave(config: Config) -> None:
    """The daemon ends: from now on PostgreSQL restarts itself after a crash."""

    def work() -> None:
        with suppress(PgvipError, OSError):
            if set_restart(config, on=True):
                log("crash-restart", "PostgreSQL restarts itself after a crash while the daemon is stopped")

    thread = threading.Thread(target=work, name="leave", daemon=True)
    thread.start()
    thread.join(LEAVE_S)
