"""A line over time with the role below it as inline SVG; its labels are HTML, readable at any width. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from pgvip.web.markup import Html, fill, join

if TYPE_CHECKING:
    from pgvip.web.sources import Document

WIDTH, HEIGHT, BAND = 600, 80, 8
BUCKETS = 200
"""Points of a line at most: each shows the highest value of its time, so that no peak is lost."""

GAP_S = 15.0
"""A time without samples of this length, or of two points, breaks the line and the band: nothing was recorded then."""

NOW_MAX_S = 3_600.0
"""In a longer time the last point is no value of now: it is the highest one of minutes."""

LABEL_ROLES = 6
"""So many roles, the last ones, are in the text that describes the bands."""

DAY_S = 86_400.0
THIRDS = 3
"""Parts of the grid."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """How values are written, and the round number at or above one."""

    shown: Callable[[float], str]
    ceiling: Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Frame:
    """The time that is drawn: `span_s` seconds up to `until_s` (Unix time). `text`: its length as people read it."""

    until_s: float
    span_s: float
    text: str

    @property
    def since_s(self) -> float:
        """Where it begins."""
        return self.until_s - self.span_s

    @property
    def gap_s(self) -> float:
        """The longest time between two samples that belong together."""
        return max(GAP_S, 2 * self.span_s / BUCKETS)

    def inside(self, samples: Sequence[Document]) -> list[Document]:
        """The samples of this time."""
        return [one for one in samples if self.since_s <= one["at"] <= self.until_s]

    def x(self, at_s: float) -> float:
        """Where a moment is drawn."""
        return (at_s - self.since_s) / self.span_s * WIDTH


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time in which this host had one role (Unix times)."""

    since_s: float
    until_s: float
    role: str


def graph(samples: Sequence[Document], key: str, title: str, *, frame: Frame, axis: Axis) -> Html:
    """Draw `key` of the samples in that time, with the role of this host below."""
    inside = frame.inside(samples)
    runs = _runs(inside, key, frame)
    values = [value for one in inside if (value := _value(one, key)) is not None]
    if not values:
        return fill('<figure><figcaption>{title}</figcaption><p class="muted">no values yet</p></figure>', title=title)
    shown, top = axis.shown, axis.ceiling(max(values))
    said = f"{_usual(inside, key, frame, axis)}, at most {shown(max(values))}"
    return fill(
        '<figure><figcaption>{title} <span class="muted">{said}</span></figcaption>'
        '<div class="plot"><div class="scale" aria-hidden="true"><span>{top}</span><span>{bottom}</span></div>'
        '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '{grid}{marks}{lines}</svg>{roles}</div>'
        '<div class="times" aria-hidden="true">{times}</div></figure>',
        title=title, said=said, top=shown(top), bottom=shown(0), width=WIDTH, height=HEIGHT,
        label=f"{title} in the last {frame.text}: {said}", grid=_grid(), roles=_roles(bands(inside, frame), frame),
        marks=join(_mark(x, text) for x, text in role_changes(inside, frame)),
        lines=join(_line(run, top) for run in runs), times=_times(frame),
    )  # fmt: skip


def round_seconds(value: float) -> float:
    """A round number not below `value`: 1, 2 or 5 times a power of ten, at least a tenth.

    >>> [round_seconds(one) for one in (0, 0.03, 1, 7, 42)]
    [0.1, 0.1, 1.0, 10.0, 50.0]
    """
    if value <= 0.1:
        return 0.1
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= value * 0.999999)


def round_bytes(value: float) -> float:
    """A power of two not below `value`, at least 1 kB.

    >>> [round_bytes(one) for one in (0, 1025, 16 * 1024**2)]
    [1024.0, 2048.0, 16777216.0]
    """
    return float(2 ** max(10, math.ceil(math.log2(max(value, 1)))))


def role_changes(samples: Sequence[Document], frame: Frame) -> list[tuple[float, str]]:
    """Where this host's role changed: x, and what it became."""
    found = []
    for before, after in pairwise(samples):
        if before.get("role") != after.get("role"):
            found.append((frame.x(after["at"]), f"{before.get('role')} to {after.get('role')}"))
    return found


def bands(samples: Sequence[Document], frame: Frame) -> list[Band]:
    """Which role this host had when, oldest first; nothing where nothing was recorded."""
    found: list[Band] = []
    for one in samples:
        role, until_s = str(one.get("role")), min(one["at"], frame.until_s)
        since_s = max(one["at"] - _covered_s(one), frame.since_s)
        last = found[-1] if found else None
        if last is None or since_s - last.until_s > frame.gap_s:
            found.append(Band(since_s, until_s, role))
        elif last.role == role:
            found[-1] = replace(last, until_s=until_s)
        else:
            found.append(Band(last.until_s, until_s, role))
    return found


