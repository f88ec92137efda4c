"""A primary that hears nothing from anywhere gives its right up after a stated time, and takes it up again by itself.

No takeover rests on this: the peer serves only after a consent or a verified fence, whatever an isolated host does. It
ends what such a host does for nobody: sessions whose commits wait for ever, and reads that nobody else can correct.
"""

from __future__ import annotations

from pgvip.core.round import Round
from pgvip.core.values import NEVER


def isolate(r: Round) -> None:
    """Judge whether this primary is isolated: no gateway, and the peer by no path, for `isolation_demote_s`.

    Only in `pair`: there the peer may become primary, and nothing could be made of the role here without a gateway
    (the solo right asks for one). In `solo` the peer may not serve, so that giving up would protect nobody from
    anything, and one router that is down would end a service that works. Not in pause: nothing is moved then.
    The end of it has to last for as long as makes a peer silent, so that a flapping link does not restart the server
    each time.
    """
    v, k, limit_s = r.facts(), r.k, r.s.isolation_demote_s
    was = k.isolated
    if not limit_s or not v.primary or not v.pair or v.paused:
        k.isolated, k.contact_since_s = False, NEVER
    elif not k.isolated:
        last_s = max(v.heard_life_s, v.seen.gateway.at_s, k.who.started_s, k.awake_s)
        k.isolated = v.peer_silent and v.gateway_lost and r.now_s - last_s >= limit_s
    elif not (v.gateway or r.now_s - v.heard_life_s <= 2 * r.s.interval_s):
        k.contact_since_s = NEVER
    elif k.contact_since_s == NEVER:
        k.contact_since_s = r.now_s
    elif r.now_s - k.contact_since_s >= r.s.dead_after_s:
        k.isolated, k.contact_since_s = False, NEVER
    if k.isolated is not was:
        r.changed()
        if k.isolated:
            r.note("isolation", _words(r))
        else:
            r.note("contact", _words(r))


def _words(r: Round) -> str:
    if not r.k.isolated:
        return "this primary is not isolated any more and may serve again"
    return (
        f"no gateway and no answer from {r.s.peer} by any path for {r.s.isolation_demote_s:g} s: "
        "this primary stops its server and drops its addresses"
    )
