"""What the core wants done: values that name the wish. Equal values are the same action."""

from __future__ import annotations

from dataclasses import dataclass

from pgvip.core.values import Durable, Grant, Lsn, Vip, WalPoint


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
class AskVeto(Action):
    """Ask the veto hooks about a takeover; `attempt` names the question. Result.text: who is against it, and why."""

    attempt: str


@dataclass(frozen=True, slots=True)
class PowerOn(Action):
    """Switch the peer on again, best effort."""


@dataclass(frozen=True, slots=True)
class FindEnd(Action):
    """Find the timeline and end of valid WAL of the stopped cluster. Result.point."""


@dataclass(frozen=True, slots=True)
class Salvage(Action):
    """Put the stopped cluster's WAL from `start` on where the peer's recovery finds it. Result.point: its end."""

    start: Lsn


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
class Result:
    """What came of an action: one more observation."""

    action: Action
    ok: bool
    at_s: float
    text: str = ""
    point: WalPoint | None = None
