"""What prevents a change: every condition of its row that does not hold, with its reason and its hint."""

from __future__ import annotations

from dataclasses import dataclass

from pgvip.core.changes import ROWS, Part
from pgvip.core.conditions import PAIR, unmet
from pgvip.core.facts import Facts


@dataclass(frozen=True, slots=True)
class Blocker:
    """`name`: of a condition. `change`: the row that it prevents, "" for none."""

    name: str
    text: str
    hint: str
    change: str = ""


def of_row(facts: Facts, name: str) -> tuple[Blocker, ...]:
    """Why the row of this name does not hold on this host now; nothing when it does.

    The row must be one of this host's part. In another mode the pair itself is the blocker.
    """
    record, row = facts.record, ROWS[name]
    if record is None:
        text = f"{facts.s.me} has no record of who may serve"
        return (Blocker("no-record", text, "if the other host has none either: pgvip promote --force", name),)
    missing = unmet(row.when if row.mode is record.mode else (PAIR,), facts)
    return tuple(Blocker(one.name, one.text, one.hint, name) for one in missing)


def is_of(facts: Facts, name: str) -> bool:
    """The row belongs to this host's part."""
    return facts.record is None or (ROWS[name].part is Part.PRIMARY) is facts.primary
