"""Every query has a shape, and an answer of another shape goes no further."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.probes.database import Answers
from pgvip.system.sql import SQL_DIRECTORY
from pgvip.system.sql_shapes import SHAPES, Row, UnexpectedAnswerError, checked

SCRIPTS = {"setup", "uninstall", "uninstall_others", "uninstall_rights"}
"""Run by psql: nothing of what they answer is read, but lines for people."""


def test_every_query_has_a_shape() -> None:
    names = {path.stem.rstrip("0123456789").rstrip("_") for path in Path(SQL_DIRECTORY).glob("*.sql")}
    assert names - SCRIPTS == SHAPES.keys()


def test_the_shape_of_the_database_has_the_columns_that_the_probe_names() -> None:
    assert len(SHAPES["database"].columns) == len(Answers._fields)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("in_recovery", [(True,)]),
        ("peer_database", [(False, 3, "7300000000000000001")]),
        ("slot_status", []),
        ("heartbeat", [(1764,)]),
        ("written", [("0000000A", "1/3000028")]),
    ],
)
def test_what_has_the_shape_is_given_on(name: str, rows: list[Row]) -> None:
    assert checked(name, "the database", rows) == rows


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("in_recovery", [], "It has 0 rows."),
        ("in_recovery", [(True,), (True,)], "It has 2 rows."),
        ("in_recovery", [()], "A row has 0 columns, not 1."),
        ("in_recovery", [(True, True)], "A row has 2 columns, not 1."),
        ("in_recovery", [(None,)], "Column 1 must be true or false, not None."),
        ("in_recovery", [(1,)], "Column 1 must be true or false, not 1."),
        ("in_recovery", [("f",)], "Column 1 must be true or false, not 'f'."),
        ("peer_database", [(False, None, "7")], "Column 2 must be a timeline, not None."),
        ("peer_database", [(False, 0, "7")], "Column 2 must be a timeline, not 0."),
        ("peer_database", [(False, True, "7")], "Column 2 must be a timeline, not True."),
        ("peer_database", [(False, 1, "²")], "Column 3 must be a whole number as text, not '²'."),
        ("written", [("0000000g", "0/1")], "Column 1 must be a timeline in eight digits, not '0000000g'."),
        ("written", [("00000001", "0x1/1")], "Column 2 must be a WAL position, not '0x1/1'."),
        ("check_clock", [(float("nan"),)], "Column 1 must be a finite number, not nan."),
        ("drill_write", [(1,)], "It has 1 rows."),
        ("heartbeat", [], "It has 0 rows."),
    ],
)
def test_what_has_another_shape_is_a_failed_query(name: str, rows: list[Row], says: str) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        checked(name, "the database at 192.0.2.1", rows)
    assert caught.value.message == f'the database at 192.0.2.1 gave an unexpected answer to query "{name}"'
    assert caught.value.detail == says


def test_the_error_is_short_whatever_came() -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        checked("in_recovery", "the database", [("x" * 10_000,)])
    assert len(str(caught.value)) < 300
