"""One warning of `status` as a row of a table: while what it stands, what it says, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pgvip.core.settings import StandingWarning

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WarningRow(Generic[T]):
    """One warning: it stands while `when` finds something; where that is a list, once for each of it.

    `text` and `hint` may name {it}, what was found, and {v}, what was examined. `both`: the peer's status shows it as
    well, since clients may be unable to commit because of it. `unseen`: of the warning, by {it}.
    """

    name: str
    when: Callable[[T], object]
    text: str
    hint: str = ""
    both: bool = False
    unseen: Callable[[Any], bool] = lambda _it: False


def warned(rows: Iterable[WarningRow[T]], v: T, **words: object) -> tuple[StandingWarning, ...]:
    """The warnings that stand, in the order of their rows. `words`: what else their texts may name."""
    found: list[StandingWarning] = []
    for row in rows:
        it = row.when(v)
        if it:
            for one in it if isinstance(it, list) else (it,):
                text, hint = (each.format(it=one, v=v, **words) for each in (row.text, row.hint))
                found.append(StandingWarning(row.name, text, hint, row.unseen(one)))
    return tuple(found)
