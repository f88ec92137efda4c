"""Whether the server answers over the sessions that are kept: then a new connection needs no login to be believed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgvip.core.values import NEVER
from pgvip.deadlines import now_s
from pgvip.system import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.system.processes import ProcessRef

SLOW_S = 0.1
"""A query that takes longer may be one that hangs: many times what it takes on a server that answers."""

LOGIN_EVERY_S = 5.0
"""A login costs PostgreSQL seven times what a process does that says a word: as often as the probe of clients."""


class KeptSessions:
    """What the threads note that ask over kept sessions, and the one that opens new ones; each writes its own part."""

    def __init__(self) -> None:
        self._server: ProcessRef | None = None
        self._answered_s = NEVER
        self._asked_s: dict[str, float] = {}
        self._login: tuple[ProcessRef | None, float] = (None, NEVER)

    @contextmanager
    def asking(self, name: str) -> Iterator[None]:
        """While this lasts, the session of this name waits for its answer."""
        self._asked_s[name] = now_s()
        try:
            yield
        finally:
            self._asked_s[name] = NEVER

    def answered(self, server: ProcessRef | None, began_s: float = NEVER) -> None:
        """The server's state was asked for at `began_s` and is there; None: it is not known."""
        self._server, self._answered_s = server, began_s

    def logged_in(self, *, ready: bool) -> None:
        """A new connection was tried: `ready` when it came all the way."""
        self._login = (self._server, now_s()) if ready else (None, NEVER)

    def vouch(self, fresh_s: float) -> bool:
        """The server that answered within `fresh_s` lives, keeps nobody waiting, and has taken a login lately."""
        at_s = now_s()
        server, (logged_in, login_s) = self._server, self._login
        return (
            server is not None
            and server == logged_in
            and at_s - login_s < LOGIN_EVERY_S
            and at_s - self._answered_s <= fresh_s
            and not any(NEVER < asked_s <= at_s - SLOW_S for asked_s in tuple(self._asked_s.values()))
            and processes.alive(server)
        )
