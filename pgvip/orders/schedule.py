"""A switchover at a later time: kept on the host where it was ordered, over restarts; run once, or dropped in words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgvip.errors import PgvipError, RecordError, RefusedError
from pgvip.orders.desk import Desk, Document, Reply, words
from pgvip.state.record import Scheduled, load_scheduled, save_scheduled
from pgvip.text.times import DURATION_MAX_S, TimeError, of_wall, wall
from pgvip.text.writing import duration, moment

GRACE_S = 300.0
"""A daemon that comes back within this time after the moment still does it; later it is dropped (Patroni drops it)."""
SETTLE_S = 20.0
"""A daemon that has just started is given this long to hear its peer."""
LOOK_S = 20.0
"""The wall clock may be set: it is read this often."""

Clock = Callable[[], datetime]


def _utc() -> datetime:
    return datetime.now(tz=UTC)


class Schedule:
    """At most one switchover that waits for its time. `run`: makes it, as if it were ordered now."""

    def __init__(
        self, path: Path, desk: Desk, run: Callable[[Document, Reply], Document], clock: Clock = _utc
    ) -> None:
        self._path, self._desk, self._run, self._clock = path, desk, run, clock
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._waiting = self._load()

    def start(self) -> None:
        """Begin to wait for the time, in a thread."""
        threading.Thread(target=self._watch, name="schedule", daemon=True).start()

    @property
    def waiting(self) -> Scheduled | None:
        """What is scheduled now."""
        return self._waiting

    # --- what operators ask ----------------------------------------------------------------------------

    def add(self, request: Document) -> str:
        """Keep a switchover for `at` (`text.times.wall`). RefusedError when one waits already, or the time is none."""
        snapshot = self._desk.snapshot()
        record = snapshot.decision.knowledge.durable.record
        if record is None:
            raise RefusedError("this host has no record", hint="See pgvip status.")
        at = self._time(str(request.get("at", "")))
        now = self._clock()
        scheduled = Scheduled(wall(at), words(request, "by"), wall(now), record.primary, bool(request.get("force")))
        new = snapshot.config.peer.name if record.primary == snapshot.config.me.name else snapshot.config.me.name
        text = f"a switchover from {record.primary} to {new} at {moment(scheduled.at)}"
        if request.get("dry_run"):
            return f"dry run: {text}"
        with self._lock:
            if self._waiting is not None:
                text = f"a switchover is scheduled already, for {moment(self._waiting.at)}"
                raise RefusedError(text, hint="Cancel it first: pgvip switchover --cancel")
            save_scheduled(self._path, scheduled)
            self._waiting = scheduled
        self._changed.set()
        self._desk.log("schedule", f"{text}, ordered by {scheduled.by or 'an operator'}")
        return f"scheduled: {text}"

    def cancel(self, request: Document) -> str:
        """Drop what waits; RefusedError when nothing does."""
        with self._lock:
            waiting = self._waiting
            if waiting is None:
                hint = "It is kept where it was ordered: pgvip status names that host."
                raise RefusedError("no switchover is scheduled on this host", hint=hint)
            if request.get("dry_run"):
                return f"dry run: the switchover at {moment(waiting.at)} is cancelled"
            self._forget()
        self._changed.set()
        by = words(request, "by") or "an operator"
        self._desk.log("schedule-cancelled", f"the switchover at {moment(waiting.at)}, by {by}")
        return f"the switchover at {moment(waiting.at)} is cancelled"

    # --- its time ----------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            self._changed.clear()
            self._changed.wait(self.due())

    def due(self) -> float:
        """Do what is due; how long to wait until the next check, in seconds."""
        waiting = self._waiting
        if waiting is None:
            return 3600.0
        late_s = (self._clock() - of_wall(waiting.at)).total_seconds()
        if late_s < 0:
            return min(LOOK_S, -late_s)
        if late_s <= GRACE_S and not self._heard() and late_s < SETTLE_S:
            return 0.5
        with self._lock:
            if self._waiting is not waiting:
                return 0.0
            self._forget()  # before it is begun: a crash must not repeat it
        if late_s > GRACE_S:
            text = f"the switchover at {moment(waiting.at)} was missed by {duration(late_s)}: the daemon was down"
            self._desk.log("schedule-dropped", text)
        else:
            self._fire(waiting)
        return 0.0

    def _heard(self) -> bool:
        snapshot = self._desk.newest.get()
        return snapshot is not None and snapshot.decision.knowledge.peer.heard is not None

    def _fire(self, waiting: Scheduled) -> None:
        log = self._desk.log
        log("schedule-due", f"the switchover at {moment(waiting.at)}, ordered by {waiting.by or 'an operator'}")

        def reply(line: dict[str, Any]) -> None:
            if "progress" in line:
                log("schedule", str(line["progress"]))

        try:
            record = self._desk.snapshot().decision.knowledge.durable.record
            if record is None or record.primary != waiting.primary:
                raise RefusedError(f"{waiting.primary} is not primary any more")
            answer = self._run({"force": waiting.force}, reply)
        except PgvipError as failure:
            answer = {"ok": False, "error": failure.message, "detail": failure.detail}
        if answer.get("ok", True):
            log("schedule-done", str(answer.get("text", "")))
        else:
            detail = f"; {answer['detail']}" if answer.get("detail") else ""
            log("schedule-called-off", f"{answer.get('error')}{detail}")

    # --- its file ------------------------------------------------------------------------------------------

    def _time(self, text: str) -> datetime:
        try:
            at = of_wall(text)
        except TimeError as failure:
            raise RefusedError(failure.message) from failure
        ahead_s = (at - self._clock()).total_seconds()
        if not 0 < ahead_s <= DURATION_MAX_S:
            raise RefusedError(f"{text} is not within the next 366 days", f"It is {wall(self._clock())} now.")
        return at

    def _load(self) -> Scheduled | None:
        try:
            return load_scheduled(self._path)
        except RecordError as failure:
            self._desk.log("schedule-dropped", f"it cannot be read: {failure.message}: {failure.detail}")
            return None

    def _forget(self) -> None:
        self._waiting = None
        self._path.unlink(missing_ok=True)
