"""Virtual time: a queue of events, the one source of randomness, and the trace."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random


class Violation(Exception):
    """Something that must hold (docs/protocol.md, "What must hold") did not."""


class Engine:
    """Runs events in the order of their times; equal times in the order of their making."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.now_s = 0.0
        self.events = 0
        self.tracing = trace
        self.lines: list[str] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0

    def after(self, delay_s: float, event: Callable[[], None]) -> None:
        self._made += 1
        heappush(self._queue, (self.now_s + delay_s, self._made, event))

    def next_s(self) -> float:
        """When the next event is due."""
        return self._queue[0][0]

    def step(self) -> None:
        at_s, _, event = heappop(self._queue)
        self.now_s = at_s
        self.events += 1
        event()

    def span(self, low_s: float, high_s: float) -> float:
        return low_s + (high_s - low_s) * self.rng.random()

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def log(self, who: str, text: str) -> None:
        if self.tracing:
            self.lines.append(f"{self.now_s:10.3f} {self.events:6d} {who:3s} {text}")
