"""How a table looks on a terminal. Pure text; printing is the commands' business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.text.writing import UNKNOWN, duration, lag, moment, size, yes_no

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["UNKNOWN", "columns", "duration", "lag", "moment", "size", "yes_no"]


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
