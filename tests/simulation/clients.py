"""Clients: one that goes through the primary VIP, one that writes wherever it can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.values import Vip
from tests.simulation.engine import Violation

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World


class Clients:
    """They commit, and remember what was acknowledged."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.every_s = 0.5

    def begin(self) -> None:
        self.world.after(self.every_s, self._again)

    def _again(self) -> None:
        for host in self.world.hosts:
            self._visit(host)
            self.world.watch.look(host)
        self.world.after(self.world.span(0.2, 1.8) * self.every_s, self._again)

    def _visit(self, host: Host) -> None:
        world, pg = self.world, host.pg
        if not host.powered or host.frozen or host.disk_bad or pg.hung == "all":
            return
        if not (pg.phase == "primary" or pg.orphans):
            return
        peer = host.peer
        excused = world.split or world.parted or world.late_losers or pg.by_hand or peer.pg.by_hand
        if peer.powered and peer.pg.writes and not excused:
            raise Violation(f"1: two writers: {host.name} and {peer.name}")
        through = Vip.PRIMARY in host.held and world.net.sends("client", host) and not pg.orphans
        record = host.durable.record
        if through and pg.revealed != pg.proc and record is not None and record.sync:
            # All that was recovered is visible to whoever comes through the address, and counts as told.
            pg.revealed = pg.proc
            for entry in pg.wal[: pg.recovered_end]:
                if entry in world.commits and entry not in world.acknowledged:
                    world.acknowledge(host, entry)
        if through or world.chance(0.3):
            pg.commit()
