"""What a watchdog has to know of a round: whether this host may go on as it is.

A watchdog resets a host that has lost its right and cannot give it up, or whose loop hangs while it has the
right. No takeover waits for it or rests on it.
"""

from __future__ import annotations

from pgvip.core.actions import Guard, StopPostgres
from pgvip.core.rights import write_right
from pgvip.core.round import Round
from pgvip.core.speak import cannot
from pgvip.core.values import Vip


def guard(r: Round) -> Guard:
    """Judge the host at the end of a round.

    What is given up by consent or for isolation is nobody else's before it is given up, so that takes its time; when it
    takes too long, the host could not do it, and a reset is what is left (docs/protocol.md, "Changes").
    """
    v, k = r.facts(), r.k
    if write_right(v):
        return Guard.FEED
    if not v.may_write and Vip.PRIMARY not in v.held:
        return Guard.FREE
    in_order = k.consent.giving_up is not None or (k.isolation.isolated and StopPostgres not in k.work.failures)
    return Guard.GIVE if in_order and not cannot(r) else Guard.LOST
