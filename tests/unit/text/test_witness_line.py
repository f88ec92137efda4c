"""The line about the witness."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from pgvip.text import witness_line as module
from pgvip.text.witness_line import witness_line

WELL: dict[str, Any] = {
    "configured": "ab", "counts": "ab", "serial": 4, "ok": True, "value": "ab", "age_s": 3.0, "reason": "",
}  # fmt: skip


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"configured": None}, "none counts when both hosts form a pair again; now ab"),
        ({"configured": "cd"}, "cd counts when both hosts form a pair again; now ab"),
        ({"ok": None}, "ab, not asked yet"),
        ({"ok": False, "reason": "no route"}, "ab does not answer: no route"),
        ({"serial": None}, "ab answers, 0 terms claimed (asked 3 s ago)"),
    ],
)
def test_what_is_not_as_it_should_be_is_said(changes: dict[str, Any], line: str) -> None:
    assert witness_line({"witness": {**WELL, **changes}}) == line


def test_a_daemon_of_an_older_version_says_nothing() -> None:
    assert witness_line({}) == ""
