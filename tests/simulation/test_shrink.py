"""A broken rule is found by random faults, and its failing run is made small enough to be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core import fencing
from pgvip.core.knowledge import Why
from pgvip.core.round import Round
from tests.simulation.plan import Drawn, Fixed, Plan, Traits
from tests.simulation.run import Outcome, kind, play, run, struck
from tests.simulation.shrink import Shrinker, readable

pytestmark = pytest.mark.simulation


@pytest.fixture
def unfenced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim counts as carried out before its fence has a result."""
    whole: Callable[..., None] = fencing.open_claim

    def broken(r: Round, change: str, why: Why, *, takeover: bool, **more: bool) -> None:
        whole(r, change, why, takeover=takeover, **more)
        if r.k.fencing.claim is not None:
            r.k.fencing = replace(r.k.fencing, claim=replace(r.k.fencing.claim, fenced=True))

    monkeypatch.setattr(fencing, "open_claim", broken)


def _found(what: str) -> Outcome:
    for seed in range(1, 81):
        outcome = run(seed, 1500)
        if outcome.failure.startswith(what):
            return outcome
    raise AssertionError(f"80 random runs found no {what}")


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("unfenced")
def test_a_planted_fault_is_found_and_shrunk() -> None:
    found = _found("1: two writers")
    small = Shrinker(found, tries=150).shrink()
    assert kind(small.failure) == kind(found.failure)
    assert 1 <= len(struck(small)) <= 4, [str(fault) for fault in struck(small)]
    assert small.plan is not None
    again = play(small.plan, trace=True)
    assert (again.failure, again.events) == (small.failure, small.events), "a plan is all that a run depends on"
    lines = readable(again)
    assert len(lines) <= 181
    assert any(small.failure in line for line in lines[-3:])


def test_a_plan_survives_json_and_gives_the_same_run() -> None:
    whole = run(5, 600, trace=True)
    assert whole.plan is not None
    again = play(Plan.from_json(json.loads(json.dumps(whole.plan.to_json()))), trace=True)
    # But for the count of events: the next fault of the seed was due, though nothing is struck any more.
    assert [line[:10] + line[17:] for line in again.lines] == [line[:10] + line[17:] for line in whole.lines]
    assert struck(again) == struck(whole) != ()


def test_what_is_drawn_for_one_fault_does_not_depend_on_the_others() -> None:
    """Faults have random streams of their own: a run's latencies, and how often a moment came, shift none of them."""
    traits = replace(Traits.of(7), ambush=0.5)
    one, other = Drawn(7, traits), Drawn(7, traits)
    for number in range(1, 40):
        one.at_moment("Promote", "a", number)
    assert [one.next() for _ in range(20)] == [other.next() for _ in range(20)]
    moments = [other.at_moment("Promote", "b", number) for number in range(1, 40)]
    assert moments == [one.at_moment("Promote", "b", number) for number in range(1, 40)]
    fixed = Fixed(fault for fault in moments if fault is not None)
    assert [fixed.at_moment("Promote", "b", number) for number in range(1, 40)] == moments
