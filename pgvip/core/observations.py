"""What probes leave behind: a value or a failure with a time, never a judgement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from pgvip.core.values import NEVER, START, Lsn, Vip, WalPoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Observation(Generic[T]):
    """What one probe knows: its last success and its failures since. Never a judgement.

    `at_s`: when `value` was last seen (NEVER: not yet). `failures`: attempts that failed since then;
    `failed_at_s`, `failing_since_s`: the last and the first of them; `reason`: what the last one said. `tried_s`: when
    the first of them began (inf: that is not known), since one that times out has waited for an answer all the while.
    `lacked_at_s`, `lack`: when this host last lacked what the probe itself needs (descriptors, memory), and what: that
    is no failure of what it observes, which is not known then.
    """

    value: T | None = None
    at_s: float = NEVER
    failures: int = 0
    failed_at_s: float = NEVER
    failing_since_s: float = NEVER
    reason: str = ""
    lacked_at_s: float = NEVER
    lack: str = ""
    tried_s: float = math.inf

    def succeeded(self, value: T, at_s: float) -> Observation[T]:
        """The same after a success."""
        return Observation(value, at_s)

    def failed(self, reason: str, at_s: float, tried_s: float = math.inf) -> Observation[T]:
        """The same after a failure of an attempt that began at `tried_s`: the last value stays, growing old."""
        since_s, first_s = (self.failing_since_s, self.tried_s) if self.failures else (at_s, tried_s)
        return replace(
            self, failures=self.failures + 1, failed_at_s=at_s, failing_since_s=since_s, reason=reason, lack="",
            tried_s=first_s,
        )  # fmt: skip

    def lacking(self, lack: str, at_s: float) -> Observation[T]:
        """The same after a probe that this host could not run: neither a success nor a failure."""
        return replace(self, lacked_at_s=at_s, lack=lack)

    def ok(self) -> bool:
        """True when the last attempt succeeded."""
        return self.at_s > NEVER and self.failures == 0

    def fresh(self, now_s: float, age_s: float) -> bool:
        """True when the last success is at most `age_s` old."""
        return now_s - self.at_s <= age_s


@dataclass(frozen=True, slots=True)
class Processes:
    """The cluster's processes and files, seen without asking PostgreSQL (procfs, pg_controldata).

    `postmaster`: "pid:starttime" of a live postmaster, or "". `left`: live processes of the cluster, orphans
    included. `control_state`: pg_controldata's cluster state. `checkpoint`: the latest checkpoint's
    timeline and location. `standby_signal`: the file is there. `installed`: there is a data directory.
    """

    installed: bool = False
    system_id: str = ""
    postmaster: str = ""
    left: int = 0
    standby_signal: bool = False
    control_state: str = ""
    checkpoint: WalPoint | None = None

    @property
    def clean(self) -> bool:
        """True when pg_controldata says that a primary was shut down in an orderly way."""
        return self.control_state == "shut down"

    @property
    def in_order(self) -> bool:
        """True when pg_controldata says that a primary or a standby was shut down in an orderly way."""
        return self.control_state in ("shut down", "shut down in recovery")


@dataclass(frozen=True, slots=True)
class Replica:
    """The peer's row in pg_stat_replication, as the primary sees it."""

    state: str
    sync_state: str
    flush_lsn: Lsn
    replay_lsn: Lsn
    flush_lag_s: float = 0.0
    replay_lag_s: float = 0.0

    @property
    def streaming(self) -> bool:
        return self.state == "streaming"


@dataclass(frozen=True, slots=True)
class Database:
    """What the local PostgreSQL says of itself over a connection that is kept open.

    `point`: a primary's flushed, a standby's received-and-flushed position (or replayed, if further).
    `moved_at_s`: on this daemon's clock, when new WAL last arrived (standby) or when the peer last reported that its
    flushed position moved (primary), as far as that is known; at the latest when it was seen.
    `slot_lost`: the peer's slot no longer holds the WAL that the peer needs.
    `recovered_end`: where this postmaster was first seen read-write: the end of recovery, or a little more.
    `unfit`: why this server may not take over, whatever it has flushed; "" for fit. `recovery_target`: the one that is
    in force: a promotion ends recovery there, and what was flushed beyond it is gone (a primary has left it behind).
    `settings_low`: a standby's replay is paused until it is restarted with settings as high as its primary's.
    `foreign_names`: the synchronous names are not pgvip's: commits wait for somebody else than the peer.
    `history`: the current timeline's ancestors, each with the position where it was left.
    """

    postmaster: str
    in_recovery: bool
    point: WalPoint
    replay_lsn: Lsn = START
    moved_at_s: float = NEVER
    streaming: bool = False
    replay_paused: bool = False
    unfit: str = ""
    recovery_target: str = ""
    replay_lag_s: float = 0.0
    settings_low: bool = False
    sync_names: str = ""
    foreign_names: bool = False
    replica: Replica | None = None
    slot_lost: bool = False
    recovered_end: Lsn = START
    history: tuple[WalPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerDatabase:
    """The peer's database, seen over the network: a new connection, a login and a query.

    It counts only with the pair's `system_id` (`Facts.heard_life_s`).
    """

    in_recovery: bool
    timeline: int = 0
    system_id: str = ""


class WitnessStatus(NamedTuple):
    """What the witness says of itself: the id that it was given, and how many claims it has granted."""

    witness_id: str
    serial: int


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything the probes saw, as one value; a field is an empty Observation until its probe spoke.

    `connection`: a new connection to the local database was answered (any answer of a live server counts).
    `heartbeat`: the primary's row was written and flushed locally, "" (a standby has none), or why the server refused
    to; a flush that does not end is no answer. `disks`: a file of pgvip's
    own was written and fsynced on every file system under the cluster. `arp`: who answers for a VIP (MAC, "" for
    nobody; this host itself is not counted). `held`: the VIPs that this host's interfaces carry now. `commits`: where
    commits do not wait for the standby by somebody's settings, "" for nowhere. `veto`: there are hooks to
    ask before a takeover by fence. `stranger`: what answers at the peer's address or its VIP and does not prove to be
    the peer, "" for nothing; it counts for nothing, and is reported.
    `clients`: a client would be let in to log in through the VIPs that this host carries.
    `watchdog`: it can be armed, or is; False where there is none and need not be any. `witness`: what it says of
    itself; no decision waits for it.
    """

    gateway: Observation[str] = Observation()
    processes: Observation[Processes] = Observation()
    database: Observation[Database] = Observation()
    connection: Observation[bool] = Observation()
    heartbeat: Observation[str] = Observation()
    disks: Observation[bool] = Observation()
    held: Observation[frozenset[Vip]] = Observation()
    arp_primary: Observation[str] = Observation()
    arp_standby: Observation[str] = Observation()
    peer_vip: Observation[PeerDatabase] = Observation()
    peer_own: Observation[PeerDatabase] = Observation()
    stranger: Observation[str] = Observation()
    archive: Observation[bool] = Observation()
    fence: Observation[str] = Observation()
    commits: Observation[str] = Observation()
    clients: Observation[bool] = Observation()
    veto: Observation[bool] = Observation()
    watchdog: Observation[bool] = Observation()
    witness: Observation[WitnessStatus] = Observation()
