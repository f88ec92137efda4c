"""Probes of a simulated daemon: each look is reported a little later than it was taken.

`at_s` is the time before the look began, as the real probes must stamp it: what was seen held then or later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.observations import Database, PeerDatabase, Processes, Replica
from pgvip.core.values import NEVER, Lsn, Vip, WalPoint

if TYPE_CHECKING:
    from tests.simulation.machine import Daemon

Report = dict[str, tuple[bool, object, float]]


class Probes:
    """One probe for what is local, one for what is remote; a slow one makes its own observations old."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.host = daemon.host
        self.world = daemon.world
        self._soon = False
        self._busy = False
        self._point: tuple[str, int] = ("", -1)
        self._moved_s = self._looked_s = NEVER

    def begin(self) -> None:
        self._local_loop()
        self._remote_loop()

    def look_soon(self) -> None:
        """Something happened: the local probe looks at once."""
        if not self._soon:
            self._soon = True
            self.host.later(self.world.span(0.001, 0.01), self._local)

    def _local_loop(self) -> None:
        if self.daemon.alive:
            self._local()
            self.host.later(self.host.settings.interval_s, self._local_loop)

    def _remote_loop(self) -> None:
        if self.daemon.alive:
            self._deliver(self._blind(self._remote()))
            self.host.later(self.host.settings.interval_s, self._remote_loop)

    def _deliver(self, report: Report) -> None:
        def arrive() -> None:
            if self.daemon.alive:
                self.daemon.looked(report)

        self.host.later(self.world.look_s(), arrive)

    def _blind(self, report: Report) -> Report:
        """Without the looks that hang; or they say that they took too long."""
        for name, how in self.host.blind.items():
            if report.pop(name, None) is not None and how == "fails":
                report[name] = (False, "it took too long", self.host.clock_s)
        return report

    # --- local -----------------------------------------------------------------------------------------

    def _local(self) -> None:
        self._soon = False
        if not self.daemon.alive or self.daemon.stopped:
            return
        if self._busy:
            self.look_soon()
            return
        host, pg, now_s = self.host, self.host.pg, self.host.clock_s
        report: Report = {
            "processes": (True, self._processes(), now_s),
            "held": (True, frozenset(host.held), now_s),
        }
        if host.veto:
            report["veto"] = (True, True, now_s)
        up = pg.phase not in ("down", "stopping")
        connects = up and not pg.hung
        report["connection"] = (connects, connects or "refused", now_s)
        report["disks"] = (not host.disk_bad, not host.disk_bad or "fsync does not return", now_s)
        if pg.keeps_answering:
            report["database"] = (True, self._database(now_s), now_s)
        else:
            report["database"] = (False, "no answer", now_s)
        if pg.phase == "primary" and not pg.hung and not host.disk_bad:
            pg.append()  # the heartbeat row
        self._busy = True
        self._blind(report)

        def arrive() -> None:
            self._busy = False
            if self.daemon.alive:
                self.daemon.looked(report)

        host.later(self.world.look_s(), arrive)

    def _processes(self) -> Processes:
        from tests.simulation.machine import SYSTEM_ID

        pg = self.host.pg
        return Processes(
            installed=True,
            system_id=SYSTEM_ID,
            postmaster=pg.proc,
            left=5 if pg.proc else int(pg.orphans),
            standby_signal=pg.standby_signal,
            control_state=pg.control,
            checkpoint=pg.checkpoint,
        )

    def _database(self, now_s: float) -> Database:
        pg = self.host.pg
        standby = pg.phase in ("standby", "promoting")
        stream = pg.outbound
        replica = None
        if not standby and stream is not None and stream.sender_open:
            replica = Replica(
                "streaming", "sync" if pg.names_shown else "async", Lsn(stream.flush_lsn), Lsn(stream.flush_lsn)
            )
        watched = (pg.proc, stream.flush_lsn if stream is not None and not standby else pg.flushed if standby else -1)
        if watched != self._point:
            if self._point[0] == pg.proc and self._point[1] >= 0:
                # Dated by the message that brought it, where that came after the last look.
                brought_s = pg.inbound.heard_s if standby and pg.inbound else stream.replied_s if stream else NEVER
                came_s = brought_s - self.world.now_s + now_s
                self._moved_s = came_s if self._looked_s <= came_s <= now_s else now_s
            self._point = watched
        if self._point[0] != pg.proc:
            self._moved_s = NEVER
        self._looked_s = now_s
        inbound = pg.inbound
        return Database(
            postmaster=pg.proc,
            in_recovery=standby,
            point=WalPoint(pg.timeline, Lsn(pg.flushed)),
            replay_lsn=Lsn(pg.flushed),
            moved_at_s=self._moved_s,
            replay_paused=standby and pg.paused,
            recovery_target=pg.target if standby else "",
            streaming=standby and inbound is not None and self.world.now_s - inbound.heard_s <= 2.5,
            sync_names="peer" if pg.names_shown else "",
            replica=replica,
            history=pg.ancestors(),
        )

    # --- remote ---------------------------------------------------------------------------------------------

    def _remote(self) -> Report:
        from tests.simulation.machine import SYSTEM_ID

        host, peer, now_s = self.host, self.host.peer, self.host.clock_s
        net = self.world.net
        gateway = net.sends("gateway", host)
        report: Report = {"gateway": (gateway, "gateway" if gateway else "no answer", now_s)}
        device = net.sends("fence", host) and self.world.fencing.moods.get(peer.name) != "fails"
        report["fence"] = (device, ("on" if peer.powered else "off") if device else "no answer", now_s)
        if host.settings.witness_id:
            status = self.world.third.status(host)
            report["witness"] = (status is not None, status or "no answer", now_s)
        reachable = net.open("db", host, peer)
        for name, vip in (("arp_primary", Vip.PRIMARY), ("arp_standby", Vip.STANDBY)):
            # a frozen host's kernel does not answer, a host with a stopped daemon does
            answers = reachable and not peer.frozen and vip in peer.held
            report[name] = (True, peer.mac if answers else "", now_s)
        pg = peer.pg
        if net.open("connect", host, peer) and pg.answers and not peer.disk_bad:
            value = PeerDatabase(pg.phase != "primary", pg.timeline, SYSTEM_ID)
            report["peer_own"] = (True, value, now_s)
            wanted = Vip.PRIMARY if pg.phase == "primary" else Vip.STANDBY
            if wanted in peer.held:
                report["peer_vip"] = (True, value, now_s)
            else:
                report["peer_vip"] = (False, "no route", now_s)
        elif peer.stranger and net.sends("connect", host):
            report |= _stranger(peer.stranger, now_s)
        else:
            report["peer_own"] = report["peer_vip"] = (False, "no answer", now_s)
        return report


def _stranger(how: str, now_s: float) -> Report:
    """Somebody else's server at a host's address: it refuses the login, or lets everybody in."""
    other = PeerDatabase(in_recovery=False, timeline=9, system_id="7999999999999999999")
    told = (how == "other", other if how == "other" else "something answers", now_s)
    return {"peer_own": told, "peer_vip": told, "stranger": (True, "something answers", now_s)}
