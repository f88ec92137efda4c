"""A planned switchover: checks before anything changes, a checkpoint, the order, each step as it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pgvip.actions.postgres import checkpoint
from pgvip.core.messages import Command, Order
from pgvip.core.values import Record
from pgvip.deadlines import Deadline, now_s, wait_until
from pgvip.errors import LinkError, PgvipError, PostgresError, RefusedError
from pgvip.link.operator_socket import failure
from pgvip.orders.desk import Desk, Document, Reply, wait_s, words
from pgvip.orders.prechecks import Facts, Finding, Level, refused, switchover
from pgvip.orders.progress_text import follows, step
from pgvip.orders.readiness import gather
from pgvip.state import codec
from pgvip.status.snapshot import Snapshot

POLL_S = 0.05
CHECKPOINT_S = 60.0
"""For the checkpoint beforehand; a server that needs longer for it would be stopped for as long."""
FOLLOW_S = 30.0
"""How long the old primary is waited for once the new one serves."""
SETTLE_S, SETTLE_EVERY_S = 3.0, 0.2
MOMENTARY = frozenset({"primary-database", "standby-database", "streaming", "eligible"})
"""Not known for a moment after an action on the server, or while the WAL receiver connects anew: checked again."""
BEGIN_S = 1.0
"""After this long without any sign of the switchover it was called off."""


class Switchover:
    """`pgvip switchover`, from either host."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def handle(self, request: Document, reply: Reply) -> Document:
        """Check, then carry out; with `dry_run` only check. The last reply has `checks`, of a failure too."""
        limit_s = wait_s(request, 90.0)
        settle_s = 0.0 if request.get("dry_run") else SETTLE_S
        facts, findings = look(self._desk, settle_s, lambda text: reply({"progress": text}))
        checks = {"checks": [codec.encode(finding) for finding in findings]}
        try:
            self._refuse(findings, force=bool(request.get("force")))
            plan = _plan(facts)
            if request.get("dry_run"):
                return {"text": f"dry run: {plan}", **checks}
            for finding in findings:
                if finding.level is Level.WARNING:
                    reply({"progress": f"warning: {finding.name}: {finding.text}"})
            reply({"progress": plan})
            return {"text": self._carry_out(facts, limit_s, reply), **checks}
        except PgvipError as error:
            return {**failure(error), **checks}

    def checks(self) -> Document:
        """The findings as they are now, refusing nothing."""
        return {"checks": [codec.encode(finding) for finding in switchover(gather(self._desk))]}

    def cancel(self, request: Document, _reply: Reply) -> Document:
        """Drop a switchover that has not begun."""
        k = self._desk.snapshot().decision.knowledge
        if k.orders.switchover is None:
            hint = "Cancel it on the host where it was ordered: pgvip status there shows one that waits."
            raise RefusedError("no switchover was ordered on this host, or it has begun", hint=hint)
        if not request.get("dry_run"):
            self._desk.order(Command(Order.CANCEL_SWITCHOVER, words(request, "text")))
        return {"text": "dry run: the ordered switchover is dropped" if request.get("dry_run") else "dropped"}

    def _refuse(self, findings: Iterable[Finding], *, force: bool) -> None:
        """RefusedError when a check failed that prevents the order."""
        failed = refused(findings, force=force)
        if not failed:
            return
        soft = all(not finding.hard for finding in failed)
        first = failed[0]
        others = "; ".join(f"{one.name}: {one.text}" for one in failed[1:])
        hint = f"To repair it: {first.hint}." if first.hint else "See pgvip switchover --dry-run."
        hint += " Or take it upon yourself: --force" if soft else ""
        raise RefusedError(f"no switchover now: {first.text}", f"Also {others}." if others else "", hint)

    def _carry_out(self, facts: Facts, limit_s: float, reply: Reply) -> str:
        self._checkpoint(facts, min(CHECKPOINT_S, limit_s) if limit_s > 0 else CHECKPOINT_S, reply)
        deadline = Deadline.after(limit_s)
        before = self._desk.snapshot()
        record = before.decision.knowledge.durable.record
        assert record is not None  # the pre-checks saw one
        begun_s = now_s()
        self._desk.order(Command(Order.SWITCHOVER))
        if limit_s <= 0:
            return _plan(facts)
        new = self._until_it_serves(before, record, deadline, reply)
        took_s = now_s() - begun_s
        text = f"{new.primary} is primary (term {new.term}), {took_s:.1f} s after the order"
        return f"{text}; {self._until_the_old_one_follows(new, deadline, reply)}"

    def _checkpoint(self, facts: Facts, limit_s: float, reply: Reply) -> None:
        """On the primary, wherever this was ordered. A server that is not through in time is not stopped."""
        primary = facts.primary.name
        reply({"progress": f"checkpoint on {primary}, so that its stop is short"})
        if facts.primary is facts.me:
            took_s = checkpoint(self._desk.snapshot().config, limit_s)
        else:
            answer = self._desk.ask_peer({"ask": "checkpoint", "limit_s": limit_s}, limit_s + 5.0)
            if not answer.get("ok"):
                raise PostgresError(str(answer.get("error")), str(answer.get("detail", "")), "Nothing was changed.")
            took_s = float(answer.get("took_s", 0.0))
        reply({"progress": f"checkpoint done in {took_s:.1f} s"})

    def _until_it_serves(self, before: Snapshot, old: Record, deadline: Deadline, reply: Reply) -> Record:
        """Report each step; RefusedError when it was called off, or did not come about in time."""
        watch = _Watch(before, old)

        def served() -> Record | None:
            now = self._desk.snapshot()
            for line in watch.news(now):
                reply({"progress": line})
            return watch.served(now)

        try:
            return wait_until(served, deadline.left_s(), every_s=POLL_S, what="switchover", error=RefusedError)
        except (PgvipError, LinkError) as failed:
            self._desk.order(Command(Order.CANCEL_SWITCHOVER))  # what has begun goes on to its end
            detail = f"The last step: {watch.last}." if watch.last else failed.detail
            raise RefusedError(failed.message, detail, failed.hint or "See pgvip status.") from failed

    def _until_the_old_one_follows(self, new: Record, deadline: Deadline, reply: Reply) -> str:
        said = ""

        def done() -> bool:
            nonlocal said
            left = follows(self._desk.snapshot(), new)
            if left and left != said:
                reply({"progress": left})
            said = left
            return not left

        me = self._desk.snapshot().config
        old = me.peer.name if new.primary == me.me.name else me.me.name
        try:
            wait_until(done, deadline.sooner_s(FOLLOW_S), every_s=POLL_S, what="the old primary to follow")
        except PgvipError:
            return f"{old} does not follow yet: see pgvip status"
        return f"{old} follows"


