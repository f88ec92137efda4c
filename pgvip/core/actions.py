"""What the core wants done: values that name the wish. Equal values are the same action.

What is true of every action of one class stands at the class, as its `Properties`. A new action is a class here and a
place in `KINDS`; the core, the daemon, `explain` and the page read the rest from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

from pgvip.core.values import Durable, Grant, Lsn, Vip, WalPoint


class Subject(StrEnum):
    """What an action changes: what was seen of it before the action ended says nothing any more."""

    POSTGRES = "postgres"
    """The server and its data."""
    NAMES = "names"
    """synchronous_standby_names."""
    ARCHIVE = "archive"
    """The mount of the peer's archive."""
    POWER = "power"
    """The peer's power."""
    ADDRESS = "address"
    """The address that the action names; each of the two is a subject of its own (`Action.subject`)."""


class Guard(StrEnum):
    """What a watchdog is to do after a round (`core.guard`)."""

    FEED = "feed"
    """The write right stands: armed and fed."""
    GIVE = "give"
    """It is being given up in order: fed where it is armed."""
    LOST = "lost"
    """It is lost, and what it allowed is not seen to have ended: not fed."""
    FREE = "free"
    """It is seen to be given up, or was never here: disarmed."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What is true of every action of one class."""

    subject: Subject | None = None
    """What it changes; None: nothing that is observed."""

    retry_s: tuple[float, float] = (0.5, 10.0)
    """First and longest wait before it is tried again after a failure; the wait doubles (as systemd's RestartSteps)."""

    exclusive: bool = False
    """It works on the local server or its files: one such action at a time, and a stop before the others."""

    urgent: bool = True
    """It is short, or clients wait for it: until it has ended, every observation is renewed as soon as it comes."""

    routine: bool = False
    """Its success is no news: what it brings about is reported by the core. Neither logged nor shown as under way."""

    probes: tuple[str, ...] = ()
    """Observations that are renewed as soon as it has ended, and chores that come then and not with their next turn."""

    usual_s: float = 0.05
    """How long it takes, for `explain`, until this daemon has measured it."""

    brief: bool = False
    """It has no time-out in the configuration: a matter of milliseconds, and of seconds on a very slow host."""

    hint: str = ""
    """What an operator can do when it keeps failing."""

    words: str = ""
    """What it does, for people, in the infinitive."""


@dataclass(frozen=True, slots=True)
class Action:
    """Base of all actions.

    The daemon starts an action that is wanted and not running; its result comes back once, as `Result`.
    """

    properties: ClassVar[Properties] = Properties()

    @property
    def kind(self) -> Kind:
        """Actions of one kind are not under way at the same time, and their failures are counted together."""
        return type(self)

    @property
    def subject(self) -> Subject | Vip | None:
        """What this very action changes."""
        return self.properties.subject

    def words(self) -> str:
        """What this very action does, for people.

        >>> StopPostgres(clean=True).words(), AddVip(Vip.PRIMARY).words()
        ('stop PostgreSQL, with a fast shutdown first', 'raise the primary VIP')
        """
        return self.properties.words


@dataclass(frozen=True, slots=True)
class VipAction(Action):
    """Base of the actions on an address: each address is for itself."""

    vip: Vip

    @property
    def kind(self) -> Kind:
        return self

    @property
    def subject(self) -> Subject | Vip | None:
        return self.vip if self.properties.subject is Subject.ADDRESS else self.properties.subject

    def words(self) -> str:
        return self.properties.words.format(vip=self.vip.value)


Kind = type[Action] | VipAction
"""The class of an action; for one on an address the action itself."""


def name_of(kind: Kind) -> str:
    """A kind in words, for people and for `status`: the class, and the address where there is one.

    >>> name_of(Promote), name_of(DropVip(Vip.PRIMARY))
    ('Promote', 'DropVip(primary)')
    """
    return f"{type(kind).__name__}({kind.vip.value})" if isinstance(kind, VipAction) else kind.__name__


def words_of(kind: Kind) -> str:
    """What actions of a kind do, for people.

    >>> words_of(Promote), words_of(DropVip(Vip.PRIMARY))
    ('promote PostgreSQL', 'drop the primary VIP')
    """
    return kind.words() if isinstance(kind, VipAction) else kind.properties.words


