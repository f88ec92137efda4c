"""An operator who does what `status` says, in the states that need one, and compares the data first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.messages import Order
from pgvip.core.promotion import STRAYS_MAX

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World

PATIENCE_S = 45.0
LOST = {
    "no-record", "unconfirmed", "records-differ", "vip-answers", "hand-backs", "primary-lost", "database-down",
    "not-served", "early-fork",
}  # fmt: skip
"""Warnings whose hint is a forced promotion on the host whose data shall live."""


def left_stopped(host: Host) -> bool:
    """Its server left recovery so often that an operator is to say whether its data are rebuilt once more."""
    return host.daemon is not None and host.daemon.knowledge.promotion.strays >= STRAYS_MAX


class Operator:
    """Acts when the pair has not come back by itself for a while; one step at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.since_s = world.now_s
        self.acts = 0
        self._tried: set[str] = set()

    def look(self) -> None:
        world = self.world
        if not world.unhealthy():
            self.since_s = world.now_s
        elif world.now_s - self.since_s >= PATIENCE_S:
            self.since_s = world.now_s
            self._act()

    def _act(self) -> None:
        for host in self.world.hosts:
            record = host.durable.record
            lacking = host.durable.lacks and record is not None and record.primary == host.name
            if host.daemon and host.durable.hold and not lacking and self._has_nothing_alone(host):
                self._order(host, Order.CLEAR_HOLD)
                return
        for host in self.world.hosts:
            if left_stopped(host):
                self._order(host, Order.REJOIN)
                return
        said = {name for host in self.world.hosts for name in self.warnings(host)}
        if "paused" in said:  # an old message may bring back a pause that both hosts have forgotten
            self._order(self.world.a, Order.RESUME)
        elif said & LOST:
            host = max(self.world.hosts, key=self._worth)
            again, self._tried = host.name in self._tried, self._tried | {host.name}
            self._order(host, Order.FORCE_PROMOTE, "without-witness" if again and self.world.witnessed else "")

    def warnings(self, host: Host) -> set[str]:
        decision = host.daemon.last if host.daemon else None
        return {warning.name for warning in decision.warnings} if decision else set()

    def _has_nothing_alone(self, host: Host) -> bool:
        there, told, lost = set(host.peer.pg.wal), self.world.acknowledged, self.world.lost
        return not [entry for entry in host.pg.wal if entry in told and entry not in there and entry not in lost]

    def _worth(self, host: Host) -> tuple[int, int]:
        """How much of what was acknowledged this host has; a rebuild that was begun is worth nothing."""
        if host.pg.broken:
            return (-1, 0)
        return (len(self.world.acknowledged.keys() & set(host.pg.wal)), len(host.pg.wal))

    def _order(self, host: Host, order: Order, text: str = "") -> None:
        if host.daemon is not None:
            self.acts += 1
            self.world.log("op", f"{order.value} on {host.name}")
            host.daemon.order(order, text)
