"""`pgvip remove-peer` and `pgvip add-peer`: back to one host, and to a pair again. Both can be repeated."""

from __future__ import annotations

from pgvip.core.messages import Command, Order
from pgvip.core.removed_peer import since
from pgvip.errors import RefusedError
from pgvip.orders import refusals
from pgvip.orders.confirmed import carry_out
from pgvip.orders.desk import Desk, Document, Reply
from pgvip.orders.refusals import Plan
from pgvip.status.snapshot import Snapshot
from pgvip.text.writing import moment

OBEYED_S = 1.0
"""An order that is not being written so long after it was given was dropped."""


class Removing:
    """Orders that take the peer out of this host's account, and back into it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def remove(self, request: Document, reply: Reply) -> Document:
        """This host serves alone, for good."""
        snapshot = self._desk.snapshot()
        at, peer = _since(snapshot), snapshot.config.peer.name
        if at:
            return {"text": f"{peer} is removed already, since {moment(at)}"}
        plan, command = refusals.removal(snapshot), Command(Order.REMOVE_PEER)
        return carry_out(self._desk, request, reply, plan, command, done=_removed)

    def add(self, request: Document, reply: Reply) -> Document:
        """There is a second host again, or there will be one."""
        snapshot = self._desk.snapshot()
        me, peer = snapshot.config.me.name, snapshot.config.peer.name
        if not snapshot.decision.knowledge.durable.removed:
            return {"text": f"{peer} is not removed: nothing is to be done"}
        plan = Plan(f"add-peer: {me} waits for {peer} again, and warns as long as it is not there")
        return carry_out(self._desk, request, reply, plan, Command(Order.ADD_PEER), done=_added)


def _since(snapshot: Snapshot) -> str:
    return since(snapshot.decision.knowledge.durable, snapshot.config.me.name)


def _removed(before: Snapshot, now: Snapshot) -> str | None:
    me, peer = now.config.me.name, now.config.peer.name
    if at := _since(now):
        return f"{peer} is removed since {moment(at)}: {me} serves alone, and nobody takes over from it"
    k = now.decision.knowledge
    if now.at_s - before.at_s > OBEYED_S and k.intent.writing is None and not k.orders.deferred:
        raise RefusedError(f"{peer} is not removed: {me} does not serve alone any more", hint="See: pgvip status")
    return None


def _added(_before: Snapshot, now: Snapshot) -> str | None:
    if now.decision.knowledge.durable.removed:
        return None
    return f"{now.config.me.name} waits for {now.config.peer.name} again: bring it in now (pgvip bundle, pgvip clone)"
