"""An order that needs an operator's word first: its plan is said, the word compared, the order given and waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgvip.core.messages import Command
from pgvip.deadlines import wait_until
from pgvip.errors import RefusedError
from pgvip.orders.desk import Desk, Document, Reply, wait_s, words
from pgvip.orders.progress_text import step
from pgvip.orders.refusals import Plan
from pgvip.status.snapshot import Snapshot

POLL_S = 0.05
Outcome = Callable[[Snapshot, Snapshot], str | None]
"""By the snapshots before and now, how the order ended; None while it is under way."""


def carry_out(
    desk: Desk, request: Document, reply: Reply, plan: Plan, command: Command, *, done: Outcome | None
) -> Document:
    """Ask for the operator's word where the plan wants one, order it, and wait for the outcome."""
    told: dict[str, Any] = {"warning": plan.warning, "confirm": plan.word, "what": plan.what}
    if request.get("dry_run"):
        return {"text": f"dry run: {plan.text}", **told}
    if plan.word and words(request, "word") != plan.word:
        raise RefusedError(f"this needs {plan.what}; nothing was done", plan.warning, f"Give it: --yes {plan.word}")
    limit_s = wait_s(request, 120.0)
    before = desk.snapshot()
    desk.order(command)
    if done is None or limit_s <= 0:
        return {"text": plan.text}
    reply({"progress": plan.text})
    return {"text": _until(desk, before, done, limit_s, reply)}


def _until(desk: Desk, before: Snapshot, done: Outcome, limit_s: float, reply: Reply) -> str:
    old, last = before.decision.knowledge.durable.record, ""

    def outcome() -> str | None:
        nonlocal last
        now = desk.snapshot()
        text = step(old, now) if old is not None else ""
        if text and text != last:
            reply({"progress": text})
            last = text
        return done(before, now) if now.decision.knowledge is not before.decision.knowledge else None

    return wait_until(outcome, limit_s, every_s=POLL_S, what="outcome of the order", error=RefusedError)
