"""Who looks: each probe with what it observes and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.actions import leftovers, replication, unwatched, vip
from pgvip.config.model import Config
from pgvip.config.observing import observes
from pgvip.core import lease
from pgvip.core.actions import DropVip
from pgvip.core.changes import NONE
from pgvip.core.facts import Facts
from pgvip.core.removed_peer import since as removed_since
from pgvip.core.values import Mode, Vip
from pgvip.daemon.probe_threads import Probe
from pgvip.deadlines import now_s
from pgvip.errors import ProbeError, VipError
from pgvip.events.event_log import log
from pgvip.events.event_table import VETO
from pgvip.probes import addresses, archive_mount, clients, commits, fence_status, gateway, peer_database
from pgvip.probes.database import DatabaseProbe
from pgvip.probes.disks import DiskProbe
from pgvip.probes.server_processes import ProcessesProbe
from pgvip.system.executables import listed
from pgvip.system.kept_local import CHORES

if TYPE_CHECKING:
    from pgvip.core.observations import Database, PeerDatabase
    from pgvip.status.snapshot import Newest
    from pgvip.system.processes import ProcessRef

REST_S = 10.0
"""Pace of looks that only matter when the peer is quiet."""
VIP_REST_S = 30.0
"""The same through the peer's VIP: a whole login on a server that its own address has shown to be there."""
SLOTS_S = 20.0
"""Of slots; what changes them wakes the probe."""
ARP_S = 5.0
FENCE_STATUS_S = 60.0
COMMITS_S = 60.0
CLIENTS_S = 10.0
"""Each probe costs PostgreSQL a process; what it finds is a warning, and moves no role."""
VETO_S = 5.0
"""A veto hook counts this long after it was put there."""
ANNOUNCE_S = 60.0
"""Refresh of announced addresses: switches forget after 300 s (the ageing time of IEEE 802.1D)."""
ANNOUNCE_EARLY_S = 10.0
"""For so long after a raise the announcement is repeated every second."""
AGAIN_S = {"connection": 0.05, "disks": 0.05}
"""A local failure is probed again at once: it decides whether the role is handed over."""


CHANGING: Mapping[str, object] = {
    "heartbeat": "", "disks": True, "slots": False, "leftovers": False, "crash_restart": False, "watchdog": False,
}  # fmt: skip
"""Probes that change something on this host, each with what counts as found where pgvip only observes: they do not run
there. `held` runs, and neither announces nor renews."""


