"""What every command prints goes through here: text for people, JSON for programs. And how a table looks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from pgvip.text.schema import SCHEMA
from pgvip.text.writing import UNKNOWN, duration, lag, moment, printable, size, yes_no

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["UNKNOWN", "columns", "duration", "lag", "moment", "put", "put_json", "size", "yes_no"]


def put(text: object = "", *, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print text for people. Texts of the peer, of PostgreSQL or of a hook cannot command the terminal."""
    print(printable(str(text)), end=end, file=file, flush=flush)


def put_json(document: Mapping[str, object], *, indent: int | None = None, flush: bool = False) -> None:
    """Print one JSON object, with the version of its keys first."""
    text = json.dumps({"schema": SCHEMA, **document}, indent=indent)
    print(text, flush=flush)  # noqa: T201 - the one place that prints JSON


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> list[str]:
    """Align columns; no line ends in blanks.

    >>> columns([("a", "bb"), ("ccc", "d")])
    ['a    bb', 'ccc  d']
    """
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))] if rows else []
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]
