"""A check of the canonical form: the same random path once more without it, and both must decide the same.

The twin keeps what the core really knows: times that only grow, every count and cause, every message with its real
number. Where an age that stands still, a name used again or a blank field changed a decision, the two differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from pgvip.core import decide as core
from pgvip.core.actions import Action, ClaimTerm, ConfirmGrant, Fence, Result, WriteState
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.messages import Command, Message, Order
from pgvip.core.observations import Observations
from pgvip.core.settings import Identity, Inputs
from pgvip.core.values import NEVER, BootFacts
from tests.simulation.exhaustive.deciding import PAIR_ID, SYSTEM_ID, Asked, Core, Decided, scaled
from tests.simulation.exhaustive.health import first
from tests.simulation.exhaustive.known import NOW_S, TICK_S, without_cause
from tests.simulation.exhaustive.looks import observed, taken
from tests.simulation.exhaustive.moves import Moves
from tests.simulation.exhaustive.state import NAMES, World

OLDEST_ECHO = 5
"""Ticks after which no echo prolongs anything."""


class Whole:
    """What one daemon really knows and sees."""

    def __init__(self, known: Knowledge) -> None:
        self.known = known
        self.seen = Observations()
        self.running: dict[int, Action] = {}


class Twin:
    """A random walk through the small world, decided twice."""

    faults = 3
    delays = 2

    def __init__(self, kinds: tuple[str, ...], seed: int, *, sync: bool = True, witness: bool = False) -> None:
        self.rng = Random(seed)
        self.core = Core(sync=sync, witness=witness)
        self.moves = Moves(self.core, kinds)
        self.moves.told = self._told
        self.now_s = NOW_S
        self.daemons: dict[str, Whole | None] = dict.fromkeys(NAMES)
        self.kept: dict[str, BootFacts] = {}
        self.sent: dict[tuple[str, int], Message] = {}
        self.compared = 0
        self._last: tuple[World, Asked, Decided] | None = None

    def walk(self, steps: int) -> int:
        """How many decisions were compared. Raises AssertionError at the first that differs."""
        with scaled():
            world = first(self.core)
            self.kept = {name: self.core.facts[world.host(name).facts] for name in NAMES}
            for step in range(steps):
                if step == 60:
                    world = world._replace(faults=self.faults, delays=self.delays)
                before = world
                world = self._one(world) if step >= 60 else self._prompt(world)
                self._living(before, world)
        return self.compared

    def _prompt(self, world: World) -> World:
        self._last, ticks = None, self.moves.ticks
        world = self.moves.default(world)
        self._twice()
        self._later(self.moves.ticks - ticks)
        return world

    def _one(self, world: World) -> World:
        """A random move; most often one of time, so that there is time for what faults lead to."""
        moves: list[tuple[str, World, int, tuple[World, Asked, Decided] | None]] = []
        self._last, ticks = None, self.moves.ticks
        for move in self.moves.all(world):
            assert not move.violation, move.violation
            moves.append((move.label, move.world, self.moves.ticks - ticks, self._last))
            ticks = self.moves.ticks
        calm = [move for move in moves if "*" not in move[0]]
        label, world, ticked, self._last = self.rng.choice(moves if self.rng.random() < 0.1 or not calm else calm)
        if not label.startswith("*"):
            self._twice()
        self._later(ticked)
        return world

    def _later(self, ticks: int) -> None:
        """Time goes on; in async, so do the numbers of messages and actions with a clock reading in them."""
        self.now_s += ticks * TICK_S
        if not ticks or not self.core.timed:
            return
        for (name, number), message in list(self.sent.items()):
            self.sent[name, self.core.message_later(number)] = message
        for mine in self.daemons.values():
            if mine is not None:
                mine.running = {self.core.action_later(number): action for number, action in mine.running.items()}

    def _told(self, world: World, asked: Asked, decided: Decided) -> None:
        self._last = (world, asked, decided)

    def _living(self, before: World, after: World) -> None:
        """The daemons that live now are these; what one of them kept is there for the next one of the same boot."""
        for name in NAMES:
            host = after.host(name)
            mine = self.daemons.get(name)
            if host.boot != before.host(name).boot:
                self.kept.pop(name, None)
                mine = self.daemons[name] = None
            if not host.known:
                if mine is not None:
                    self.kept[name] = core.boot_facts(mine.known)
                self.daemons[name] = None
            elif mine is None:
                named = self.core.known[host.known].who
                who = Identity(named.boot_id, named.run_id, self.now_s, PAIR_ID, SYSTEM_ID)
                kept = self.kept.pop(name, BootFacts())
                self.daemons[name] = Whole(core.begin(who, self.core.durables[host.durable], kept))

    def _twice(self) -> None:
        """Decide the move's round with all that is really known, and compare."""
        if self._last is None:
            return
        world, asked, decided = self._last
        mine = self.daemons[asked.me]
        assert mine is not None
        if asked.seen == self.moves.probes.look(world, asked.me):
            mine.seen = observed(mine.seen, taken(world, asked.me), self.now_s)
        decision = self._decide(mine, asked)
        mine.known = decision.knowledge
        self._compare(mine, decided, decision)
        self.compared += 1

    def _decide(self, mine: Whole, asked: Asked) -> Decision:
        messages = tuple(self.sent[asked.me, number] for number, _ in asked.heard)
        results = tuple(
            Result(
                mine.running.pop(action),
                came.ok,
                self.now_s - came.age * TICK_S,
                came.text,
                came.point,
                came.claimed,
            )
            for action, came in ((action, self.core.outcomes[outcome]) for action, outcome in asked.ended)
        )
        orders = tuple(Command(Order(order)) for order in asked.orders)
        inputs = Inputs(mine.seen, messages, results, orders, "now")
        return core.decide(mine.known, inputs, self.core.settings[asked.me], self.now_s)

    def _compare(self, mine: Whole, decided: Decided, decision: Decision) -> None:
        for old, new in decided.renamed:
            if old in mine.running:
                mine.running[new] = mine.running.pop(old)
        started = list(decision.actions)
        listed = [self.core.actions[number] for number in decided.started]
        one, other = [plain(action) for action in started], [plain(action) for action in listed]
        assert one == other, f"{one} {other}"
        mine.running.update(zip(decided.started, started, strict=True))
        said, canonical = decision.message, self.core.messages[decided.message]
        apart = list(differences(said, canonical, self.now_s - NOW_S))
        assert not apart, f"{said.host}: {apart}"
        peer = "b" if said.host == "a" else "a"
        self.sent[peer, decided.message] = said
        notes = [note.event for note in decision.notes]
        assert notes == [words.partition(":")[0] for words in decided.notes]


