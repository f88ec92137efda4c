"""The words of the pair protocol as frozen values.

Everything that the core knows, sees and says is one of these. Nothing here does I/O, reads a clock or
judges: the predicates live in `rights`, the table in `changes`.

Times are seconds on the host's CLOCK_BOOTTIME (`*_s`); wall-clock strings (`at`) are for people only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

NEVER = float("-inf")
"""A time before every other: what has not happened."""

FORCE_STEP = 1_000_000
"""How far above everything heard a forced record's term is (PROTOCOL.md, "Forced by an operator")."""


class Lsn(int):
    """A position in the write-ahead log (PostgreSQL manual, 8.20 pg_lsn Type).

    >>> Lsn.parse("16/B374D848")
    Lsn('16/B374D848')
    >>> Lsn.parse("0/10") - Lsn.parse("0/8")
    8
    >>> str(Lsn(0))
    '0/0'
    """

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Read the `XXX/XXX` form; ValueError names what was not one."""
        high, slash, low = text.strip().partition("/")
        if not slash:
            raise ValueError(f"not a WAL position: {text!r}")
        return cls((int(high, 16) << 32) + int(low, 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn('{self}')"


START = Lsn(0)


class WalPoint(NamedTuple):
    """A position on one history: an LSN means nothing without its timeline."""

    timeline: int
    lsn: Lsn

    def __str__(self) -> str:
        return f"{self.timeline}:{self.lsn}"


class Mode(StrEnum):
    """Whether the host that is not primary may take over."""

    PAIR = "pair"
    SOLO = "solo"


class Role(StrEnum):
    """What users call a host. `NONE`: no right to any address now."""

    PRIMARY = "primary"
    STANDBY = "standby"
    PRIMARY_STANDBY = "primary_standby"
    NONE = "none"


class Vip(StrEnum):
    """The two addresses, by the role that holds them."""

    PRIMARY = "primary"
    STANDBY = "standby"


class Override(StrEnum):
    """Role told by configuration (DESIGN.md, "Role override")."""

    AUTO = "auto"
    PRIMARY = "primary"
    STANDBY = "standby"
    PRIMARY_STANDBY = "primary_standby"


# --- the record -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Who may serve. One small durable fact for each host; PROTOCOL.md, "The record"."""

    pair_id: str
    system_id: str
    term: int
    primary: str
    mode: Mode
    sync: bool
    from_term: int | None = None
    handover: WalPoint | None = None
    cause: str = ""
    at: str = ""

    def same_rights(self, other: Record) -> bool:
        """True when both name the same primary, mode and sync (equal terms must)."""
        return (self.primary, self.mode, self.sync) == (other.primary, other.mode, other.sync)


@dataclass(frozen=True, slots=True)
class Pause:
    """Automatic action is suspended by an operator; kept over restarts, on both hosts.

    `serial` orders pauses and resumes between the two hosts: the higher one wins.
    """

    serial: int = 0
    active: bool = False
    reason: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Durable:
    """All that is written with fsync: the record and the local facts beside it."""

    record: Record | None = None
    served: bool = False
    complete: bool = False
    hold: str = ""
    pause: Pause = Pause()
    handbacks: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """`eligible`: the holder has everything it needs to take over.

    Void when term, boot or postmaster differ [m 9, 11]. `expires_s` is None in sync; in async a time on
    the holder's own clock.
    """

    term: int
    boot_id: str
    postmaster: str
    echo_s: float = NEVER
    expires_s: float | None = None


@dataclass(frozen=True, slots=True)
class BootFacts:
    """What lives only within one kernel boot; kept with the boot id over daemon restarts."""

    confirmed: bool = False
    confirmed_term: int = 0
    grant: Grant | None = None


