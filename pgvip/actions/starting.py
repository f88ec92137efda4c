"""Whether a server that starts is ready: what its postmaster says in its pid file, and whether it answers then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgvip.deadlines import now_s
from pgvip.errors import PostgresError, ProbeError
from pgvip.system.pgping import ping
from pgvip.system.sql import DATABASE_ROLE
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config

READY = "ready"
PORT_LINE, STATUS_LINE = 3, 7
"""Of postmaster.pid, from 0 (src/include/utils/pidfile.h, LOCK_FILE_LINE_PORT and LOCK_FILE_LINE_PM_STATUS)."""

PING_S = 2.0
"""Limit of one connection."""

UNANSWERED_S = 10.0
"""A server that is ready may be short of CPU for so long; after that its start has failed, and it counts as hung."""


class Announced(NamedTuple):
    """What the postmaster wrote about itself; empty while it has not."""

    status: str
    port: str


class Readiness:
    """Of the server of one start."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ready_since_s: float | None = None

    def serves(self) -> bool:
        """True when the postmaster says so in its pid file and a connection is answered.

        The file first: each refused connection would be a line in the server's log. PostgresError for a server that is
        ready and cannot be reached: somebody else's start, with other settings, or one that hangs.
        """
        postgres = self._config.postgres
        said = announced(postgres.data_directory)
        if said.status != READY:
            self._ready_since_s = None
            return False
        if said.port and said.port != str(postgres.port):
            raise PostgresError(
                f"the server that runs listens on port {said.port}, and {postgres.port} is configured",
                "It was started with that port by somebody else.",
                "Stop it: pgvip starts it again with the configured port.",
            )
        if self._ready_since_s is None:
            self._ready_since_s = now_s()
        try:
            answer = ping(postgres.socket_directory, postgres.port, DATABASE_ROLE, postgres.database, PING_S)
        except ProbeError as failure:
            if now_s() - self._ready_since_s < UNANSWERED_S:
                return False
            raise PostgresError(
                f"the server is ready, as it says, and has answered nothing for {UNANSWERED_S:g} s",
                f"{failure}.",
                f'It hangs, or unix_socket_directories of a start by somebody else lack "{postgres.socket_directory}".',
            ) from failure
        return answer.serving


@as_postgres()
def announced(data: Path) -> Announced:
    """Read the pid file."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Announced("", "")
    lines += [""] * (STATUS_LINE + 1 - len(lines))
    return Announced(lines[STATUS_LINE].strip(), lines[PORT_LINE].strip())
