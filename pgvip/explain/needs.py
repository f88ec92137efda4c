"""What stands in the way of a change, part by part: every blocker with its name, its words and its hint.

The table's conditions decide; the parts below only say more about the three that are made of several. A test compares
them with the rights over every state: a right that gains a condition without a part here is seen at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pgvip.core import changes
from pgvip.core.changes import TABLE, Condition, Part
from pgvip.core.facts import Facts
from pgvip.core.rights import eligible, write_right


@dataclass(frozen=True, slots=True)
class Blocker:
    """`name`: of a condition or of a part of one. `change`: the row that it stands in the way of, "" for none."""

    name: str
    text: str
    hint: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """One part of a right; `unmet` may name this host as {me} and the other as {peer}."""

    name: str
    holds: Callable[[Facts], bool]
    unmet: str
    hint: str


STATUS = "see pgvip status on {me}"
CONFIRMED = Need(
    "confirmed", lambda v: v.k.confirmed, "{me} has not been confirmed by {peer} since its boot",
    "bring {peer} back; if it never comes: pgvip promote --force",
)
NO_HIGHER = Need("no-higher-term", lambda v: v.higher is None, "{me} is adopting a newer record", "wait a moment")
NOT_GIVING_UP = Need(
    "not-giving-up", lambda v: v.k.giving_up is None, "{me} is giving something up just now", "wait a moment"
)
PAIR = Need(
    "pair", lambda v: v.pair, "the pair is not whole: {primary} serves alone",
    "bring the other host back and see why it does not follow: pgvip status",
)
ELIGIBLE = Need(
    "eligible", eligible, "{me} is not known to hold everything that the primary has",
    "wait until pgvip status says that it may take over; see its lag and whether it streams",
)
RECOVERING = Need(
    "standby-runs", lambda v: v.recovering, "PostgreSQL on {me} does not run as a standby",
    "see its log and pgvip status on {me}",
)
READ_WRITE = Need(
    "read-write", lambda v: v.read_write, "PostgreSQL on {me} is not read-write", "see its log and pgvip status on {me}"
)
HEALTHY = Need(
    "database-healthy", lambda v: v.database_healthy, "PostgreSQL on {me} or its disks do not answer",
    "see its log and the disks of {me}",
)
GATEWAY = Need(
    "gateway", lambda v: v.gateway, "no gateway answers {me}",
    "see the network of {me}, and that gateway.targets names what answers a ping",
)
NOT_PAUSED = Need("not-paused", lambda v: not v.paused, "automatic action is paused", "pgvip resume")
NO_HOLD = Need(
    "no-hold", lambda v: not v.k.durable.hold, "the data of {me} is on hold", "compare the data, then: pgvip hold clear"
)
NO_ALARM = Need(
    "no-alarm", lambda v: not v.k.alarm, "the two records differ", "pgvip promote --force where the right data is"
)
STAYS = Need("stays", lambda v: not v.k.leaving, "{me} is shutting down", "wait until it is back")
GUARDED = Need(
    "guarded", lambda v: v.guarded, "{me} may not serve without a watchdog, and none can be armed there",
    "see the watchdog of {me}, or do not require one",
)
WRITE_RIGHT = Need(
    "write-right", write_right, "{me} is not known to hold all that its role needs", STATUS
)

TAKEOVER = (
    CONFIRMED, NO_HIGHER, NOT_GIVING_UP, PAIR, GUARDED, ELIGIBLE, RECOVERING, HEALTHY, GATEWAY, NOT_PAUSED, NO_HOLD,
    NO_ALARM, STAYS,
)  # fmt: skip
TAKER = (CONFIRMED, NO_HIGHER, PAIR, GUARDED, ELIGIBLE, RECOVERING, HEALTHY, NO_HOLD, NO_ALARM, STAYS)
SOLO = (PAIR, WRITE_RIGHT, READ_WRITE, HEALTHY, GATEWAY, NOT_PAUSED)
READY = (
    Need("peer-heard", lambda v: v.peer is not None, "{peer} does not answer in this term",
         "systemctl status pgvip on {peer}"),
    Need("peer-eligible", lambda v: bool(v.peer and v.peer.eligible),
         "{peer} is not known to hold everything that the primary has", ELIGIBLE.hint),
    Need("peer-database", lambda v: bool(v.peer and v.peer.database_ok and v.peer.in_recovery),
         "PostgreSQL on {peer} does not run as a healthy standby", "see its log and pgvip status on {peer}"),
    Need("peer-stays", lambda v: not (v.peer and v.peer.leaving), "{peer} is shutting down", "wait until it is back"),
    Need("peer-hold", lambda v: not (v.peer and v.peer.hold), "the data of {peer} is on hold",
         "compare the data, then on {peer}: pgvip hold clear"),
)  # fmt: skip
PARTS: dict[str, tuple[Need, ...]] = {
    changes.TAKEOVER_RIGHT.name: TAKEOVER,
    changes.TAKER.name: TAKER,
    changes.SOLO_RIGHT.name: SOLO,
    changes.PEER_READY.name: READY,
    changes.NOT_PAUSED.name: (NOT_PAUSED,),
    changes.DATABASE_FAILED.name: (NOT_PAUSED,),  # a server that ends in a pause was stopped by somebody
}
HINTS = {
    "peer-answers": "systemctl status pgvip on {peer}",
    "no-hold-off": "it ends by itself after holdoff_s",
    "not-vetoed": "see who is against it and why: pgvip events; pgvip hooks lists them",
    "not-called-off": "it ends by itself",
    "peer-has-gateway": "see the network of both hosts",
    "entitled": STATUS,
    "serving": STATUS,
    "switchover-ordered": STATUS,
}
"""For a condition of the table by its name."""

Words = dict[str, str]


def of_row(facts: Facts, name: str) -> tuple[Blocker, ...]:
    """Why the row of this name does not hold on this host now; nothing when it does.

    The row must be one of this host's part. In another mode the pair itself is the blocker.
    """
    record = facts.record
    words = {"me": facts.s.me, "peer": facts.s.peer, "primary": record.primary if record else "nobody"}
    if record is None:
        text = f"{facts.s.me} has no record of who may serve"
        return (Blocker("no-record", text, "if the other host has none either: pgvip promote --force", name),)
    row = next(row for row in TABLE if row.name == name)
    if row.mode is not record.mode:
        return (_blocker(PAIR, words, name),)
    unmet = (condition for condition in row.when if not condition.test(facts))
    found = (blocker for condition in unmet for blocker in _of_condition(facts, condition, words, name))
    return tuple(dict.fromkeys(found))


def is_of(facts: Facts, name: str) -> bool:
    """The row belongs to this host's part."""
    part = next(row.part for row in TABLE if row.name == name)
    return facts.record is None or (part is Part.PRIMARY) is facts.primary


def _of_condition(facts: Facts, condition: Condition, words: Words, row: str) -> Iterator[Blocker]:
    parts = [need for need in PARTS.get(condition.name, ()) if not need.holds(facts)]
    for need in parts:
        yield _blocker(need, words, row)
    if not parts:
        hint = HINTS.get(condition.name, STATUS).format(**words)
        yield Blocker(condition.name, f"{words['me']}: {condition.unmet}", hint, row)


def _blocker(need: Need, words: Words, row: str) -> Blocker:
    return Blocker(need.name, need.unmet.format(**words), need.hint.format(**words), row)
