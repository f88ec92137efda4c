"""What `explain` answers to the operator's side: played from the newest snapshot, once for all who ask meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pgvip.core.values import NEVER
from pgvip.explain.explanation import explain

if TYPE_CHECKING:
    from pgvip.status.snapshot import Newest

Document = dict[str, Any]
GOOD_S = 2.0
"""For so long an explanation is good: it costs half a second of CPU."""
BREATH_S = 0.0005
BREATHE_EVERY_S = 0.004
"""Of CPU time: a breath for each round of a play, of which there are a thousand, would take seconds on a busy host."""


class Breath:
    """Lets go of the interpreter: a thread that only computes holds up each wake-up of the loop by 5 ms."""

    def __init__(self) -> None:
        self._since_s = time.thread_time()

    def __call__(self) -> None:
        """Called often, by one thread."""
        if time.thread_time() - self._since_s >= BREATHE_EVERY_S:
            time.sleep(BREATH_S)
            self._since_s = time.thread_time()


class Explanations:
    """`took_s`: measured seconds by kind of action."""

    def __init__(self, newest: Newest, took_s: Mapping[str, float]) -> None:
        self._newest, self._took_s = newest, took_s
        self._lock = threading.Lock()
        self._last: tuple[float, Document] = (NEVER, {})

    def answer(self, _request: Mapping[str, Any], _reply: Callable[[Document], None]) -> Document:
        """The operator socket's request `explain`."""
        return {"explain": self.document()}

    def document(self) -> Document:
        """The document (docs/explain.md); may be GOOD_S old."""
        snapshot = self._newest.sure()
        with self._lock:
            at_s, found = self._last
            if not found or not 0 <= snapshot.at_s - at_s < GOOD_S:
                took_s = dict(self._took_s)
                found = explain(
                    snapshot.config, snapshot.decision, snapshot.seen, snapshot.at_s, took_s, breathe=Breath()
                )
                self._last = (snapshot.at_s, found)
        return found
