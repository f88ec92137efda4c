"""A plot in the terminal: columns of block characters, or of ASCII ones. Pure: numbers in, lines out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:#"
GAP = " "
LABELS_EVERY = 16
"""Columns from one time on the axis to the next, at least."""


def spark(values: Sequence[float | None], top: float, *, ascii_only: bool = False) -> str:
    """One line: each value as a character of a height; unknown ones are blank, and zero is the lowest mark.

    >>> spark([None, 0, 1, 2, 4], 4)
    ' ▁▂▄█'
    >>> spark([None, 0, 1, 2, 4], 4, ascii_only=True)
    ' ..:#'
    """
    marks = ASCII if ascii_only else BLOCKS
    return "".join(GAP if one is None else marks[max(1, _eighths(one, top, len(marks) - 1))] for one in values)


def spread(
    points: Sequence[tuple[float, float, float | None]], since: float, until: float, width: int
) -> list[float | None]:
    """The largest known value in each of `width` equal parts of the time; None where nothing is known.

    Each point is a time, the seconds before it that its value covers, and the value.

    >>> spread([(1, 0, 5.0), (3.9, 1, 7.0), (9, 3.5, 1.0)], 0, 10, 5)
    [5.0, 7.0, None, 1.0, 1.0]
    """
    found: list[float | None] = [None] * width
    scale = width / (until - since)
    for at, span_s, value in points:
        if value is not None and since <= at <= until:
            last = min(int((at - since) * scale), width - 1)
            first = min(last, int((max(since, at - span_s) - since) * scale + 0.999))
            for place in range(first, last + 1):
                found[place] = value if (before := found[place]) is None else max(before, value)
    return found


def plot(
    values: Sequence[float | None], show: Callable[[float], str], since: float, until: float, height: int = 8,
    *, ascii_only: bool = False,
) -> list[str]:
    """Lines of a column chart over time, with a scale at the left (`show` writes a value with its unit).

    Each column is one value; a column without a value stays empty, and a value of zero has the lowest mark.
    """  # fmt: skip
    marks = ASCII if ascii_only else BLOCKS
    top = nice_top(max((one for one in values if one is not None), default=0.0))
    steps = len(marks) - 1
    labels = {row: show(top * (row + 1) / height) for row in range(height - 1, -1, -max(1, height // 4))}
    labels[-1] = show(0)
    wide = max(map(len, labels.values()))
    lines = []
    for row in range(height - 1, -1, -1):
        cells = []
        for one in values:
            filled = 0 if one is None else max(1, _eighths(one, top, height * steps)) - row * steps
            cells.append(marks[min(max(filled, 0), steps)])
        tick = ("+" if ascii_only else "┤") if row in labels else ("|" if ascii_only else "│")
        lines.append(f"{labels.get(row, ''):>{wide}} {tick}{''.join(cells)}".rstrip())
    corner, line = ("+", "-") if ascii_only else ("└", "─")
    lines.append(f"{labels[-1]:>{wide}} {corner}{line * len(values)}")
    lines.append(" " * (wide + 2) + _times(since, until, len(values)))
    return lines


def nice_top(largest: float) -> float:
    """The upper end of a scale: 1, 2 or 5 times a power of ten, not below the largest value.

    >>> [nice_top(one) for one in (0, 0.03, 1, 17, 4.2e6)]
    [1.0, 0.05, 1.0, 20.0, 5000000.0]
    """
    if largest <= 0:
        return 1.0
    power = float(f"1e{f'{largest:e}'.split('e')[1]}")
    return next(float(f"{step * power:g}") for step in (1, 2, 5, 10) if step * power >= largest * (1 - 1e-9))


def _eighths(value: float, top: float, steps: int) -> int:
    return min(steps, int(value / top * steps + 0.5)) if top > 0 else 0


def _times(since: float, until: float, width: int) -> str:
    """Wall-clock times (in UTC) under the columns that they belong to."""
    form = "%H:%M:%S" if until - since <= 1800 else "%H:%M" if until - since <= 86_400 else "%d %b"
    text = ""
    for place in range(0, width, LABELS_EVERY):
        label = time.strftime(form, time.gmtime(since + (until - since) * place / width))
        if len(text) <= place and place + len(label) <= width:
            text = text.ljust(place) + label
    return text
