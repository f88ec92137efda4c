"""What must hold over time: an address stays only where writes work, and a daemon alone moves nothing.

Invariants 1 to 3 and one holder for each address (4) are looked at in the very events that can break them, which is the
same as after every event: a host begins to write in `Cluster.become_writer` alone (orphans are left by a server that
wrote already), is told of a commit in `World.acknowledge`, carries an address from `_AddVip` on, and loses data in
`_Rejoin`. What is here has a time limit, so it is looked at by the clients' steady visits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.removed_peer import since
from pgvip.core.values import Mode, Vip
from tests.simulation.engine import Violation

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World


class Watch:
    """Looks at both hosts again and again."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.only_daemons = False
        self.unheard_s = {"a": float("-inf"), "b": float("-inf")}
        self._slow_s = float("-inf")
        self._since_s = {"a": float("inf"), "b": float("inf")}
        self._stray_s = {"a": float("inf"), "b": float("inf")}

    def look(self, host: Host) -> None:
        """4: the primary VIP is not left where nothing can be written, longer than it takes to see and drop it.

        A server that shuts down in an orderly way (its time limit is `stop_s`) keeps the address until it is gone.
        """
        now_s, rates = self.world.now_s, self.world.faults
        if rates.slow > 0.0 or rates.drop_fails > 0.0:
            self._slow_s = now_s
        if self.world.forced_over and self.world.unheard(host):
            self.unheard_s[host.name] = now_s
        self._look_at_stray(host)
        if Vip.PRIMARY not in host.held or host.pg.phase in ("primary", "stopping") or self._excused(host):
            self._since_s[host.name] = float("inf")
            return
        since_s = self._since_s[host.name] = min(self._since_s[host.name], now_s)
        if now_s - since_s > 2 * host.settings.interval_s + host.settings.hung_after_s:
            raise Violation(f"4: {host.name} has had the primary VIP for {now_s - since_s:.1f} s without a database")

    def _look_at_stray(self, host: Host) -> None:
        """1: a server that somebody promoted is stopped as soon as it is seen."""
        now_s, record = self.world.now_s, host.durable.record
        if record is not None and record.primary == host.name:
            host.pg.by_hand = False  # the role came to it meanwhile
        if not host.pg.by_hand or host.pg.hung or host.disk_bad or self._excused(host):
            self._stray_s[host.name] = float("inf")
            return
        since_s = self._stray_s[host.name] = min(self._stray_s[host.name], now_s)
        if now_s - since_s > 2 * host.settings.interval_s + 1.0:
            raise Violation(f"1: two writers: {host.name} was promoted by hand {now_s - since_s:.1f} s ago, and runs")

    def _excused(self, host: Host) -> bool:
        """Nobody is there who could drop it, or who could see that it must be dropped, or an operator said pause."""
        daemon = host.daemon
        if not host.powered or host.frozen or daemon is None or daemon.stopped or host.durable.pause.active:
            return True
        if host.pg.orphans:
            return True  # processes of the server that cannot be ended yet: they come before the address
        # A look or a drop that was begun in bad weather takes up to 3 s.
        return bool(host.blind) or host.state_hangs or self.world.now_s - self._slow_s < 4.0

    def left_alone(self, host: Host, what: str) -> None:
        """A host whose peer was removed does nothing to it."""
        if since(host.durable, host.name):
            raise Violation(f"{host.name} {what} its peer, which was removed")

    def recorded(self, host: Host, term: int) -> None:
        """7: only daemons fail, and a role moves. One whose peer was removed does not make it a standby again."""
        record, past = host.durable.record, host.past[-1]
        if since(past, host.name) and record is not None and record.mode is Mode.PAIR and record.primary == host.name:
            raise Violation(f"{host.name} writes {record.term} {record.mode.value} although its peer was removed")
        if self.only_daemons:
            raise Violation(f"7: {host.name} writes term {term} although only daemons failed")

    def stopped(self, host: Host) -> None:
        """7: only daemons fail, and a PostgreSQL ends."""
        if self.only_daemons:
            raise Violation(f"7: the postgres of {host.name} ends although only daemons failed")

    def dropped(self, host: Host, vip: Vip) -> None:
        """7: only daemons fail, and an address is taken down."""
        if self.only_daemons:
            raise Violation(f"7: {host.name} drops the {vip.value} VIP although only daemons failed")
