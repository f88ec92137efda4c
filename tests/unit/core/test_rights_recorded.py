"""Each right over all combinations of what it asks for, against the recorded truth (tests/transcripts/rights.txt).

The facts are stand-ins that have the named inputs and nothing else: a right that asks for more fails at once. So the
record is complete: outside the combinations that are listed a right never holds, whatever else is so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from pgvip.core import conditions, rights
from pgvip.core.actions import StartPostgres
from pgvip.core.changes import DATABASE_FAILED
from pgvip.core.conditions import NOT_PAUSED, Condition, holds
from pgvip.core.values import NEVER
from tests.knowing import PART_OF, PARTS

NO_YES = ("no", "yes")
RECORDS = ("none", "primary-pair", "primary-solo", "standby-pair", "standby-solo")
INPUTS: dict[str, tuple[str, ...]] = {
    "record": RECORDS,
    "higher": ("none", "keeps-me", "takes-from-me"),
    "database": ("unknown", "read-write", "standby"),
    "processes": ("unknown", "up", "crashed", "stopped"),
    "starts-failed": ("none", "few", "many"),
}
"""The inputs that are more than "no" and "yes"."""



def right(conditions: tuple[Condition, ...]) -> Callable[[Any], bool]:
    return lambda facts: holds(conditions, facts)


ENTITLED = ("record", "confirmed", "giving-up", "alarm", "higher")
WRITE = (*ENTITLED, "isolated", "served", "complete", "handed-over", "lacks")
SERVING = (*WRITE, "database")
TAKER = ("record", "confirmed", "leaving", "higher", "guarded", "fit", "granted", "database", "healthy", "hold",
         "alarm")
ADDRESS = (*WRITE, "told-free")
RIGHTS: dict[str, tuple[Callable[[Any], bool], tuple[str, ...]]] = {
    "entitled": (rights.entitled, ENTITLED),
    "write": (rights.write_right, WRITE),
    "serving": (right(rights.SERVING), SERVING),
    "solo": (rights.solo_right, (*SERVING, "healthy", "gateway", "paused")),
    "eligible": (rights.eligible, ("record", "guarded", "fit", "granted")),
    "taker": (right(rights.TAKER), TAKER),
    "takeover": (rights.takeover_right, (*TAKER, "giving-up", "gateway", "paused")),
    "standby-address": (rights.standby_address, ADDRESS),
    "standby": (rights.standby_right, (*ADDRESS, "database", "lagging", "holds-standby-vip")),
    "rebuild": (rights.may_rebuild, ("record", "confirmed", "hold", "alarm", "peer-serves")),
    "peer-ready": (right(rights.PEER_READY), ("peer-heard", "peer-leaving", "peer-fit", "peer-eligible", "peer-healthy",
                                         "peer-recovers", "peer-hold")),
    "database-failed": (right((*rights.ENTITLED, DATABASE_FAILED, NOT_PAUSED)),
                        (*ENTITLED, "processes", "hung", "paused", "starts-failed")),
}  # fmt: skip


class Given:
    """Stand-ins for the facts: `set` writes one combination into them."""

    def __init__(self, inputs: tuple[str, ...]) -> None:
        self.durable = SimpleNamespace()
        parts = {part: SimpleNamespace() for part in PARTS}
        self.k = SimpleNamespace(durable=self.durable, who=SimpleNamespace(boot_id="boot"), **parts)
        settings = SimpleNamespace(me="a", peer="b", restart_times=2, holdoff_s=60, consent_s=10)
        self.facts = SimpleNamespace(k=self.k, s=settings, term=4)
        self.setters = [(name, getattr(self, "_" + name.replace("-", "_"), self._plain)) for name in inputs]
        self.k.grants.unwaited = ""
        self.k.witness.killed = False
        self.before: tuple[str, ...] = ("",) * len(inputs)

    def set(self, values: tuple[str, ...]) -> SimpleNamespace:
        """Only what has changed; when one input moves on, those behind it begin anew and change too."""
        for (name, setter), value, old in zip(self.setters, values, self.before, strict=True):
            if value != old:
                setter(name, value)
        self.before = values
        return self.facts

    def _plain(self, name: str, value: str) -> None:
        on = value == "yes"
        if name == "confirmed":
            self.k.confirmed = on
        elif name in ("leaving", "isolated"):
            setattr(getattr(self.k, PART_OF[name]), name, on)
        elif name in ("served", "complete"):
            setattr(self.durable, name, on)
        elif name in ("guarded", "fit", "gateway", "paused", "lagging", "hung"):
            setattr(self.facts, name, on)
        else:
            raise AssertionError(name)

    def _record(self, _name: str, value: str) -> None:
        role, _, mode = value.partition("-")
        self.facts.record = None if value == "none" else SimpleNamespace(
            primary="a" if role == "primary" else "b", witness_id=""
        )  # fmt: skip
        self.facts.primary, self.facts.standby = role == "primary", role == "standby"
        self.facts.pair, self.facts.solo = mode == "pair", mode == "solo"

    def _higher(self, _name: str, value: str) -> None:
        names = {"keeps-me": "a", "takes-from-me": "b"}
        self.facts.higher = SimpleNamespace(primary=names[value]) if value in names else None

    def _database(self, _name: str, value: str) -> None:
        self.facts.read_write, self.facts.recovering = value == "read-write", value == "standby"

    def _healthy(self, _name: str, value: str) -> None:
        self.facts.database_healthy = value == "yes"

    def _lacks(self, _name: str, value: str) -> None:
        self.durable.lacks, self.k.promotion.lacks = value == "yes", ""

    def _giving_up(self, _name: str, value: str) -> None:
        self.k.consent.giving_up = object() if value == "yes" else None

    def _alarm(self, _name: str, value: str) -> None:
        self.k.peer.alarm = "they differ" if value == "yes" else ""

    def _hold(self, _name: str, value: str) -> None:
        self.durable.hold = "both wrote" if value == "yes" else ""

    def _granted(self, _name: str, value: str) -> None:
        self.k.grants.grant = value == "yes"

    def _handed_over(self, _name: str, value: str) -> None:
        self.facts.handed_over = value == "yes"

    def _told_free(self, _name: str, value: str) -> None:
        self.k.grants.address = SimpleNamespace(term=4, boot_id="boot") if value == "yes" else None

    def _holds_standby_vip(self, _name: str, value: str) -> None:
        self.facts.held = {"standby"} if value == "yes" else set()

    def _peer_serves(self, _name: str, value: str) -> None:
        self.facts.peer_serves = value == "yes"

    def _peer_heard(self, _name: str, value: str) -> None:
        self.facts.peer = SimpleNamespace(guarded=False) if value == "yes" else None  # who is eligible is guarded

    def _peer(self, name: str, value: object) -> None:
        if self.facts.peer is not None:
            setattr(self.facts.peer, name, value)

    def _peer_leaving(self, _name: str, value: str) -> None:
        self._peer("leaving", value == "yes")

    def _peer_fit(self, _name: str, value: str) -> None:
        self._peer("unfit", "" if value == "yes" else "its replay is paused")

    def _peer_eligible(self, _name: str, value: str) -> None:
        self._peer("eligible", value == "yes")

    def _peer_healthy(self, _name: str, value: str) -> None:
        self._peer("database_ok", value == "yes")

    def _peer_recovers(self, _name: str, value: str) -> None:
        self._peer("in_recovery", value == "yes")

    def _peer_hold(self, _name: str, value: str) -> None:
        self._peer("hold", "both wrote" if value == "yes" else "")

    def _processes(self, _name: str, value: str) -> None:
        self.facts.crash_ages_s, self.k.database.crashed_since_s = {}, NEVER
        self.facts.processes = None if value == "unknown" else SimpleNamespace(clean=value == "stopped")
        self.facts.dead = value in ("crashed", "stopped")

    def _starts_failed(self, _name: str, value: str) -> None:
        times = {"few": 1, "many": 2}
        failures = {StartPostgres: SimpleNamespace(times=times[value])} if value in times else {}
        self.k.work.failures = failures


Box = tuple[frozenset[str], ...]


def merged(found: set[Box], width: int) -> list[Box]:
    """The same combinations in fewer lines: where only one input differs, its values stand together."""
    for place in (*range(1, width), 0):
        groups: dict[Box, frozenset[str]] = {}
        for box in found:
            rest = (*box[:place], frozenset[str](), *box[place + 1 :])
            groups[rest] = groups.get(rest, frozenset()) | box[place]
        found = {(*rest[:place], values, *rest[place + 1 :]) for rest, values in groups.items()}
    return sorted(found, key=lambda box: [sorted(values) for values in box])


def lines(name: str) -> Iterator[str]:
    test, inputs = RIGHTS[name]
    choices = [INPUTS.get(each, NO_YES) for each in inputs]
    given, found, count = Given(inputs), set[Box](), 0
    for values in product(*choices):
        count += 1
        if test(given.set(values)):
            found.add(tuple(frozenset({value}) for value in values))
    yield f"{name}: holds in {len(found)} of {count} combinations of {', '.join(inputs)}"
    for box in merged(found, len(inputs)):
        said = (
            f"{each}={'|'.join(one for one in among if one in values)}"
            for each, among, values in zip(inputs, choices, box, strict=True)
            if len(values) < len(among)
        )
        yield f"    {' '.join(said)}"


def test_each_right_means_what_it_meant(golden: Callable[[str, str], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "handover_met", lambda v: v.handed_over)
        patch.setattr(conditions, "grant_holds", lambda v, grant, term: grant and term == v.term)
        found = "".join(f"{line}\n" for name in RIGHTS for line in lines(name))
    golden("rights.txt", found)
