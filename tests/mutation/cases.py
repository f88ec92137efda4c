"""The tests that judge mutants, called without pytest: its way to a test takes longer than most of these tests do."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import FunctionType

import pytest
from _pytest.mark import ParameterSet

UNIT = Path("tests/unit")
TRANSCRIPTS = Path("tests/transcripts")
SCENARIOS = "tests/simulation/test_scenarios.py"
SLICES = "tests/mutation/slices.py"


def files(*, simulation: bool = True) -> list[str]:
    """The test files that judge: those of the core, then the simulation."""
    unit = [str(path) for path in sorted(UNIT.glob("core/test_*.py"))]
    return [*unit, SCENARIOS, SLICES] if simulation else unit


@dataclass(frozen=True, slots=True)
class Case:
    """A test and its parameters, as pytest's parametrize makes them."""

    name: str
    test: Callable[..., None]
    given: dict[str, object]

    def passes(self) -> bool:
        """Run it. Nothing but a `BaseException` that is no failure of a test comes out of it."""
        try:
            self.test(**self.given)
        except pytest.skip.Exception:
            return True
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever it is, the test has failed
            return False
        return True


def cases(file: str) -> Iterator[Case]:
    """The tests of a file. Of the scenarios the first seed is enough."""
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    for name, test in vars(module).items():
        if name.startswith("test_") and isinstance(test, FunctionType) and test.__module__ == module.__name__:
            for number, given in enumerate(_given(test)):
                if file != SCENARIOS or given.get("seed", 1) == 1:
                    yield Case(f"{file}::{name}[{number}]", test, given)


def _given(test: FunctionType) -> Iterator[dict[str, object]]:
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    wanted = set(inspect.signature(test).parameters)
    for chosen in product(*(_rows(mark) for mark in marks)):
        given = {key: value for row in chosen for key, value in row.items()}
        given.update({name: fixture for name, fixture in FIXTURES.items() if name in wanted})
        if wanted != set(given):
            raise LookupError(f"{test.__module__}.{test.__name__} needs fixtures that mutants are not judged with")
        yield given


def _rows(mark: pytest.Mark) -> list[dict[str, object]]:
    names, values = mark.args[:2]
    keys = [key.strip() for key in names.split(",")] if isinstance(names, str) else list(names)
    rows = [
        value.values if isinstance(value, ParameterSet) else value if len(keys) > 1 else (value,) for value in values
    ]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def golden(name: str, text: str) -> None:
    """The fixture of that name, in place of which this stands."""
    assert text == (TRANSCRIPTS / name).read_text(encoding="utf-8")


FIXTURES: dict[str, object] = {"golden": golden}
