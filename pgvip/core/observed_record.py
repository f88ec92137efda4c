"""With `pair.mode = "observe"`: which record fits what is seen, since nobody acts on the one that was decided.

Where pgvip acts, the record says who may serve. Where it only observes, whoever runs the pair decides that, and the
record in memory follows the host that is seen to be read-write: so the next decision starts from what is so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgvip.core.actions import Action, AskVeto, ConfirmGrant, Fence, PowerOn, WriteState
from pgvip.core.knowledge import Consent, Fencing, Grants, Intent, Power, Promotion
from pgvip.core.rights import next_term
from pgvip.core.values import Durable, Mode, Record

if TYPE_CHECKING:
    from pgvip.core.facts import Facts
    from pgvip.core.knowledge import Knowledge

DONE: tuple[type[Action], ...] = (WriteState, ConfirmGrant, Fence, PowerOn, AskVeto)
"""Actions that count as done although nothing was done: no observation would show their effect, so what is decided
after them is seen as well. All others count as failed: their effect is observed, and is not there."""

CAUSE = "observed"


def follow(v: Facts, wall: str) -> Knowledge | None:
    """What this host is to know instead, with a record that names itself: its server is seen read-write.

    None: nothing else than so far. Where both servers are read-write, neither record is made: that is reported.
    """
    if not (v.read_write and v.responding) or v.primary or v.k.intent.writing is not None:
        return None
    if v.message is not None and v.message.read_write:
        return None
    heard = v.k.peer.heard_record
    record = Record(
        pair_id=v.k.who.pair_id,
        system_id=v.k.who.system_id,
        term=next_term(max(v.term, heard.term if heard else -1), first=v.s.me_first),
        primary=v.s.me,
        mode=Mode.SOLO,
        sync=False,
        cause=CAUSE,
        at=wall,
    )
    k = v.k.copy()
    k.durable = Durable(record=record, served=True, complete=True, pause=v.k.durable.pause)
    k.confirmed = True
    k.peer = replace(k.peer, alarm="")
    k.grants, k.intent, k.consent, k.fencing = Grants(), Intent(), Consent(), Fencing()
    k.power, k.promotion = Power(), Promotion()
    return k
