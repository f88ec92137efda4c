"""The exhaustive search: clean within small bounds, finds broken rules there, and its canonical form loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.exhaustive import cli
from tests.simulation.exhaustive.faults import KINDS, WITNESS_KINDS
from tests.simulation.exhaustive.search import Bounds, Found, Search
from tests.simulation.exhaustive.twin import Twin
from tests.simulation.rules import RULES

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(900)]


def broken(rule: str, bounds: Bounds) -> Found:
    """What a search finds with one rule broken."""
    switch = next(each.switch for each in RULES if each.name == rule)
    with pytest.MonkeyPatch.context() as patch:
        switch(patch)
        return Search(bounds).run()


def test_one_fault_of_every_kind_is_exhausted_and_clean() -> None:
    found = Search(Bounds(faults=1)).run()
    assert not found.violation, "\n".join(found.trace)
    assert not found.cut_off
    assert found.states > 20_000
    assert found.recovered > 8_000, "every state between two ticks comes back once nothing is wrong"


def test_searches_are_functions_of_their_bounds() -> None:
    bounds = Bounds(faults=1, kinds=("reset b", "kill-postgres a"))
    one, other = Search(bounds).run(), Search(bounds).run()
    assert (one.states, one.transitions, one.depth) == (other.states, other.transitions, other.depth)


def test_a_cut_off_search_says_so() -> None:
    assert Search(Bounds(faults=1, states=500)).run().cut_off
    assert Search(Bounds(faults=1, steps=5)).run().cut_off


@pytest.mark.parametrize("seed", range(8))
def test_the_canonical_form_decides_as_the_whole_does(seed: int) -> None:
    assert Twin(KINDS, seed, sync=seed % 2 == 0).walk(400) > 200


@pytest.mark.parametrize("seed", range(0, 8, 2))
def test_the_canonical_form_decides_as_the_whole_does_with_a_witness(seed: int) -> None:
    assert Twin(WITNESS_KINDS, seed, witness=True).walk(400) > 200


SMALL = {
    "m 2": Bounds(faults=2, copies=1, orders=False, kinds=("apart", "reset a")),
    "m 11": Bounds(faults=2, kinds=("off a", "older-data b")),
    "m 12": Bounds(faults=2, kinds=("switchover a", "older-data b", "kill-postgres b")),
    "write-confirmed": Bounds(faults=1, kinds=("cut-off a",)),
    "m 17": Bounds(faults=1, kinds=("alone a",), witness=True),
    "m-17-address": Bounds(faults=1, kinds=("alone b",), witness=True),
    "m 18": Bounds(faults=1, kinds=("apart",), witness=True),
    "witness-register": Bounds(faults=2, kinds=("reset a", "alone a"), witness=True),
    "witness-wait-address": Bounds(faults=1, kinds=("alone b",), witness=True),
}
"""Rules whose breaking the search finds within seconds, and the bounds in which it does."""
SOONER = {"m 18": "4: both hosts hold the standby VIP"}
"""What the shortest path comes to, where that is another violation than in the rule's play."""


@pytest.mark.parametrize("rule", SMALL)
def test_broken_rule_is_found(rule: str) -> None:
    found = broken(rule, replace(SMALL[rule], recovery=0))
    finds = SOONER.get(rule) or next(each.finds for each in RULES if each.name == rule)
    assert found.violation.startswith(finds), found


def test_one_fault_of_a_pair_with_a_witness_is_exhausted_and_clean() -> None:
    kinds = ("off a", "off b", "apart", "alone a", "alone b", "witness", "kill-daemon a")
    found = Search(Bounds(faults=1, kinds=kinds, witness=True)).run()
    assert not found.violation, "\n".join(found.trace)
    assert not found.cut_off
    assert found.states > 15_000
    assert found.recovered > 5_000


def test_lost_answers_and_late_claims_of_a_host_that_is_alone_are_exhausted_and_clean() -> None:
    found = Search(Bounds(faults=1, delays=1, orders=False, recovery=0, kinds=("off a",), witness=True)).run()
    assert not found.violation, "\n".join(found.trace)
    assert not found.cut_off


@pytest.mark.parametrize("rule", ["m 11", "write-confirmed"])
def test_the_same_bounds_are_clean_with_the_rule_whole(rule: str) -> None:
    found = Search(replace(SMALL[rule], faults=1)).run()
    assert not found.violation, "\n".join(found.trace)
    assert not found.cut_off


def test_a_violation_is_told_as_a_path() -> None:
    found = broken("m 11", replace(SMALL["m 11"], recovery=0))
    text = "\n".join(found.trace)
    assert "** older-data b" in text
    assert "b claim: take-over-by-fence: fencing a" in text
    assert text.endswith(f"!!! {found.violation}")


def test_command_line_prints_bounds_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "found.json"
    assert cli.main(["--faults", "1", "--kinds", "reset b", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "exhausted: no state within the bounds is left, and no violation" in said
    assert f"states {json.loads(file.read_text())['states']}," in said
