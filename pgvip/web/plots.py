"""The replication section of the page: how the standby follows, now and in the time that the reader chose. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.text.writing import lag, size
from pgvip.web.graph import Axis, Frame, bands, graph, role_changes, round_bytes, round_seconds
from pgvip.web.markup import Html, fill, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.web.sources import Document

ROLES = {"primary_standby": "primary and standby", "none": "no role", "unknown": "role unknown"}
"""The roles that are not written as they are called."""


@dataclass(frozen=True, slots=True)
class Range:
    """A time that the plots can show. `name`: of the parameter `range`; `text`: what people read."""

    name: str
    text: str
    seconds: float

    @property
    def fresh_s(self) -> float:
        """How long its samples are shown again: reading a long time costs more, and its plot changes more slowly."""
        return min(max(4.0, self.seconds / 400), 30.0)


RANGES = {
    one.name: one
    for one in (
        Range("15min", "15 min", 900.0),
        Range("1h", "1 h", 3_600.0),
        Range("6h", "6 h", 21_600.0),
        Range("24h", "24 h", 86_400.0),
        Range("7d", "7 d", 604_800.0),
        Range("30d", "30 d", 2_592_000.0),
    )
}
DEFAULT = RANGES["15min"]
BYTES, SECONDS = Axis(size, round_bytes), Axis(lag, round_seconds)
RATE = Axis(lambda value: f"{size(value)}/s", round_bytes)
PLOTS = (("lag_bytes", "WAL lag", BYTES), ("lag_s", "Replay lag", SECONDS), ("wal_bytes_per_s", "WAL rate", RATE))


def replication(document: Document, samples: Sequence[Document], until_s: float, chosen: Range) -> Html:
    """How the standby follows, now and in the chosen time."""
    now = document["replication"]
    words = [f"{now['standby']}: {now['state']}"]
    words += [str(now["sync_state"])] if now["sync_state"] else []
    words += [f"{size(now['lag_bytes'])} behind"] if now["lag_bytes"] is not None else []
    words += [f"replay {lag(now['lag_s'])} behind"] if now["lag_s"] is not None else []
    lost = Html(' <b class="bad">its slot has lost WAL</b>') if now["slot_lost"] else ""
    return fill(
        '<section><h2>Replication <span class="muted">{words}{lost}</span></h2>{ranges}{plots}'
        "</section>",
        words=", ".join(words), lost=lost, ranges=_ranges(chosen),
        plots=_plots(samples, Frame(until_s, chosen.seconds, chosen.text), document["host"]),
    )  # fmt: skip


def _ranges(chosen: Range) -> Html:
    """A link for each range, so that it can be kept as a bookmark and needs no script.

    It names no place in the page: browsers do not load an address with one again where the page asks for a refresh.
    """
    links = [
        fill(
            '<a id="range-{name}" href="?range={name}"{here}>{text}</a>', name=one.name, text=one.text,
            here=Html(' aria-current="true"') if one is chosen else Html(""),
        )
        for one in RANGES.values()
    ]  # fmt: skip
    return fill('<nav class="ranges" aria-label="time shown in the plots">{links}</nav>', links=join(links))


def _plots(samples: Sequence[Document], frame: Frame, host: str) -> Html:
    inside = frame.inside(samples)
    if not inside:
        return fill('<p class="muted">no samples of the last {text}</p>', text=frame.text)
    plots = join(graph(inside, key, title, frame=frame, axis=axis) for key, title, axis in PLOTS)
    seen = list(dict.fromkeys(one.role for one in bands(inside, frame)))
    keys = [
        fill('<span class="key"><span class="swatch {role}"></span> {text}</span>', role=one, text=ROLES.get(one, one))
        for one in seen
    ]
    if role_changes(inside, frame):
        keys.append(Html('<span class="key"><span class="dash"></span> the role of this host changed</span>'))
    return fill(
        '<div class="plots">{plots}</div><p class="keys muted">Role of {host}: {keys}</p>',
        plots=plots, host=host, keys=join(keys, " "),
    )  # fmt: skip
