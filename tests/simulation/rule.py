"""A rule of docs/protocol.md, the switch that breaks it, and the play in which that is found; used by tests only."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pgvip.core import changes, conditions, rights
from pgvip.core.conditions import Condition
from pgvip.core.facts import Facts
from tests.simulation.ambush import ambush
from tests.simulation.play import Play
from tests.simulation.run import Outcome

Break = Callable[[pytest.MonkeyPatch], None]
Script = Callable[[Play], None]
Conditions = tuple[Condition, ...]


@dataclass(frozen=True)
class Rule:
    """`sentence` is quoted from docs/protocol.md; `finds`: how the violation begins; `faults`: what the play needs.

    `runs`: within how many runs of the play the violation is found with the rule broken.
    """

    name: str
    sentence: str
    switch: Break
    play: Script
    finds: str
    faults: str
    sync: bool = True
    settings: dict[str, float | bool] = field(default_factory=dict)
    runs: int = 20
    witness: bool = False

    @property
    def test(self) -> str:
        """What follows `test_` in the name of the rule's test."""
        number = self.name.removeprefix("m ")
        return f"rule_{int(number):02d}" if number != self.name else f"rule_{self.name.replace('-', '_')}"

    def run(self, seed: int, *, trace: bool = False) -> Outcome:
        return ambush(self.play, seed, sync=self.sync, trace=trace, witness=self.witness, **self.settings)

    def broken(self, seed: int, *, trace: bool = False) -> Outcome:
        with pytest.MonkeyPatch.context() as patch:
            self.switch(patch)
            return self.run(seed, trace=trace)

    def hunt(self, first: int = 1, runs: int = 0) -> tuple[int, Outcome | None]:
        """The rule broken, runs of its play until one finds it; how many that took, and the finding."""
        runs = runs or self.runs
        with pytest.MonkeyPatch.context() as patch:
            self.switch(patch)
            for count, seed in enumerate(range(first, first + runs), 1):
                outcome = self.run(seed)
                if outcome.failure.startswith(self.finds):
                    return count, outcome
        return runs, None


RIGHTS: dict[str, tuple[Conditions, ...]] = {
    "entitled": (rights.ENTITLED,), "write_right": (rights.WRITE,), "solo_right": (rights.SOLO,),
    "eligible": (rights.ELIGIBLE,), "takeover_right": (rights.TAKEOVER,), "may_rebuild": (rights.REBUILD,),
    "standby_address": (rights.ADDRESS, rights.ADDRESS_ALONE),
}  # fmt: skip
"""The lists of conditions behind each predicate."""


def everywhere(patch: pytest.MonkeyPatch, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a predicate of `rights` or `conditions` wherever the core uses it: in rights and in the table too."""
    whole = getattr(rights if hasattr(rights, name) else conditions, name)
    broken = make(whole)
    for module in [module for key, module in sys.modules.items() if key.startswith("pgvip.core.")]:
        if getattr(module, name, None) is whole:
            patch.setattr(module, name, broken)
    instead = Condition(name, broken, "broken")
    for right in RIGHTS.get(name, ()):
        for other, value in list(vars(rights).items()):
            if other.isupper() and isinstance(value, tuple) and set(right) < set(value):
                patch.setattr(rights, other, _without(value, right, instead))
        rows = tuple(replace(row, when=_without(row.when, right, instead)) for row in changes.TABLE)
        patch.setattr(changes, "TABLE", rows)


def _without(among: Conditions, right: Conditions, instead: Condition) -> Conditions:
    """The same with one condition in place of a right's, where all of those are among them."""
    if not set(right) <= set(among):
        return among
    return (instead, *(condition for condition in among if condition not in right))


def always(patch: pytest.MonkeyPatch, condition: Condition, test: Callable[[Facts], bool] = lambda _view: True) -> None:
    """Replace the test of one of the table's conditions."""
    patch.setattr(Condition, "__setattr__", object.__setattr__)  # it is frozen
    patch.setattr(condition, "test", test)


def sees(
    patch: pytest.MonkeyPatch, name: str, make: Callable[[Callable[[Facts], Any]], Callable[[Facts], Any]]
) -> None:
    """Replace a fact of the round; `make` is given the way it was computed."""
    fact: Any = Facts.__dict__[name]
    whole: Callable[[Facts], Any] = getattr(fact, "func", None) or fact.compute
    patch.setattr(Facts, name, property(make(whole)), raising=False)


def given(patch: pytest.MonkeyPatch, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace a function by what `make` makes of it."""
    patch.setattr(owner, name, make(getattr(owner, name)))
