"""The canonical form of what a daemon knows and sees: the same future, the same value.

Every round is decided at the same `NOW_S`; a tick makes all that is remembered one tick older. An age stands still
where no threshold of the core can tell it from a longer one, a time in the future is forgotten once it has passed.
A field that is not listed here ages too, and stands still at `LONG`. What only explains (`blockers`, causes) is blank.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any, Generic, TypeVar

from pgvip.core.actions import Action, ClaimTerm, ConfirmGrant, Fence, Subject, WriteState
from pgvip.core.knowledge import Failures, Knowledge
from pgvip.core.messages import Heard, Message
from pgvip.core.observations import Observation, Observations
from pgvip.core.settings import Settings
from pgvip.core.values import NEVER, Durable, Grant, Lease, Vip
from tests.knowing import PART_OF, WHOLE, knowing
from tests.simulation.exhaustive.state import LONG

T = TypeVar("T")
NOW_S = 1000.0
TICK_S = 1.0
OLD = LONG - 1
"""Ages of what is compared with sights stand still one tick before the sights do: what was newer stays newer."""
TROUBLES = 4
"""Failures in a row are counted up to here: the core asks for three, and the wait before another try has its limit."""
HEARD_SEQ = 10
"""Number of the newest message heard; what was kept has lower numbers when it is older, and higher when it is not."""
FADED = 5
"""Ticks after which a message is no longer fresh by any setting used here, and only says who sent it."""
NAME = re.compile(r"(?:boot|run|pid)-[ab]\d+")


class Pool(Generic[T]):
    """Values and their numbers, from 1."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, value: T, key: Hashable = None) -> int:
        known = self._numbers.setdefault(value if key is None else key, len(self.values) + 1)
        if known > len(self.values):
            self.values.append(value)
        return known

    def __getitem__(self, number: int) -> T:
        return self.values[number - 1]

    def __len__(self) -> int:
        return len(self.values)


