"""A line over time as inline SVG, with its labels in HTML so that they stay readable at any width. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pgvip.web.markup import Html, fill, join

if TYPE_CHECKING:
    from pgvip.web.sources import Document

WIDTH, HEIGHT = 600, 80
BUCKETS = 200
"""Points of a line at most: each shows the highest value of its time, so that no peak is lost."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """How values are written, and the round number at or above one."""

    shown: Callable[[float], str]
    ceiling: Callable[[float], float]


def graph(
    samples: Sequence[Document], key: str, title: str, *, until_s: float, span_s: float, axis: Axis
) -> Html:
    """Draw `key` of the samples from `until_s - span_s` to `until_s` (Unix time)."""
    since_s = until_s - span_s
    inside = [one for one in samples if since_s <= one["at"] <= until_s]
    runs = _runs(inside, key, since_s, span_s)
    values = [value for one in inside if (value := _value(one, key)) is not None]
    if not values:
        return fill('<figure><figcaption>{title}</figcaption><p class="muted">no values yet</p></figure>', title=title)
    shown, top = axis.shown, axis.ceiling(max(values))
    last = _value(inside[-1], key)
    said = f"now {'not known' if last is None else shown(last)}, at most {shown(max(values))}"
    back = f"{span_s / 60:.0f} min"
    return fill(
        '<figure><figcaption>{title} <span class="muted">{said}</span></figcaption>'
        '<div class="plot"><div class="scale" aria-hidden="true"><span>{top}</span><span>{bottom}</span></div>'
        '<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '{grid}{marks}{lines}</svg></div>'
        '<div class="times" aria-hidden="true"><span>{back} ago</span><span>now</span></div></figure>',
        title=title, said=said, top=shown(top), bottom=shown(0), width=WIDTH, height=HEIGHT,
        label=f"{title} in the last {back}: {said}", back=back, grid=_grid(),
        marks=join(_mark(x, text) for x, text in role_changes(inside, since_s, span_s)),
        lines=join(_line(run, top) for run in runs),
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


def role_changes(samples: Sequence[Document], since_s: float, span_s: float) -> list[tuple[float, str]]:
    """Where this host's role changed: x, and what it became."""
    found = []
    for before, after in pairwise(samples):
        if before.get("role") != after.get("role"):
            found.append((_x(after["at"], since_s, span_s), f"{before.get('role')} to {after.get('role')}"))
    return found


def _value(sample: Document, key: str) -> float | None:
    """The highest value of a sample's time, where it says one."""
    highest = sample.get(f"{key}_max")
    value: float | None = sample.get(key) if highest is None else highest
    return value


def _x(at_s: float, since_s: float, span_s: float) -> float:
    return (at_s - since_s) / span_s * WIDTH


def _runs(samples: Sequence[Document], key: str, since_s: float, span_s: float) -> list[list[Point]]:
    """Stretches of known values, thinned: a time without one breaks the line."""
    runs: list[list[Point]] = [[]]
    for one in samples:
        value = _value(one, key)
        if value is None:
            if runs[-1]:
                runs.append([])
            continue
        x = _x(one["at"], since_s, span_s)
        last = runs[-1][-1] if runs[-1] else None
        if last is not None and int(x / WIDTH * BUCKETS) == int(last[0] / WIDTH * BUCKETS):
            runs[-1][-1] = (x, max(last[1], value))
        else:
            runs[-1].append((x, value))
    return [run for run in runs if run]


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
