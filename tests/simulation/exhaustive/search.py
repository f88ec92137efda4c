"""Breadth-first search through every state, so that the path to a violation is a shortest one."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.exhaustive.deciding import Core, scaled
from tests.simulation.exhaustive.faults import KINDS, WITNESS_KINDS
from tests.simulation.exhaustive.health import Recovery, first, unhealthy
from tests.simulation.exhaustive.moves import Moves
from tests.simulation.exhaustive.state import Move, Violation, World


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may spend on one path, and where it is cut off.

    `orders`: which daemon steps first is free in every tick, else it is the first host's. `boot`: ticks from power to
    the daemon's start. `terms`: a path ends where a record of a higher term is written (what makes a pair solo and
    paired again for ever would have no end). `steps`: a path's length, no bound when 0. `states`, `seconds`: the
    search is cut off there, and says so. `witness`: the pair has one, and cannot fence. `recovery`: 5 is checked from
    each state between two ticks, or from one in so many; 0: from none.
    """

    faults: int = 1
    delays: int = 0
    copies: int = 0
    kinds: tuple[str, ...] = KINDS
    sync: bool = True
    orders: bool = True
    boot: int = 2
    terms: int = 30
    steps: int = 0
    states: int = 0
    seconds: float = 0.0
    recovery: int = 1
    witness: bool = False


@dataclass(slots=True)
class Found:
    """What a search has seen. `cut_off`: "" when every state within the bounds was seen."""

    bounds: Bounds
    states: int = 0
    transitions: int = 0
    depth: int = 0
    ends: int = 0
    rounds: int = 0
    knowledge: int = 0
    recovered: int = 0
    longest: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    cut_off: str = ""
    violation: str = ""
    trace: list[str] = field(default_factory=list)


Progress = Callable[[Found, int], None]