class Names:
    """Which names of boots, daemons and postmasters a value remembers."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], frozenset[str]] = {}

    def of(self, kind: str, number: int, pool: Pool[T]) -> frozenset[str]:
        known = self._of.get((kind, number))
        if known is None:
            known = frozenset(NAME.findall(repr(pool[number]))) if number else frozenset()
            self._of[kind, number] = known
        return known


KNOWLEDGE = (*WHOLE, *PART_OF)
"""Every field of the knowledge and of its parts."""
_MAPS = [KNOWLEDGE.index(name) for name in ("checked", "ended", "failures")]
_ALL = attrgetter(*WHOLE, *(f"{part}.{name}" for name, part in PART_OF.items()))


def key(k: Knowledge) -> Hashable:
    """All of `k` as one hashable value."""
    values = list(_ALL(k))
    for index in _MAPS:
        values[index] = frozenset(values[index].items())
    return tuple(values)


class Clock:
    """One tick more, for knowledge and sights."""

    def __init__(self, settings: Settings) -> None:
        s = settings
        self.sync = s.sync
        self.timed = bool(s.witness_id) or not s.sync
        self.lease = int(max(0.0 if s.sync else s.lag_s_max, s.lease_s if s.witness_id else 0.0)) + 2
        """Ticks after which a lease has run out, whenever it began."""
        self.waits = int(s.fence_delay_s) + 1
        self.gives = int(s.consent_s + s.stop_s) + 1
        self.stands = {
            "row_since_s": int(s.consent_s) + 1,
            "blocked_since_s": int(s.standby_down_s) + 1,
            "unfollowed_since_s": int(s.standby_down_s) + 1,
            "unstreamed_since_s": int(s.stuck_s) + 1,
            "unflushed_since_s": int(s.unfollowed_s) + 1,
            "behind_since_s": int(s.sync_stall_s) + 1,
            "round_s": LONG,
            "doubt_s": OLD,
        }
        self.forgets = {"awake_s": OLD, "clear_since_s": 2, "jumped_s": 1 if s.sync else self.lease}
        self.until = ("holdoff_until_s", "called_off_until_s")
        self.stands["given_at_s"] = int(min(s.lag_s_max / 10, 5)) + 1
        listed = {*self.stands, *self.forgets, *self.until, "waiting_since_s"}
        rest = {name for name in KNOWLEDGE if name.endswith("_s")} - listed
        self.stands.update(dict.fromkeys(rest, LONG))

    def turned(self, known: Knowledge) -> Knowledge:
        """`known` one tick later."""
        old, new = dict(zip(KNOWLEDGE, _ALL(known), strict=True)), dict[str, Any]()
        for name, ticks in self.stands.items():
            new[name] = older(old[name], ticks)
        for name, ticks in self.forgets.items():
            at_s = old[name] - TICK_S
            new[name] = at_s if at_s > NOW_S - ticks else NEVER
        for name in self.until:
            new[name] = coming(old[name])
        new["who"] = replace(known.who, started_s=older(known.who.started_s, OLD))
        new["waiting_since_s"] = older(old["waiting_since_s"], self.waits)
        heard, claim, work = known.peer.heard, known.fencing.claim, known.work
        giving_up, switchover = known.consent.giving_up, known.orders.switchover
        if heard is not None:
            heard = _heard(heard)
            new["heard"] = replace(heard, message=self.message(heard.message)) if self.timed else heard
        new["lease"] = self.lease_later(known.witness.lease)
        if claim is not None:
            new["claim"] = replace(claim, since_s=older(claim.since_s, OLD), retry_at_s=coming(claim.retry_at_s))
        if giving_up is not None:
            new["giving_up"] = replace(
                giving_up,
                since_s=older(giving_up.since_s, self.gives),
                stopped_at_s=older(giving_up.stopped_at_s, self.gives),
            )
        if switchover is not None:
            new["switchover"] = replace(switchover, since_s=NOW_S, until_s=older(switchover.until_s, 1))
        new["checked"] = {
            vip: (at_s - TICK_S, mac) for vip, (at_s, mac) in work.checked.items() if at_s > NOW_S - 2 * TICK_S
        }
        new["ended"] = {subject: older(at_s, OLD) for subject, at_s in work.ended.items()}
        new["failures"] = {
            kind: replace(past, retry_at_s=coming(past.retry_at_s)) for kind, past in work.failures.items()
        }
        if not self.sync:
            new["grant"], new["given"] = self.grant(known.grants.grant), self.grant(known.grants.given)
            new["running"] = tuple(self.action(action) for action in work.running)
        return knowing(known, **new)

    def lease_later(self, lease: Lease | None) -> Lease | None:
        """What the rights of a pair with a witness rest on, one tick later."""
        return lease and lease._replace(sent_s=older(lease.sent_s, self.lease))

    def grant(self, grant: Grant | None) -> Grant | None:
        """A lease, one tick later. In sync nothing in it grows old."""
        if grant is None or self.sync:
            return grant
        expires_s = None if grant.expires_s is None else older(grant.expires_s, 1)
        return replace(grant, echo_s=older(grant.echo_s, self.lease), expires_s=expires_s)

    def action(self, action: Action) -> Action:
        if self.sync or not isinstance(action, ConfirmGrant):
            return action
        return ConfirmGrant(self.grant(action.key) or action.key, action.sync)

    def message(self, message: Message) -> Message:
        if not self.timed:
            return message
        sent_s, echo_s = older(message.sent_s, self.lease), older(message.echo_s, self.lease)
        return replace(message, sent_s=sent_s, echo_s=echo_s, grant=self.grant(message.grant))

    def normal(self, known: Knowledge, seen: Observations) -> tuple[Knowledge, dict[Action, Action]]:
        """The canonical form of what a round has left, and which actions under way have another name in it."""
        renamed, new = _renamed(known)
        heard, work = known.peer.heard, known.work
        new |= {"seq": 0, "blockers": (), "crashes": (), "writing_since_s": NEVER}
        term, witness = known.durable.record.term if known.durable.record else -2, known.witness
        new |= {
            "lease": witness.lease if witness.lease and witness.lease.term == term else None,
            "lost_term": term if witness.lost_term == term else -1,
            "won_term": term if witness.won_term == term else -1,
            "free_term": term if witness.free_term == term else -1,
        }
        if self.sync:
            new["given_at_s"] = NEVER
        if known.intent.row.find("hand-over") < 0:
            new["row_since_s"] = NEVER
        if not known.fencing.waiting:
            new["waiting_since_s"] = NEVER
        if heard is not None and heard.message.seq > HEARD_SEQ:
            new["heard"] = replace(heard, message=replace(heard.message, seq=HEARD_SEQ))
        new["ended"] = {subject: at_s for subject, at_s in work.ended.items() if _unseen(subject, at_s, seen)}
        new["failures"] = {
            kind: Failures(min(past.times, TROUBLES), past.retry_at_s, "") for kind, past in work.failures.items()
        }
        new["running"] = tuple(renamed.get(action, action) for action in work.running)
        return knowing(known, **new), renamed


def older(at_s: float, ticks: int) -> float:
    """A time one tick later, standing still at `ticks`."""
    return max(at_s - TICK_S, NOW_S - ticks) if at_s > NEVER else at_s


def coming(at_s: float) -> float:
    """A time that matters until it has passed, one tick later."""
    return at_s - TICK_S if at_s - TICK_S > NOW_S else NEVER


def _heard(heard: Heard) -> Heard:
    message, at_s = heard.message, older(heard.at_s, OLD)
    if at_s <= NOW_S - FADED and message.version != "faded":
        message = Message(
            pair_id=message.pair_id,
            system_id=message.system_id,
            host=message.host,
            boot_id=message.boot_id,
            run_id=message.run_id,
            seq=message.seq,
            sent_s=message.sent_s,
            record=message.record,
            question=message.question,
            postmaster=message.postmaster,
            version="faded",
        )
    return Heard(message, at_s)


WATCHED: dict[Subject | Vip, tuple[str, ...]] = {
    Subject.POSTGRES: ("processes", "database"), Subject.NAMES: ("database",),
    Vip.PRIMARY: ("held",), Vip.STANDBY: ("held",),
}  # fmt: skip


def _unseen(subject: Subject | Vip, at_s: float, seen: Observations) -> bool:
    """An action's end still matters: something was seen last before it, or somebody waits for a look after it."""
    looks: list[Observation[object]] = [getattr(seen, name) for name in WATCHED.get(subject, ())]
    late = any(look.value is not None and look.at_s < at_s for look in looks)
    return late or (subject is Subject.POSTGRES and at_s > NOW_S - OLD)


