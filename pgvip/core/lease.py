"""What a witness makes of time: how long rights last unheard, and how long a winner waits for the other's.

Facts over one round, like `facts`. Where no witness counts, a lease never ends and nobody waits. All times are readings
of this host's own CLOCK_BOOTTIME; how far another clock may run apart from it is `clock_margin`.
"""

from __future__ import annotations

import math

from pgvip.core.facts import Facts
from pgvip.core.following import daemon_silent
from pgvip.core.knowledge import Why
from pgvip.core.values import NEVER


def witnessed(v: Facts) -> bool:
    """A witness counts in this term: whoever leaves it without consent needs its register."""
    return v.record is not None and bool(v.record.witness_id)


def lease_end_s(v: Facts) -> float:
    """When the rights of this host in a pair end, by what the peer is known to have heard; NEVER: they do not run.

    A longer `lease_s` counts from the first message that said so: the peer waits by what it has heard.
    """
    lease = v.k.witness.lease
    if lease is None or lease.term != v.term:
        return NEVER
    return lease.sent_s + min(v.s.lease_s, lease.lasts_s)


def over(v: Facts) -> bool:
    """The peer is not known to have heard this host lately enough."""
    return v.now_s >= lease_end_s(v)


def leased(v: Facts) -> bool:
    """The lease runs, or none is needed: only a pair with a witness needs one, and no winner of the term [m 17]."""
    return not (v.pair and witnessed(v)) or not over(v) or has_won(v)


def has_won(v: Facts) -> bool:
    """The register of this term is this host's: the other cannot leave the term alone.

    What a primary has won counts until its lease runs again, over restarts of its daemon too.
    """
    if v.primary and v.k.witness.won_term == v.term:
        return True
    claim = v.k.fencing.claim
    return claim is not None and claim.won and claim.term == v.term and claim.why is not Why.ORDER


def wait_end_s(v: Facts) -> float:
    """From when on the peer has certainly given up what its lease allowed it.

    What the peer's lease rests on was sent by the peer and echoed by this host, so it was sent before the peer was last
    heard here; a process that has just started may not remember when that was. Since a claim began nothing has been
    echoed, whatever was heard. The longer of both hosts' times counts.
    """
    heard, claim = v.k.peer.heard, v.k.fencing.claim
    heard_s = max(heard.at_s if heard else NEVER, v.k.who.started_s)
    if claim is not None:
        heard_s = min(heard_s, claim.since_s)
    lasts_s = max(v.s.loses_within_s, heard.message.lease_s if heard else v.k.witness.peer_lasts)
    return heard_s + lasts_s * (1.0 + v.s.clock_margin)


def waited(v: Facts) -> bool:
    """The peer has given up what its lease allowed it."""
    return v.now_s >= wait_end_s(v)


def let_go(v: Facts) -> bool:
    """The peer holds no address, as far as this host's solo record could be in doubt about it.

    It has adopted the record, after giving up what that takes; or it is off; or its lease is over.
    """
    return not witnessed(v) or v.k.witness.free_term == v.term


def may_claim(v: Facts) -> bool:
    """The register of this term may be this host's, and the witness that is asked is the one that counts."""
    return not no_claim(v)


def no_claim(v: Facts) -> str:
    """Why the register of this term is not asked for; "" where it may be, or need not."""
    known, record = v.k.witness, v.record
    if record is None or not record.witness_id:
        return ""
    if record.witness_id != v.s.witness_id:
        return f"witness {record.witness_id} counts, and another one is configured"
    if known.rolled_back:
        return known.rolled_back
    return f"its register is that of {v.s.peer}" if known.lost_term == v.term else ""


def register_used(v: Facts) -> bool:
    """The register of this term was asked for: whoever has it, the other could never leave the term alone."""
    if not witnessed(v):
        return False
    theirs = v.peer.claimed_term if v.peer else -1
    return v.term in (v.k.durable.claimed_term, v.k.witness.lost_term, theirs)


def unheard(v: Facts) -> bool:
    """The peer's daemon is silent: nothing prolongs the lease, whatever else of the peer answers."""
    return witnessed(v) and daemon_silent(v)


def due_s(v: Facts) -> float:
    """When the next round must begin: a lease ends, or a wait."""
    ends = []
    if v.pair and witnessed(v):
        ends.append(lease_end_s(v))
        if v.k.fencing.claim is not None:
            ends.append(wait_end_s(v))
    elif v.solo and v.primary and not let_go(v):
        ends.append(wait_end_s(v))
    return min((end_s for end_s in ends if end_s > v.now_s), default=math.inf)
