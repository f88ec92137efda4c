"""The proof of the proof: one rule of docs/protocol.md broken, its play finds what must not be; unbroken, none.

There is one test for each rule of `rules.RULES`, with the rule in its name: test_rule_07_broken_is_found,
test_rule_own_gateway_broken_is_found. docs/dev/proof-rules.md says what each breaks and what its play does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.simulation.rule import Rule
from tests.simulation.rules import ROOT, RULES, TABLE, plays, table
from tests.simulation.rules_redundant import ELSEWHERE, REDUNDANT

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]  # a busy machine is no hang

WHOLE = 3
"""Runs of each play with all rules whole."""


def _found(rule: Rule) -> Callable[[], None]:
    def test() -> None:
        count, outcome = rule.hunt()
        print(f"rule {rule.name}: {count} runs")
        assert outcome is not None, f"{count} runs of {rule.play.__name__} with rule {rule.name} broken found nothing"

    return test


for each in RULES:
    globals()[f"test_{each.test}_broken_is_found"] = _found(each)


def test_every_numbered_rule_has_its_switch() -> None:
    assert [rule.name for rule in RULES if rule.name.startswith("m ")] == [f"m {number}" for number in range(1, 19)]


def test_names_differ() -> None:
    assert len({rule.test for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", plays(), ids=lambda rule: rule.play.__name__)
def test_play_with_all_rules_holds(rule: Rule) -> None:
    outcomes = [rule.run(seed) for seed in range(1, WHOLE + 1)]
    failed = [(outcome.seed, outcome.failure) for outcome in outcomes if outcome.failure]
    assert not failed


@pytest.mark.parametrize("test", [test for _, test in ELSEWHERE])
def test_what_the_driver_keeps_has_its_test(test: str) -> None:
    path, name = test.split("::")
    assert f"def {name}(" in (ROOT / path).read_text()


def _plain(text: str) -> str:
    """Words alone: no marks of the text, no line breaks; a quotation may begin in the middle of a sentence."""
    return " ".join(re.sub(r"[*`]|^> ", "", text, flags=re.MULTILINE).split()).casefold()


def test_every_rule_is_a_sentence_of_the_protocol() -> None:
    page = _plain((ROOT / "docs" / "protocol.md").read_text(encoding="utf-8"))
    quoted = [rule.sentence for rule in RULES] + [one.sentence for one in REDUNDANT] + [each for each, _ in ELSEWHERE]
    assert [sentence for sentence in quoted if _plain(sentence) not in page] == []


def test_table_is_current() -> None:
    assert TABLE.read_text() == table(), "run python -m tests.simulation.rules"
