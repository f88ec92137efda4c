"""How long actions take in a play, and what each brings about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pgvip.core.actions import (
    KINDS,
    Action,
    AddVip,
    AskVeto,
    CheckVip,
    Claimed,
    ClaimTerm,
    DropVip,
    Fence,
    FindEnd,
    KillPostgres,
    Promote,
    Rejoin,
    Result,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
)
from pgvip.core.values import Lsn, Vip, WalPoint
from pgvip.explain.played_pair import Pair, Player
from pgvip.explain.played_server import RECORD_BYTES

SLOW_S = 3.0
"""For the longest play: actions that are a matter of milliseconds, on a host that is very slow."""


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds by class of action. `usual`: expected; `longest`: each takes its whole time-out."""

    usual: Mapping[type[Action], float]
    longest: Mapping[type[Action], float]


def durations(
    measured: Mapping[str, float], *, start_s: float, stop_s: float, promote_s: float, fence_s: float, salvage_s: float,
    veto_s: float,
) -> Durations:  # fmt: skip
    """Measured ones, by the names of their classes, count before the usual ones; time-outs are the configuration's."""
    usual = {kind: measured.get(kind.__name__, kind.properties.usual_s) for kind in KINDS}
    longest = {
        **{kind: max(SLOW_S, 10 * usual[kind]) for kind in KINDS if kind.properties.brief},
        StartPostgres: start_s,
        StopPostgres: stop_s,
        Promote: promote_s,
        Salvage: salvage_s,
        AskVeto: veto_s,
        Fence: max(fence_s, usual[Fence]),
    }
    return Durations(usual, {**usual, **longest})


def carry_out(pair: Pair, player: Player, action: Action) -> Result:
    """The action has ended: what it did, and its result."""
    now_s, server = pair.now_s, player.server
    ok, text, point, claimed = True, "", None, None
    if isinstance(action, StartPostgres):
        server.start(now_s, standby=action.standby, sync_name=player.settings.peer if action.sync else "")
    elif isinstance(action, StopPostgres):
        _stop(pair, player, clean=action.clean)
    elif isinstance(action, KillPostgres):
        server.stop(now_s, clean=False)
    elif isinstance(action, ClaimTerm):
        claimed = Claimed(pair.registers.setdefault(action.term, player.name), 0)
    elif isinstance(action, Promote):
        server.promote(now_s)
    elif isinstance(action, SetSyncNames):
        server.change(now_s, sync_names=player.settings.peer if action.on else "", foreign_names=False)
    elif isinstance(action, AddVip):
        server.hold(server.held | {action.vip}, now_s)
    elif isinstance(action, DropVip):
        server.hold(server.held - {action.vip}, now_s)
    elif isinstance(action, CheckVip):
        text = answers_for(pair, player, action.vip)
    elif isinstance(action, FindEnd):
        point = server.point
    elif isinstance(action, Rejoin):
        server.rejoined(now_s)
    elif isinstance(action, Salvage):
        ok, text, point = _salvage(pair, player)
    elif isinstance(action, Fence):
        ok, text = _fence(pair, player)
    return Result(action, ok, now_s, text, point, claimed)


def answers_for(pair: Pair, player: Player, vip: Vip) -> str:
    """Who answers ARP for an address: the other host, or a stranger who does so now."""
    peer = pair.peer_of(player)
    if pair.linked and peer.powered and vip in peer.server.held:
        return peer.name
    return player.strangers.get(vip, "")


def _stop(pair: Pair, player: Player, *, clean: bool) -> None:
    """A clean stop of a primary sends its last record to the standby that streams."""
    server, peer = player.server, pair.peer_of(player)
    if clean and server.read_write:
        was, streamed = server.point, pair.streams
        server.stop(pair.now_s, clean=True)
        if streamed:
            peer.server.change(pair.now_s, point=WalPoint(was.timeline, Lsn(was.lsn + RECORD_BYTES)))
    else:
        server.stop(pair.now_s, clean=clean)


def _salvage(pair: Pair, player: Player) -> tuple[bool, str, WalPoint | None]:
    """The WAL that the standby lacks reaches it by way of the archive."""
    peer = pair.peer_of(player)
    if not (player.settings.archive and pair.linked and peer.powered and peer.server.recovering):
        return False, "the peer cannot read it", None
    end = player.server.point
    peer.server.change(pair.now_s, point=end, replay_lsn=end.lsn)
    return True, "", end


def _fence(pair: Pair, player: Player) -> tuple[bool, str]:
    """As the device answers now, so it answers then."""
    watch = player.server.seen.fence
    if watch.failures:
        return False, watch.reason or "the device does not answer"
    pair.power_off(pair.peer_of(player))
    return True, ""
