"""The table of events against the whole package, and its page."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.checks import exposed, server_state
from pgvip.core import warnings as core_warnings
from pgvip.core.changes import TABLE
from pgvip.daemon import (
    background,
    backup_age,
    internal_errors,
    live_config,
    pair_addresses,
    same_desk,
    server_files,
    tls_change,
)
from pgvip.events.event_table import EVENTS, VETO, Event, Level, kind, read
from pgvip.hooks.calls import ROLE_EVENTS
from pgvip.notify import notifier
from pgvip.status import document

REPOSITORY = Path(__file__).parents[3]
PACKAGE = REPOSITORY / "pgvip"
TELLERS = {"note", "log", "_log", "_say", "WarningRow"}
"""Functions whose first argument is the name of an event, wherever it is a literal."""
EXAMPLE = Event("fenced", Level.NOTICE, "db2 is off", "2026-01-02T03:04:05.678Z", "db1", "shop", 4,
                (("tries", "2"),), 17, "ab12")  # fmt: skip


def told() -> dict[str, set[str]]:
    """Every name that the package tells, and where."""
    found: dict[str, set[str]] = {}
    for module in PACKAGE.rglob("*.py"):
        if "cli" in module.parts and module.name != "run.py":
            continue
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in TELLERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.setdefault(first.value, set()).add(module.relative_to(PACKAGE).as_posix())
    return found


def test_every_name_that_is_told_is_in_the_table() -> None:
    missing = {name: sorted(where) for name, where in told().items() if name not in EVENTS}
    assert not missing


def test_every_name_in_the_table_is_told() -> None:
    assert len(told()) > 60
    assert sorted(EVENTS.keys() - told().keys()) == []


def test_each_warning_of_the_tables_is_a_state_and_each_state_a_warning() -> None:
    tables = (
        core_warnings.TABLE, background.WARNINGS, background.ADDRESS_WARNINGS, background.PEER_WARNINGS,
        background.ROTATION_WARNINGS, pair_addresses.WARNINGS, pair_addresses.KEYS,
        backup_age.WARNINGS, exposed.WARNINGS, internal_errors.WARNINGS, notifier.WARNINGS,
        server_files.WARNINGS, server_files.UNWRITTEN, server_state.WARNINGS, tls_change.WARNINGS,
        same_desk.WARNINGS, live_config.WARNINGS,
    )  # fmt: skip
    names = [row.name for table in tables for row in table]
    assert len(names) == len(set(names)) > 30
    assert {name for name, row in EVENTS.items() if row.state} == set(names)
    assert {row.name for row in document.WARNINGS} <= EVENTS.keys()


def test_names_are_words_that_a_directory_can_have() -> None:
    for name, row in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name), name
        assert row.meaning, name
        assert row.kept or not row.hooks, name
    assert VETO not in EVENTS
    assert all(EVENTS[name].hooks for name in ROLE_EVENTS)
    assert not EVENTS.keys() & {row.name for row in TABLE}


def test_the_page_is_up_to_date() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "event-table"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_levels_are_syslogs() -> None:
    assert {level.word: int(level) for level in Level} == {"error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}


def test_a_name_from_elsewhere_is_plain_information() -> None:
    assert (kind("of-a-newer-peer").level, kind("of-a-newer-peer").hooks) == (Level.INFO, False)


def test_an_event_comes_back_from_its_document() -> None:
    assert read(EXAMPLE.document()) == EXAMPLE
    assert set(EXAMPLE.document()) >= {"seq", "at", "host", "event", "level", "text", "term"}
    assert read({**EXAMPLE.document(), "more": 1, "level": "loud"}) == replace(EXAMPLE, level=Level.INFO)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        {**EXAMPLE.document(), "event": ""},
        {**EXAMPLE.document(), "at": 5},
        {**EXAMPLE.document(), "host": ""},
        {**EXAMPLE.document(), "seq": "7"},
        {**EXAMPLE.document(), "seq": True},
        {**EXAMPLE.document(), "term": None},
        {**EXAMPLE.document(), "fields": []},
    ],
    ids=str,
)
def test_what_is_no_event_is_none(document: object) -> None:
    assert read(document) is None