@dataclass(frozen=True, slots=True)
class WriteState(Action):
    """Write `durable` with fsync, rename, fsync of the directory."""

    properties: ClassVar[Properties] = Properties(
        retry_s=(0.2, 2.0), routine=True, usual_s=0.01, brief=True,
        hint="see that the state directory's disk works and has space", words="write the record",
    )  # fmt: skip

    durable: Durable


@dataclass(frozen=True, slots=True)
class StartPostgres(Action):
    """Start the server. `standby`: with standby.signal; `sync`: with the synchronous names set."""

    properties: ClassVar[Properties] = Properties(
        Subject.POSTGRES, retry_s=(1.0, 30.0), exclusive=True, probes=("processes", "database", "connection"),
        usual_s=0.7, hint="see PostgreSQL's log", words="start PostgreSQL",
    )  # fmt: skip

    standby: bool
    sync: bool

    def words(self) -> str:
        return f"start PostgreSQL as {'a standby' if self.standby else 'primary'}"


@dataclass(frozen=True, slots=True)
class StopPostgres(Action):
    """Stop all processes, verified. `clean`: by fast shutdown, which with `handover` no archiver delays; or SIGKILL."""

    properties: ClassVar[Properties] = Properties(
        Subject.POSTGRES, retry_s=(0.3, 5.0), exclusive=True, probes=("processes",), usual_s=0.25,
        hint="see which processes are left (D state?); the host may have to be reset", words="stop PostgreSQL",
    )  # fmt: skip

    clean: bool
    handover: bool = False

    def words(self) -> str:
        return "stop PostgreSQL, with a fast shutdown first" if self.clean else "stop PostgreSQL at once"


