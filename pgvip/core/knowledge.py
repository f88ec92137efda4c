"""What one host's core knows between two rounds, and what a round yields."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

from pgvip.core.actions import Action, Kind, Subject
from pgvip.core.messages import AddressFree, Command, Heard, Message, Stopped, Want
from pgvip.core.settings import Identity, Note, StandingWarning
from pgvip.core.values import NEVER, Durable, Grant, Record, Role, Vip, WalPoint


class Why(StrEnum):
    """Why a host claims: it decides when the claim ends (docs/protocol.md, "Claiming (fence)").

    ORDER: a forced promotion, which needs no right. OPERATOR: an order to power the peer off, with the ordinary right.
    """

    SILENCE = "silence"
    CANNOT = "cannot"
    ORDER = "order"
    OPERATOR = "operator"


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
class Claim:
    """An open claim: this host is fencing its peer to change the record of `term`.

    Only the result of `attempt` counts, once [m 5]. `fenced`: that result came and was good; the record is
    being written; `by_word`: it was an operator's word. `takeover`: the claimer is the standby.
    """

    change: str
    term: int
    why: Why
    takeover: bool
    attempt: str
    since_s: float
    tries: int = 1
    retry_at_s: float = NEVER
    fenced: bool = False
    by_word: bool = False


@dataclass(frozen=True, slots=True)
class Veto:
    """The veto hooks' word on one takeover. `since_s`: when its wait began; only the answer to `attempt` counts.

    `allowed`: nobody is against it. `refused`: who is, and why; until `until_s`, then they are asked again.
    """

    attempt: str
    since_s: float
    allowed: bool = False
    refused: str = ""
    until_s: float = NEVER


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A give-up under way: this host consents, and writes the record when it is seen to have given up.

    `clean`: PostgreSQL still works, so a clean stop is tried and its checkpoint must reach the winner.
    `boot_id`: of the requester. `stopped`: this host's shutdown checkpoint, once it is verified.
    """

    change: str
    want: Want
    term: int
    boot_id: str
    since_s: float
    clean: bool = False
    stopped: Stopped | None = None
    stopped_at_s: float = NEVER


@dataclass(frozen=True, slots=True)
class Failures:
    """How often an action failed in a row, and when it may be tried again."""

    times: int
    retry_at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Switchover:
    """An operator's order for a planned switchover, dropped at `until_s`."""

    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class FenceOrder:
    """An operator's order to power the peer off: good for one attempt, dropped at `until_s` when none was begun.

    `off`: it is to stay off; else it is switched on again, as after every takeover.
    """

    until_s: float
    off: bool


@dataclass(slots=True)
class Knowledge:
    """Everything that one host's core remembers; replaced as a whole by every round.

    `decide` copies it once and changes only the copy, since that is cheaper than fifty small replacements;
    nobody else changes one.

    `answered_term`: the highest term in an answer to this boot's question (confirms once adopted).
    `given`: the eligibility that this primary last proved for the peer. `address`: the permission this standby
    holds to raise the standby VIP. `running`: actions started whose result has not come. `ended`: when the last
    action on each subject ended: what was seen of it before says nothing any more. `caught_up`: the postmaster whose
    recovered end the standby has flushed, or needs not. `round_s`: when this was decided; `awake_s`: when rounds came
    again after a time without any (a stopped process, a paused machine); `jumped_s`: when the clocks last moved
    apart. `power_order_until_s`: until then an operator wants the peer on. `deferred`: orders that wait for a write to
    end. `doubt_s`: when a fence last failed, which may have switched the peer off all the same, or do so yet.
    `fence_s`: when the last fence was begun, until its peer is switched on again. `peer_off`: the peer is verified off
    and was not heard in a new boot since; `power_pending`: this host switched it off, and has not switched it on since;
    `roused`: this process has switched it on though it was not this host that had switched it off. `met`: the peer was
    heard in this boot. `stopped_since_s`: since when the server is seen down after an orderly stop.
    `postmaster_since_s`: since when one is seen; connections that failed before say nothing of it. `isolated`: this
    primary has heard nothing from anywhere for too long, and has no write right; since `contact_since_s` it hears
    something again. `offered_s`: when this host last said that its data may have the role.
    """

    who: Identity
    durable: Durable
    confirmed: bool = False
    answered_term: int = -1
    grant: Grant | None = None
    heard: Heard | None = None
    heard_record: Record | None = None
    writing: Durable | None = None
    claim: Claim | None = None
    waiting: str = ""
    waiting_since_s: float = NEVER
    veto: Veto | None = None
    giving_up: GiveUp | None = None
    row: str = ""
    row_since_s: float = NEVER
    blockers: tuple[tuple[str, str], ...] = ()
    switchover: Switchover | None = None
    fence_order: FenceOrder | None = None
    power_order_until_s: float = NEVER
    deferred: tuple[Command, ...] = ()
    leaving: bool = False
    isolated: bool = False
    contact_since_s: float = NEVER
    given: Grant | None = None
    given_at_s: float = NEVER
    address: AddressFree | None = None
    checked: dict[Vip, tuple[float, str]] = field(default_factory=dict)
    running: tuple[Action, ...] = ()
    ended: dict[Subject | Vip, float] = field(default_factory=dict)
    failures: dict[Kind, Failures] = field(default_factory=dict)
    caught_up: str = ""
    round_s: float = NEVER
    awake_s: float = NEVER
    jumped_s: float = NEVER
    holdoff_until_s: float = NEVER
    called_off_until_s: float = NEVER
    blocked_since_s: float = NEVER
    end: WalPoint | None = None
    clear_since_s: float = NEVER
    unfollowed_since_s: float = NEVER
    unstreamed_since_s: float = NEVER
    behind_since_s: float = NEVER
    offered_s: float = NEVER
    stopped_since_s: float = NEVER
    postmaster_since_s: float = NEVER
    peer_off: bool = False
    power_pending: bool = False
    doubt_s: float = NEVER
    fence_s: float = NEVER
    roused: bool = False
    met: bool = False
    rejoin_clone: bool = False
    force: bool = False
    unfenced: bool = False
    alarm: str = ""
    role: Role = Role.NONE
    seq: int = 0
    attempts: int = 0
    conflict: str = ""

    def copy(self) -> Knowledge:
        """The same, to be changed by one round (`copy.copy` takes five times as long)."""
        twin = object.__new__(Knowledge)
        for name in _FIELDS:
            setattr(twin, name, getattr(self, name))
        return twin


_FIELDS = tuple(each.name for each in fields(Knowledge))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a round yields: the new knowledge, what to start, what to say.

    `message` is sent at every change and at every heartbeat. `wake`: probes that should look again at once.
    `guard`: what a watchdog is to do.
    """

    knowledge: Knowledge
    actions: tuple[Action, ...]
    message: Message
    notes: tuple[Note, ...]
    warnings: tuple[StandingWarning, ...]
    wake: tuple[str, ...]
    guard: Guard = Guard.FREE