# --- what probes leave behind ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observation(Generic[T]):
    """What one probe knows: its last success and its failures since. Never a judgement.

    `at_s`: when `value` was last seen (NEVER: not yet). `failures`: attempts that failed since then;
    `failed_at_s`, `failing_since_s`: the last and the first of them; `reason`: what the last one said.
    """

    value: T | None = None
    at_s: float = NEVER
    failures: int = 0
    failed_at_s: float = NEVER
    failing_since_s: float = NEVER
    reason: str = ""

    def succeeded(self, value: T, at_s: float) -> Observation[T]:
        """The same after a success."""
        return Observation(value, at_s)

    def failed(self, reason: str, at_s: float) -> Observation[T]:
        """The same after a failure: the last value stays, growing old."""
        since_s = self.failing_since_s if self.failures else at_s
        return Observation(self.value, self.at_s, self.failures + 1, at_s, since_s, reason)

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
    `moved_at_s`: on this daemon's clock, when new WAL last arrived (standby) or when the peer's flushed position
    last moved (primary). `slot_lost`: the peer's slot no longer holds the WAL that the peer needs.
    `recovered_end`: where this postmaster was first seen read-write: the end of recovery, or a little more.
    `history`: the current timeline's ancestors, each with the position where it was left.
    """

    postmaster: str
    in_recovery: bool
    point: WalPoint
    replay_lsn: Lsn = START
    moved_at_s: float = NEVER
    streaming: bool = False
    replay_paused: bool = False
    replay_lag_s: float = 0.0
    sync_names: str = ""
    replica: Replica | None = None
    slot_lost: bool = False
    recovered_end: Lsn = START
    history: tuple[WalPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerDatabase:
    """The peer's database, seen over the network (a new connection and a query)."""

    in_recovery: bool
    timeline: int = 0
    system_id: str = ""


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything the probes saw, as one value; a field is an empty Observation until its probe spoke.

    `connection`: a new connection to the local database was answered (any answer of a live server counts).
    `heartbeat`: the primary's row was written and flushed locally. `disks`: a file of pgvip's own was
    written and fsynced on every file system under the cluster. `arp`: who answers for a VIP (MAC, "" for
    nobody; this host itself is not counted). `held`: the VIPs that this host's interfaces carry now.
    """

    gateway: Observation[str] = Observation()
    processes: Observation[Processes] = Observation()
    database: Observation[Database] = Observation()
    connection: Observation[bool] = Observation()
    heartbeat: Observation[bool] = Observation()
    disks: Observation[bool] = Observation()
    held: Observation[frozenset[Vip]] = Observation()
    arp_primary: Observation[str] = Observation()
    arp_standby: Observation[str] = Observation()
    peer_port: Observation[bool] = Observation()
    peer_vip: Observation[PeerDatabase] = Observation()
    peer_own: Observation[PeerDatabase] = Observation()
    peer_link: Observation[bool] = Observation()
    archive: Observation[bool] = Observation()
    fence: Observation[str] = Observation()


# --- what the daemons tell each other ------------------------------------------------------------------


class Want(StrEnum):
    """What a request asks for."""

    SOLO = "solo"
    """I am primary of a pair: let me serve alone."""
    HANDOVER = "handover"
    """You are primary: let me have the role."""


@dataclass(frozen=True, slots=True)
class Request:
    """Asks for the peer's consent; good for this term and this boot of the sender only [m 8]."""

    want: Want
    from_term: int
    boot_id: str
    postmaster: str = ""
    eligible: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The loser's PostgreSQL is verified stopped, cleanly, and its shutdown checkpoint is here."""

    term: int
    point: WalPoint


@dataclass(frozen=True, slots=True)
class AddressFree:
    """The primary dropped the standby VIP, verified: the peer may raise it in this term and boot."""

    term: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Message:
    """One heartbeat: the sender's whole public state. Losing one, or getting it twice, changes nothing.

    Each demand and promise in it names the term and the boot it is meant for. `question` is a nonce of
    the sender's boot while it is not confirmed; `answer` echoes the peer's.
    """

    pair_id: str
    system_id: str
    host: str
    boot_id: str
    run_id: str
    seq: int
    sent_s: float
    record: Record | None
    confirmed: bool = False
    claiming: bool = False
    question: str = ""
    answer: str = ""
    request: Request | None = None
    invite: str = ""
    invite_term: int = 0
    refusal: str = ""
    cannot: str = ""
    stopped: Stopped | None = None
    has_checkpoint: Stopped | None = None
    grant: Grant | None = None
    address_free: AddressFree | None = None
    echo_s: float = NEVER
    eligible: bool = False
    postmaster: str = ""
    read_write: bool = False
    in_recovery: bool = False
    database_ok: bool = False
    streaming: bool = False
    stalled: bool = False
    replay_lag_s: float = 0.0
    point: WalPoint | None = None
    gateway_ok: bool = False
    vips: tuple[str, ...] = ()
    pause: Pause = Pause()
    hold: str = ""
    override: Override = Override.AUTO
    digest: str = ""
    version: str = ""
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """The peer's newest message and when it came."""

    message: Message
    at_s: float


# --- what an operator or the outside asks ----------------------------------------------------------------


class Order(StrEnum):
    """An operator's command to the local daemon, as the core sees it."""

    SWITCHOVER = "switchover"
    CANCEL_SWITCHOVER = "cancel-switchover"
    PAUSE = "pause"
    RESUME = "resume"
    FORCE_PROMOTE = "force-promote"
    FENCE_CONFIRMED = "fence-confirmed"
    CLEAR_HOLD = "clear-hold"
    SHUTDOWN = "shutdown"
    REJOIN = "rejoin"


@dataclass(frozen=True, slots=True)
class Command:
    """One order and its words (reason of a pause, and the like)."""

    order: Order
    text: str = ""


