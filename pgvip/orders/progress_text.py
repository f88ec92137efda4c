"""Where a change of role has come to, in one sentence, from a round of either host. Pure."""

from __future__ import annotations

from pgvip.core.actions import AddVip, DropVip, Promote, StartPostgres, StopPostgres
from pgvip.core.values import Record
from pgvip.status.snapshot import Snapshot


def step(before: Record, now: Snapshot) -> str:
    """What is being done now of the change that leaves the record `before`; "" where nothing is to be seen of it."""
    record = now.decision.knowledge.durable.record
    if record is None:
        return ""
    if record.term == before.term:
        return _giving_up(now) if before.primary == now.config.me.name else _asking(now)
    return _gaining(now, record)


def _giving_up(now: Snapshot) -> str:
    """On the old primary, before the record is written."""
    me, peer = now.config.me.name, now.config.peer.name
    k = now.decision.knowledge
    if k.consent.giving_up is None:
        return f"{me} offers its role to {peer}" if k.orders.switchover is not None else ""
    if k.intent.writing is not None:
        return f"{me} writes that {peer} is primary"
    if any(isinstance(action, StopPostgres) for action in k.work.running):
        return f"{me} stops PostgreSQL, which ends its sessions"
    if any(isinstance(action, DropVip) for action in k.work.running):
        return f"{me} drops its addresses"
    if k.consent.giving_up.stopped is not None:
        point = k.consent.giving_up.stopped.point
        return f"{me} waits until {peer} says that it has the shutdown checkpoint ({point.lsn})"
    return f"{me} gives up its role"


def _asking(now: Snapshot) -> str:
    """On the standby, before the record is written."""
    me, peer = now.config.me.name, now.config.peer.name
    k = now.decision.knowledge
    if k.fencing.claim is not None:
        return f"{me} writes that it is primary" if k.fencing.claim.fenced else f"{me} has {peer} powered off"
    heard = k.peer.heard.message if k.peer.heard else None
    if heard is None:
        return ""
    if heard.stopped is not None:
        return f"{me} has the shutdown checkpoint" if now.decision.message.has_checkpoint else f"{peer} has stopped"
    if not heard.read_write:
        return f"{peer} stops PostgreSQL, which ends its sessions"
    if k.orders.switchover is not None:
        return f"{me} asks {peer} for its role"
    return f"{me} waits for its fence of {peer} to begin" if k.orders.fence_order is not None else ""


def _gaining(now: Snapshot, record: Record) -> str:
    """On either host, once the new record is written."""
    me, peer = now.config.me.name, now.config.peer.name
    k = now.decision.knowledge
    heard = k.peer.heard.message if k.peer.heard else None
    if record.primary == me:
        if not now.decision.message.read_write:
            return f"{me} is being promoted"
        if any(isinstance(action, AddVip) for action in k.work.running):
            return f"{me} raises the addresses"
    elif heard is None or not heard.read_write:
        return f"{peer} is being promoted"
    elif "primary" not in heard.vips:
        return f"{peer} raises the addresses"
    return ""


def follows(now: Snapshot, record: Record) -> str:
    """What is left until the old primary follows the new one of `record`; "" when it does, in a pair again."""
    me, peer = now.config.me.name, now.config.peer.name
    k = now.decision.knowledge
    new = k.durable.record
    if new is not None and new.term > record.term and new.mode.value == "pair" and new.primary == record.primary:
        standby = now.decision.message if new.primary != me else k.peer.heard.message if k.peer.heard else None
        if standby is not None and standby.eligible and "standby" in standby.vips:
            return ""
        return "the old primary follows; it is being made eligible and given the standby address"
    old = peer if record.primary == me else me
    starting = any(isinstance(action, StartPostgres | Promote) for action in k.work.running)
    return f"{old} is started as the standby" if starting else f"{old} is made to follow {record.primary}"
