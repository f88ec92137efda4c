"""The cluster's processes and files, seen without asking PostgreSQL."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgvip.core.observations import Processes
from pgvip.deadlines import now_s
from pgvip.errors import PostgresError, ProbeError
from pgvip.system import pgtools, processes
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.config.model import Config
    from pgvip.system.pgtools import ControlData
    from pgvip.system.processes import ProcessRef

REREAD_S = 2.0
"""Below a live postmaster its files can wait: a standby that replays writes its control file many times a second."""

UNREADABLE = "unreadable"
"""In place of a cluster state: there is a control file, and pg_controldata fails on it."""

LOOK_S = 20.0
"""For reading a few files; more means a disk that hangs."""

Signature = tuple[tuple[int, int, int] | None, str]


class Files(NamedTuple):
    """What is there of a cluster without a server. `control`: inode, time and size of pg_control, None without one.

    `segment`: the System V segment that postmaster.pid names.
    """

    control: tuple[int, int, int] | None
    standby_signal: bool
    segment: str


@as_postgres(LOOK_S)
def look_at_files(data: Path) -> Files:
    """Read them, unless the disk hangs. OSError."""
    control = None
    if _is_there(data / "global" / "pg_control"):
        status = (data / "global" / "pg_control").stat()
        control = (status.st_ino, status.st_mtime_ns, status.st_size)
    return Files(control, _is_there(data / "standby.signal"), processes.named_segment(str(data)))


class ProcessesProbe:
    """Reads procfs each time; files only now and then below the same postmaster, and pg_control when it has changed.

    `postmaster` is called with the process that was seen, None for none: whoever waits for its end.
    """

    def __init__(self, postmaster: Callable[[ProcessRef | None], None] = lambda _ref: None) -> None:
        self._postmaster = postmaster
        self._lock = threading.Lock()
        self._control: ControlData | None = None
        self._signature: Signature | None = None
        self._files: tuple[Files, str] | None = None
        self._looked_s = float("-inf")

    def probe(self, config: Config) -> Processes:
        """What there is of the cluster now. ProbeError when its files or processes cannot be read."""
        data = config.postgres.data_directory
        try:
            seen = processes.look(data)
            self._postmaster(seen.postmaster)
            postmaster = "" if seen.postmaster is None else str(seen.postmaster)
            with self._lock:
                seen_files, control = self._look(config, postmaster)
            installed = seen_files.control is not None
            if not seen.live and seen_files.segment:
                processes.remember_segment(data, seen_files.segment)
            return Processes(
                installed=installed,
                system_id="" if control is None else control.system_id,
                postmaster=postmaster,
                left=seen.live,
                standby_signal=seen_files.standby_signal,
                control_state=control.state if control is not None else UNREADABLE if installed else "",
                checkpoint=None if control is None else control.checkpoint,
            )
        except (PostgresError, OSError) as failure:
            message = failure.message if isinstance(failure, PostgresError) else "could not inspect the data directory"
            detail = failure.detail if isinstance(failure, PostgresError) else f"{failure}."
            raise ProbeError(message, detail) from failure

    def _look(self, config: Config, postmaster: str) -> tuple[Files, ControlData | None]:
        """The files, and pg_control as PostgreSQL's own program reads it; None when it makes no sense: unknown then."""
        known = self._files
        if known is not None and known[1] == postmaster != "" and now_s() - self._looked_s < REREAD_S:
            return known[0], self._control
        self._files, looked_s = None, now_s()
        found = look_at_files(config.postgres.data_directory)
        signature = (found.control, postmaster)
        if signature != self._signature:
            self._control, self._signature = None, None
            if found.control is not None:
                with suppress(PostgresError):
                    self._control, self._signature = pgtools.control_data(config), signature
        self._files, self._looked_s = (found, postmaster), looked_s
        return found, self._control


def _is_there(path: Path) -> bool:
    """Like `exists`, but what cannot be known is an error and not "no"."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