class _Watch:
    """What was seen of one switchover so far."""

    def __init__(self, before: Snapshot, old: Record) -> None:
        self._before, self._old = before, old
        self._stopped = False
        self.last = ""

    def news(self, now: Snapshot) -> Iterable[str]:
        """The step that was begun since the last check, if any."""
        text = step(self._old, now)
        if text and text != self.last:
            self.last = text
            yield text

    def served(self, now: Snapshot) -> Record | None:
        """The new record once its primary writes. RefusedError when the old primary serves on."""
        k = now.decision.knowledge
        record, heard = k.durable.record, k.peer.heard.message if k.peer.heard else None
        if record is None or record.primary == self._old.primary:
            if self._called_off(now, heard):
                raise RefusedError("the switchover was called off; the old primary serves on")
            return None
        mine = record.primary == now.config.me.name
        writes = now.decision.message.read_write if mine else bool(heard and heard.read_write)
        vips = now.decision.message.vips if mine else heard.vips if heard else ()
        return record if writes and "primary" in vips else None

    def _called_off(self, now: Snapshot, heard: Any) -> bool:
        k = now.decision.knowledge
        if self._old.primary == now.config.me.name:
            idle = k.orders.switchover is None and k.consent.giving_up is None and k.intent.writing is None
            return idle and now.decision.message.read_write and now.at_s - self._before.at_s > BEGIN_S
        if heard is not None and heard.record is not None and heard.record.term == self._old.term:
            back = self._stopped and heard.read_write
            self._stopped = self._stopped or not heard.read_write
            return back or (k.orders.switchover is None and heard.read_write and now.at_s - self._before.at_s > BEGIN_S)
        return False


def look(desk: Desk, settle_s: float, say: Callable[[str], None]) -> tuple[Facts, tuple[Finding, ...]]:
    """What the checks find; again for `settle_s` while all that fails may be so for a moment only, which is said."""
    deadline = Deadline.after(settle_s)
    said: set[str] = set()

    def found() -> tuple[Facts, tuple[Finding, ...]] | None:
        facts = gather(desk)
        findings = switchover(facts)
        failed = refused(findings)
        if not failed or not {finding.name for finding in failed} <= MOMENTARY or deadline.expired:
            return facts, findings
        if failed[0].text not in said:
            said.add(failed[0].text)
            say(f"waiting for {settle_s:g} s at most: {failed[0].text}")
        return None

    return wait_until(found, settle_s + BEGIN_S, every_s=SETTLE_EVERY_S, what="the pre-checks")


def _plan(facts: Facts) -> str:
    return f"switchover: {facts.primary.name} stops cleanly, {facts.standby.name} becomes primary"