class Search:
    """One search."""

    def __init__(self, bounds: Bounds, progress: Progress | None = None) -> None:
        self.bounds = bounds
        self.core = Core(sync=bounds.sync, boots=bounds.boot, witness=bounds.witness)
        every = bounds.witness and bounds.kinds == KINDS
        self.moves = Moves(self.core, WITNESS_KINDS if every else bounds.kinds, orders=bounds.orders)
        self.recovery = Recovery(self.core, self.moves)
        self.found = Found(bounds)
        self.progress = progress
        self._start = World(first(self.core).a, first(self.core).b)
        self._marks: set[int] = set()
        self._from = array("q")
        self._which = array("i")
        self._labels: dict[str, int] = {}

    def run(self) -> Found:
        """Search until no state is new, something is violated, or a bound cuts it off."""
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        with scaled():
            try:
                self._run(began_s)
            except Violation as violation:
                self.found.violation = self.found.violation or str(violation)
        found = self.found
        found.states, found.rounds, found.knowledge = len(self._marks), self.core.rounds, len(self.core.known)
        found.longest, found.seconds = self.recovery.longest, time.monotonic() - began_s
        found.cpu_s = time.process_time() - began_cpu_s
        return found

    def start(self) -> World:
        """A healthy pair that has been so for a while, with everything to spend."""
        world = self.recovery.to_health(first(self.core))
        self.recovery.longest = 0
        for _ in range(40):
            world = self.moves.default(world)
        b = self.bounds
        return world._replace(faults=b.faults, delays=b.delays, copies=b.copies)

    def _run(self, began_s: float) -> None:
        b, found, marks = self.bounds, self.found, self._marks
        start = self._start = self.start()
        assert not unhealthy(self.core, start), "the pair does not stay healthy"
        queue: deque[tuple[World, int, int]] = deque()
        self._new(start, -1, "")
        queue.append((start, 0, 0))
        while queue:
            world, number, depth = queue.popleft()
            found.depth = depth
            if number % 1024 == 0 and self._enough(began_s, len(queue)):
                return
            if b.steps and depth >= b.steps:
                found.cut_off = f"at {b.steps} steps"
                continue
            if self._term(world) > b.terms:
                found.ends += 1
                continue
            for move in self.moves.all(world):
                found.transitions += 1
                if move.violation:
                    self._violated(number, move)
                mark = hash(move.world)
                if mark in marks:
                    continue
                self._new(move.world, number, move.label)
                self._recovers(move, len(marks) - 1)
                queue.append((move.world, len(marks) - 1, depth + 1))

    def _term(self, world: World) -> int:
        records = (self.core.durables[host.durable].record for host in (world.a, world.b))
        return max(record.term for record in records if record is not None)

    def _new(self, world: World, parent: int, label: str) -> None:
        self._marks.add(hash(world))
        self._from.append(parent)
        self._which.append(self._labels.setdefault(label, len(self._labels)))

    def _recovers(self, move: Move, number: int) -> None:
        world = move.world
        if world.due != world.awake() or not self.bounds.recovery or number % self.bounds.recovery:
            return
        self.found.recovered += 1
        try:
            self.recovery.check(world)
        except Violation as violation:
            self._violated(number, Move("everything is healed", world, str(violation)))

    def _enough(self, began_s: float, waiting: int) -> bool:
        found, b = self.found, self.bounds
        found.states, found.seconds = len(self._marks), time.monotonic() - began_s
        found.rounds = self.core.rounds
        if self.progress is not None:
            self.progress(found, waiting)
        if b.seconds and found.seconds >= b.seconds:
            found.cut_off = f"after {b.seconds:.0f} s, with {waiting} states to go on from"
        elif b.states and found.states >= b.states:
            found.cut_off = f"at {b.states} states, with {waiting} to go on from"
        return bool(b.seconds and found.seconds >= b.seconds) or bool(b.states and found.states >= b.states)

    # --- the path -----------------------------------------------------------------------------------------

    def _violated(self, number: int, move: Move) -> None:
        found = self.found
        found.violation = move.violation
        labels = self._path(number)
        found.trace = Replay(self.core, self.moves, self._start).lines(labels, move)
        raise Violation(move.violation)

    def _path(self, number: int) -> list[str]:
        names = {which: label for label, which in self._labels.items()}
        labels = []
        while number > 0:
            labels.append(names[self._which[number]])
            number = self._from[number]
        return labels[::-1]


class Replay:
    """The same path again, told."""

    def __init__(self, core: Core, moves: Moves, world: World) -> None:
        self.core = core
        self.moves = moves
        self.world = world
        self._notes: list[str] = []

    def lines(self, labels: list[str], end: Move) -> list[str]:
        """Each move, what the daemons noted in it, and the state after it."""
        lines = []
        for number, label in enumerate(labels, 1):
            move = self._take(label)
            lines += [f"{number:4d} {label}", *self._notes, *self._changes(self.world, move.world)]
            self.world = move.world
        lines.append(f"     {end.label}")
        lines += [f"     {self.world.a}", f"     {self.world.b}"]
        lines.append(f" !!! {end.violation}")
        return lines

    def _take(self, label: str) -> Move:
        self._notes = []
        self.moves.told = lambda _, asked, decided: self._notes.extend(
            f"       {asked.me} {each}" for each in decided.notes
        )
        try:
            for move in self.moves.all(self.world):
                if move.label == label:
                    return move
                self._notes.clear()
        finally:
            self.moves.told = None
        raise AssertionError(f"the path cannot be walked again: {label}")

    def _changes(self, before: World, after: World) -> list[str]:
        lines = []
        for name in ("a", "b"):
            old, new = before.host(name), after.host(name)
            if old.on != new.on:
                lines.append(f"       {name} {'has power' if new.on else 'is OFF'}")
            if old.pg.phase != new.pg.phase:
                lines.append(f"       {name} postgres: {old.pg.phase} -> {new.pg.phase}")
            if old.held != new.held:
                lines.append(f"       {name} holds {[vip.value for vip in new.held]}")
            if old.durable != new.durable:
                lines.append(f"       {name} writes {self.core.durables[new.durable]}")
        return lines
