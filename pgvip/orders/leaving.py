"""A host that leaves in order (`pgvip leave`): what is going to happen, and what came of it, by the snapshots."""

from __future__ import annotations

from collections.abc import Callable

from pgvip.core.changes import HAND_OVER_LEAVING, LEAVING, NOT_CALLED_OFF, TABLE, By
from pgvip.core.conditions import CONFIRMED, KEEPS_ROLE, NOT_GIVING_UP, PAIR, PEER_ANSWERS, filled, unmet
from pgvip.core.messages import Message
from pgvip.core.values import Mode, Record
from pgvip.errors import RefusedError
from pgvip.orders.refusals import facts_of
from pgvip.status.snapshot import Snapshot

ANYWAY = "anyway"
"""The text of an order that stands also when nobody can take over."""

_INVITING = frozenset(row.name for row in TABLE if row.by is By.INVITE)
_PASSING = (LEAVING, NOT_CALLED_OFF, NOT_GIVING_UP, KEEPS_ROLE)
_HANDED_OVER = tuple(condition for condition in HAND_OVER_LEAVING.when if condition not in _PASSING)
"""Of a primary that leaves: what must hold beside the order, without what ends in a moment."""


def plan(snapshot: Snapshot, text: str) -> str:
    """What the order will bring about. RefusedError when nobody can take over, unless the text says `ANYWAY`."""
    me, peer = snapshot.config.me.name, snapshot.config.peer.name
    record, why = snapshot.decision.knowledge.durable.record, _nobody(snapshot)
    if why and text != ANYWAY:
        raise RefusedError(
            f"nobody can take over from {me}: {why}",
            "What this host serves would end with it, and go on when it is back.",
            f"Wait for a healthy pair (pgvip status), or: pgvip leave --{ANYWAY}",
        )
    if why or record is None:
        return f"{me} starts no server any more; nothing is handed over: {why}"
    if record.primary == me:
        return f"{me} stops cleanly, {peer} becomes primary"
    return f"{me} gives its address up, {peer} serves alone"


STOPPED = "the daemon ends; PostgreSQL and the addresses stay as they are"


def on_stop(snapshot: Snapshot | None) -> str:
    """What the daemon says when it is stopped: also what comes when PostgreSQL is stopped next, and what comes first.

    In a pair the other host powers off whoever is silent and neither serves nor follows; not in a pause, and not where
    it has no way to. With a witness a primary's lease is the time that it has.
    """
    k = snapshot.decision.knowledge if snapshot else None
    record = k.durable.record if k else None
    if snapshot is None or k is None or record is None or record.mode is not Mode.PAIR:
        return STOPPED
    config = snapshot.config
    me, peer = config.me.name, config.peer.name
    stopped = STOPPED
    if record.witness_id and record.primary == me:
        stopped = (
            f"{STOPPED}. Start pgvip again within lease_s = {config.settings.lease_s:g} s, or move the role first "
            f"(pgvip switchover): after that it stops PostgreSQL at its start until it hears that {peer} does not serve"
        )
    if k.durable.pause.active or not config.me.fencing:
        return stopped
    return (
        f"{stopped}. Do not stop PostgreSQL now: {peer} would power {me} off. To take this host out of service, start "
        f"pgvip again, run pgvip leave first, and then stop pgvip and PostgreSQL"
    )


def outcome(text: str) -> Callable[[Snapshot, Snapshot], str | None]:
    """What says how the order ended: None while it is under way; RefusedError when nobody took over."""

    def left(before: Snapshot, now: Snapshot) -> str | None:
        k = now.decision.knowledge
        if not k.orders.leaving or k.intent.row in _INVITING:
            return None
        if k.intent.writing is not None or k.consent.giving_up is not None:
            return None
        if (done := _done(before, now)) is not None:
            return done
        if now.at_s - before.at_s < now.config.settings.standby_down_s:
            return None  # a standby may become eligible in a moment, and a lost message comes again
        why = "the hand-over was called off" if now.at_s < k.consent.called_off_until_s else _nobody(now)
        if not why:
            return None
        if text != ANYWAY:
            raise RefusedError(f"nothing was handed over: {why}", hint="See: pgvip status")
        return f"{now.config.me.name} leaves; nothing is handed over: {why}"

    return left


def stayed(_before: Snapshot, now: Snapshot) -> str | None:
    """The order was taken back."""
    return None if now.decision.knowledge.orders.leaving else f"{now.config.me.name} stays"


def _done(before: Snapshot, now: Snapshot) -> str | None:
    """The peer serves, or this host is the one that will, after its boot."""
    record, peer = now.decision.knowledge.durable.record, _heard(now)
    if record is None or peer is None or record.mode is not Mode.SOLO:
        return None
    me, other = now.config.me.name, now.config.peer.name
    if not (peer.record is not None and peer.record.term >= record.term):
        return None
    if record.primary == me:
        both = f"{me} leaves as the pair's only primary (term {record.term}): it serves again after its boot"
        return both if peer.leaving else None
    if not peer.read_write:
        return None
    took = _primary(before.decision.knowledge.durable.record) == me
    return f"{other} {'is primary' if took else 'serves alone'} (term {record.term})"


def _primary(record: Record | None) -> str:
    return record.primary if record is not None else ""


def _heard(snapshot: Snapshot) -> Message | None:
    """The peer's last message, while it is not too old to count."""
    heard = snapshot.decision.knowledge.peer.heard
    fresh = heard is not None and snapshot.at_s - heard.at_s <= snapshot.config.settings.dead_after_s
    return heard.message if heard is not None and fresh else None


def _nobody(snapshot: Snapshot) -> str:
    """Why nobody would go on with what this host does; "" where the peer would."""
    v = facts_of(snapshot)
    if v.record is None or not v.k.confirmed:
        return filled(CONFIRMED.unmet, v)
    if v.primary and v.solo:
        return filled(PAIR.unmet, v)
    if v.peer is None:
        # One that was heard a moment ago is heard again.
        return filled(PEER_ANSWERS.unmet, v) if _heard(snapshot) is None else ""
    missing = unmet(_HANDED_OVER, v) if v.primary else ()
    return missing[0].text if missing else ""
