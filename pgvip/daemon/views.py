"""What others read of the running daemon: the status document, and what the web side shows. None waits for the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgvip.events.event_table import Level
from pgvip.journal import samples
from pgvip.journal.event_store import Wanted
from pgvip.status.document import Live, document
from pgvip.system import processes
from pgvip.web.listeners import HttpState
from pgvip.web.sources import Limits, Sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.config.model import Config
    from pgvip.daemon.guardian import Guardian
    from pgvip.explain.answers import Explanations
    from pgvip.journal.event_store import EventStore
    from pgvip.link.link_state import LinkState
    from pgvip.status.snapshot import Newest
    from pgvip.web.counts import EventCounts

POINTS = 400
"""Of the page's graph of a quarter of an hour."""


@dataclass(slots=True)
class StatusView:
    """The status document of this moment; called from any thread, it touches no disk: a health check must not hang.

    `http`: set once the web server is there, which shows this document itself. `observed`: what pgvip would have done,
    where it only observes.
    """

    newest: Newest
    link: Callable[[], LinkState]
    guardian: Guardian
    background: Callable[[], dict[str, Any]]
    http: Callable[[], HttpState] = HttpState
    observed: Callable[[], dict[str, Any]] | None = None

    def __call__(self) -> dict[str, Any]:
        """LinkError before the loop's first round."""
        live = Live(
            link=self.link(),
            http=self.http(),
            armed=self.guardian.armed,
            memory_bytes=processes.memory_bytes(),
            cpu_seconds=processes.cpu_seconds(),
            observed=self.observed() if self.observed else None,
            **self.background(),
        )
        return document(self.newest.sure(), live)


@dataclass(frozen=True, slots=True)
class WebView:
    """What the web side reads beside the status document."""

    config: Callable[[], Config]
    newest: Newest
    counts: EventCounts
    store: EventStore
    explanations: Explanations

    def sources(self, status: Callable[[], dict[str, Any]]) -> Sources:
        """All of it."""
        return Sources(
            status=status,
            age_s=self.newest.age_s,
            limits=self._limits,
            counts=self.counts.read,
            events=self._events,
            samples=self._samples,
            explain=self.explanations.document,
        )

    def _limits(self) -> Limits:
        s = self.config().settings
        return Limits(max(s.dead_after_s, 3 * s.heartbeat_s), s.lag_bytes_max)

    def _events(self, limit: int) -> list[dict[str, Any]]:
        return [one.document() for one in self.store.find(Wanted(limit, level=Level.INFO))]

    def _samples(self, seconds: float) -> list[dict[str, Any]]:
        request = {"seconds": seconds, "points": POINTS}
        found: list[dict[str, Any]] = samples.answer(self.config().paths.samples, request)["samples"]
        return found
