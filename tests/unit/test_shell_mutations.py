"""The table of `scripts/mutate --shell` fits the code and the tests: what is renamed takes its mutation along."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.shell import mutated
from tests.mutation.shell_table import MUTATIONS, Mutation

REPOSITORY = Path(__file__).parents[2]
BY_NAME = {mutation.name: mutation for mutation in MUTATIONS}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_code_is_where_the_table_says(name: str) -> None:
    mutation = BY_NAME[name]
    text = (REPOSITORY / mutation.file).read_text(encoding="utf-8")
    changed = mutated(text, mutation)
    assert changed != text
    ast.parse(changed)


@pytest.mark.parametrize("name", BY_NAME)
def test_the_named_test_is_there(name: str) -> None:
    file, _, test = BY_NAME[name].test.partition("::")
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    plain, bracket, _ = test.partition("[")
    assert plain in functions
    parametrized = any("parametrize" in ast.unparse(one) for one in functions[plain].decorator_list)
    assert bool(bracket) <= parametrized, "parameters are named, and the test has none"


def test_names_and_changes_are_distinct() -> None:
    for counts in (Counter(one.name for one in MUTATIONS), Counter((one.file, one.old, one.new) for one in MUTATIONS)):
        assert [what for what, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(("text", "count"), [("a", 0), ("b b", 2)])
def test_what_is_not_there_exactly_once_is_an_error(text: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} times"):
        mutated(text, Mutation("it", "pgvip/it.py", "b", "c", "tests/it.py::test_it"))