@dataclass(frozen=True, slots=True)
class KillPostgres(Action):
    """Kill every process of the cluster, verified, whatever else is under way with it: this host's lease is over."""

    properties: ClassVar[Properties] = Properties(
        Subject.POSTGRES, retry_s=(0.2, 1.0), probes=("processes",), usual_s=0.05, brief=True,
        hint="see which processes are left (D state?); the host may have to be reset",
        words="kill PostgreSQL, since the lease is over",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Promote(Action):
    """Promote, restore_command out of the way, and verify that it is read-write and where its new timeline forks.

    Result.text: what was flushed before and is not on the new timeline, "" for nothing.
    """

    properties: ClassVar[Properties] = Properties(
        Subject.POSTGRES, retry_s=(1.0, 10.0), exclusive=True, probes=("database", "processes", "slots"),
        usual_s=0.15, words="promote PostgreSQL",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SetSyncNames(Action):
    """Set (to the peer) or clear synchronous_standby_names, and see it in effect."""

    properties: ClassVar[Properties] = Properties(
        Subject.NAMES, retry_s=(0.5, 5.0), probes=("database",), brief=True, words="change synchronous_standby_names",
    )  # fmt: skip

    on: bool

    def words(self) -> str:
        return "set synchronous_standby_names to the peer" if self.on else "clear synchronous_standby_names"


@dataclass(frozen=True, slots=True)
class ConfirmGrant(Action):
    """Prove that the peer's present postmaster has flushed a position newer than this order.

    In sync: names in force, before and after a checkpoint. `key` is what the grant will name; `echo_s`
    the peer's clock reading that started it. Result.value is unused: ok or not.
    """

    properties: ClassVar[Properties] = Properties(
        retry_s=(0.3, 3.0), urgent=False, routine=True, usual_s=0.2, words="prove what the standby has flushed",
    )  # fmt: skip

    key: Grant
    sync: bool


@dataclass(frozen=True, slots=True)
class AddVip(VipAction):
    """Add the address, verify by netlink, announce."""

    properties: ClassVar[Properties] = Properties(
        Subject.ADDRESS, retry_s=(0.5, 5.0), probes=("held",), usual_s=0.02, brief=True, words="raise the {vip} VIP",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DropVip(VipAction):
    """End the sessions that came in through the address, drop it, verify by netlink."""

    properties: ClassVar[Properties] = Properties(
        Subject.ADDRESS, retry_s=(0.2, 2.0), probes=("held",), brief=True, words="drop the {vip} VIP",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckVip(VipAction):
    """Ask by ARP who holds the address. Result.text: the MAC that answered, or ""."""

    properties: ClassVar[Properties] = Properties(
        routine=True, usual_s=0.04, brief=True, words="ask by ARP who holds the {vip} VIP",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fence(Action):
    """Power the peer off by the configured methods in order, verified. `attempt` names this try [m 5]."""

    properties: ClassVar[Properties] = Properties(
        Subject.POWER, probes=("fence",), usual_s=6.0, words="power the peer off",
    )  # fmt: skip

    attempt: str


@dataclass(frozen=True, slots=True)
class ClaimTerm(Action):
    """Ask the witness for the register of `term`: who asks first has it for ever. Result.claimed.

    `attempt` names the question; a witness with another id than `witness_id` is not asked.
    """

    properties: ClassVar[Properties] = Properties(
        retry_s=(0.5, 5.0), probes=("witness",), usual_s=0.05, words="ask the witness for the term",
    )  # fmt: skip

    attempt: str
    witness_id: str
    term: int


@dataclass(frozen=True, slots=True)
class AskVeto(Action):
    """Ask the veto hooks about a takeover; `attempt` names the question. Result.text: who is against it, and why."""

    properties: ClassVar[Properties] = Properties(urgent=False, routine=True, usual_s=0.2, words="ask the veto hooks")

    attempt: str


@dataclass(frozen=True, slots=True)
class PowerOn(Action):
    """Switch the peer on again, best effort."""

    properties: ClassVar[Properties] = Properties(
        Subject.POWER, retry_s=(10.0, 60.0), urgent=False, probes=("fence",), usual_s=2.0, words="switch the peer on",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FindEnd(Action):
    """Find the timeline and end of valid WAL of the stopped cluster. Result.point."""

    properties: ClassVar[Properties] = Properties(
        retry_s=(1.0, 10.0), exclusive=True, usual_s=0.3, words="find the end of WAL of the stopped server",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Salvage(Action):
    """Put the stopped cluster's WAL from `start` on where the peer's recovery finds it. Result.point: its end."""

    properties: ClassVar[Properties] = Properties(
        retry_s=(60.0, 60.0), exclusive=True, usual_s=0.5, words="give the peer the WAL that it lacks",
    )  # fmt: skip

    start: Lsn


@dataclass(frozen=True, slots=True)
class Rejoin(Action):
    """Make this host's data follow the peer: save diverged WAL, rewind, else clone. Leaves it stopped.

    `clone`: an operator asked for a new base backup, whatever the data looks like.
    """

    properties: ClassVar[Properties] = Properties(
        Subject.POSTGRES, retry_s=(5.0, 60.0), exclusive=True, urgent=False, probes=("processes",), usual_s=5.0,
        hint="see the daemon's log; pgvip rejoin --clone copies the peer's data again",
        words="make the data follow the peer, by a rewind or a new copy",
    )  # fmt: skip

    clone: bool = False

    def words(self) -> str:
        return "copy the peer's data again" if self.clone else self.properties.words


@dataclass(frozen=True, slots=True)
class MountArchive(Action):
    """Mount the peer's WAL archive."""

    properties: ClassVar[Properties] = Properties(
        Subject.ARCHIVE, retry_s=(2.0, 30.0), urgent=False, probes=("archive",), words="mount the peer's archive",
        hint="see that its NFS server runs; where access is denied: pgvip archive export on the other host",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class UnmountArchive(Action):
    """Drop the mount lazily."""

    properties: ClassVar[Properties] = Properties(
        Subject.ARCHIVE, retry_s=(2.0, 30.0), urgent=False, probes=("archive",),
        words="drop the mount of the peer's archive",
    )  # fmt: skip


KINDS: tuple[type[Action], ...] = (
    WriteState, StartPostgres, StopPostgres, KillPostgres, Promote, SetSyncNames, ConfirmGrant, AddVip, DropVip,
    CheckVip, Fence, ClaimTerm, AskVeto, PowerOn, FindEnd, Salvage, Rejoin, MountArchive, UnmountArchive,
)  # fmt: skip
"""Every class of action."""


class Claimed(NamedTuple):
    """The witness's answer to a claim: who has the register of the term, and how many claims it has ever granted."""

    winner: str
    serial: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an action: one more observation."""

    action: Action
    ok: bool
    at_s: float
    text: str = ""
    point: WalPoint | None = None
    claimed: Claimed | None = None
