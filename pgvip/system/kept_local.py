"""One session to the local server that the daemon's chores share, in place of a login for each."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgvip.errors import PgvipError, ProbeError
from pgvip.system import processes
from pgvip.system.sql import connect_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config
    from pgvip.system.sql import Session


WAIT_S = 10.0
"""For the chore that has the session: its queries have limits of some seconds."""


class KeptLocal:
    """Lends it to one thread at a time; it is another one after each start of the server, or another configuration."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._made_for: tuple[object, str] | None = None

    @contextmanager
    def lent(self, config: Config) -> Iterator[Session]:
        """The session, not yet connected perhaps; never one to a process that has outlived its postmaster.

        ProbeError when another chore keeps it for long, or it cannot be seen which server runs: to whoever asks that is
        a database that does not answer.
        """
        if not self._lock.acquire(timeout=WAIT_S):
            raise ProbeError("the session of the daemon's chores is in use", f"It was not free within {WAIT_S:g} s.")
        try:
            wanted = config.postgres, _running(config)
            if self._session is None or wanted != self._made_for:
                self._close()
                self._session, self._made_for = connect_local(config), wanted
            yield self._session
        finally:
            self._lock.release()

    def close(self) -> None:
        """End it; the next one to ask has a new one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def _running(config: Config) -> str:
    """Which postmaster runs."""
    try:
        return str(processes.postmaster(config.postgres.data_directory))
    except ProbeError:
        raise
    except (PgvipError, OSError) as failure:
        raise ProbeError("could not see which PostgreSQL server runs", str(failure)) from failure


CHORES = KeptLocal()
"""The daemon's one."""
