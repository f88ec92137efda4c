"""A peer that was removed by an operator: this host serves alone for good, and waits for nobody.

The flag only takes options away. It counts while this host is the one primary by its record; it gives no right, and a
higher record that is heard is adopted all the same. What a removed host may do is not decided here: its own record, and
the answer that it still gets to its questions, keep it from serving.
"""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import Fence, MountArchive, PowerOn, UnmountArchive
from pgvip.core.conditions import ALONE, PRIMARY, Condition, holds
from pgvip.core.facts import Facts
from pgvip.core.rights import SERVING
from pgvip.core.round import Round
from pgvip.core.values import NEVER, Durable, Mode


def since(durable: Durable, me: str) -> str:
    """When the peer was removed, in the form of `Inputs.wall`; "" where it was not."""
    record = durable.record
    alone = record is not None and record.primary == me and record.mode is Mode.SOLO
    return durable.removed if alone else ""


def removed(v: Facts) -> bool:
    """An operator removed the peer, and this host serves alone."""
    return bool(v.k.durable.removed) and v.primary and v.solo


NOT_REMOVED = Condition(
    "not-removed", lambda v: not removed(v), "{peer} is removed", "pgvip add-peer, when there is a second host again"
)
PEER_STOPPED = Condition(
    "peer-stopped", lambda v: v.message is None or v.message.leaving or not (v.message.postmaster or v.message.vips),
    "{peer} answers, and its PostgreSQL runs", "on {peer}: pgvip leave; or power it off",
)  # fmt: skip
PEER_GONE = Condition(
    "peer-gone", lambda v: v.message is not None or v.peer_silent,
    "the daemon of {peer} is silent, and its database answers, or did a moment ago",
    "stop PostgreSQL on {peer}, or power it off; if that is done: wait a moment",
)  # fmt: skip

UNHEEDED = frozenset({
    "alone", "peer-silent", "stranger", "no-fencing", "fence-status", "archive-unread", "peer-hold", "peer-failing",
    "kept-off", "configuration-differs", "version-differs", "peer-cannot", "alone-by-choice",
})  # fmt: skip
"""Warnings about a peer, by their names in `core.warnings`: none of them matters where it is removed."""

REMOVE = (PRIMARY, ALONE, *SERVING, PEER_STOPPED, PEER_GONE)
"""An operator may remove the peer: this host serves alone already, and the peer has nothing to give up."""


def remove(r: Round) -> bool:
    """Write that the peer is removed; False when that must wait. What held when it was ordered must hold still."""
    v, k = r.facts(), r.k
    if removed(v):
        return True
    if not holds(REMOVE, v):
        r.note("remove-dropped", f"{r.s.peer} is not removed: things are not any more as they were")
        return True
    if not r.write(replace(k.durable, removed=r.inputs.wall)):
        return False
    k.orders = replace(k.orders, switchover=None, fence_order=None, power_order_until_s=NEVER)
    for kind in (Fence, PowerOn, MountArchive, UnmountArchive):
        r.forgive(kind)  # nothing of this is tried again
    return True


def add(r: Round) -> bool:
    """Write that there is a peer again; False when that must wait."""
    return not r.k.durable.removed or r.write(replace(r.k.durable, removed=""))
