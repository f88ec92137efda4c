"""The thread that sends messages. Nothing waits for it: events come by a bounded queue, what is too much is counted.

`[notify]` is read again for each event and each round, so that a reload is followed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from pgvip.config.model import Config
from pgvip.core.warning_row import WarningRow, warned
from pgvip.deadlines import now_s
from pgvip.errors import ActionError
from pgvip.notify import delivery
from pgvip.notify.batch import Batch, Waiting, wanted

if TYPE_CHECKING:
    from pgvip.config.notify_model import NotifyConfig
    from pgvip.core.settings import StandingWarning
    from pgvip.events.event_table import Event

QUEUE_MAX = 200
IDLE_S = 60.0
"""A round at the latest, for a reload that takes a receiver out."""
WARNINGS: tuple[WarningRow[list[str]], ...] = (
    WarningRow("messages-failing", "; ".join, "messages of [notify] could not be sent: {it}",
               "pgvip notify test; they are kept and tried again"),
)  # fmt: skip
Send = Callable[[delivery.Way, Batch, "NotifyConfig"], None]


class Notifier:
    """Sends what is worth a message to each receiver, by itself. `send` is delivery.send."""

    def __init__(self, config: Callable[[], Config], send: Send = delivery.send) -> None:
        self._config, self._send = config, send
        self._queue: Queue[Event] = Queue(QUEUE_MAX)
        self._dropped = 0
        self._waiting: dict[delivery.Way, Waiting] = {}
        self._failing: dict[delivery.Way, str] = {}

    def start(self) -> None:
        threading.Thread(target=self._run, name="notify", daemon=True).start()

    def hear(self, event: Event) -> None:
        """Send it soon, if it is worth it. From any thread; never waits."""
        notify = self._config().notify
        if not notify.any or not wanted(event, notify.level):
            return
        try:
            self._queue.put_nowait(event)
        except Full:
            self._dropped += 1

    def warnings(self) -> tuple[StandingWarning, ...]:
        """Receivers that could not be reached when it was last tried."""
        notify = self._config().notify
        return warned(WARNINGS, [f"{delivery.name(way, notify)}: {why}" for way, why in tuple(self._failing.items())])

    def _run(self) -> None:
        while True:
            self.round()

    def round(self, limit_s: float = IDLE_S) -> None:
        """Take what has come, for so long at most, and send what is due."""
        due_s = min((one.due_s for one in self._waiting.values() if one.due_s is not None), default=None)
        wait_s = limit_s if due_s is None else min(limit_s, max(0.0, due_s - now_s()))
        try:
            event = self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait()
        except Empty:
            event = None
        notify = self._config().notify
        self._follow(notify)
        while event is not None:
            for one in self._waiting.values():
                one.add(event, now_s())
            event = None if self._queue.empty() else self._queue.get_nowait()  # nobody else takes from it
        for way, one in self._waiting.items():
            if one.due_s is not None and one.due_s <= now_s():
                self._try(way, one, notify)

    def _follow(self, notify: NotifyConfig) -> None:
        """Receivers as they are configured now."""
        now = delivery.ways(notify)
        self._waiting = {way: self._waiting.get(way) or Waiting() for way in now}
        self._failing = {way: why for way, why in self._failing.items() if way in now}

    def _try(self, way: delivery.Way, one: Waiting, notify: NotifyConfig) -> None:
        dropped, self._dropped = self._dropped, 0
        one.left_out += dropped
        try:
            self._send(way, one.batch(), notify)
        except ActionError as failure:
            self._failing[way] = str(failure).replace("\n", "; ")
            one.failed(now_s(), notify.every_s)
        else:
            self._failing.pop(way, None)
            one.sent(now_s(), notify.every_s)