def _renamed(k: Knowledge) -> tuple[dict[Action, Action], dict[str, Any]]:
    """Attempts to fence by their rank, records without their causes; and what of the knowledge is other by that."""
    renamed: dict[Action, Action] = {}
    claim, writing = k.fencing.claim, k.intent.writing
    attempts = {action.attempt for action in k.work.running if isinstance(action, Fence | ClaimTerm)}
    if claim is not None:
        attempts |= {claim.attempt, claim.asked} - {""}
    ranks = dict(_ranks(attempts))
    for action in k.work.running:
        if isinstance(action, Fence | ClaimTerm) and ranks[action.attempt] != action.attempt:
            renamed[action] = replace(action, attempt=ranks[action.attempt])
        elif isinstance(action, WriteState):
            plain = without_cause(action.durable)
            if plain != action.durable:
                renamed[action] = WriteState(plain)
    new: dict[str, Any] = {"attempts": len(ranks)}
    if claim is not None:
        new["claim"] = replace(
            claim,
            attempt=ranks.get(claim.attempt, ""),
            asked=ranks.get(claim.asked, ""),
            tries=min(claim.tries, 2),
        )
    if writing is not None:
        new["writing"] = without_cause(writing)
    return renamed, new


def _ranks(attempts: set[str]) -> Iterator[tuple[str, str]]:
    split = sorted((int(text.rpartition("/")[2]), text) for text in attempts)
    for rank, (_, text) in enumerate(split, 1):
        yield text, f"{text.rpartition('/')[0]}/{rank}"


def without_cause(durable: Durable) -> Durable:
    """The same; nothing but the words for people is lost, and that a term was asked for which is left."""
    if durable.record is None:
        return durable
    asked = durable.claimed_term if durable.claimed_term == durable.record.term else -1
    return replace(durable, record=replace(durable.record, cause="", at=""), claimed_term=asked)


SIGHTS = tuple(field.name for field in fields(Observations))


def seen_later(seen: Observations) -> Observations:
    """What was seen, one tick older."""
    changes = {}
    for name in SIGHTS:
        old: Observation[object] = getattr(seen, name)
        if old.at_s > NEVER or old.failures:
            changes[name] = Observation(
                _older_value(old.value),
                older(old.at_s, LONG),
                min(old.failures, 3),
                older(old.failed_at_s, LONG),
                older(old.failing_since_s, LONG),
                "",
            )
    return replace(seen, **changes)  # type: ignore[arg-type]  # each field by its own name


def _older_value(value: object) -> object:
    moved_at_s = getattr(value, "moved_at_s", NEVER)
    if moved_at_s == NEVER:
        return value
    return replace(value, moved_at_s=moved_at_s - TICK_S if moved_at_s > NOW_S - OLD else NEVER)  # type: ignore[type-var]  # a Database
