"""The local database, as it sees itself: over a kept connection, a new connection, and a written row."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pgvip.config.observing import observes
from pgvip.core.observations import Database, Replica
from pgvip.core.values import NEVER, Lsn, WalPoint
from pgvip.deadlines import now_s
from pgvip.errors import FormatError, PostgresError, ProbeError
from pgvip.probes.kept_sessions import SLOW_S, KeptSessions
from pgvip.system import pgconf, pgtools, processes
from pgvip.system.pgping import negotiate, ping
from pgvip.system.sql import DATABASE_ROLE, ServerAnswered, connect_local
from pgvip.system.wal_files import read_history, timeline_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.config.model import Config
    from pgvip.system.processes import ProcessRef
    from pgvip.system.sql import Session


NOWHERE = Lsn(0)


class Answers(NamedTuple):
    """The columns of database.sql, in their order."""

    in_recovery: bool
    timeline_hex: str | None
    flush_lsn: str | None
    receive_lsn: str | None
    replay_lsn: str | None
    control_timeline: int | None
    received_timeline: int | None
    receiver_status: str | None
    message_age_s: float | None
    replay_paused: bool
    replay_age_s: float | None
    sync_names: str
    listen_addresses: str
    slot_wal_status: str | None
    replica_state: str | None
    replica_sync_state: str | None
    replica_flush_lsn: str | None
    replica_replay_lsn: str | None
    replica_flush_lag_s: float | None
    replica_replay_lag_s: float | None
    replica_reply_age_s: float | None
    segment_bytes: int
    settings_read_at: str
    recovery_target: str | None
    apply_delay: str


class Memory(NamedTuple):
    """What the probe remembers of one postmaster from look to look.

    `received`: the newest WAL that arrived; `moved_at_s`: when that changed. `timeline`: the newest one seen.
    `recovered_end`: the first position seen while read-write: the end of recovery, or a little more. `looked_s`: when
    the last answer was there. `ahead_s`: by how much this host's wall clock seems to be ahead of the standby's.
    """

    postmaster: str = ""
    received: Lsn = Lsn(0)
    moved_at_s: float = NEVER
    timeline: int = 0
    recovered_end: Lsn = Lsn(0)
    looked_s: float = NEVER
    ahead_s: float = math.inf


CLOCKS_PART_S = 0.001
"""How far two clocks may move apart between two looks: at most 500 ppm (adjtimex(2))."""

QUERY_CANCELED = "57014"
"""SQLSTATE of a statement that took longer than statement_timeout; a wait for a lock ends by another one."""


class DatabaseProbe:
    """Observes the local database; each of the three probes may run in a thread of its own.

    `config` may be replaced: the next probe goes by it (connections stay). `slow` is called while a kept session waits
    for its answer for longer than usual: then a new connection is due.
    """

    def __init__(self, config: Config, slow: Callable[[], None] = lambda: None) -> None:
        self.config = config
        self._slow, self._kept = slow, KeptSessions()
        self._state = self._watched(connect_local(config))
        self._beat, self._beat_limit_s = connect_local(config), 0.0
        self._memory = Memory()
        self._wal = config.postgres.data_directory / "pg_wal"
        self._histories: dict[int, tuple[WalPoint, ...]] = {}
        self.settings_read_at = ""
        """When the server last read its files, as it says; "" while it has not answered."""

    def probe(self, timeout_s: float | None = None) -> Database:
        """Ask the server for its whole state over the kept connection.

        Raises ProbeError: nobody answers, or what answers is an orphan of a dead postmaster.
        """
        limit_s = self._limit_s(timeout_s)
        peer = self.config.peer
        # A standby that another tool runs has a name of that tool's, and the peer's address all the same.
        address = peer.address if observes(self.config) else None
        words = (self.config.peer_application_name, address, pgconf.slot_name(peer.name))
        server, began_s = None, now_s()
        try:
            self._same_server(self._state)
            with self._kept.asking("state"):
                rows = self._state.query("database", words, timeout_s=limit_s)
            postmaster = self._same_server(self._state)
            if not self._state.backend_pid:
                raise ProbeError("what answered is not the server that runs now")
            server = postmaster
        finally:
            self._kept.answered(server, began_s)
        said = Answers(*rows[0])
        self.settings_read_at = said.settings_read_at
        return self._database(said, str(postmaster))

    def connection(self, timeout_s: float | None = None) -> bool:
        """Open a new connection: True when a live server answered, also by refusing it.

        False: it answered that it takes no connections now (starting up, shutting down, recovering).
        Raises ProbeError when nothing answered.

        It logs in only now and then while the kept sessions are answered: they show that queries are, and a process
        that the postmaster has made for the connection and that says a word shows the rest.
        """
        limit_s = self._limit_s(timeout_s)
        postgres = self.config.postgres
        if self._kept.vouch(self.config.settings.hung_after_s):
            try:
                negotiate(postgres.socket_directory, postgres.port, limit_s)
            except ProbeError:
                self._kept.logged_in(ready=False)
                raise
            return True
        self._kept.logged_in(ready=False)
        answer = ping(postgres.socket_directory, postgres.port, DATABASE_ROLE, postgres.database, limit_s)
        self._kept.logged_in(ready=answer.ready)
        return answer.serving

    def heartbeat(self, timeout_s: float | None = None) -> str:
        """Write and commit the heartbeat row with a local flush; "" or the server's reason for a refusal.

        ProbeError when neither comes in half of `disk_hung_after_s`, as for the probe of the disks. The server gives
        up before this side does: else every try would leave a session behind that waits for the lock, until no
        connections are left.
        """
        limit_s = self.config.settings.disk_hung_after_s / 2 if timeout_s is None else timeout_s
        if limit_s != self._beat_limit_s:
            self._beat.close()
            self._beat = self._watched(connect_local(self.config, 0.8 * limit_s, lock_timeout_s=0.7 * limit_s))
            self._beat_limit_s = limit_s
        self._same_server(self._beat)
        try:
            with self._kept.asking("heartbeat"):
                self._beat.query("heartbeat", timeout_s=limit_s)
        except ServerAnswered as failure:
            if failure.sqlstate == QUERY_CANCELED:
                raise ProbeError(failure.reason, failure.detail) from failure
            return failure.reason
        return ""

    def close(self) -> None:
        """Close the kept connections."""
        self._state.close()
        self._beat.close()

    def _limit_s(self, timeout_s: float | None) -> float:
        """As long as an answer is still news: the time after which the server counts as hung."""
        return self.config.settings.hung_after_s if timeout_s is None else timeout_s

    def _watched(self, session: Session) -> Session:
        session.slow_after(SLOW_S, self._slow)
        return session

    def _same_server(self, session: Session) -> ProcessRef:
        """Return the postmaster's identity; a connection to another one is closed.

        A backend outlives a killed postmaster and goes on answering: its parent must be the
        postmaster that `postmaster.pid` names.
        """
        postmaster = processes.postmaster(self.config.postgres.data_directory)
        if postmaster is None:
            session.close()
            raise ProbeError("there is no postmaster")
        if session.backend_pid and processes.parent_of(session.backend_pid) != postmaster.pid:
            session.close()
        return postmaster

    def _database(self, said: Answers, postmaster: str) -> Database:
        if self._memory.postmaster != postmaster:
            self._memory = Memory(postmaster)
        if said.in_recovery:
            return self._standby(said)
        return self._primary(said)

    def _primary(self, said: Answers) -> Database:
        point = WalPoint(int(said.timeline_hex or "0", 16), lsn(said.flush_lsn))
        # A primary's stream is alive while the peer's flushed position moves; its own WAL always does.
        flushed, age_s = lsn(said.replica_flush_lsn), self._reply_age_s(said.replica_reply_age_s)
        self._remember(flushed, age_s, point.timeline, self._memory.recovered_end or point.lsn)
        return Database(
            postmaster=self._memory.postmaster,
            in_recovery=False,
            point=point,
            replay_lsn=point.lsn,
            moved_at_s=self._memory.moved_at_s,
            sync_names=said.sync_names,
            foreign_names=said.sync_names not in ("", pgconf.sync_names(self.config)),
            replica=replica(said),
            slot_lost=said.slot_wal_status == "lost",
            recovered_end=self._memory.recovered_end,
            recovery_target=said.recovery_target or "",
            history=self._history(point.timeline),
        )

    def _standby(self, said: Answers) -> Database:
        received, replayed = lsn(said.receive_lsn), lsn(said.replay_lsn)
        point = WalPoint(self._standby_timeline(said, max(received, replayed)), max(received, replayed))
        self._remember(received, said.message_age_s, point.timeline)
        return Database(
            postmaster=self._memory.postmaster,
            in_recovery=True,
            point=point,
            replay_lsn=replayed,
            moved_at_s=self._memory.moved_at_s,
            streaming=self._streams(said),
            replay_paused=said.replay_paused,
            unfit=unfit(self.config, said),
            recovery_target=said.recovery_target or "",
            settings_low=said.replay_paused and self._settings_low(),
            replay_lag_s=0.0 if replayed >= received else max(0.0, said.replay_age_s or 0.0),
            sync_names=said.sync_names,
            slot_lost=said.slot_wal_status == "lost",
            history=self._history(point.timeline),
        )

    def _settings_low(self) -> bool:
        """Replay stopped because its settings are below what the primary's WAL demands (manual, 27.4.3).

        The control file has seen that WAL; whoever paused replay by hand leaves the settings as they are.
        """
        with suppress(PostgresError):
            needed = dict(pgtools.control_data(self.config).settings)
            rows = self._state.query("standby_minimums", timeout_s=self.config.settings.hung_after_s)
            return any(int(value) < int(needed.get(pgconf.STANDBY_KEYS[key], "0")) for key, value in rows)
        return False

    def _standby_timeline(self, said: Answers, at: Lsn) -> int:
        """The timeline of what was received; without a receiver the server does not report it, but its files do."""
        known = max(said.control_timeline or 0, said.received_timeline or 0, self._memory.timeline)
        if said.received_timeline is not None:
            return known
        try:
            return max(known, timeline_of(self._wal, at, said.segment_bytes))
        except (OSError, FormatError, PostgresError) as failure:
            raise ProbeError("could not look into pg_wal", f"{failure}.") from failure

    def _streams(self, said: Answers) -> bool:
        """Judge by the sender's last message: the view says "streaming" for minutes after its host is gone."""
        return (
            said.receiver_status == "streaming"
            and said.message_age_s is not None
            and said.message_age_s <= self.config.settings.dead_after_s
        )

    def _reply_age_s(self, apart_s: float | None) -> float | None:
        """How old the standby's last reply is, or less; None for unknown.

        It bears the time of the standby's clock, which need not be this host's. The least difference of all looks is
        that of the clocks and of the newest reply that was ever seen, so that what is beyond it is age.
        """
        if apart_s is None:
            return None
        ahead_s = min(self._memory.ahead_s + CLOCKS_PART_S, apart_s)
        self._memory = self._memory._replace(ahead_s=ahead_s)
        return apart_s - ahead_s

    def _remember(
        self, received: Lsn, age_s: float | None, timeline: int, recovered_end: Lsn = NOWHERE
    ) -> None:
        """Date what has moved since the last probe by the message that brought it, which is `age_s` old.

        A message that is said to be older than that did not bring it, or a clock was set: then by this probe.
        """
        old, at_s = self._memory, now_s()
        # Forward only: the row of a standby without power vanishes when its sender gives up, seconds later, and that
        # is no sign of life.
        moved, moved_at_s, ahead_s = received > old.received or old.moved_at_s == NEVER, old.moved_at_s, old.ahead_s
        if moved:
            fits = age_s is not None and 0.0 <= age_s < at_s - old.looked_s
            moved_at_s = at_s - age_s if age_s is not None and fits else at_s
            ahead_s = old.ahead_s if fits else math.inf
        self._memory = Memory(
            old.postmaster, received or old.received, moved_at_s, timeline, recovered_end, at_s, ahead_s
        )

    def _history(self, timeline: int) -> tuple[WalPoint, ...]:
        """Read the history of a timeline; it never changes, so it is read once."""
        if timeline <= 1:
            return ()
        if timeline not in self._histories:
            try:
                self._histories[timeline] = read_history(self._wal, timeline)
            except (FileNotFoundError, FormatError):
                # A standby that has not fetched it yet, or a file that a power cut emptied: what came before is not
                # known, and the server works for all that. Asked again the next time.
                return ()
            except (OSError, PostgresError) as failure:
                raise ProbeError(f"could not read the history of timeline {timeline}", f"{failure}.") from failure
        return self._histories[timeline]


