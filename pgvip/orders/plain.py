"""The orders that need no questions asked: pause, resume, rejoin, leave, clear a hold. Checked, given, waited for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pgvip.core.actions import Rejoin, Subject
from pgvip.core.messages import Command, Order
from pgvip.core.values import NEVER
from pgvip.deadlines import wait_until
from pgvip.errors import RefusedError
from pgvip.orders import leaving
from pgvip.orders.desk import Desk, Document, Reply, under_way, wait_s, words
from pgvip.status.snapshot import Snapshot
from pgvip.text.times import TimeError, of_wall, wall
from pgvip.text.writing import moment

POLL_S = 0.05
PLAIN = (Order.PAUSE, Order.RESUME, Order.REJOIN, Order.CLEAR_HOLD, Order.SHUTDOWN, Order.STAY)


def handle(desk: Desk, request: Document, reply: Reply) -> Document:
    """Check and carry out one of the plain orders, named by `order`."""
    name = str(request.get("order", ""))
    orders = {order.value: order for order in PLAIN}
    if name not in orders:
        raise RefusedError(f"unknown order: {name!r}", hint=f"Known orders: {', '.join(sorted(orders))}.")
    order, text, limit_s = orders[name], words(request, "text"), wait_s(request)
    before = desk.snapshot()
    command = Command(order, text, _until(order, request), words(request, "by"))
    plan = _check(command, before)
    if request.get("dry_run"):
        return {"text": f"dry run: {plan}"}
    desk.order(command)
    done = leaving.outcome(text) if order is Order.SHUTDOWN else _OUTCOMES.get(order)
    if done is None or limit_s <= 0:
        return {"text": plan}
    reply({"progress": plan})

    def outcome() -> str | None:
        now = desk.snapshot()
        return done(before, now) if now.decision.knowledge is not before.decision.knowledge else None

    try:
        return {"text": wait_until(outcome, limit_s, every_s=POLL_S, what=f"outcome of {name}", error=RefusedError)}
    except RefusedError:
        if order is Order.SHUTDOWN and text != leaving.ANYWAY:
            desk.order(Command(Order.STAY))
        raise


def _until(order: Order, request: Document) -> str:
    """When a pause ends by itself (`text.times.wall`), or ""; RefusedError for what is no time to come."""
    text = str(request.get("until", ""))
    if not text or order is not Order.PAUSE:
        return ""
    try:
        at = of_wall(text)
    except TimeError as failure:
        raise RefusedError(failure.message) from failure
    now = datetime.now(tz=UTC)
    if at <= now:
        raise RefusedError(f"a pause cannot end at {text}: that is over", f"It is {wall(now)} on this host.")
    return text


def _check(command: Command, snapshot: Snapshot) -> str:
    """Refuse what cannot work now, by name; else say what is going to be done."""
    k, order = snapshot.decision.knowledge, command.order
    record, me = k.durable.record, snapshot.config.me.name
    if order is Order.PAUSE:
        doing = under_way(snapshot)
        if doing:
            raise RefusedError(
                f"a change is under way: {doing}", "A pause would leave it half done.", "Wait until it is over."
            )
        until = f" until {moment(command.until)}" if command.until else ""
        return f"pause{until}: {command.text}" if command.text else f"pause{until}"
    if order is Order.REJOIN and (record is None or not k.confirmed or record.primary == me):
        raise RefusedError("only a confirmed standby can rejoin", hint="Ask on the other host, or see: pgvip status")
    if order is Order.SHUTDOWN:
        return leaving.plan(snapshot, command.text)
    if order is Order.STAY and not k.orders.leaving:
        raise RefusedError("this host is not leaving", hint="See: pgvip status")
    if order is Order.CLEAR_HOLD and not k.durable.hold:
        raise RefusedError("this host is not on hold")
    if order is Order.CLEAR_HOLD and k.durable.lacks and record is not None and record.primary == me:
        hint = f"pgvip promote --force on {snapshot.config.peer.name} if it has them, or here, without what is missing."
        raise RefusedError("this host is primary and lacks data that it had", f"{k.durable.hold}.", hint)
    return f"{order.value}{': ' + command.text if command.text else ''}"


def _paused(wanted: bool) -> Callable[[Snapshot, Snapshot], str | None]:
    def done(_before: Snapshot, now: Snapshot) -> str | None:
        k = now.decision.knowledge
        pause = k.durable.pause
        if pause.active is not wanted:
            return None
        peer = k.peer.heard.message if k.peer.heard else None
        state = "paused" if wanted else "resumed"
        until = f" until {moment(pause.until)}" if pause.until else ""
        if peer is None or now.at_s - (k.peer.heard.at_s if k.peer.heard else 0.0) > 3.0:
            name = now.config.peer.name
            return f"{state} on {now.config.me.name}{until}; {name} does not answer and follows when it does"
        return f"{state} on both hosts{until}" if peer.pause.serial == pause.serial else None

    return done


def _rejoined(before: Snapshot, now: Snapshot) -> str | None:
    k = now.decision.knowledge
    if any(isinstance(action, Rejoin) for action in k.work.running):
        return None
    failures = k.work.failures.get(Rejoin)
    if failures is not None and failures != before.decision.knowledge.work.failures.get(Rejoin):
        raise RefusedError("this host could not rejoin yet; it tries again by itself", failures.text)
    tried = k.work.ended.get(Subject.POSTGRES, NEVER) > before.at_s
    return f"{now.config.me.name} follows {now.config.peer.name}" if tried and now.decision.message.streaming else None


_OUTCOMES: dict[Order, Callable[[Snapshot, Snapshot], str | None]] = {
    Order.PAUSE: _paused(wanted=True),
    Order.RESUME: _paused(wanted=False),
    Order.REJOIN: _rejoined,
    Order.STAY: leaving.stayed,
}
