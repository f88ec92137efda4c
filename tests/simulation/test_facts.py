"""The core keeps the facts of a round until a part of the knowledge is replaced; drawn anew, they decide the same."""

from __future__ import annotations

import pytest

from pgvip.core import decide as core
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.round import Round
from pgvip.core.settings import Inputs, Settings
from tests.simulation.run import run

pytestmark = pytest.mark.simulation

SEEDS = range(9001, 9009)


def _anew(r: Round) -> Facts:
    return Facts(r.k, r.inputs.seen, r.s, r.now_s)


def _kept(r: Round) -> Facts:
    if r._facts is None:
        r._facts = _anew(r)
    return r._facts


class Twice:
    """Takes each decision both ways."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.decide, self.differ, self.rounds = patch, core.decide, 0, 0

    def __call__(self, knowledge: Knowledge, inputs: Inputs, settings: Settings, now_s: float) -> Decision:
        kept = self.decide(knowledge, inputs, settings, now_s)
        with self.patch.context() as patch:
            patch.setattr(Round, "facts", _anew)
            self.differ += self.decide(knowledge, inputs, settings, now_s) != kept
        self.rounds += 1
        return kept


def _differ(patch: pytest.MonkeyPatch) -> int:
    twice = Twice(patch)
    patch.setattr(core, "decide", twice)
    for seed in SEEDS:
        run(seed, 1000)
    assert twice.rounds > 1000
    return twice.differ


def test_facts_that_are_kept_are_those_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _differ(monkeypatch) == 0


def test_facts_that_are_kept_too_long_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Round, "facts", _kept)
    assert _differ(monkeypatch) > 0