class Probes:
    """All probes of one daemon. `config` is asked again each time, and may change.

    `wake`: makes a probe run at once, by its name. `watchdog`: whether one is ready. `postmaster`: is called with the
    process at each run, None when there is none. `took_s`: where it is noted how long a run took that `explain`
    wants to know. `more`: probes that only matter while the peer is quiet, by name.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        newest: Newest,
        wake: Callable[[str], None],
        watchdog: Callable[[], bool],
        *,
        postmaster: Callable[[ProcessRef | None], None],
        took_s: dict[str, float],
        more: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        self._config, self._newest, self._wake, self._watchdog = config, newest, wake, watchdog
        self._took_s, self._more = took_s, more or {}
        self._processes = ProcessesProbe(postmaster)
        self._database = DatabaseProbe(config(), slow=lambda: wake("connection"))
        postgres_config = config().postgres
        self._disks = DiskProbe([postgres_config.data_directory], postgres_config.user)
        self._announced: dict[Vip, tuple[float, float]] = {}
        self._renewed_s: dict[Vip, float] = {}
        self._answered = {"own": "", "vip": ""}
        self._crash_restart_set = ("", False)
        self._held_before = frozenset[Vip]()

    def all(self) -> list[Probe]:
        """Every probe with its pace."""
        interval, quiet = self._interval_s, self._quiet_s
        looks: list[tuple[str, Callable[[], object], Callable[[], float]]] = [
            ("gateway", lambda: gateway.probe(self._config()), interval),
            ("processes", lambda: self._processes.probe(self._config()), interval),
            ("database", self._look, self._database_s),
            ("connection", self._connect, interval),
            ("heartbeat", self._beat, interval),
            ("disks", self._write, interval),
            ("held", self._held, self._held_s),
            ("arp_primary", lambda: addresses.who_answers(self._config(), Vip.PRIMARY), self._arp_s),
            ("arp_standby", lambda: addresses.who_answers(self._config(), Vip.STANDBY), self._arp_s),
            ("peer_own", self._peer_own, quiet),
            ("peer_vip", self._peer_vip, lambda: self._quiet_s(VIP_REST_S)),
            ("stranger", self._stranger, quiet),
            ("slots", self._slots, lambda: SLOTS_S),
            ("clients", self._clients, lambda: CLIENTS_S),
            ("leftovers", self._leftovers, lambda: ARP_S),
            ("crash_restart", self._crash_restart, interval),
            ("commits", self._commits, lambda: COMMITS_S),
            ("veto", self._veto, lambda: VETO_S),
            ("fence", self._fence_status, lambda: FENCE_STATUS_S),
        ]
        config = self._config()
        if config.archive.enabled:
            looks.append(("archive", lambda: archive_mount.probe(self._config()), lambda: REST_S))
        if config.watchdog.mode != "off":
            looks.append(("watchdog", self._watchdog, lambda: REST_S))
        looks += [(name, look, self._quiet_s) for name, look in self._more.items()]
        if observes(config):
            looks = [(name, _instead(name, look), pace) for name, look, pace in looks]
        return [Probe(*look, again_s=AGAIN_S.get(look[0])) for look in looks]

    # --- paces --------------------------------------------------------------------------------------

    def _interval_s(self) -> float:
        return self._config().settings.interval_s

    def _database_s(self) -> float:
        """Faster while something waits for what the database says.

        With a witness also at rest: a primary goes on alone so long after it saw the last sign of the standby's stream.
        """
        snapshot, settings = self._newest.get(), self._config().settings
        interval_s = min(settings.interval_s, settings.heartbeat_s) if settings.witness_id else settings.interval_s
        if snapshot is None:
            return 0.1
        k = snapshot.decision.knowledge
        changing = k.consent.giving_up or k.intent.writing or k.intent.row != NONE.name
        return min(0.2, interval_s) if changing or k.work.running or not k.durable.record else interval_s

    def _quiet_s(self, rest_s: float = REST_S) -> float:
        """New connections to the peer only matter when its daemon is quiet."""
        snapshot, settings = self._newest.get(), self._config().settings
        if snapshot is None:
            return settings.interval_s
        heard = snapshot.decision.knowledge.peer.heard
        quiet = heard is None or now_s() - heard.at_s > 2 * settings.heartbeat_s
        return settings.interval_s / 2 if quiet else rest_s

    def _arp_s(self) -> float:
        snapshot = self._newest.get()
        return ARP_S if snapshot is not None and snapshot.decision.knowledge.confirmed else 1.0

    def _held_s(self) -> float:
        """A lease is renewed by these looks, and a new address announced."""
        early = any(now_s() - since_s < ANNOUNCE_EARLY_S for since_s, _ in tuple(self._announced.values()))
        return min(1.0 if early else ARP_S, self._config().valid_lft_s / 4 or ARP_S)

    def _limit_s(self) -> float:
        return max(self._interval_s(), 0.5)

    # --- looks --------------------------------------------------------------------------------------

    def _read_write(self) -> bool:
        snapshot = self._newest.get()
        return snapshot is not None and snapshot.decision.message.read_write

    def _server(self) -> DatabaseProbe:
        """It goes on with its connections when the configuration is read again, and with the new limits."""
        self._database.config = self._config()
        return self._database

    def _look(self) -> Database:
        """The server's state; when it has read its files again, whether commits still wait is asked at once."""
        before = self._database.settings_read_at
        found = self._server().probe()
        if before != self._database.settings_read_at:
            self._wake("commits")
        return found

    def _connect(self) -> bool:
        """Two of these fail within the time after which the server counts as hung."""
        return self._server().connection(self._config().settings.hung_after_s / 2)

    def _beat(self) -> str:
        """The heartbeat row; a standby has none to write, and that is no failure."""
        return self._server().heartbeat() if self._read_write() else ""

    def _write(self) -> bool:
        return self._disks.probe(self._config().settings.disk_hung_after_s / 2)

    def _held(self) -> frozenset[Vip]:
        """Which addresses are here; while they are, they are announced and renewed."""
        config = self._config()
        held = addresses.held_vips(config)
        for name in tuple(self._announced):
            if name not in held:
                del self._announced[name]
                self._renewed_s.pop(name, None)
        if config.former_vips and not held <= self._held_before:
            self._wake("leftovers")  # its former addresses follow
        self._held_before = held
        for name in () if observes(config) else held:
            # What is here is known, also while the cable is out and nothing can be announced.
            with suppress(ProbeError, VipError):
                self._renew(config, name)
                self._announce(config, name)
        return held

    def _renew(self, config: Config, name: Vip) -> None:
        """Not at every run: each renewal is an event that causes the next run."""
        if not config.valid_lft_s or now_s() - self._renewed_s.get(name, 0.0) < config.valid_lft_s / 5:
            return
        lifetime_s = self._lifetime_s(config)
        if lifetime_s > 0 and self._may_renew(name) and vip.renew(config, name, lifetime_s):
            self._renewed_s[name] = now_s()

    def _lifetime_s(self, config: Config) -> int:
        """How long the kernel is to keep an address of a daemon that hangs from now on.

        With a witness no longer than the lease that allows it and the time to stop, for which the other host waits.
        """
        snapshot = self._newest.get()
        if snapshot is None:
            return config.valid_lft_s
        v = Facts(snapshot.decision.knowledge, snapshot.seen, snapshot.config.settings, now_s())
        if not (v.pair and lease.witnessed(v)) or lease.has_won(v):
            return config.valid_lft_s
        left_s = lease.lease_end_s(v) + v.s.lease_stop_s - v.now_s
        return min(config.valid_lft_s, int(max(0.0, left_s)))

    def _may_renew(self, name: Vip) -> bool:
        """A lease ends with its loop: nobody renews it for one that hangs, or that wants the address gone."""
        snapshot = self._newest.get()
        if snapshot is None or now_s() - snapshot.at_s > max(1.0, 3 * snapshot.config.settings.heartbeat_s):
            return False
        k = snapshot.decision.knowledge
        return DropVip(name) not in k.work.running and DropVip(name) not in k.work.failures

    def _announce(self, config: Config, name: Vip) -> None:
        at_s = now_s()
        since_s, last_s = self._announced.get(name, (at_s, 0.0))
        every_s = 1.0 if at_s - since_s < ANNOUNCE_EARLY_S else ANNOUNCE_S
        if at_s - last_s >= every_s:
            self._announced[name] = (since_s, at_s)
            vip.announce(config, name)

    def _peer_own(self) -> PeerDatabase:
        return self._ask_peer("own", self._config().peer.address)

    def _peer_vip(self) -> PeerDatabase:
        """The peer's VIP by the record; an address that this host carries itself would answer for nobody."""
        snapshot, config = self._newest.get(), self._config()
        record = snapshot.decision.knowledge.durable.record if snapshot else None
        if snapshot is None or record is None or record.mode is not Mode.PAIR:
            raise self._no_vip("the peer has no VIP in this mode")
        name = Vip.STANDBY if record.primary == config.me.name else Vip.PRIMARY
        held = snapshot.seen.held.value
        if held is None or name in held:
            raise self._no_vip("the peer's VIP is not the peer's now")
        return self._ask_peer("vip", str(config.vips[name].ip))

    def _no_vip(self, why: str) -> ProbeError:
        self._answered["vip"] = ""
        return ProbeError(why)

    def _removed(self) -> str:
        """The peer is removed: nothing that may be another machine's by now is asked."""
        snapshot = self._newest.get()
        return removed_since(snapshot.decision.knowledge.durable, self._config().me.name) if snapshot else ""

    def _ask_peer(self, place: str, address: str) -> PeerDatabase:
        snapshot = self._newest.get()
        if self._removed():
            self._answered[place] = ""
            raise ProbeError("the peer is removed")
        system_id = snapshot.decision.knowledge.who.system_id if snapshot is not None else ""
        text = ""
        try:
            return peer_database.probe(self._config(), address, system_id, self._limit_s())
        except peer_database.StrangerError as failure:
            text = failure.message
            raise
        finally:
            self._answered[place] = text

    def _stranger(self) -> str:
        """What the last probes of the peer's addresses met that did not prove to be the peer."""
        return "; ".join(dict.fromkeys(filter(None, self._answered.values())))

    def _slots(self) -> bool:
        """A chore: each host keeps WAL for the other; the standby's slot follows what it has replayed."""
        snapshot = self._newest.get()
        if snapshot is None or not (snapshot.decision.message.read_write or snapshot.decision.message.in_recovery):
            return False
        replication.ensure_slot(self._config(), CHORES.lent, removed=bool(self._removed()))
        if snapshot.decision.message.in_recovery:
            replication.advance_slot(self._config(), CHORES.lent)
        return True

    def _crash_restart(self) -> bool:
        """A chore: in a pause PostgreSQL restarts itself after a crash, else pgvip does, or the other host serves."""
        snapshot = self._newest.get()
        seen = snapshot.seen.processes.value if snapshot is not None else None
        if snapshot is None or seen is None or not seen.postmaster:
            return False
        wanted = (seen.postmaster, snapshot.decision.knowledge.durable.pause.active)
        if wanted != self._crash_restart_set:
            if unwatched.set_restart(self._config(), on=wanted[1]):
                who = "PostgreSQL itself" if wanted[1] else "pgvip"
                log("crash-restart", f"after a crash, {who} starts the server again")
            self._crash_restart_set = wanted
        return True

    def _clients(self) -> bool:
        """Only a server that is there can let clients in: that there is none is another matter."""
        snapshot = self._newest.get()
        if snapshot is None or not (snapshot.decision.message.read_write or snapshot.decision.message.in_recovery):
            return True
        return clients.probe(self._config(), snapshot.seen.held.value or (), self._limit_s())

    def _leftovers(self) -> bool:
        """A chore, not in a pause: what is missing of the VIPs that are here is raised, and what is past is dropped."""
        snapshot, config = self._newest.get(), self._config()
        if snapshot is None or snapshot.decision.knowledge.durable.pause.active:
            return False
        held = addresses.held_vips(config)
        lifetime_s = self._lifetime_s(config) if config.valid_lft_s else 0
        for name in [one for one in held if config.former_vips and self._may_renew(one)]:
            if lifetime_s > 0 or not config.valid_lft_s:
                leftovers.remember(config, name)
                for text in vip.complete(config, name, lifetime_s):
                    log("address-former", f"the {name.value} VIP has its other address too: {text}")
        return leftovers.remember_and_drop(config, held)

    def _commits(self) -> str:
        """Only a primary's commits wait, and only in sync."""
        config = self._config()
        return commits.probe(config, REST_S) if config.settings.sync and self._read_write() else ""

    def _veto(self) -> bool:
        """There are hooks to ask before a takeover; a file that is refused counts, so that it is reported then."""
        return bool(listed(self._config().hooks.directory / VETO))

    def _fence_status(self) -> str:
        """What the device says; "" where there is none, which a reload may change."""
        config, began_s = self._config(), now_s()
        if not config.peer.fencing or self._removed():
            return ""
        power = fence_status.probe(config)
        self._took_s["fence-status"] = now_s() - began_s
        return power


def _instead(name: str, look: Callable[[], object]) -> Callable[[], object]:
    """What runs where pgvip only observes."""
    if name not in CHANGING:
        return look
    found = CHANGING[name]
    return lambda: found
