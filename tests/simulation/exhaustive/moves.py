"""Every next state of a state: a daemon's step, the end of a tick, a fault, the end of one, a late message or fence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pgvip.core.actions import CheckVip, ConfirmGrant, FindEnd
from tests.simulation.exhaustive import machines, servers
from tests.simulation.exhaustive.acts import Actor
from tests.simulation.exhaustive.deciding import Asked, Core, Decided, Outcome
from tests.simulation.exhaustive.faults import Faults
from tests.simulation.exhaustive.known import HEARD_SEQ
from tests.simulation.exhaustive.looks import Probes
from tests.simulation.exhaustive.state import BIT, NAMES, PEER, Act, Host, Kept, Move, Violation, World

READS = (CheckVip, ConfirmGrant, FindEnd)
"""Actions that only look: when they look hardly matters beside when their result comes."""
INBOX = 3
"""Messages that wait for a stopped daemon; older ones are dropped, as its socket's buffer would be full."""


class Step(NamedTuple):
    """A step under way: actions that end."""

    world: World
    acts: tuple[Act, ...] = ()
    results: tuple[tuple[int, int], ...] = ()
    cost: int = 0
    words: tuple[str, ...] = ()


class Moves:
    """Next states. `orders`: which of the two daemons steps first is free in every tick; else the first host's."""

    def __init__(self, core: Core, kinds: tuple[str, ...], *, orders: bool = True) -> None:
        self.core = core
        self.actor = Actor(core)
        self.probes = Probes(core)
        self.faults = Faults(core, self.actor, kinds)
        self.orders = orders
        self.ticks = 0
        self.told: Callable[[World, Asked, Decided], None] | None = None

    def all(self, world: World) -> Iterator[Move]:
        """Every next state."""
        due = [name for name in NAMES if world.due & BIT[name]]
        if world.due == world.awake():
            yield from self._tried(self.faults.all(world), "a fault, or the end of one")
        if not due:
            yield from self._tried(self._ticks(world, "time passes"), "time passes")
        for name in due if self.orders else due[:1]:
            yield from self._tried(self._step(world, name), f"{name}, and what follows before the next step")

    def default(self, world: World) -> World:
        """The prompt next state, in which nothing goes wrong."""
        name = next((name for name in NAMES if world.due & BIT[name]), None)
        return next(self._step(world, name) if name else self._ticks(world, "time passes")).world

    @staticmethod
    def _tried(moves: Iterator[Move], label: str) -> Iterator[Move]:
        """A violation ends one move; those after it are lost with the generator, and nobody looks at them."""
        try:
            yield from moves
        except Violation as violation:
            yield Move(label, World(None, None), str(violation))  # type: ignore[arg-type]  # there is no state after it

    # --- a daemon's step --------------------------------------------------------------------------------------

    def _step(self, world: World, name: str) -> Iterator[Move]:
        for step in self._ended(world, name):
            yield from self._probed(step, name)

    def _ended(self, world: World, name: str) -> list[Step]:
        """Every way in which the actions of `name` may end in this tick."""
        steps = [Step(world)]
        for act in world.host(name).acts:
            if act.outcome:
                steps = [step._replace(results=(*step.results, (act.action, act.outcome))) for step in steps]
            elif act.left:
                steps = [step._replace(acts=(*step.acts, act)) for step in steps]
            else:
                steps = [after for step in steps for after in self._end(step, name, act)]
        return steps

    def _end(self, step: Step, name: str, act: Act) -> Iterator[Step]:
        action = self.core.actions[act.action]
        kind = type(action).__name__
        spare = step.world.delays - step.cost
        for how, world, outcome, cost in self.actor.ends(step.world, name, act.action):
            if cost > spare:
                continue
            words = (*step.words, f"{kind} {how}") if how else step.words
            yield Step(world, step.acts, (*step.results, (act.action, outcome)), step.cost + cost, words)
            if cost < spare:
                held = act._replace(outcome=outcome)
                told = (*words, f"{kind}'s result is late")
                yield Step(world, (*step.acts, held), step.results, step.cost + cost + 1, told)
        if spare and not isinstance(action, READS):
            yield step._replace(acts=(*step.acts, act), cost=step.cost + 1, words=(*step.words, f"{kind} takes longer"))

    def _probed(self, step: Step, name: str) -> Iterator[Move]:
        seen = self.probes.look(step.world, name)
        yield from self._decided(step, name, seen)
        old = step.world.host(name).seen
        if step.cost < step.world.delays and old not in (self.core.nothing_seen, seen):
            yield from self._decided(step._replace(cost=step.cost + 1, words=(*step.words, "looks late")), name, old)

    def _decided(self, step: Step, name: str, seen: int) -> Iterator[Move]:
        world, host = step.world, step.world.host(name)
        world, heard = self._heard(world, name, host)
        asked = Asked(name, host.known, seen, heard, step.results, host.orders)
        decided = self.core.decide(asked)
        if self.told is not None:
            self.told(step.world, asked, decided)
        renamed = dict(decided.renamed)
        acts = [act._replace(action=renamed.get(act.action, act.action)) for act in step.acts]
        acts += [Act(number) for number in decided.started]
        idle = 0 if decided.fed else host.idle
        host = host._replace(known=decided.known, seen=seen, acts=tuple(acts), inbox=(), orders=(), idle=idle)
        world = world.put(name, host)._replace(due=world.due & ~BIT[name], delays=world.delays - step.cost)
        for number in decided.started:
            world = self.actor.begins(world, name, number)
        world = world._replace(due=world.due & world.awake())  # its fence may have ended the other
        label = " ".join((name, *(f"[{words}]" for words in step.words)))
        for words, sent in self._sent(world, name, decided.message):
            yield from self._ticks(sent, f"{label}{words}") if not sent.due else iter((Move(label + words, sent),))

    def _heard(self, world: World, name: str, host: Host) -> tuple[World, tuple[tuple[int, int], ...]]:
        """The messages that have come, numbered as their order says; what is older than one of them becomes stale."""
        heard = tuple(
            (abs(number), HEARD_SEQ + count if number > 0 else 1) for count, number in enumerate(host.inbox, 1)
        )
        if world.kept:
            runs = {self.core.messages[number].run_id for number, seq in heard if seq > 1}
            fresh = (kept.to == name and self.core.messages[kept.message].run_id in runs for kept in world.kept)
            kept = tuple(k._replace(stale=k.stale or s) for k, s in zip(world.kept, fresh, strict=True))
            world = world._replace(kept=kept)
        return world, heard

    def _sent(self, world: World, name: str, message: int) -> Iterator[tuple[str, World]]:
        peer = PEER[name]
        if not world.sends("link", name) or not world.host(peer).on:
            yield "", world
            return
        arrived = delivered(world, peer, message)
        yield "", arrived
        if world.delays and arrived is not world:
            yield " [its message is lost]", world._replace(delays=world.delays - 1)
        kept = Kept(peer, message)
        if world.copies and kept not in world.kept:
            less = world.copies - 1
            yield " [a copy of its message is kept]", arrived._replace(kept=(*world.kept, kept), copies=less)
            yield " [its message is kept]", world._replace(kept=(*world.kept, kept), copies=less)

    # --- the end of a tick ------------------------------------------------------------------------------------

    def _ticks(self, world: World, label: str) -> Iterator[Move]:
        yield Move(label, self._tick(world))
        if world.delays and any(servers.streams(world, name) for name in NAMES):
            yield Move(f"{label} [flushed late]", self._tick(world._replace(delays=world.delays - 1), late=True))

    def _tick(self, world: World, *, late: bool = False) -> World:
        self.ticks += 1
        world = servers.replicated(world, late=late)
        for name in NAMES:
            world = machines.abandoned(world, name)
            world = self._later(world, name)
            if self.core.witness_id:
                world = machines.unattended(self.core, world, name)
        kept = tuple(each._replace(message=self.core.message_later(each.message)) for each in world.kept)
        return world._replace(due=world.awake(), kept=kept)

    def _later(self, world: World, name: str) -> World:
        """The host's clock, one tick on."""
        host = world.host(name)
        if not host.on:
            return world
        if host.inbox and self.core.timed:
            host = host._replace(inbox=tuple(self.core.message_later(number) for number in host.inbox))
        host = host._replace(seen=self.core.seen_later(host.seen), pg=servers.names_settle(host.pg))
        if host.known:
            acts = tuple(self._older(act) for act in host.acts)
            return world.put(name, host._replace(known=self.core.turned(host.known), acts=acts))
        facts = self.core.facts_later(host.facts)
        world = world.put(name, host._replace(facts=facts, boots=host.boots - 1 if host.boots > 0 else host.boots))
        return machines.start_daemon(self.core, world, name) if host.boots == 1 else world

    def _older(self, act: Act) -> Act:
        act = act._replace(action=self.core.action_later(act.action))
        if not act.outcome:
            return act._replace(left=max(act.left - 1, 0))
        came: Outcome = self.core.outcomes[act.outcome]
        return act._replace(outcome=self.core.outcomes.number(came._replace(age=min(came.age + 1, INBOX))))


def delivered(world: World, to: str, message: int) -> World:
    """The message waits for the next step; the same state twice in a row says no more than once."""
    host = world.host(to)
    if not host.known or host.inbox[-1:] == (message,):
        return world
    return world.put(to, host._replace(inbox=(*host.inbox, message)[-INBOX:]))
