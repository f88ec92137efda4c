"""What a daemon's probes see in one look, as values; equal looks at equal memories are made once."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from pgvip.core.model import (
    NEVER,
    Database,
    Lsn,
    Observation,
    Observations,
    PeerDatabase,
    Processes,
    Replica,
    Vip,
    WalPoint,
)
from tests.simulation.exhaustive import wal
from tests.simulation.exhaustive.deciding import SYSTEM_ID, Core
from tests.simulation.exhaustive.known import NOW_S, TICK_S
from tests.simulation.exhaustive.state import LONG, PEER, Pg, World


class Look(NamedTuple):
    """Everything that the probes of one host can tell apart."""

    me: str
    pg: Pg
    held: tuple[Vip, ...]
    gateway: bool
    device: bool
    peer_on: bool
    arp: tuple[Vip, ...]
    peer: tuple[bool, int, bool] | None


class Probes:
    """Looks of both hosts' probes."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self._made: dict[tuple[int, Look], int] = {}

    def look(self, world: World, name: str) -> int:
        """What the daemon of `name` has seen after a look now."""
        look = self._look(world, name)
        seen = world.host(name).seen
        made = self._made.get((seen, look))
        if made is None:
            made = self._made[seen, look] = self.core.seen.number(observed(self.core.seen[seen], look))
        return made

    def _look(self, world: World, name: str) -> Look:
        host, peer = world.host(name), world.host(PEER[name])
        reachable = world.open_path("db")
        answers = reachable and peer.pg.answers
        on_vip = (Vip.PRIMARY if peer.pg.phase == "primary" else Vip.STANDBY) in peer.held
        device = world.sends("fence", name)
        return Look(
            name,
            host.pg._replace(told=False, stalled=False, waiting=0, force=False),
            host.held,
            world.sends("gateway", name),
            device,
            peer.on and device,
            peer.held if reachable else (),
            (peer.pg.phase != "primary", wal.timeline(peer.pg.wal), on_vip) if answers else None,
        )


def observed(old: Observations, look: Look) -> Observations:
    """`old` after `look`."""
    pg = look.pg
    up = pg.phase not in ("down", "stopping") and not pg.hung
    mac = f"mac-{PEER[look.me]}"
    database = old.database
    if pg.answers:
        database = Observation(_database(pg), NOW_S)
    elif database.value is not None and database.value.postmaster == pg.proc:
        database = database.failed("", NOW_S)
    else:
        database = Observation()  # it said nothing yet; what another postmaster said is never asked for again
    peer_own, peer_vip = old.peer_own, old.peer_vip
    if look.peer is not None:
        value = PeerDatabase(look.peer[0], look.peer[1], "")
        peer_own = Observation(value, NOW_S)
        peer_vip = Observation(value, NOW_S) if look.peer[2] else peer_vip.failed("", NOW_S)
    else:
        peer_own, peer_vip = peer_own.failed("", NOW_S), peer_vip.failed("", NOW_S)
    return replace(
        old,
        processes=Observation(_processes(pg), NOW_S),
        held=Observation(frozenset(look.held), NOW_S),
        connection=Observation(True, NOW_S) if up else old.connection.failed("", NOW_S),
        disks=Observation(True, NOW_S),
        database=database,
        gateway=Observation("gateway", NOW_S) if look.gateway else old.gateway.failed("", NOW_S),
        fence=Observation("on" if look.peer_on else "off", NOW_S) if look.device else old.fence.failed("", NOW_S),
        arp_primary=Observation(mac if Vip.PRIMARY in look.arp else "", NOW_S),
        arp_standby=Observation(mac if Vip.STANDBY in look.arp else "", NOW_S),
        peer_own=peer_own,
        peer_vip=peer_vip,
    )


def _processes(pg: Pg) -> Processes:
    checkpoint = WalPoint(pg.checkpoint[0], Lsn(pg.checkpoint[1])) if pg.checkpoint else None
    return Processes(
        installed=True,
        system_id=SYSTEM_ID,
        postmaster=pg.proc,
        left=5 if pg.proc else int(pg.orphans),
        standby_signal=pg.signal,
        control_state=pg.control,
        checkpoint=checkpoint,
    )


def _database(pg: Pg) -> Database:
    standby = pg.phase in ("standby", "promoting")
    replica = None
    if not standby and pg.tx is not None:
        flush = Lsn(pg.tx.flush)
        replica = Replica("streaming", "sync" if pg.names else "async", flush, flush)
    return Database(
        postmaster=pg.proc,
        in_recovery=standby,
        point=WalPoint(wal.timeline(pg.wal), Lsn(pg.flushed)),
        replay_lsn=Lsn(pg.flushed),
        moved_at_s=NOW_S - pg.moved * TICK_S if pg.moved < LONG else NEVER,
        streaming=standby and pg.rx is not None and pg.rx.age <= 2,
        sync_names="peer" if pg.names else "",
        replica=replica,
        recovered_end=Lsn(pg.begun),
        history=wal.ancestors(pg.wal),
    )
