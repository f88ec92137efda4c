"""What the checks examine, each thing read once however many ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pgvip.core.removed_peer import since
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import LinkError, PgvipError, RecordError
from pgvip.link.operator_socket import call, raise_failure
from pgvip.state.record import RecordStore, load_identity
from pgvip.system.sql import NoAnswer, connect_local, connect_peer

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.values import Durable
    from pgvip.state.record import PairIdentity
    from pgvip.system.sql import Session
    from pgvip.system.sql_shapes import Row

T = TypeVar("T")
Document = dict[str, Any]
ANSWER_S = 5.0
EXPLAIN_S = 20.0
LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds. Bytes, seconds, counts, percent; those that are None follow the configuration."""

    lag_warning_bytes: int | None = None
    lag_critical_bytes: int | None = None
    lag_warning_s: float | None = None
    lag_critical_s: float | None = None
    ready_warning: int = 16
    ready_critical: int = 128
    disk_warning_percent: float = 20.0
    disk_critical_percent: float = 10.0
    clock_warning_s: float = 1.0
    clock_critical_s: float = 30.0
    connections_warning_percent: float = 80.0
    connections_critical_percent: float = 95.0


class Skipped(PgvipError):
    """A check has nothing to examine here, which is well: its text says why."""


class Facts:
    """Everything that was read. Methods may be called from several threads; an error comes to all who asked."""

    def __init__(self, config: Config, limits: Limits) -> None:
        self.config, self.limits = config, limits
        self._locks: dict[str, threading.Lock] = {}
        self._known: dict[str, Any] = {}
        self._guard = threading.Lock()

    def once(self, name: str, look: Callable[[], T]) -> T:
        """The result of the first call, its PgvipError included."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._known:
                try:
                    self._known[name] = look()
                except PgvipError as error:
                    self._known[name] = error
            found = self._known[name]
        if isinstance(found, PgvipError):
            raise found
        return found  # type: ignore[no-any-return]  # what `look` returned

    # --- pgvip ---------------------------------------------------------------------------------------------

    @property
    def identity(self) -> PairIdentity | None:
        """None before `init`, `clone` or `join`."""
        return self.once("identity", lambda: load_identity(self.config.paths.identity))

    @property
    def durable(self) -> Durable | None:
        return self.once("record", lambda: RecordStore(self.config.paths.record).load())

    @property
    def status(self) -> Document:
        """The daemon's status document; LinkError while it does not run."""
        return self.once("status", lambda: self._ask("status", ANSWER_S))

    @property
    def explained(self) -> Document:
        return self.once("explain", lambda: self._ask("explain", EXPLAIN_S))

    @property
    def same(self) -> Document:
        """What differs between the hosts, as both describe themselves now."""
        return self.once("same", lambda: self._ask("same", EXPLAIN_S))

    @property
    def peer_fresh(self) -> bool:
        """The peer's last message is of about now; it may still be older than what was read since."""
        age_s = self.status["peer"]["age_s"]
        return age_s is not None and age_s < self.config.settings.dead_after_s

    def later_status(self) -> Document | None:
        """The status after a word that the peer spoke after this call; None when none comes in time.

        The peer's last message may be of before a fence, when what it says is over. Waits for `dead_after_s` at most.
        """
        settings, began_s = self.config.settings, now_s()
        margin_s = 2 * settings.heartbeat_s  # what is on its way, and the age of the daemon's last round

        def look() -> Document | None:
            found = self._ask("status", ANSWER_S)
            age_s = found["peer"]["age_s"]
            return found if age_s is not None and age_s < now_s() - began_s - margin_s else None

        try:
            return wait_until(look, settings.dead_after_s + margin_s, LOOK_S, "a word of the peer", LinkError)
        except LinkError:
            return None

    def _ask(self, command: str, timeout_s: float) -> Document:
        if self.identity is None:
            raise LinkError("this host belongs to no pair yet", hint="pgvip init, clone or join")
        reply = call(self.config.paths.socket, {"command": command}, timeout_s)
        raise_failure(reply)
        found: Document = reply[command]
        return found

    @property
    def is_primary(self) -> bool:
        """By the record; LinkError or RecordError when that is not known."""
        durable = self.durable
        if durable is None or durable.record is None:
            raise LinkError("there is no record of who may serve", hint="pgvip init, clone or join")
        return durable.record.primary == self.config.me.name

    @property
    def removed(self) -> str:
        """Since when the peer is removed by an operator; "" where it is not, or nothing says so."""
        with suppress(RecordError):
            return since(self.durable, self.config.me.name) if self.durable is not None else ""
        return ""

    @property
    def alone(self) -> bool:
        """By the record one host serves alone."""
        durable = self.durable
        return durable is not None and durable.record is not None and durable.record.mode.value == "solo"

    # --- PostgreSQL --------------------------------------------------------------------------------------------

    def local(self, name: str, params: tuple[object, ...] = ()) -> list[Row]:
        """Rows of a query of the local server."""
        return self.once(f"local {name}", lambda: _query(connect_local(self.config), name, params))

    def peer(self, name: str, params: tuple[object, ...] = ()) -> list[Row]:
        """Rows of a query of the peer's server, at its own address."""
        config = self.config
        return self.once(f"peer {name}", lambda: _query(connect_peer(config, config.peer.address), name, params))

    @property
    def in_recovery(self) -> bool:
        """The local server runs as a standby; ProbeError when it does not run."""
        return bool(self.local("in_recovery")[0][0])

    @property
    def server_runs(self) -> bool:
        """The local server answers."""
        try:
            self.local("in_recovery")
        except NoAnswer:
            return False
        return True


def _query(session: Session, name: str, params: tuple[object, ...]) -> list[Row]:
    with session:
        return session.query(name, params, timeout_s=ANSWER_S)
