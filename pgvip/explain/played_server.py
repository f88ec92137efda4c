"""A host's PostgreSQL and addresses in a play: its observations are the truth, and actions and faults change them."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from pgvip.core.observations import Database, Observation, Observations, PeerDatabase, Processes, Replica
from pgvip.core.settings import Settings
from pgvip.core.values import NEVER, Lsn, Vip, WalPoint

RECORD_BYTES = 120
"""About a checkpoint record: what a clean stop adds to the WAL."""
STEADY = ("gateway", "database", "connection", "disks", "processes")
"""What is probed in every interval: an older success says that the probe hangs."""
NOBODY: frozenset[Vip] = frozenset()
START = Lsn(0)


def saw(value: Any, at_s: float) -> Observation[Any]:
    """A look that worked at `at_s`."""
    return Observation(value, at_s)


def failing(watch: Observation[Any], now_s: float, reason: str = "no answer") -> Observation[Any]:
    """The same after one more failure now."""
    return watch.failed(reason, now_s)


class Server:
    """What one host sees of itself."""

    def __init__(self, seen: Observations, settings: Settings, now_s: float) -> None:
        self.seen = _living(seen, settings, now_s)
        self.name = settings.me
        self.starts = 0

    @property
    def processes(self) -> Processes:
        return self.seen.processes.value or Processes()

    @property
    def database(self) -> Database | None:
        """The running database, or None."""
        value, postmaster = self.seen.database.value, self.processes.postmaster
        return value if value is not None and postmaster and value.postmaster == postmaster else None

    @property
    def up(self) -> bool:
        """It answers queries."""
        return self.database is not None and self.seen.connection.ok()

    @property
    def read_write(self) -> bool:
        return self.up and self.database is not None and not self.database.in_recovery

    @property
    def recovering(self) -> bool:
        return self.up and self.database is not None and self.database.in_recovery

    @property
    def point(self) -> WalPoint:
        value = self.seen.database.value
        return value.point if value is not None else WalPoint(1, Lsn(0))

    @property
    def held(self) -> frozenset[Vip]:
        return self.seen.held.value or NOBODY

    def see(self, **changes: Observation[Any]) -> None:
        self.seen = replace(self.seen, **changes)

    def change(self, now_s: float, **facts: Any) -> None:
        """The database says something else of itself."""
        value = self.seen.database.value
        if value is not None:
            self.see(database=saw(replace(value, **facts), now_s))

    def hold(self, vips: frozenset[Vip], now_s: float) -> None:
        self.see(held=saw(vips, now_s))

    def later(self, now_s: float) -> None:
        """Time passes: what works goes on working, what fails goes on failing."""
        changes: dict[str, Any] = {}
        for name in _WATCHES:
            watch = getattr(self.seen, name)
            if watch.failures:
                changes[name] = replace(watch, failures=watch.failures + 1, failed_at_s=now_s)
            elif watch.at_s > NEVER:
                changes[name] = replace(watch, at_s=now_s)
        self.see(**changes)

    # --- what actions and faults do -------------------------------------------------------------------

    def start(self, now_s: float, *, standby: bool, sync_name: str) -> None:
        """The server comes up."""
        self.starts += 1
        old = self.seen.database.value or Database("", in_recovery=True, point=self.processes.checkpoint or self.point)
        name = f"play-{self.starts}:{self.name}"
        state = "in archive recovery" if standby else "in production"
        files = replace(
            self.processes, installed=True, postmaster=name, left=1, standby_signal=standby, control_state=state
        )
        database = replace(
            old, postmaster=name, in_recovery=standby, streaming=False, sync_names=sync_name, replica=None,
            recovered_end=START if standby else old.point.lsn, replay_lag_s=0.0, foreign_names=False,
        )  # fmt: skip
        self.see(processes=saw(files, now_s), database=saw(database, now_s), connection=saw(value=True, at_s=now_s))

    def stop(self, now_s: float, *, clean: bool) -> None:
        """No process is left. `clean`: a primary's checkpoint is the last record."""
        files, database = self.processes, self.database
        if clean and database is not None:
            state = "shut down in recovery" if database.in_recovery else "shut down"
            files = replace(files, control_state=state, checkpoint=database.point)
        self.see(
            processes=saw(replace(files, postmaster="", left=0), now_s),
            database=failing(self.seen.database, now_s),
            connection=failing(self.seen.connection, now_s),
        )

    def promote(self, now_s: float) -> None:
        """Read-write, on a new timeline."""
        database = self.seen.database.value
        if database is None:
            return
        point = WalPoint(database.point.timeline + 1, database.point.lsn)
        history = (*database.history, WalPoint(database.point.timeline, database.point.lsn))
        self.see(processes=saw(replace(self.processes, standby_signal=False, control_state="in production"), now_s))
        self.change(
            now_s, in_recovery=False, streaming=False, point=point, history=history, recovered_end=point.lsn,
            sync_names="", replica=None,
        )  # fmt: skip

    def rejoined(self, now_s: float) -> None:
        """The data follow the peer's history; the server is down."""
        self.see(processes=saw(replace(self.processes, standby_signal=True), now_s))

    def follow(self, primary: Server, now_s: float, *, sync: bool) -> None:
        """This standby streams from `primary`, and has everything."""
        source = primary.database
        assert source is not None  # it streams
        self.change(
            now_s, streaming=True, moved_at_s=now_s, point=source.point, replay_lsn=source.point.lsn,
            history=source.history,
        )  # fmt: skip
        row = replica(source.point.lsn, sync=sync and bool(source.sync_names))
        primary.change(now_s, replica=row, moved_at_s=now_s)

    def unfollowed(self, now_s: float) -> None:
        """Nothing streams to or from this server."""
        database = self.database
        if database is not None and (database.streaming or database.replica is not None):
            self.change(now_s, streaming=False, replica=None)


_WATCHES = tuple(each.name for each in fields(Observations))


def replica(position: Lsn, *, sync: bool) -> Replica:
    """A standby's row on its primary."""
    return Replica("streaming", "sync" if sync else "async", position, position)


def peer_database(peer: Server, system_id: str) -> PeerDatabase:
    """What a query of the peer's database says."""
    return PeerDatabase(in_recovery=not peer.read_write, timeline=peer.point.timeline, system_id=system_id)


def _living(seen: Observations, settings: Settings, now_s: float) -> Observations:
    """The observations with looks that hang counted as failed ones."""
    limit_s = max(settings.hung_after_s, 3 * settings.interval_s) + settings.interval_s
    hung = {
        name: watch.failed("the look hangs", now_s)
        for name in STEADY
        if (watch := getattr(seen, name)).at_s > NEVER and not watch.failures and now_s - watch.at_s > limit_s
    }
    return replace(seen, **hung)
