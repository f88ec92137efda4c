"""Fixtures of the lab tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", default="", metavar="N", help="major version: 16 or 18, from a Python package")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/lab/" in str(item.path):
            item.add_marker(pytest.mark.lab)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of its own for one test: nothing booted."""
    with Lab() as made:
        yield made