# --- what the core wants done ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """Base of all actions: values that name the wish; equal values are the same action.

    The daemon starts an action that is wanted and not running; its result comes back once, as `Result`.
    """


@dataclass(frozen=True, slots=True)
class WriteState(Action):
    """Write `durable` with fsync, rename, fsync of the directory."""

    durable: Durable


@dataclass(frozen=True, slots=True)
class StartPostgres(Action):
    """Start the server. `standby`: with standby.signal; `sync`: with the synchronous names set."""

    standby: bool
    sync: bool


@dataclass(frozen=True, slots=True)
class StopPostgres(Action):
    """Stop every process of the cluster, verified. `clean`: fast shutdown first; else SIGKILL at once."""

    clean: bool


@dataclass(frozen=True, slots=True)
class Promote(Action):
    """Promote, restore_command out of the way, and verify that it is read-write."""


@dataclass(frozen=True, slots=True)
class SetSyncNames(Action):
    """Set (to the peer) or clear synchronous_standby_names, and see it in effect."""

    on: bool


@dataclass(frozen=True, slots=True)
class ConfirmGrant(Action):
    """Prove that the peer's present postmaster has flushed a position newer than this order.

    In sync: names in force, before and after a checkpoint. `key` is what the grant will name; `echo_s`
    the peer's clock reading that started it. Result.value is unused: ok or not.
    """

    key: Grant
    sync: bool


@dataclass(frozen=True, slots=True)
class AddVip(Action):
    """Add the address, verify by netlink, announce."""

    vip: Vip


@dataclass(frozen=True, slots=True)
class DropVip(Action):
    """End the sessions that came in through the address, drop it, verify by netlink."""

    vip: Vip


@dataclass(frozen=True, slots=True)
class CheckVip(Action):
    """Ask by ARP who holds the address. Result.text: the MAC that answered, or ""."""

    vip: Vip


@dataclass(frozen=True, slots=True)
class Fence(Action):
    """Power the peer off by the configured methods in order, verified. `attempt` names this try [m 5]."""

    attempt: str


@dataclass(frozen=True, slots=True)
class PowerOn(Action):
    """Switch the peer on again, best effort."""


@dataclass(frozen=True, slots=True)
class FindEnd(Action):
    """Find the timeline and end of valid WAL of the stopped cluster. Result.point."""


@dataclass(frozen=True, slots=True)
class Rejoin(Action):
    """Make this host's data follow the peer: save diverged WAL, rewind, else clone. Leaves it stopped.

    `clone`: an operator asked for a new base backup, whatever the data looks like.
    """

    clone: bool = False


@dataclass(frozen=True, slots=True)
class MountArchive(Action):
    """Mount the peer's WAL archive."""


@dataclass(frozen=True, slots=True)
class UnmountArchive(Action):
    """Drop the mount lazily."""


@dataclass(frozen=True, slots=True)
class Alert(Action):
    """Call the alert hook: the role of this host changed, or an operator is needed."""

    event: str
    old: str
    new: str
    detail: str


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an action: one more observation."""

    action: Action
    ok: bool
    at_s: float
    text: str = ""
    point: WalPoint | None = None


# --- settings of the core -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """What the core needs of the configuration. Units are in the names; defaults are the default preset's."""

    me: str
    peer: str
    me_first: bool
    sync: bool = True
    interval_s: float = 1.0
    check_times: int = 3
    heartbeat_s: float = 0.5
    fence_delay_s: float = 0.5
    fencing: bool = True
    fence_retry_s: float = 5.0
    hung_after_s: float = 3.0
    standby_down_s: float = 3.0
    sync_stall_s: float = 10.0
    lag_bytes_max: int = 16 * 1024 * 1024
    lag_s_max: float = 60.0
    consent_s: float = 10.0
    stop_s: float = 60.0
    solo_boot_wait_s: float = 3.0
    restart_times: int = 2
    holdoff_s: float = 60.0
    handbacks_max: int = 3
    stuck_s: float = 15.0
    override: Override = Override.AUTO
    peer_override: Override = Override.AUTO
    rejoin_clone: bool = True
    archive: bool = True
    digest: str = ""
    version: str = ""

    @property
    def dead_after_s(self) -> float:
        """How long every path must be silent before the peer counts as silent."""
        return self.interval_s * self.check_times


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is: given by the driver, since the core makes no randomness.

    `boot_id`: of the kernel (with PID 1's start time); `run_id`: of this daemon process, random; `started_s`:
    when it started. `pair_id`, `system_id`: as fixed at `init`; also when the record is lost.
    """

    boot_id: str
    run_id: str
    started_s: float
    pair_id: str = ""
    system_id: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that happened since the last round; `wall` is a wall-clock string for `Record.at`."""

    seen: Observations
    messages: tuple[Message, ...] = ()
    results: tuple[Result, ...] = ()
    commands: tuple[Command, ...] = ()
    wall: str = ""


@dataclass(frozen=True, slots=True)
class Concern:
    """Something an operator should know, with the mend."""

    name: str
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One log line: an event name and its words."""

    event: str
    text: str
    fields: tuple[tuple[str, str], ...] = field(default=())
