"""Which probe looks at what and how often, and which function carries out which action."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.actions import fence, mount, postgres, replication, salvage, vip
from pgvip.config.model import Config
from pgvip.core.actions import (
    Action,
    AddVip,
    AskVeto,
    CheckVip,
    ConfirmGrant,
    DropVip,
    Fence,
    FindEnd,
    MountArchive,
    PowerOn,
    Promote,
    Rejoin,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    UnmountArchive,
    WriteState,
)
from pgvip.core.values import Vip
from pgvip.daemon.action_threads import Function, Outcome
from pgvip.daemon.probe_threads import Probe
from pgvip.deadlines import now_s
from pgvip.errors import ProbeError, VipError
from pgvip.events.event_table import VETO
from pgvip.probes import addresses, archive_mount, commits, fence_status, gateway, peer_database, server_processes
from pgvip.probes.database import DatabaseProbe
from pgvip.probes.disks import DiskProbe
from pgvip.rejoin import follow
from pgvip.state.record import RecordStore
from pgvip.system import stopped_wal
from pgvip.system.executables import listed
from pgvip.system.processes import kill_cluster

if TYPE_CHECKING:
    from pgvip.core.observations import Database, PeerDatabase
    from pgvip.status.snapshot import Snapshot

REST_S = 10.0
"""Pace of looks that only matter when the peer is quiet."""
ARP_S = 5.0
FENCE_STATUS_S = 60.0
COMMITS_S = 60.0
VETO_S = 5.0
"""A veto hook counts this long after it was put there."""
ANNOUNCE_S = 60.0
"""Refresh of announced addresses: switches forget after 300 s (the ageing time of IEEE 802.1D)."""
ANNOUNCE_EARLY_S = 10.0
"""For so long after a raise the announcement is repeated every second."""
INTERRUPT_S = 5.0
AGAIN_S = {"connection": 0.05, "disks": 0.05}
"""A local failure is looked at again at once: it decides whether the role is handed over."""


class Probes:
    """All probes of one daemon. `config` and `snapshot` are asked anew each time, since both change.

    `wake`: makes a probe look at once, by its name. `watchdog`: whether one is ready.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        snapshot: Callable[[], Snapshot | None],
        wake: Callable[[str], None],
        watchdog: Callable[[], bool],
    ) -> None:
        self._config, self._snapshot, self._wake, self._watchdog = config, snapshot, wake, watchdog
        self._database = DatabaseProbe(config())
        postgres_config = config().postgres
        self._disks = DiskProbe([postgres_config.data_directory], postgres_config.user)
        self._announced: dict[Vip, tuple[float, float]] = {}
        self._renewed_s: dict[Vip, float] = {}
        self.took_s: dict[str, float] = {}
        """How long the last look of a kind took, where `explain` wants to know."""

    def all(self) -> list[Probe]:
        """Every probe with its pace."""
        interval, quiet = self._interval_s, self._quiet_s
        looks: list[tuple[str, Callable[[], object], Callable[[], float]]] = [
            ("gateway", lambda: gateway.probe(self._config()), interval),
            ("processes", lambda: server_processes.probe(self._config()), interval),
            ("database", self._look, self._database_s),
            ("connection", self._connect, interval),
            ("heartbeat", self._beat, interval),
            ("disks", self._write, interval),
            ("held", self._held, self._held_s),
            ("arp_primary", lambda: addresses.who_answers(self._config(), Vip.PRIMARY), self._arp_s),
            ("arp_standby", lambda: addresses.who_answers(self._config(), Vip.STANDBY), self._arp_s),
            ("peer_own", self._peer_own, quiet),
            ("peer_vip", self._peer_vip, quiet),
            ("peer_port", self._peer_port, quiet),
            ("slots", self._slots, lambda: REST_S),
            ("commits", self._commits, lambda: COMMITS_S),
            ("veto", self._veto, lambda: VETO_S),
            ("fence", self._fence_status, lambda: FENCE_STATUS_S),
        ]
        config = self._config()
        if config.archive.enabled:
            looks.append(("archive", lambda: archive_mount.probe(self._config()), lambda: REST_S))
        if config.watchdog.mode != "off":
            looks.append(("watchdog", self._watchdog, lambda: REST_S))
        return [Probe(*look, again_s=AGAIN_S.get(look[0])) for look in looks]

    # --- paces --------------------------------------------------------------------------------------

    def _interval_s(self) -> float:
        return self._config().settings.interval_s

    def _database_s(self) -> float:
        """Faster while something waits for what the database says."""
        snapshot = self._snapshot()
        interval_s = self._interval_s()
        if snapshot is None:
            return 0.1
        k = snapshot.decision.knowledge
        waiting = k.giving_up or k.writing or k.running or not k.durable.record or k.row != "hold"
        return min(0.2, interval_s) if waiting else interval_s

    def _quiet_s(self) -> float:
        """New connections to the peer only matter when its daemon is quiet."""
        snapshot, settings = self._snapshot(), self._config().settings
        if snapshot is None:
            return settings.interval_s
        heard = snapshot.decision.knowledge.heard
        quiet = heard is None or now_s() - heard.at_s > 2 * settings.heartbeat_s
        return settings.interval_s / 2 if quiet else REST_S

    def _arp_s(self) -> float:
        snapshot = self._snapshot()
        return ARP_S if snapshot is not None and snapshot.decision.knowledge.confirmed else 1.0

    def _held_s(self) -> float:
        """A lease is renewed by these looks, and a new address announced."""
        early = any(now_s() - since_s < ANNOUNCE_EARLY_S for since_s, _ in tuple(self._announced.values()))
        return min(1.0 if early else ARP_S, self._config().valid_lft_s / 4 or ARP_S)

    def _limit_s(self) -> float:
        return max(self._interval_s(), 0.5)

    # --- looks --------------------------------------------------------------------------------------

    def _read_write(self) -> bool:
        snapshot = self._snapshot()
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

    def _beat(self) -> bool:
        """The heartbeat row; a standby has none to write, and that is no failure."""
        return self._server().heartbeat() if self._read_write() else True

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
        for name in held:
            # What is here is known, also while the cable is out and nothing can be announced.
            with suppress(ProbeError, VipError):
                self._renew(config, name)
                self._announce(config, name)
        return held

    def _renew(self, config: Config, name: Vip) -> None:
        """Not at every look: each renewal is an event that brings the next look."""
        if not config.valid_lft_s or now_s() - self._renewed_s.get(name, 0.0) < config.valid_lft_s / 5:
            return
        if self._may_renew(name) and vip.renew(config, name):
            self._renewed_s[name] = now_s()

    def _may_renew(self, name: Vip) -> bool:
        """A lease ends with its loop: nobody renews it for one that hangs, or that wants the address gone."""
        snapshot = self._snapshot()
        if snapshot is None or now_s() - snapshot.at_s > max(1.0, 3 * snapshot.config.settings.heartbeat_s):
            return False
        k = snapshot.decision.knowledge
        return DropVip(name) not in k.running and DropVip(name) not in k.failures

    def _announce(self, config: Config, name: Vip) -> None:
        at_s = now_s()
        since_s, last_s = self._announced.get(name, (at_s, 0.0))
        every_s = 1.0 if at_s - since_s < ANNOUNCE_EARLY_S else ANNOUNCE_S
        if at_s - last_s >= every_s:
            self._announced[name] = (since_s, at_s)
            vip.announce(config, name)

    def _peer_own(self) -> PeerDatabase:
        config = self._config()
        return peer_database.probe(config, config.peer.address, self._limit_s())

    def _peer_vip(self) -> PeerDatabase:
        """The peer's VIP by the record; an address that this host carries itself would answer for nobody."""
        snapshot, config = self._snapshot(), self._config()
        record = snapshot.decision.knowledge.durable.record if snapshot else None
        if snapshot is None or record is None or record.mode.value != "pair":
            raise ProbeError("the peer has no VIP in this mode")
        name = Vip.STANDBY if record.primary == config.me.name else Vip.PRIMARY
        held = snapshot.seen.held.value
        if held is None or name in held:
            raise ProbeError("the peer's VIP is not the peer's now")
        return peer_database.probe(config, str(config.vips[name].ip), self._limit_s())

    def _slots(self) -> bool:
        """A chore: each host keeps WAL for the other; the standby's slot follows what it has replayed."""
        snapshot = self._snapshot()
        if snapshot is None or not (snapshot.decision.message.read_write or snapshot.decision.message.in_recovery):
            return False
        replication.ensure_slot(self._config())
        if snapshot.decision.message.in_recovery:
            replication.advance_slot(self._config())
        return True

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
        if not config.peer.fencing:
            return ""
        power = fence_status.probe(config)
        self.took_s["fence-status"] = now_s() - began_s
        return power

    def _peer_port(self) -> bool:
        config = self._config()
        return peer_database.port_open(config, config.peer.address, self._limit_s())


