"""In async, the WAL that the winner of a hand-over lacks reaches it before anything is written.

The loser's server is dead and its host lives: it puts its WAL, to the end, where the winner's recovery finds it.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import Salvage
from pgvip.core.knowledge import GiveUp
from pgvip.core.messages import Stopped
from pgvip.core.round import Round


def possible(r: Round, y: GiveUp) -> bool:
    """In async, the WAL that the winner lacks may yet reach it: for a stated time, and once.

    In sync it has all that was acknowledged, by its grant.
    """
    v, k = r.facts(), r.k
    if v.sync_term:
        return False
    limit_s = min(r.s.salvage_s, r.s.lag_s_max / 4)  # the winner's lease goes on running
    return r.now_s - y.stopped_at_s < limit_s and Salvage not in k.work.failures


def complete(r: Round, y: GiveUp) -> bool:
    """The winner says that it has flushed or replayed this host's WAL to its end; else that is being brought about."""
    k, peer = r.k, r.facts().peer
    if peer is None:
        return False
    if k.consent.end is None:
        if peer.point is not None:
            r.start(Salvage(peer.point.lsn))
        return False
    stopped = Stopped(y.term, k.consent.end)
    if y.stopped != stopped:
        k.consent = replace(k.consent, giving_up=replace(y, stopped=stopped))
    return peer.has_checkpoint == stopped and peer.boot_id == y.boot_id
