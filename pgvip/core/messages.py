"""What the two daemons report to each other, and what operators order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pgvip.core.values import NEVER, Grant, Override, Pause, Record, WalPoint

NOT_PAUSED = Pause()


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
class Revoked:
    """The primary withdraws what it granted in that boot, until that reading of the peer's clock."""

    boot_id: str
    echo_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """One heartbeat: the sender's whole public state. Losing one, or getting it twice, changes nothing.

    Each demand and promise in it names the term and the boot it is meant for. `question` is a nonce of
    the sender's boot while it is not confirmed; `answer` echoes the peer's. `guarded`: a watchdog stands ready, or
    none is required. `unfit`: why the sender's server may not take over, "" for nothing that is known.
    `failing`, `failing_hint`, `failing_unseen`: the first of the sender's warnings that both hosts are to show.
    `crashes`: how long ago its servers crashed while it was primary, in seconds.
    `echo_s`, `echo_boot`: the sending time of the newest message of the peer that the sender has heard, and the boot of
    the peer in which it was sent; "" from a claimer, and where no witness counts. `lease_s`: how long the sender's
    rights last after that, with the time in which it gives them up. `claimed_term`: see `Durable.claimed_term`.
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
    cannot: str = ""
    stopped: Stopped | None = None
    has_checkpoint: Stopped | None = None
    grant: Grant | None = None
    revoked: Revoked | None = None
    address_free: AddressFree | None = None
    echo_s: float = NEVER
    eligible: bool = False
    postmaster: str = ""
    read_write: bool = False
    in_recovery: bool = False
    database_ok: bool = False
    streaming: bool = False
    replay_lag_s: float = 0.0
    point: WalPoint | None = None
    gateway_ok: bool = False
    gateway_age_s: float = 0.0
    vips: tuple[str, ...] = ()
    pause: Pause = NOT_PAUSED
    hold: str = ""
    override: Override = Override.AUTO
    digest: str = ""
    version: str = ""
    leaving: bool = False
    guarded: bool = True
    unfit: str = ""
    failing: str = ""
    failing_hint: str = ""
    failing_unseen: bool = False
    crashes: tuple[float, ...] = ()
    echo_boot: str = ""
    lease_s: float = 0.0
    claimed_term: int = -1


@dataclass(frozen=True, slots=True)
class Heard:
    """The peer's newest message and when it came.

    `gateway_since_s`: when, by the peer's own unbroken word, a gateway began to answer it (NEVER: long ago);
    a silence breaks it.
    """

    message: Message
    at_s: float
    gateway_since_s: float = NEVER


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
    STAY = "stay"
    REJOIN = "rejoin"
    FAILOVER = "failover"
    FENCE_OFF = "fence-off"
    POWER_ON = "power-on"
    REMOVE_PEER = "remove-peer"
    ADD_PEER = "add-peer"


@dataclass(frozen=True, slots=True)
class Command:
    """One order and its words (reason of a pause, and the like). `until`, `by`: see `Pause`."""

    order: Order
    text: str = ""
    until: str = ""
    by: str = ""
