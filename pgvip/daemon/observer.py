"""`pair.mode = "observe"`: what stands between the decisions and the world, and lets nothing through.

The loop touches the world only through `Outside`; in this mode its actions, its facts of this boot and its notes come
here. An action that only looks is carried out. Every other one is reported, counted and ended at once: as done, where
nothing observes its effect (so that the decisions that would follow are reported too), else as not done. The record is
in memory alone and follows who is seen to serve. What would begin by itself in the background is not started
(`daemon.assembly`, `daemon.probe_table`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pgvip.core.actions import Action, CheckVip, FindEnd, Result
from pgvip.core.facts import Facts
from pgvip.core.observed_record import DONE, follow
from pgvip.deadlines import now_s
from pgvip.errors import RecordError
from pgvip.events import event_log
from pgvip.state.last_observed import Observed, save_observed

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.knowledge import Knowledge
    from pgvip.core.observations import Observations
    from pgvip.core.settings import Identity, Note
    from pgvip.daemon.loop import Outside
    from pgvip.status.snapshot import Snapshot

LOOKS: tuple[type[Action], ...] = (CheckVip, FindEnd)
"""Actions that only look."""
NOT_DONE = 'not done: pair.mode is "observe"'
AGAIN_S = 120.0
"""A wish that lasts is tried again at most after a minute (`Properties.retry_s`); after twice that it is a new one."""
KEPT = 20
"""Of the newest wishes, for `status`."""
OBSERVING = ":observe"
"""Behind the pair's id in all that this daemon sends: for a daemon that acts, it is another pair's, and ignored."""


def identity_of(who: Identity) -> Identity:
    """Who a daemon is that only observes: it and one that acts never count on each other."""
    return replace(who, pair_id=who.pair_id + OBSERVING)


class Observer:
    """What the loop has instead of those who act; `document` is for `status`."""

    def __init__(self, config: Callable[[], Config], inbox: SimpleQueue[object]) -> None:
        self._config, self._inbox = config, inbox
        self._lock = threading.Lock()
        self._wished_s: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._newest: list[dict[str, str]] = []
        self._kept = Observed()

    def instead_of(self, acting: Outside) -> Outside:
        """The same with nothing in it that changes something. What is not named here reads, sends or ends a round.

        The watchdog is off in this mode (`config.observing`).
        """
        return replace(
            acting,
            start=self._only_looking(acting.start),
            keep=lambda _facts: True,
            note=_without_the_undone(acting.note),
            ended=lambda snapshot: self._ended(snapshot, acting.ended),
            follow=self.follow,
        )

    def _only_looking(self, look: Callable[[Action], None]) -> Callable[[Action], None]:
        def start(action: Action) -> None:
            if isinstance(action, LOOKS):
                look(action)
                return
            if not action.properties.routine:
                self._wish(action)
            ok = isinstance(action, DONE)
            self._inbox.put(Result(action, ok, now_s(), "" if ok else NOT_DONE))

        return start

    def _wish(self, action: Action) -> None:
        words, at_s = action.words(), now_s()
        with self._lock:
            last_s = self._wished_s.get(words)
            self._wished_s[words] = at_s
            if last_s is not None and at_s - last_s < AGAIN_S:
                return
            self._counts[type(action).__name__] += 1
            at = datetime.now(tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self._newest = [*self._newest, {"at": at, "action": type(action).__name__, "text": words}][-KEPT:]
        event_log.log("would", f"would {words}", (("action", type(action).__name__),))

    def follow(self, k: Knowledge, seen: Observations, at_s: float) -> Knowledge:
        """The knowledge for this round: with another record where another host serves than this one says."""
        wall = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
        new = follow(Facts(k, seen, self._config().settings, at_s), wall)
        if new is None or new.durable.record is None:
            return k
        old, primary = k.durable.record, new.durable.record.primary
        what = f"{primary} is read-write; {old.primary if old else 'nobody'} was primary by the record in memory"
        event_log.log("observed", what, (("primary", primary),))
        return new

    def _ended(self, snapshot: Snapshot, tell: Callable[[Snapshot], None]) -> None:
        """After each round: keep who serves, for the day when this host is to act again (`state.last_observed`).

        A write now and then, at a change alone: nothing waits for a loop that only observes.
        """
        tell(snapshot)
        config, decision = snapshot.config, snapshot.decision
        heard = decision.knowledge.peer.heard
        if decision.message.read_write:
            primary = config.me.name
        elif heard is not None and heard.message.read_write:
            primary = config.peer.name
        else:
            return
        if primary == self._kept.primary:
            return
        self._kept = Observed(primary, decision.message.record.at if decision.message.record else "")
        try:
            save_observed(config.paths.state, self._kept)
        except RecordError as failure:
            event_log.log("facts-failed", str(failure).replace("\n", "; "))

    def document(self) -> dict[str, Any]:
        """For `status`: how often each action would have been carried out since the daemon began, and the newest."""
        with self._lock:
            return {"counts": dict(sorted(self._counts.items())), "would": list(self._newest)}


def _without_the_undone(note: Callable[[Note], None]) -> Callable[[Note], None]:
    """The core's notes, without those that an action failed which was not carried out."""

    def only(one: Note) -> None:
        if not (one.event == "action-failed" and one.text.endswith(NOT_DONE)):
            note(one)

    return only
