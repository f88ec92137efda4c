"""`pgvip failover`, `promote --force` and `fence`: what needs an operator's word before the peer loses its power."""

from __future__ import annotations

from typing import Any

from pgvip.actions import fence
from pgvip.core.actions import Fence, PowerOn, Subject
from pgvip.core.messages import Command, Order
from pgvip.core.values import NEVER, Record
from pgvip.errors import FenceError, RefusedError
from pgvip.orders import refusals
from pgvip.orders.confirmed import Outcome, carry_out
from pgvip.orders.desk import Desk, Document, Reply, words
from pgvip.orders.refusals import Plan
from pgvip.status.snapshot import Snapshot

BEGIN_S = 1.0


class Power:
    """Orders that power the peer off or on."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def failover(self, request: Document, reply: Reply) -> Document:
        """Take over now."""
        plan = refusals.failover(self._desk.snapshot())
        return self._order(request, reply, plan, Command(Order.FAILOVER), taken)

    def promote(self, request: Document, reply: Reply) -> Document:
        """Take over by force."""
        unfenced = bool(request.get("without_fence"))
        healthy = bool(request.get("although_healthy"))
        plan = refusals.promotion(self._desk.snapshot(), unfenced=unfenced, force_healthy=healthy)
        unasked = bool(request.get("without_witness"))
        how = (("without-fence", unfenced), ("without-witness", unasked))
        command = Command(Order.FORCE_PROMOTE, " ".join(word for word, said in how if said))
        return self._order(request, reply, plan, command, forced)

    def fence(self, request: Document, reply: Reply) -> Document:
        """`action`: status, test, off, on or confirm."""
        action, snapshot = words(request, "action") or "status", self._desk.snapshot()
        if action in ("status", "test"):
            return self._survey(action)
        if action == "off":
            plan = refusals.fence_off(snapshot, force=bool(request.get("force")))
            return self._order(request, reply, plan, Command(Order.FENCE_OFF), off)
        if action == "on":
            return self._order(request, reply, refusals.fence_on(snapshot), Command(Order.POWER_ON), switched_on)
        if action == "confirm":
            return self._order(request, reply, refusals.confirm(snapshot), Command(Order.FENCE_CONFIRMED), None)
        raise RefusedError(f"unknown fence action: {action!r}", hint="Use status, test, off, on or confirm.")

    def _order(
        self, request: Document, reply: Reply, plan: Plan, command: Command, done: Outcome | None
    ) -> Document:
        return carry_out(self._desk, request, reply, plan, command, done=done)

    def _survey(self, action: str) -> Document:
        """Every method, asked one after the other; a test fails unless each answers well within its time."""
        snapshot = self._desk.snapshot()
        refusals.must_have_fencing(snapshot)
        config = snapshot.config
        answers = fence.survey(config)
        settings = config.settings
        # The order and the proof may each take a whole time-out, and a device may need a while to tell the truth.
        fence_s = sum(2 * answer.timeout_s + fence.SETTLE_S for answer in answers)
        worst_s = settings.dead_after_s + settings.fence_delay_s + fence_s
        document: dict[str, Any] = {
            "host": config.peer.name,
            "methods": [answer.document() for answer in answers],
            "worst_s": round(worst_s, 1),
            "text": "\n".join(answer.line() for answer in answers),
        }
        if action == "test":
            text = f"a silent {config.peer.name} is verified off within {worst_s:.0f} s at the worst"
            document["text"] += f"\n{text} (detection, fence_delay_s, the time-outs of order and proof)"
            if not all(answer.works for answer in answers):
                raise FenceError(
                    f"fencing of {config.peer.name} would not work by every method", document["text"],
                    "Repair the method, or take it out of the configuration.",
                )  # fmt: skip
        return document


def taken(before: Snapshot, now: Snapshot) -> str | None:
    """This host is primary and writes; RefusedError once the order has ended without that."""
    new, old = now.decision.knowledge.durable.record, before.decision.knowledge.durable.record
    if _mine(new, old, now):
        assert new is not None
        return f"{new.primary} is primary (term {new.term})" if now.decision.message.read_write else None
    _must_be_at_it(before, now)
    return None


def forced(before: Snapshot, now: Snapshot) -> str | None:
    """This host is primary by force and writes."""
    k = now.decision.knowledge
    new, old = k.durable.record, before.decision.knowledge.durable.record
    if _mine(new, old, now):
        assert new is not None
        said = f"{new.primary} is primary alone (term {new.term}, {new.cause})"
        return said if now.decision.message.read_write else None
    if not k.orders.force and k.intent.writing is None and now.at_s - before.at_s > BEGIN_S:
        raise RefusedError(
            "the peer could not be fenced; nothing changed",
            hint="If you see that it is off, use: pgvip promote --force --without-fence",
        )
    return None


def off(before: Snapshot, now: Snapshot) -> str | None:
    """The peer is off, and the record says who serves."""
    k, me, peer = now.decision.knowledge, now.config.me.name, now.config.peer.name
    record = k.durable.record
    written = k.fencing.claim is None and k.intent.writing is None
    if k.power.peer_off and written and record is not None and record.primary == me:
        if record.mode.value == "solo" and now.decision.message.read_write:
            return f"{peer} is off and stays off; {me} serves alone (term {record.term})"
        return None
    _must_be_at_it(before, now)
    return None


def switched_on(before: Snapshot, now: Snapshot) -> str | None:
    """The device has accepted the order."""
    k, peer = now.decision.knowledge, now.config.peer.name
    if k.orders.power_order_until_s > NEVER or any(isinstance(action, PowerOn) for action in k.work.running):
        return None
    if k.work.ended.get(Subject.POWER, NEVER) <= before.at_s:
        if now.at_s - before.at_s > now.config.settings.consent_s:
            raise RefusedError(f"{peer} was not switched on", hint="See the daemon's log.")
        return None
    failures = k.work.failures.get(PowerOn)
    if failures is not None:
        raise RefusedError(f"could not switch {peer} on", failures.text, "See pgvip fence test.")
    return f"{peer} is being switched on"


def _mine(new: Record | None, old: Record | None, now: Snapshot) -> bool:
    """There is a new record, by which this host is primary."""
    return new is not None and new.primary == now.config.me.name and (old is None or new.term != old.term)


def _must_be_at_it(before: Snapshot, now: Snapshot) -> None:
    k = now.decision.knowledge
    fencing = any(isinstance(action, Fence) for action in k.work.running)
    idle = k.orders.fence_order is None and k.fencing.claim is None and k.intent.writing is None and not fencing
    if idle and now.at_s - before.at_s > BEGIN_S:
        peer = now.config.peer.name
        raise RefusedError(
            f"{peer} was not powered off by this order; nothing changed",
            "The fence failed, could not begin in time, or its reason was gone: the daemon's log says which.",
            "See pgvip fence test.",
        )