def plain(action: Action) -> Action:
    """Without attempts, causes and clocks, which differ by right."""
    if isinstance(action, Fence | ClaimTerm):
        return replace(action, attempt="")
    if isinstance(action, WriteState):
        return WriteState(without_cause(action.durable))
    if isinstance(action, ConfirmGrant):
        return replace(action, key=replace(action.key, echo_s=0.0, expires_s=None))
    return action


def differences(said: Message, canonical: Message, later_s: float) -> Iterator[str]:
    """Fields in which two messages differ, but for those that the canonical form leaves out."""
    for name in Message.__slots__:
        one, other = getattr(said, name), getattr(canonical, name)
        if name in ("seq", "sent_s", "vips", "point", "gateway_age_s", "crashes") or name.startswith("failing"):
            continue
        if name == "record" and one is not None and other is not None:
            one, other = replace(one, cause="", at=""), replace(other, cause="", at="")
        if name == "cannot":
            one, other = bool(one), bool(other)
        if name == "grant" and one is not None and other is not None:
            left_s = None if one.expires_s is None else max(one.expires_s - later_s, NOW_S - TICK_S)
            one, other = replace(one, echo_s=0.0, expires_s=left_s), replace(other, echo_s=0.0)
        if name == "echo_s" and one > NEVER:
            one, other = max(one - later_s, NOW_S - (OLDEST_ECHO * TICK_S)), max(other, NOW_S - OLDEST_ECHO * TICK_S)
        if one != other:
            yield f"{name}: {one!r} {other!r}"
