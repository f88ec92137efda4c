"""What one host's core knows between two rounds, and what a round yields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from pgvip.core.actions import Action, Guard, Kind, Subject
from pgvip.core.messages import AddressFree, Command, Heard, Message, Revoked, Stopped, Want
from pgvip.core.settings import Identity, Note, StandingWarning
from pgvip.core.values import NEVER, Durable, Grant, Record, Role, Vip, WalPoint, Witnessed


class Why(StrEnum):
    """Why a host claims: it decides when the claim ends (docs/protocol.md, "Claiming (fence)").

    UNFOLLOWED: the peer's daemon is silent and its database does not follow, whatever else of it answers.
    UNHEARD: the peer's daemon is silent, so that nothing prolongs the lease of this host.
    ORDER: a forced promotion, which needs no right. OPERATOR: an order to power the peer off, with the ordinary right.
    """

    SILENCE = "silence"
    UNFOLLOWED = "unfollowed"
    UNHEARD = "unheard"
    CANNOT = "cannot"
    ORDER = "order"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Claim:
    """An open claim: this host is fencing its peer, or asking the witness, to change the record of `term`.

    Only the result of `attempt` counts, once [m 5]. `fenced`: that result came and was good; the record is being
    written; `by_word`: it was an operator's word. `takeover`: the claimer is the standby. `won`: no register is needed
    any more; until then `asked` names the question, and `serial` is the count that was known when it was asked.
    `waits`: the end of the peer's lease does as well as a fence.
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
    won: bool = True
    asked: str = ""
    serial: int = 0
    waits: bool = False


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


@dataclass(frozen=True, slots=True)
class Peer:
    """What was heard of the peer, in this process if nothing else is said."""

    heard: Heard | None = None
    """Its newest message, and when it came."""
    heard_record: Record | None = None
    """The record of the highest term that it reported."""
    met: bool = False
    """It was heard in this boot of this host."""
    answered_term: int = -1
    """The highest term in an answer to this boot's question: it confirms this host once that record is adopted."""
    alarm: str = ""
    """Its record and this host's are of one term and differ: nobody is confirmed, an operator decides."""
    conflict: str = ""
    """The last message was not of this pair, this database system and that host; it was ignored."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What the primary proved of the standby's data, and allowed it."""

    grant: Grant | None = None
    """On the standby: by this it is eligible."""
    address: AddressFree | None = None
    """On the standby: by this it may raise the standby VIP."""
    given: Grant | None = None
    """On the primary: what it last proved for the peer."""
    given_at_s: float = NEVER
    """When that was."""
    revoked: Revoked | None = None
    """On the primary: what it last withdrew."""
    revoked_s: float = NEVER
    """On the standby: grants that began before this reading of its own clock are not valid any more."""
    unwaited: str = ""
    """On the primary: why commits may have been acknowledged without the peer, until the peer is seen to have them."""


@dataclass(frozen=True, slots=True)
class Intent:
    """The change of the record that this host would make, and the write that is under way."""

    row: str = ""
    """The name of the table's row that was chosen last."""
    row_since_s: float = NEVER
    """Since when it has been chosen."""
    blockers: tuple[tuple[str, str], ...] = ()
    """For each row of this state that does not hold, its first condition that is not met, in words."""
    writing: Durable | None = None
    """What is being written; it counts when the result is in, and nothing else is begun before."""
    writing_since_s: float = NEVER
    """Since when."""
    holdoff_until_s: float = NEVER
    """Until then the role is not handed over for a lost gateway or a preference: it has just moved."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What this host gives up because the peer asked for it, or offers to take."""

    giving_up: GiveUp | None = None
    """The give-up that is under way."""
    end: WalPoint | None = None
    """The end of this host's WAL, once it was found or salvaged for this give-up."""
    called_off_until_s: float = NEVER
    """Until then nothing is offered again: a hand-over did not come about."""
    offered: tuple[int, float] = (-1, NEVER)
    """The term in which this standby last said that its data may have the role, and when. A later one ends that."""


@dataclass(frozen=True, slots=True)
class Fencing:
    """A change by fence: its wait, and the claim."""

    claim: Claim | None = None
    """The claim that is open."""
    waiting: str = ""
    """The name of the row by fence whose delay is running; "" when there is none."""
    waiting_since_s: float = NEVER
    """Since when it has been running."""
    veto: Veto | None = None
    """What the veto hooks say of it."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What operators ordered and is not done yet."""

    switchover: Switchover | None = None
    """A planned switchover."""
    fence_order: FenceOrder | None = None
    """To power the peer off."""
    power_order_until_s: float = NEVER
    """To switch the peer on, until then."""
    rejoin_clone: bool = False
    """To rebuild this host's data by a new base backup."""
    force: bool = False
    """To take the primary role whatever the record says."""
    unfenced: bool = False
    """With `force`: without fencing the peer first."""
    unwitnessed: bool = False
    """With `force`: without asking the witness."""
    leaving: bool = False
    """This host is shutting down: it takes no role and starts no server."""
    deferred: tuple[Command, ...] = ()
    """Orders that wait for a write to end."""


@dataclass(frozen=True, slots=True)
class Power:
    """The peer's power, as this host's own fencing made it."""

    peer_off: bool = False
    """It is verified off, and was not heard in a new boot since."""
    power_pending: bool = False
    """This host switched it off and has not switched it on since."""
    fence_s: float = NEVER
    """When the last fence was begun, until the peer is switched on again."""
    doubt_s: float = NEVER
    """When a fence last failed: it may have switched the peer off all the same, or do so yet."""
    roused: bool = False
    """This process has switched it on although it was not this host that had switched it off."""


