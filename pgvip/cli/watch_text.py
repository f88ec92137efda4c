"""The live view as lines. Pure: what was fetched goes in, styled lines of the terminal's width come out."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pgvip.cli.output import duration, lag, size
from pgvip.cli.plot import nice_top, spark
from pgvip.cli.status_text import sections
from pgvip.text.writing import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

Document = dict[str, Any]
GRAPH_MAX = 60
EVENTS_MIN = 3
"""Lines kept for events where the terminal is low."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line and how it looks: "" plain, "title", "warning", "quiet".

    `rank`: where there are too many lines, those of the highest give way first, those of 0 never.
    """

    text: str
    style: str = ""
    rank: int = 0


GAP = Line("", rank=4)


@dataclass(frozen=True, slots=True)
class Picture:
    """What one refresh brought: the newest status and its age, the lag of the last ones, events, what failed.

    `lags`: pairs of lag_s and lag_bytes, oldest first. `at`: unix time of the look. `failure`: why there is no newer
    status.
    """

    at: float
    status: Document | None = None
    age_s: float = 0.0
    lags: Sequence[tuple[float | None, float | None]] = ()
    events: Sequence[Document] = field(default=())
    failure: str = ""


def frame(
    picture: Picture, width: int, height: int, *, interval_s: float = 1.0, ascii_only: bool = False, keys: bool = True
) -> list[Line]:
    """The lines of one screen, never more than `height`, none longer than `width`.

    On a low one, what matters least gives way first: older events, gaps, the pair's rows; warnings never do.
    """
    lines: list[Line] = []
    if picture.failure:
        old = f"; what follows is {duration(picture.age_s)} old" if picture.status else ""
        lines += [GAP, Line(f"no answer from the daemon: {picture.failure}{old}", "warning")]
    if picture.status is not None:
        lines += [*_body(picture, width, ascii_only=ascii_only), *_events(picture.events)]
    wanted = len(lines)
    while len(lines) > height - 1 and (rank := max(line.rank for line in lines)):
        lines.pop(max(number for number, line in enumerate(lines) if line.rank == rank))
    lines = lines[: max(0, height - 1)]
    hidden = sum(1 for line in lines if line is not GAP) < wanted and wanted - len(lines)
    shown = [_top(picture, width, interval_s, hidden, keys=keys), *lines]
    return [Line(_cut(one_line(line.text), width, ascii_only=ascii_only), line.style) for line in shown]


def text_of(lines: Sequence[Line]) -> str:
    """The lines without their looks, for what is no terminal."""
    return "\n".join(line.text for line in lines)


def _top(picture: Picture, width: int, interval_s: float, hidden: int, *, keys: bool) -> Line:
    name = f"pgvip watch {time.strftime('%H:%M:%S', time.gmtime(picture.at))} UTC"
    low = f"{hidden} more lines   " if hidden else ""
    if not keys:  # on no terminal there is no right edge
        return Line(f"{name}   {low}".rstrip(), "quiet")
    right = f"q quits   {low}every {interval_s:g} s"
    return Line(f"{name}{right:>{max(len(right) + 1, width - len(name))}}", "quiet")


def _body(picture: Picture, width: int, *, ascii_only: bool) -> list[Line]:
    document = picture.status
    assert document is not None
    parts = sections(document, _lag(picture, width, ascii_only=ascii_only))
    style = "warning" if document["warnings"] or document["pause"]["active"] else "title"
    lines = [GAP, *(Line(text, style) for text in parts["headline"]), GAP]
    for number, text in enumerate(parts["hosts"]):
        lines.append(Line(text, "title" if number == 0 else "", rank=1 if number > 3 else 0))
    lines += [GAP, *(Line(text, rank=3) for text in parts["pair"])]
    lines += [Line(text, "title" if text == "now" else "") if text else GAP for text in parts["now"]]
    for text in parts["warnings"]:
        lines += [Line(piece, _warning_style(text)) if text else GAP for piece in _wrapped(text, width)]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """A warning or its hint whole, on as many lines as it needs."""
    return textwrap.wrap(text, max(width, 20), subsequent_indent="        ", break_on_hyphens=False) or [""]


def _warning_style(text: str) -> str:
    if text.startswith("warnings") or (text.startswith("  ") and not text.startswith("      ")):
        return "warning"
    return "quiet" if text == "no warnings" else ""


def _lag(picture: Picture, width: int, *, ascii_only: bool) -> list[tuple[str, str]]:
    """Two small graphs: replay lag in seconds, and bytes that the standby has not flushed."""
    rows = []
    for title, place, show in (("replay lag", 0, lag), ("WAL behind", 1, size)):
        values = [one[place] for one in picture.lags][-min(GRAPH_MAX, max(10, width - 60)) :]
        known = [value for value in values if value is not None]
        if known:
            now = "unknown" if values[-1] is None else show(values[-1])
            drawn = spark(values, nice_top(max(known)), ascii_only=ascii_only)
            rows.append((title, f"{drawn}  {now}, at most {show(max(known))}"))
    return rows


def _events(events: Sequence[Document]) -> list[Line]:
    if not events:
        return []
    lines = [GAP, Line("last events", "title", rank=2)]
    newest = sorted(events, key=lambda event: _moment(event.get("at")), reverse=True)
    for number, one in enumerate(newest):
        at = time.strftime("%H:%M:%S", time.gmtime(_moment(one.get("at"))))
        style = "warning" if one.get("level") in ("warning", "error", "critical") else ""
        text = str(one.get("text", ""))
        rank = 2 if number < EVENTS_MIN else 5
        lines.append(Line(f"  {at}  {one.get('host', '?')!s:10} {one.get('event', '?')}: {text}", style, rank))
    return lines


def _moment(at: Any) -> float:
    """Unix time of an event: a number, or ISO 8601.

    >>> _moment(5), _moment("1970-01-01T00:01:00+00:00"), _moment(None), _moment("noon")
    (5.0, 60.0, 0.0, 0.0)
    """
    if isinstance(at, int | float):
        return float(at)
    try:
        return datetime.fromisoformat(str(at)).timestamp()
    except ValueError:
        return 0.0


def _cut(text: str, width: int, *, ascii_only: bool) -> str:
    if len(text) <= width:
        return text
    mark = "..." if ascii_only else "…"
    return text[: max(0, width - len(mark))] + mark
