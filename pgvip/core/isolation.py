"""A primary that hears nothing from anywhere gives its right up after a stated time, and takes it up again by itself.

No takeover rests on this: the peer serves only after a consent or a verified fence, whatever an isolated host does. It
ends what such a host does for nobody: sessions whose commits wait for ever, and reads that nobody else can correct.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.knowledge import Isolation
from pgvip.core.round import Round
from pgvip.core.values import NEVER

CONNECTED = Isolation()


def isolate(r: Round) -> None:
    """Judge whether this primary is isolated: no gateway, and the peer by no path, for `isolation_demote_s`.

    Only in `pair`: there the peer may become primary, and nothing could be made of the role here without a gateway
    (the solo right asks for one). In `solo` the peer may not serve, so that giving up would protect nobody from
    anything, and one router that is down would end a service that works. Not in pause: nothing is moved then.
    The end of it has to last for as long as makes a peer silent, so that a flapping link does not restart the server
    each time.
    """
    was, now = r.k.isolation, _judged(r)
    if now != was:
        r.k.isolation = now
    if now.isolated is not was.isolated:
        if now.isolated:
            r.note("isolation", _words(r))
        else:
            r.note("contact", _words(r))


def _judged(r: Round) -> Isolation:
    v, k, limit_s, was = r.facts(), r.k, r.s.isolation_demote_s, r.k.isolation
    if not limit_s or not v.primary or not v.pair or v.paused:
        return CONNECTED
    if not was.isolated:
        last_s = max(v.heard_life_s, v.seen.gateway.at_s, k.who.started_s, k.clock.awake_s)
        return replace(was, isolated=True) if v.peer_silent and v.gateway_lost and r.now_s - last_s >= limit_s else was
    if not (v.gateway or r.now_s - v.heard_life_s <= 2 * r.s.interval_s):
        return replace(was, contact_since_s=NEVER)
    if was.contact_since_s == NEVER:
        return replace(was, contact_since_s=r.now_s)
    return CONNECTED if r.now_s - was.contact_since_s >= r.s.dead_after_s else was


def _words(r: Round) -> str:
    if not r.k.isolation.isolated:
        return "this primary is not isolated any more and may serve again"
    return (
        f"no gateway and no answer from {r.s.peer} by any path for {r.s.isolation_demote_s:g} s: "
        "this primary stops its server and drops its addresses"
    )