@dataclass(frozen=True, slots=True)
class DatabaseTimes:
    """How long things have been as they are with this host's server and what follows it; NEVER: they are not."""

    postmaster_since_s: float = NEVER
    """There is a postmaster; connections that failed before say nothing of it."""
    stopped_since_s: float = NEVER
    """The server is down after an orderly stop."""
    unfollowed_since_s: float = NEVER
    """This primary of a pair is not followed by its standby."""
    unstreamed_since_s: float = NEVER
    """This standby receives no WAL."""
    behind_since_s: float = NEVER
    """The standby streams and has not flushed all that this primary has."""
    unflushed_since_s: float = NEVER
    """This primary of a pair has WAL that its standby has not flushed, or no stream to it."""
    blocked_since_s: float = NEVER
    """Primary by the record, not served yet, and without the write right."""
    clear_since_s: float = NEVER
    """A time: when the peer was last near enough for a solo primary to let commits wait for it."""
    crashed_since_s: float = NEVER
    """This primary's server ended without a shutdown, and is not read-write again."""
    crashes: tuple[float, ...] = ()
    """When servers of this host ended so while it was primary, lately; the newest last."""
    caught_up: str = ""
    """The postmaster whose recovered end the standby has flushed, or needs not."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether this host's promotion kept all that the host had flushed."""

    unverified: bool = False
    """A promotion was begun, perhaps by an earlier process, and where its timeline forks was not checked since."""
    lacks: str = ""
    """What it left out, until that is written (`Durable.lacks`)."""
    restarted_for: tuple[str, ...] = ()
    """The recovery targets for which this process has restarted the server since it was seen without one."""
    stray: str = ""
    """The postmaster that was last seen read-write on this standby, without the right to it."""
    strays: int = 0
    """How many of them in a row became so within a short time of their start."""
    stray_why: str = ""
    """What made the last one do so, as far as it can be seen."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whether this primary is cut off from everything."""

    isolated: bool = False
    """It has heard nothing from anywhere for too long, and has no write right."""
    contact_since_s: float = NEVER
    """While isolated: since when it hears something again."""


@dataclass(frozen=True, slots=True)
class Work:
    """The actions: what is under way, what came of them."""

    running: tuple[Action, ...] = ()
    """Started, and their result has not come."""
    ended: Mapping[Subject | Vip, float] = field(default_factory=dict)
    """When the last action on each subject ended: what was seen of it before says nothing any more."""
    failures: Mapping[Kind, Failures] = field(default_factory=dict)
    """For each kind that failed last time: how often, and when it may be tried again."""
    checked: Mapping[Vip, tuple[float, str]] = field(default_factory=dict)
    """When ARP was last asked who holds an address, and the MAC that answered, or ""."""
    attempts: int = 0
    """How many attempts of this process were given a name (`Round.attempt`)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The rounds, and what is known of the time between them."""

    seq: int = 0
    """The number of this round in its process, and of the message that it yields."""
    round_s: float = NEVER
    """When this was decided."""
    awake_s: float = NEVER
    """When rounds came again after a time without any (a stopped process, a paused machine)."""
    jumped_s: float = NEVER
    """When the two clocks of this host last moved apart."""


@dataclass(slots=True)
class Knowledge:
    """Everything that one host's core remembers between two rounds.

    `decide` copies it once and changes only the copy. Each part is a value: it is not changed but replaced, here, and
    each replacement marks what was drawn from the knowledge as out of date (`Round.facts`). Nobody has to remember to.
    """

    who: Identity
    """This process and what it belongs to; it never changes."""
    durable: Durable
    """What is on disk."""
    confirmed: bool = False
    """This host knows that its record is the pair's current one."""
    peer: Peer = Peer()
    grants: Grants = Grants()
    intent: Intent = Intent()
    consent: Consent = Consent()
    fencing: Fencing = Fencing()
    orders: Orders = Orders()
    power: Power = Power()
    database: DatabaseTimes = DatabaseTimes()
    promotion: Promotion = Promotion()
    isolation: Isolation = Isolation()
    witness: Witnessed = field(default_factory=Witnessed)
    work: Work = field(default_factory=Work)
    clock: Clock = Clock()
    role: Role = Role.NONE
    """The role that was announced to users last."""
    changed: bool = field(init=False, compare=False, repr=False)
    """Something was replaced since facts were last drawn."""

    def __setattr__(self, name: str, value: object) -> None:
        """Replace a part."""
        _set(self, name, value)
        _set(self, "changed", True)

    @property
    def busy(self) -> bool:
        """A change is under way: a give-up, a claim or its delay, a write."""
        return bool(self.consent.giving_up or self.fencing.claim or self.fencing.waiting or self.intent.writing)

    def drawn(self) -> None:
        """Facts have been drawn: nothing is changed since."""
        _set(self, "changed", False)

    def copy(self) -> Knowledge:
        """The same, to be changed by one round (`copy.copy` takes five times as long)."""
        twin = object.__new__(Knowledge)
        for name in _FIELDS:
            _set(twin, name, getattr(self, name))
        return twin


_set = object.__setattr__
_FIELDS = tuple(each.name for each in fields(Knowledge))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a round yields: the new knowledge, what to start, what to say (at every change and every heartbeat).

    `wake`: probes that should look again at once. `guard`: what a watchdog is to do. `due_s`: the next round's time.
    """

    knowledge: Knowledge
    actions: tuple[Action, ...]
    message: Message
    notes: tuple[Note, ...]
    warnings: tuple[StandingWarning, ...]
    wake: tuple[str, ...]
    guard: Guard = Guard.FREE
    due_s: float = math.inf
