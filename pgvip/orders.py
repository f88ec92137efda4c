"""What operators ask of the running daemon: status, orders with their outcome, the fence device.

Each request runs in a thread of the operator socket, reads the newest snapshot and puts orders into the
loop's inbox; it changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pgvip import leaving
from pgvip.actions import fence
from pgvip.core.model import NEVER, Command, Order, Rejoin
from pgvip.daemon import Daemon, Snapshot
from pgvip.deadlines import wait_until
from pgvip.errors import LinkError, PgvipError, RefusedError
from pgvip.status_document import document

Reply = Callable[[dict[str, Any]], None]
POLL_S = 0.05
WAIT_MAX_S = 3600.0
TEXT_MAX = 500
"""Of a reason: it is kept in the record's file and told to the peer with every heartbeat."""

_ORDERS = {order.value: order for order in Order}


class Orders:
    """Answers the operator socket."""

    def __init__(self, daemon: Daemon, facts: Callable[[], Mapping[str, Any]], renew_keys: Callable[[], None]) -> None:
        self._daemon = daemon
        self._facts = facts
        self._renew_keys = renew_keys

    def handle(self, request: Mapping[str, Any], reply: Reply) -> None:
        """Answer one request; the last reply has `ok`."""
        command = request.get("command")
        try:
            if command == "status":
                reply({"ok": True, "status": self._status()})
            elif command == "order":
                reply({"ok": True, "text": self._order(request, reply)})
            elif command == "fence":
                reply({"ok": True, "text": self._fence(str(request.get("action", "status")))})
            elif command == "renew-keys":
                self._renew_keys()
                reply({"ok": True, "text": "the certificates were read anew"})
            else:
                raise RefusedError(f"unknown command: {command!r}")
        except PgvipError as failure:
            reply(
                {
                    "ok": False,
                    "error": failure.message,
                    "detail": failure.detail,
                    "hint": failure.hint,
                    "exit_code": int(failure.exit_code),
                }
            )

    def _snapshot(self) -> Snapshot:
        snapshot = self._daemon.snapshot
        if snapshot is None:
            raise LinkError("the daemon has just started", hint="Try again in a moment.")
        return snapshot

    def _status(self) -> dict[str, Any]:
        shot = self._snapshot()
        return document(shot.config, shot.decision, shot.seen, shot.at_s, {**self._facts(), "stats": shot.stats})

    def _order(self, request: Mapping[str, Any], reply: Reply) -> str:
        name = str(request.get("order", ""))
        if name not in _ORDERS:
            raise RefusedError(f"unknown order: {name!r}", hint=f"Known orders: {', '.join(sorted(_ORDERS))}.")
        order = _ORDERS[name]
        text = str(request.get("text", ""))
        if len(text) > TEXT_MAX:
            raise RefusedError(f"the text is too long: {len(text)} characters, at most {TEXT_MAX}")
        given = request.get("wait_s", 60.0)
        if not isinstance(given, int | float):
            raise RefusedError(f"wait_s is not a number of seconds: {given!r}")
        wait_s = min(given, WAIT_MAX_S)
        plan = _check(order, self._snapshot(), text)
        if request.get("dry_run"):
            return f"dry run: {plan}"
        before = self._snapshot()
        self._daemon.inbox.put(Command(order, text))
        done = leaving.outcome(text) if order is Order.SHUTDOWN else _OUTCOMES.get(order)
        if done is None or wait_s <= 0:
            return plan
        reply({"progress": plan})

        def outcome() -> str | None:
            now = self._snapshot()
            return done(before, now) if now.decision.knowledge is not before.decision.knowledge else None

        try:
            return wait_until(outcome, wait_s, every_s=POLL_S, what=f"outcome of {name}", error=RefusedError)
        except RefusedError:
            if order is Order.SHUTDOWN and text != leaving.ANYWAY:
                self._daemon.inbox.put(Command(Order.STAY))
            raise

    def _fence(self, action: str) -> str:
        config = self._snapshot().config
        if not config.settings.fencing:
            raise RefusedError(
                f'fencing = "none" is configured for host {config.peer.name}', hint="Configure a fence method first."
            )
        if action == "status":
            return fence.status(config)
        if action == "test":
            return fence.test(config)
        raise RefusedError(f"unknown fence action: {action!r}", hint="Use status, test or confirm.")


