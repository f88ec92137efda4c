"""What directed faults are written with: wait until something holds, hold messages back, cut, switch off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pgvip.core.messages import Message, Order
from pgvip.core.values import Mode, Vip
from tests.simulation.engine import Violation
from tests.simulation.machine import Host
from tests.simulation.world import World

Test = Callable[[Message], bool]


class Missed(Exception):
    """The moment that a play waits for did not come."""


class Play:
    """What plays do to the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.a, self.b = world.hosts

    def until(self, holds: Callable[[], bool], within_s: float = 20.0) -> None:
        end_s = self.world.now_s + within_s
        while not holds():
            if self.world.now_s > end_s:
                raise Missed
            self.world.step()

    def must(self, holds: Callable[[], bool], within_s: float, what: str) -> None:
        """It comes about by itself, without an end of the faults."""
        try:
            self.until(holds, within_s)
        except Missed:
            raise Violation(what) from None

    def never(self, happens: Callable[[], bool], for_s: float, what: str) -> None:
        """It does not come about meanwhile."""
        end_s = self.world.now_s + for_s
        while self.world.now_s < end_s:
            if happens():
                raise Violation(what)
            self.world.step()

    def no(self, action: str, what: str, by: Host | None = None) -> None:
        """From now on, until `anything`, nobody (or not `by`) may start such an action."""

        def moment(kind: str, host: Host) -> None:
            if kind == action and by in (None, host):
                raise Violation(f"{what} ({host.name})")

        self.world.moment = moment

    def when(self, what: str, host: Host, act: Callable[[], None], low_s: float = 0.0, high_s: float = 0.0) -> None:
        """The first time that `what` happens on `host`: act, a moment later."""

        def moment(kind: str, where: Host) -> None:
            if kind == what and where is host:
                self.anything()
                if high_s:
                    self.world.after(self.world.span(low_s, high_s), act)
                else:
                    act()

        self.world.moment = moment

    def anything(self) -> None:
        """An end of `no` and of `when`."""
        self.world.moment = lambda _what, _host: None

    def wait(self, low_s: float, high_s: float) -> None:
        end_s = self.world.now_s + self.world.span(low_s, high_s)
        while self.world.now_s < end_s:
            self.world.step()

    def serves(self, host: Host) -> bool:
        return host.pg.phase == "primary" and host.powered

    def is_pair(self) -> bool:
        """Both hosts have the same record, and it says pair."""
        mine, theirs = self.a.durable.record, self.b.durable.record
        return bool(mine and theirs and mine.term == theirs.term and mine.mode is Mode.PAIR)

    def says_solo(self, host: Host, primary: Host) -> bool:
        """The record of `host` lets `primary` serve alone."""
        record = host.durable.record
        return bool(record and record.mode is Mode.SOLO and record.primary == primary.name)

    def alone(self, host: Host) -> bool:
        """`host` serves alone."""
        return self.says_solo(host, host) and self.serves(host)

    def eligible(self, host: Host) -> bool:
        return bool(host.daemon and host.daemon.last and host.daemon.last.message.eligible)

    def gives_up(self, host: Host) -> bool:
        return bool(host.daemon and host.daemon.knowledge.consent.giving_up)

    def waits(self, host: Host) -> bool:
        """It would fence, and waits `fence_delay`."""
        return bool(host.daemon and host.daemon.knowledge.fencing.waiting)

    def order(self, host: Host, order: Order, text: str = "") -> None:
        self.until(lambda: host.daemon is not None)
        assert host.daemon is not None
        host.daemon.order(order, text)

    def holds(self, host: Host, vip: Vip) -> bool:
        return vip in host.held

    def term(self, host: Host) -> int:
        record = host.durable.record
        return record.term if record else -1

    def cut(self, host: Host, *paths: str) -> None:
        """Packets of `host` on these paths are lost."""
        self.world.net.cuts |= {(path, host.name) for path in paths}

    def apart(self, *paths: str) -> None:
        """Packets between the hosts are lost, both ways."""
        self.world.net.cuts |= {(path, host.name) for path in paths for host in self.world.hosts}

    def break_stream(self) -> None:
        """The connection of the two databases breaks, and there is no new one."""
        self.apart("db")
        self.world.replication.breaks()

    def off(self, host: Host) -> None:
        """No power, and none by a fence device either."""
        self.world.no_power.add(host.name)
        host.power_off("ambush")

    def on(self, host: Host) -> None:
        self.world.no_power.discard(host.name)
        host.power_on()
        self.until(lambda: host.daemon is not None)

    def copies(self, sender: Host, test: Test, *, passing: bool = True) -> list[Message]:
        """Those messages of `sender`, from now on, kept for later; `passing`: they arrive now as well."""
        kept: list[Message] = []

        def passes(host: Host, message: Message) -> bool:
            caught = host is sender and test(message)
            if caught:
                kept.append(message)
            return passing or not caught

        self.world.passes = passes
        return kept

    def again(self, receiver: Host, messages: list[Message], every_s: float = 0.1) -> None:
        """Old messages arrive."""
        for count, message in enumerate(messages):
            self.world.after(count * every_s, partial(self.world.arrive, receiver, message))
        self.world.log(receiver.name, f"{len(messages)} OLD messages come")

    def slow_link(self, low_s: float, high_s: float) -> None:
        """Every message takes its time, until the world is calm."""

        def late(sender: Host, message: Message) -> bool:
            self.world.after(self.world.span(low_s, high_s), partial(self.world.arrive, sender.peer, message))
            return False

        self.world.passes = late

    def is_cut_off(self, host: Host) -> None:
        self.apart("link", "db")
        self.cut(host, "gateway", "fence")
