"""Both hosts' decisions, each made once by the real core and looked up afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from pgvip.core import decide as core
from pgvip.core import intake
from pgvip.core.actions import KINDS, Action, Claimed, Guard, Result
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Knowledge
from pgvip.core.messages import Command, Message, Order
from pgvip.core.observations import Observations
from pgvip.core.rights import eligible
from pgvip.core.settings import Identity, Inputs, Settings
from pgvip.core.values import BootFacts, Durable, WalPoint
from tests.simulation.exhaustive.known import NOW_S, OLD, TICK_S, Clock, Names, Pool, key, older, seen_later

PAIR_ID, SYSTEM_ID = "pair-1", "7000000000000000001"
SMALL: dict[str, float] = {
    "interval_s": TICK_S, "heartbeat_s": TICK_S, "check_times": 3, "fence_delay_s": 1.0, "fence_retry_s": 2.0,
    "hung_after_s": 2.0, "disk_hung_after_s": 4.0, "standby_down_s": 2.0, "sync_stall_s": 4.0, "lag_s_max": 10.0,
    "consent_s": 5.0, "stop_s": 4.0, "solo_boot_wait_s": 2.0, "holdoff_s": 4.0, "stuck_s": 5.0,
    "isolation_demote_s": 6.0, "unfollowed_s": 6.0,
}  # fmt: skip
"""Settings in ticks: as short as their order allows, so that everything that waits for them comes soon."""


WITNESS: dict[str, float | bool] = {
    "check_times": 2, "lease_s": 5.0, "lease_stop_s": 2.0, "claim_s": 1.0, "clock_margin": 0.0, "fencing": False,
}  # fmt: skip
"""With a witness; without a margin, as when both clocks have run apart as far as they may."""
WITNESS_ID = "witness-1"


class Outcome(NamedTuple):
    """What came of an action; `age`: ticks since."""

    ok: bool = True
    text: str = ""
    point: WalPoint | None = None
    age: int = 0
    claimed: Claimed | None = None


class Asked(NamedTuple):
    """A round, by numbers. `heard`: messages with their places in order; `ended`: actions and what came of them."""

    me: str
    known: int
    seen: int
    heard: tuple[tuple[int, int], ...]
    ended: tuple[tuple[int, int], ...]
    orders: tuple[str, ...]


class Decided(NamedTuple):
    """What a round comes to, by numbers. `renamed`: actions under way that have another number from now on.

    `fed`: a watchdog has nothing to say against it.
    """

    known: int
    started: tuple[int, ...]
    renamed: tuple[tuple[int, int], ...]
    message: int
    notes: tuple[str, ...]
    fed: bool


@contextmanager
def scaled() -> Iterator[None]:
    """The core's own constants in ticks: waits before another try of one and two, a late fence of four.

    At their usual values (a minute) a single failure would have sixty times as many ages as here.
    """
    late_s, usual = intake.LATE_FENCE_S, {kind: kind.properties for kind in KINDS}
    intake.LATE_FENCE_S = 4 * TICK_S
    for kind, properties in usual.items():
        kind.properties = replace(properties, retry_s=(TICK_S, 2 * TICK_S))
    try:
        yield
    finally:
        intake.LATE_FENCE_S = late_s
        for kind, properties in usual.items():
            kind.properties = properties


class Core:
    """The real core of both hosts, with everything that it knows and says by numbers.

    `boots`: ticks from power to the daemon's start.
    """

    def __init__(self, *, sync: bool = True, boots: int = 2, witness: bool = False, **changes: float) -> None:
        numbers = {**SMALL, **(WITNESS if witness else {}), **changes}
        self.witness_id = WITNESS_ID if witness else ""
        self.settings = {
            me: Settings(me, peer, me == "a", sync=sync, archive=False, witness_id=self.witness_id, **numbers)  # type: ignore[arg-type]  # by name
            for me, peer in (("a", "b"), ("b", "a"))
        }
        self.sync = sync
        self.timed = witness or not sync
        self.boots = boots
        self.known: Pool[Knowledge] = Pool()
        self.seen: Pool[Observations] = Pool()
        self.messages: Pool[Message] = Pool()
        self.actions: Pool[Action] = Pool()
        self.outcomes: Pool[Outcome] = Pool()
        self.durables: Pool[Durable] = Pool()
        self.facts: Pool[BootFacts] = Pool()
        self.names = Names()
        self.clock = Clock(self.settings["a"])
        self.nothing_seen = self.seen.number(Observations())
        self.no_facts = self.facts.number(BootFacts())
        self.rounds = 0
        self._decided: dict[Asked, Decided] = {}
        self._turned: dict[int, int] = {}
        self._seen_later: dict[int, int] = {}
        self._kept: dict[int, int] = {}
        self._message_later: dict[int, int] = {}

    # --- a daemon ---------------------------------------------------------------------------------------

    def begin(self, boot: str, run: str, durable: int, facts: int) -> int:
        """A daemon starts, and will do its first step in the next tick."""
        who = Identity(boot, run, NOW_S, PAIR_ID, SYSTEM_ID)
        known = core.begin(who, self.durables[durable], self.facts[facts])
        return self.known.number(known, key(known))

    def decide(self, asked: Asked) -> Decided:
        """One round of the real core, or the same one from before."""
        decided = self._decided.get(asked)
        if decided is None:
            decided = self._decided[asked] = self._round(asked)
        return decided

    def _round(self, asked: Asked) -> Decided:
        self.rounds += 1
        sights = self.seen[asked.seen]
        messages = tuple(replace(self.messages[number], seq=seq) for number, seq in asked.heard)
        results = tuple(self._result(action, outcome) for action, outcome in asked.ended)
        commands = tuple(Command(Order(order)) for order in asked.orders)
        inputs = Inputs(sights, messages, results, commands, "")
        decision = core.decide(self.known[asked.known], inputs, self.settings[asked.me], NOW_S)
        after, renamed = self.clock.normal(decision.knowledge, sights)
        started = [renamed.get(action, action) for action in decision.actions]
        return Decided(
            self.known.number(after, key(after)),
            tuple(self.actions.number(action) for action in started),
            tuple((self.actions.number(old), self.actions.number(new)) for old, new in renamed.items()),
            self.messages.number(self._plain(decision.message)),
            tuple(f"{note.event}: {note.text}" for note in decision.notes),
            decision.guard is not Guard.LOST,
        )

    def _result(self, action: int, outcome: int) -> Result:
        came = self.outcomes[outcome]
        return Result(self.actions[action], came.ok, NOW_S - came.age * TICK_S, came.text, came.point, came.claimed)

    def _plain(self, message: Message) -> Message:
        """Without what no decision reads: numbers, addresses, positions (all within the limits here).

        In sync nothing reads `sent_s` and its echo in a grant either; a lease in async is counted from them, and so is
        one with a witness.
        """
        sent_s = NOW_S if self.timed else 0.0
        plain = replace(message, seq=0, sent_s=sent_s, vips=(), point=None, gateway_age_s=0.0)
        return replace(plain, failing="", failing_hint="", failing_unseen=False, crashes=())

    # --- time -----------------------------------------------------------------------------------------------

    def turned(self, known: int) -> int:
        """The same knowledge one tick later."""
        later = self._turned.get(known)
        if later is None:
            k = self.clock.turned(self.known[known])
            later = self._turned[known] = self.known.number(k, key(k))
        return later

    def seen_later(self, seen: int) -> int:
        later = self._seen_later.get(seen)
        if later is None:
            later = self._seen_later[seen] = self.seen.number(seen_later(self.seen[seen]))
        return later

    def facts_later(self, facts: int) -> int:
        """What a daemon kept, one tick after."""
        kept = self.facts[facts]
        later = replace(
            kept,
            doubt_s=older(kept.doubt_s, OLD),
            grant=self.clock.grant(kept.grant),
            lease=self.clock.lease_later(kept.lease),
        )
        return self.facts.number(later)

    def message_later(self, message: int) -> int:
        """What is on its way, one tick later; a message that was overtaken has a negative number."""
        if not self.timed:
            return message
        later = self._message_later.get(abs(message))
        if later is None:
            later = self._message_later[abs(message)] = self.messages.number(
                self.clock.message(self.messages[abs(message)])
            )
        return later if message > 0 else -later

    def action_later(self, action: int) -> int:
        return action if self.sync else self.actions.number(self.clock.action(self.actions[action]))

    def keep(self, known: int) -> int:
        """The boot facts that the daemon has kept when it ends, as the real one keeps them."""
        facts = self._kept.get(known)
        if facts is None:
            facts = self._kept[known] = self.facts.number(core.boot_facts(self.known[known]))
        return facts

    def is_eligible(self, me: str, known: int, seen: int) -> bool:
        facts = Facts(self.known[known], self.seen[seen], self.settings[me], NOW_S)
        return eligible(facts)

    def outcome(
        self, *, ok: bool = True, text: str = "", point: WalPoint | None = None, claimed: Claimed | None = None
    ) -> int:
        return self.outcomes.number(Outcome(ok, text, point, 0, claimed))