class Actions:
    """The functions behind the actions."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: RecordStore,
        log: Callable[[str, str], None],
        ask_veto: Callable[[], str] = lambda: "",
    ) -> None:
        self._config, self._store, self._log, self._ask_veto = config, store, log, ask_veto

    def functions(self) -> dict[type[Action], Function]:
        """One for each kind of action. Each raises a PgvipError when it fails."""
        return {
            WriteState: self._write_state,
            StartPostgres: self._start,
            StopPostgres: self._stop,
            Promote: lambda _: postgres.promote(self._config()),
            SetSyncNames: self._set_sync_names,
            ConfirmGrant: self._confirm_grant,
            AddVip: self._add_vip,
            DropVip: self._drop_vip,
            CheckVip: self._check_vip,
            Fence: lambda _: fence.fence(self._config(), self._say("fence")),
            PowerOn: lambda _: fence.power_on(self._config(), self._say("power-on")),
            FindEnd: lambda _: Outcome(point=stopped_wal.end_of_wal(self._config())),
            Salvage: self._salvage,
            Rejoin: self._rejoin,
            MountArchive: lambda _: mount.mount(self._config()),
            UnmountArchive: lambda _: mount.unmount(self._config()),
            AskVeto: lambda _: Outcome(text=self._ask_veto()),
        }

    def interrupt(self, _stop: StopPostgres) -> None:
        """End the server's processes, so that a start or promotion that waits for them fails."""
        kill_cluster(self._config().postgres.data_directory, INTERRUPT_S)

    def _say(self, event: str) -> Callable[[str], None]:
        return lambda text: self._log(event, text)

    def _write_state(self, action: Action) -> None:
        assert isinstance(action, WriteState)
        self._store.save(action.durable)

    def _start(self, action: Action) -> None:
        assert isinstance(action, StartPostgres)
        durable = self._store.load()
        system_id = durable.record.system_id if durable and durable.record else ""
        postgres.start(self._config(), standby=action.standby, sync=action.sync, system_id=system_id)

    def _stop(self, action: Action) -> None:
        assert isinstance(action, StopPostgres)
        postgres.stop(self._config(), clean=action.clean)

    def _set_sync_names(self, action: Action) -> None:
        assert isinstance(action, SetSyncNames)
        replication.set_sync_names(self._config(), on=action.on)

    def _confirm_grant(self, action: Action) -> Outcome:
        assert isinstance(action, ConfirmGrant)
        settings = self._config().settings
        limit_s = settings.stop_s if action.sync else settings.consent_s  # in sync it waits for a whole checkpoint
        return Outcome(point=replication.confirm_grant(self._config(), sync=action.sync, timeout_s=limit_s))

    def _add_vip(self, action: Action) -> None:
        assert isinstance(action, AddVip)
        vip.add(self._config(), action.vip)

    def _drop_vip(self, action: Action) -> None:
        assert isinstance(action, DropVip)
        vip.drop(self._config(), action.vip)

    def _check_vip(self, action: Action) -> Outcome:
        assert isinstance(action, CheckVip)
        return Outcome(text=vip.check(self._config(), action.vip))

    def _salvage(self, action: Action) -> Outcome:
        assert isinstance(action, Salvage)
        config = self._config()
        return Outcome(point=salvage.salvage(config, action.start, config.settings.salvage_s))

    def _rejoin(self, action: Action) -> Outcome:
        assert isinstance(action, Rejoin)
        return Outcome(text=follow.rejoin(self._config(), clone=action.clone, progress=self._say("rejoin")) or "")
