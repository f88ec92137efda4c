"""What a daemon's probes see in one look, as values; equal looks at equal memories are made once."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from pgvip.core.observations import Database, Observation, Observations, PeerDatabase, Processes, Replica
from pgvip.core.values import NEVER, Lsn, Vip, WalPoint
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
        look = taken(world, name)
        seen = world.host(name).seen
        made = self._made.get((seen, look))
        if made is None:
            made = self._made[seen, look] = self.core.seen.number(observed(self.core.seen[seen], look))
        return made


def taken(world: World, name: str) -> Look:
    """All that the probes of `name` can see now."""
    host, peer = world.host(name), world.host(PEER[name])
    reachable = world.open_path("db")
    answers = reachable and peer.pg.answers
    on_vip = (Vip.PRIMARY if peer.pg.phase == "primary" else Vip.STANDBY) in peer.held
    device = world.sends("fence", name)
    return Look(
        name,
        host.pg._replace(told=False, stalled=False, slow=False, waiting=0, force=False, alone=0),
        host.held,
        world.sends("gateway", name),
        device,
        peer.on and device,
        peer.held if reachable else (),
        (peer.pg.phase != "primary", wal.timeline(peer.pg.wal), on_vip) if answers else None,
    )


def observed(old: Observations, look: Look, now_s: float = NOW_S) -> Observations:
    """`old` after `look`."""
    pg = look.pg
    up = pg.phase not in ("down", "stopping") and not pg.hung
    mac = f"mac-{PEER[look.me]}"
    database = old.database
    if pg.answers:
        database = Observation(_database(pg, now_s), now_s)
    elif database.value is not None and database.value.postmaster == pg.proc:
        database = database.failed("", now_s)
    else:
        database = Observation()  # it said nothing yet; what another postmaster said is never asked for again
    peer_own, peer_vip = old.peer_own, old.peer_vip
    if look.peer is not None:
        value = PeerDatabase(look.peer[0], look.peer[1], SYSTEM_ID)
        peer_own = Observation(value, now_s)
        peer_vip = Observation(value, now_s) if look.peer[2] else peer_vip.failed("", now_s)
    else:
        peer_own, peer_vip = peer_own.failed("", now_s), peer_vip.failed("", now_s)
    return replace(
        old,
        processes=Observation(_processes(pg), now_s),
        held=Observation(frozenset(look.held), now_s),
        connection=Observation(True, now_s) if up else old.connection.failed("", now_s),
        disks=Observation(True, now_s),
        database=database,
        gateway=Observation("gateway", now_s) if look.gateway else old.gateway.failed("", now_s),
        fence=Observation("on" if look.peer_on else "off", now_s) if look.device else old.fence.failed("", now_s),
        arp_primary=Observation(mac if Vip.PRIMARY in look.arp else "", now_s),
        arp_standby=Observation(mac if Vip.STANDBY in look.arp else "", now_s),
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


def _database(pg: Pg, now_s: float) -> Database:
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
        moved_at_s=now_s - pg.moved * TICK_S if pg.moved < LONG else NEVER,
        streaming=standby and pg.rx is not None and pg.rx.age <= 2,
        sync_names="peer" if pg.names else "",
        replica=replica,
        recovered_end=Lsn(pg.begun),
        history=wal.ancestors(pg.wal),
    )
