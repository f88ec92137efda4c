"""The cluster's processes and files, seen without asking PostgreSQL."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.core.observations import Processes
from pgvip.deadlines import now_s
from pgvip.errors import PostgresError, ProbeError
from pgvip.system import pgtools, processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.system.pgtools import ControlData
    from pgvip.system.processes import ProcessRef

REREAD_S = 2.0
"""A standby that replays writes its control file many times a second; below a live postmaster that can wait."""

UNREADABLE = "unreadable"
"""In place of a cluster state: there is a control file, and pg_controldata fails on it."""

Signature = tuple[int, int, int, str]


class ProcessesProbe:
    """Looks at procfs each time, and at pg_control only when that may say something new.

    `postmaster` is told of the process that was seen, None for none: whoever waits for its end.
    """

    def __init__(self, postmaster: Callable[[ProcessRef | None], None] = lambda _ref: None) -> None:
        self._postmaster = postmaster
        self._lock = threading.Lock()
        self._control: ControlData | None = None
        self._signature: Signature | None = None
        self._read_at_s = float("-inf")

    def probe(self, config: Config) -> Processes:
        """What there is of the cluster now. ProbeError when its files or processes cannot be read."""
        data = config.postgres.data_directory
        try:
            seen = processes.look(data)
            self._postmaster(seen.postmaster)
            postmaster = "" if seen.postmaster is None else str(seen.postmaster)
            installed = _is_there(data / "global" / "pg_control")
            control = self._control_data(config, postmaster) if installed else None
            return Processes(
                installed=installed,
                system_id="" if control is None else control.system_id,
                postmaster=postmaster,
                left=seen.live,
                standby_signal=_is_there(data / "standby.signal"),
                control_state=control.state if control is not None else UNREADABLE if installed else "",
                checkpoint=None if control is None else control.checkpoint,
            )
        except (PostgresError, OSError) as failure:
            message = failure.message if isinstance(failure, PostgresError) else "could not look at the data directory"
            detail = failure.detail if isinstance(failure, PostgresError) else f"{failure}."
            raise ProbeError(message, detail) from failure

    def _control_data(self, config: Config, postmaster: str) -> ControlData | None:
        """pg_control as PostgreSQL's own program reads it; None when it makes no sense: its fields stay unknown."""
        with self._lock:
            status = (config.postgres.data_directory / "global" / "pg_control").stat()
            signature = (status.st_ino, status.st_mtime_ns, status.st_size, postmaster)
            same_server = self._signature is not None and self._signature[3] == postmaster != ""
            recent = now_s() - self._read_at_s < REREAD_S
            if signature != self._signature and not (same_server and recent):
                self._control, self._signature = None, None
                with suppress(PostgresError):
                    self._control = pgtools.control_data(config)
                    self._signature, self._read_at_s = signature, now_s()
            return self._control


def _is_there(path: Path) -> bool:
    """Like `exists`, but what cannot be known is an error and not "no"."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
