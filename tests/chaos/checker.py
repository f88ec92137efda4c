"""Judges histories: what must never be, what async may lose, and how long each fault was felt. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.history import FaultWindow, FinalState, Histories, Promises


@dataclass(frozen=True)
class Finding:
    """Something that must never be. `kind` names the rule; `at_s`: when it was seen (0: only in the end)."""

    kind: str
    text: str
    at_s: float = 0.0


@dataclass(frozen=True)
class Loss:
    """Acknowledged transactions of one server instance that are gone (async: a takeover lost them)."""

    instance: str
    count: int
    first_s: float
    last_s: float
    within: bool


@dataclass(frozen=True)
class Outage:
    """What one fault cost the clients: the longest time without a success that touches its window."""

    fault: FaultWindow
    write_s: float
    read_s: float


@dataclass
class Report:
    """The verdict. `outages` has one entry for each fault, in their order. `counts`: how much was checked."""

    violations: list[Finding] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def check(
    histories: Histories, final: FinalState, faults: Sequence[FaultWindow], promises: Promises,
) -> Report:
    """Everything that the histories and the final tables prove."""
    raise NotImplementedError