def unfit(config: Config, said: Answers) -> str:
    """Why this standby may not take over, beside a recovery target and a pause, which are fields of their own.

    What is configured and not in force counts as not there: the addresses would lead to a server that does not listen.
    """
    if said.apply_delay != "0":
        return f"its replay is delayed by recovery_min_apply_delay = {said.apply_delay}"
    if observes(config):  # what pgvip would set is not set
        return ""
    wanted = config.postgres.listen_addresses
    if said.listen_addresses != wanted:
        return f"a restart of its PostgreSQL is pending: listen_addresses is '{said.listen_addresses}', not '{wanted}'"
    return ""


def lsn(text: str | None) -> Lsn:
    """A position as the server writes it; 0/0 for none."""
    return Lsn.parse(text) if text else Lsn(0)


def replica(said: Answers) -> Replica | None:
    """The peer's row in pg_stat_replication, if it is there."""
    if said.replica_state is None:
        return None
    return Replica(
        state=said.replica_state,
        sync_state=said.replica_sync_state or "",
        flush_lsn=lsn(said.replica_flush_lsn),
        replay_lsn=lsn(said.replica_replay_lsn),
        flush_lag_s=said.replica_flush_lag_s or 0.0,
        replay_lag_s=said.replica_replay_lag_s or 0.0,
    )
