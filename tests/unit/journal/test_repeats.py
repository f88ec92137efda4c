"""What comes over and over is thinned out; what tells of roles never is."""

from __future__ import annotations

import pytest

from pgvip.events.event_table import EVENTS, Event, kind
from pgvip.journal import repeats
from pgvip.journal.repeats import FREE, QUIET_S, THINNED, Repeats


def event(name: str = "fence-failed", text: str = "no answer after 5 s") -> Event:
    return Event(name, kind(name).level, text, "2026-01-01T00:00:00.000Z", "a")


def told(thinner: Repeats, times: list[float], name: str = "fence-failed", text: str = "no answer") -> list[str]:
    found = [thinner.let_through(event(name, text), at_s) for at_s in times]
    return [one.text for one in found if one is not None]


def every(step_s: float, until_s: float) -> list[float]:
    return [number * step_s for number in range(int(until_s / step_s))]


def test_the_first_few_and_then_one_in_ten_minutes() -> None:
    night = told(Repeats(), every(5.0, 8 * 3600.0))
    assert night[:FREE] == ["no answer"] * FREE
    assert night[FREE] == "no answer (119 more like it before)"
    assert len(night) == FREE + 8 * 3600 // 600 - 1


def test_numbers_make_no_difference_and_words_do() -> None:
    thinner = Repeats()
    assert len(told(thinner, [1.0] * FREE, "claim", "try 1")) == FREE
    assert told(thinner, [2.0], "claim", "try 27") == []
    assert told(thinner, [2.0], "claim", "another reason") == ["another reason"]
    assert told(thinner, [2.0], "intent", "try 1") == ["try 1"]


def test_after_a_quiet_time_it_begins_anew() -> None:
    thinner = Repeats()
    assert len(told(thinner, [0.0] * 20)) == FREE
    assert told(thinner, [QUIET_S - 1]) == []
    assert told(thinner, [2 * QUIET_S - 1] * FREE) == ["no answer"] * FREE


@pytest.mark.parametrize("name", ["role-change", "demoted", "record", "role", "order", "fenced", "start", "crash"])
def test_what_tells_of_roles_and_orders_is_never_left_out(name: str) -> None:
    assert len(told(Repeats(), [0.0] * 50, name)) == 50


def test_states_may_flap() -> None:
    assert len(told(Repeats(), [0.0] * 50, "lag")) == FREE


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "KINDS_MAX", 3)
    thinner = Repeats()
    for letter in "abcdefgh":
        told(thinner, [0.0] * 9, text=letter)
    assert len(thinner._crowds) == 3
    assert told(thinner, [1.0], text="h") == []
    assert told(thinner, [1.0], text="a") == ["a"]


def test_every_name_is_in_the_table() -> None:
    assert EVENTS.keys() >= THINNED
