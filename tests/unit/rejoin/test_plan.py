"""`rejoin --dry-run`: how a plan is told, and what it never says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.cli.rejoin import document, lines
from pgvip.config.load import parse
from pgvip.core.values import Lsn, WalPoint
from pgvip.rejoin.plan import Plan, Way
from tests.unit.config_text import edited

CONFIG = parse(edited(), "db1")
FORK, END = WalPoint(1, Lsn(0x3000000)), WalPoint(1, Lsn(0x3000400))
REWIND = Plan(Way.REWIND, "its WAL has diverged", FORK, END, 12)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan(Way.NOTHING, "it streams from db2"), ["would be left as it is: it streams from db2"]),
        (Plan(Way.START, "nothing has diverged", END, END, 0), ["its data as it is: nothing has diverged"]),
        (REWIND, ["rewound to 1:0/3000000", "1024 bytes of WAL with 12 transactions, 1:0/3000000 to 1:0/3000400"]),
        (replace(REWIND, commits=None, exact=False), ["an unknown number of transactions", "it is stopped first"]),
        (replace(REWIND, way=Way.CLONE, reason="an operator asked for it", copy_bytes=3 << 30),
         ["a new copy of db2's data, about 3.0 GB: an operator asked for it", "saved first"]),
        (Plan(Way.CLONE, "there is no data", waits="a new clone waits for its window"),
         ["about unknown: there is no data", "not now: a new clone waits for its window"]),
    ],
)  # fmt: skip
def test_a_plan_in_words(plan: Plan, said: list[str]) -> None:
    text = "\n".join(lines(CONFIG, plan, ""))
    for words in said:
        assert words in text, text
    assert text.startswith("dry run: db1 ")
    assert ("saved first" in text) is (plan.diverged_bytes > 0)


def test_the_document_tells_the_same() -> None:
    told = document(CONFIG, REWIND, "the daemon does not run")
    assert (told["way"], told["diverged_bytes"], told["transactions"]) == ("rewind", 1024, 12)
    assert (told["fork"], told["end"], told["waits"]) == ("1:0/3000000", "1:0/3000400", "the daemon does not run")


def test_a_way_without_positions_has_nothing_diverged() -> None:
    assert Plan(Way.CLONE, "there is no data").diverged_bytes == 0
    assert Plan(Way.START, "x", END, FORK).diverged_bytes == 0