def _check(order: Order, shot: Snapshot, text: str) -> str:
    """Refuse what cannot work now, by name; else say what is going to be done."""
    k = shot.decision.knowledge
    config = shot.config
    record = k.durable.record
    if order is Order.SWITCHOVER:
        if record is None or not k.confirmed:
            raise RefusedError("this host has no confirmed record", hint="See: pgvip status")
        peer = k.heard.message if k.heard else None
        standby_eligible = shot.decision.message.eligible or (peer is not None and peer.eligible)
        if record.mode.value != "pair" or not standby_eligible:
            raise RefusedError(
                "no standby is eligible to take the role",
                detail="; ".join(f"{row}: {why}" for row, why in k.blockers),
                hint="Wait until `pgvip status` shows an eligible standby.",
            )
        new = config.peer.name if record.primary == config.me.name else config.me.name
        return f"switchover: {record.primary} stops cleanly, {new} becomes primary"
    if order is Order.FORCE_PROMOTE:
        if text != "without-fence" and not config.settings.fencing:
            raise RefusedError(
                f'fencing = "none" is configured for {config.peer.name}: it cannot be fenced first',
                "If it runs, or comes back by itself, both hosts write.",
                "See that it is off and stays off, then: pgvip promote --force --without-fence",
            )
        fenced = "without fencing" if text == "without-fence" else "after fencing"
        return (
            f"forced promotion of {config.me.name} {fenced} {config.peer.name}: commits that only {config.peer.name} "
            f"has are lost here and kept there (hold)"
        )
    if order is Order.FENCE_CONFIRMED and k.claim is None:
        raise RefusedError("no claim is open: nothing waits for a fence", hint="See: pgvip status")
    if order is Order.REJOIN and (record is None or not k.confirmed or record.primary == config.me.name):
        raise RefusedError("only a confirmed standby can rejoin", hint="Ask on the other host, or see: pgvip status")
    if order is Order.CLEAR_HOLD and not k.durable.hold:
        raise RefusedError("this host is not on hold")
    if order is Order.SHUTDOWN:
        return leaving.plan(shot, text)
    if order is Order.STAY and not k.leaving:
        raise RefusedError("this host is not leaving", hint="See: pgvip status")
    return f"{order.value}{': ' + text if text else ''}"


def _switched(before: Snapshot, now: Snapshot) -> str | None:
    old, new = before.decision.knowledge.durable.record, now.decision.knowledge.durable.record
    k = now.decision.knowledge
    if old is None or new is None:
        return None
    if new.primary == old.primary:
        if k.switchover is None and k.yielding is None and k.writing is None and now.at_s - before.at_s > 1.0:
            raise RefusedError("the switchover was called off; the old primary serves on", hint="See: pgvip status")
        return None
    peer = k.heard.message if k.heard else None
    mine = new.primary == now.config.me.name
    writes = now.decision.message.read_write if mine else bool(peer and peer.read_write)
    return f"{new.primary} is primary (term {new.term})" if writes else None


def _paused(wanted: bool) -> Callable[[Snapshot, Snapshot], str | None]:
    def done(_before: Snapshot, now: Snapshot) -> str | None:
        k = now.decision.knowledge
        if k.durable.pause.active is not wanted:
            return None
        peer = k.heard.message if k.heard else None
        state = "paused" if wanted else "resumed"
        if peer is None or now.at_s - (k.heard.at_s if k.heard else 0.0) > 3.0:
            return f"{state} on {now.config.me.name}; {now.config.peer.name} does not answer and follows when it does"
        return f"{state} on both hosts" if peer.pause.serial == k.durable.pause.serial else None

    return done


def _forced(before: Snapshot, now: Snapshot) -> str | None:
    old, k = before.decision.knowledge.durable.record, now.decision.knowledge
    new = k.durable.record
    if new is not None and new.primary == now.config.me.name and (old is None or new.term != old.term):
        said = f"{new.primary} is primary alone (term {new.term}, {new.cause})"
        return said if now.decision.message.read_write else None
    if not k.force and k.writing is None and now.at_s - before.at_s > 1.0:
        raise RefusedError(
            "the peer could not be fenced; nothing changed",
            hint="If you see that it is off, use: pgvip promote --force --without-fence",
        )
    return None


def _rejoined(before: Snapshot, now: Snapshot) -> str | None:
    k = now.decision.knowledge
    if any(isinstance(action, Rejoin) for action in k.running):
        return None
    trouble = k.trouble.get("Rejoin")
    if trouble is not None and trouble != before.decision.knowledge.trouble.get("Rejoin"):
        raise RefusedError("this host could not rejoin yet; it tries again by itself", trouble.text)
    tried = k.ended.get("postgres", NEVER) > before.at_s
    return f"{now.config.me.name} follows {now.config.peer.name}" if tried and now.decision.message.streaming else None


_OUTCOMES: dict[Order, Callable[[Snapshot, Snapshot], str | None]] = {
    Order.SWITCHOVER: _switched,
    Order.PAUSE: _paused(wanted=True),
    Order.RESUME: _paused(wanted=False),
    Order.FORCE_PROMOTE: _forced,
    Order.REJOIN: _rejoined,
    Order.STAY: leaving.stayed,
}
