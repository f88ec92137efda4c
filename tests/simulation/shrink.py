"""A failing plan made small: fewer and shorter faults, an earlier end, fewer failing steps; still the same failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.simulation.plan import Fault, Plan, Traits
from tests.simulation.run import Outcome, kind, play

SALTS = 3
"""Streams of latencies that each smaller plan is tried with: what fails by a race should not need one lucky stream."""
Tell = Callable[[str], None]


@dataclass(slots=True)
class Shrinker:
    """Makes `best` smaller while it fails as it did; `tries` bounds how many runs that may take."""

    best: Outcome
    tries: int = 600
    tell: Tell = lambda _text: None
    done: int = 0

    @property
    def plan(self) -> Plan:
        assert self.best.plan is not None
        return self.best.plan

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self.plan.faults or ()

    def fails(self, plan: Plan) -> bool:
        """`plan` fails in the same way, with one of some streams of latencies; then it is the best now."""
        most = 2 * self.best.events + 2000
        for salt in range(plan.salt, plan.salt + SALTS):
            if self.done >= self.tries:
                return False
            self.done += 1
            outcome = play(replace(plan, salt=salt), most=most)
            if kind(outcome.failure) == kind(self.best.failure):
                # What was planned and not reached is left out as well.
                self.best = outcome
                return True
        return False

    def shrink(self) -> Outcome:
        """The smallest that was found; played once more it fails with the same trace."""
        before = -1
        while before != (before := self._size()) and self.done < self.tries:
            self._fewer_faults()
            self._plainer_traits()
            self._earlier_end()
            self._smaller_faults()
            self.tell(f"{len(self.faults)} faults, {self.best.events} events, after {self.done} runs")
        return self.best

    def _size(self) -> int:
        return len(self.faults) * 1_000_000 + self.best.events

    def _fewer_faults(self) -> None:
        """Delta debugging (Zeller and Hildebrandt, 2002): leave out ever smaller parts."""
        parts = 2
        while self.faults and self.done < self.tries:
            faults = self.faults
            size = max(1, -(-len(faults) // parts))
            for at in range(0, len(faults), size):
                if self.fails(replace(self.plan, faults=faults[:at] + faults[at + size :])):
                    parts = max(2, parts - 1)
                    break
            else:
                if size == 1:
                    return
                parts = min(len(faults), 2 * parts)

    def _plainer_traits(self) -> None:
        plain = Traits(fence_on="always")
        for name in ("overrides", "vetoes", "kept", "fence_on", "ambush", "chain", "pace_s"):
            traits = replace(self.plan.traits, **{name: getattr(plain, name)})
            if traits != self.plan.traits:
                self.fails(replace(self.plan, traits=traits))

    def _earlier_end(self) -> None:
        for share in (0.1, 0.3, 0.6, 0.9):
            stop_s = round(self.plan.stop_s * share, 1)
            if stop_s > 1.0 and self.fails(replace(self.plan, stop_s=stop_s)):
                return

    def _smaller_faults(self) -> None:
        for number in range(len(self.faults)):
            if number >= len(self.faults):
                return
            for smaller in _smaller(self.faults[number]):
                faults = list(self.faults)
                faults[number] = smaller
                if self.fails(replace(self.plan, faults=tuple(faults))):
                    break


def _smaller(fault: Fault) -> Iterator[Fault]:
    """The same fault shorter, or of less; what is tried first is the smallest."""
    if fault.kind == "weather":
        yield from _less_weather(fault)
    if fault.kind in ("cut", "cut_off", "apart", "gateway") and len(fault.how) > 1:
        for number in range(len(fault.how)):
            yield replace(fault, how=fault.how[:number] + fault.how[number + 1 :])
    for lasts_s in (0.1, 1.0, 5.0):
        if fault.lasts_s > 1.5 * lasts_s:
            yield replace(fault, lasts_s=lasts_s)
            break


def _less_weather(fault: Fault) -> Iterator[Fault]:
    pairs = list(zip(fault.how[::2], fault.how[1::2], strict=True))
    for number in range(len(pairs)):
        left = pairs[:number] + pairs[number + 1 :]
        yield replace(fault, how=tuple(word for pair in left for word in pair))


def readable(outcome: Outcome, *, first: int = 120, last: int = 60) -> list[str]:
    """The trace from the first fault on, what is said again and again left out, and its middle if that is long."""
    lines, times = [], dict[str, int]()
    begun = False
    for line in outcome.lines:
        begun = begun or " *** fault:" in line or "NO MORE FAULTS" in line
        text = line[18:]
        times[text] = times.get(text, 0) + 1
        if begun and times[text] <= 3:
            lines.append(line)
    if len(lines) > first + last:
        left_out = len(lines) - first - last
        lines = [*lines[:first], f"    ... {left_out} lines ...", *lines[-last:]]
    return lines