def _value(sample: Document, key: str) -> float | None:
    """The highest value of a sample's time, where it says one."""
    highest = sample.get(f"{key}_max")
    value: float | None = sample.get(key) if highest is None else highest
    return value


def _covered_s(sample: Document) -> float:
    """How much time before its moment a sample covers."""
    return float(sample.get("span_s") or 0.0)


def _usual(samples: Sequence[Document], key: str, frame: Frame, axis: Axis) -> str:
    """The value of now; of a long time the average."""
    if frame.span_s <= NOW_MAX_S:
        last = _value(samples[-1], key)
        return f"now {'not known' if last is None else axis.shown(last)}"
    known = [value for one in samples if (value := one.get(key)) is not None]
    return f"average {axis.shown(sum(known) / len(known)) if known else 'not known'}"


def _runs(samples: Sequence[Document], key: str, frame: Frame) -> list[list[Point]]:
    """Stretches of known values, thinned: a time without one breaks the line."""
    runs: list[list[Point]] = [[]]
    before_s: float | None = None
    for one in samples:
        value, since_s = _value(one, key), one["at"] - _covered_s(one)
        if runs[-1] and (value is None or (before_s is not None and since_s - before_s > frame.gap_s)):
            runs.append([])
        before_s = one["at"]
        if value is None:
            continue
        x = frame.x(one["at"])
        last = runs[-1][-1] if runs[-1] else None
        if last is not None and int(x / WIDTH * BUCKETS) == int(last[0] / WIDTH * BUCKETS):
            runs[-1][-1] = (x, max(last[1], value))
        else:
            runs[-1].append((x, value))
    return [run for run in runs if run]


def _roles(found: Sequence[Band], frame: Frame) -> Html:
    """The bands, each with its times for who points at it."""
    shapes = []
    for one in found:
        left, right = frame.x(one.since_s), frame.x(one.until_s)
        since, until = (f"{datetime.fromtimestamp(at_s, UTC):%m-%d %H:%M:%S}" for at_s in (one.since_s, one.until_s))
        shapes.append(fill(
            '<rect class="{role}" x="{x}" y="0" width="{width}" height="{height}"><title>{text}</title></rect>',
            role=one.role, x=f"{left:.1f}", width=f"{max(right - left, WIDTH / BUCKETS):.1f}", height=BAND,
            text=f"{one.role} from {since} to {until}",
        ))  # fmt: skip
    said = ", ".join(one.role for one in found[-LABEL_ROLES:])
    return fill(
        '<svg class="roles" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        "{shapes}</svg>",
        width=WIDTH, height=BAND, shapes=join(shapes), label=f"role of this host: {said}",
    )  # fmt: skip


def _times(frame: Frame) -> Html:
    """The moments at the vertical lines of the grid: the time of the day, or the day."""
    form = "%H:%M" if frame.span_s <= DAY_S else "%m-%d"
    at = [frame.since_s + part * frame.span_s / THIRDS for part in range(THIRDS)]
    texts = [*(f"{datetime.fromtimestamp(one, UTC):{form}}" for one in at), "now"]
    return join(fill("<span>{text}</span>", text=text) for text in texts)


def _line(run: Sequence[Point], top: float) -> Html:
    points = [(x, HEIGHT - 1 - value / top * (HEIGHT - 2)) for x, value in run]
    if len(points) == 1:
        points.append((min(WIDTH, points[0][0] + WIDTH / BUCKETS), points[0][1]))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{points[0][0]:.1f},{HEIGHT} {path} {points[-1][0]:.1f},{HEIGHT}"
    return fill('<polygon points="{area}"/><polyline points="{path}"/>', area=area, path=path)


def _grid() -> Html:
    lines = [f"M0 {y}H{WIDTH}" for y in (1, HEIGHT / 2, HEIGHT - 1)]
    lines += [f"M{WIDTH * part / 3:.0f} 0V{HEIGHT}" for part in (1, 2)]
    return fill('<path class="grid" d="{lines}"/>', lines="".join(lines))


def _mark(x: float, text: str) -> Html:
    return fill('<path class="mark" d="M{x} 0V{height}"><title>{text}</title></path>',
                x=f"{x:.1f}", height=HEIGHT, text=f"the role changed from {text}")  # fmt: skip
