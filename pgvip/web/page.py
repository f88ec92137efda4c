"""The status page: one document without anything from elsewhere, and its middle, which it fetches again and again."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.text.writing import moment
from pgvip.web import page_parts, plots
from pgvip.web.markup import Html, fill, join
from pgvip.web.summary import WORDS, summary

if TYPE_CHECKING:
    from pgvip.web.sources import Document

REFRESH_S = 10
"""Without scripts: the whole page again."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><style>{style}</style>
<noscript><meta http-equiv="refresh" content="{refresh_s}"></noscript></head>
<body><header><h1>pgvip <span class="muted">pair</span> {pair}</h1><span id="live" role="status">{at}</span></header>
<main>{main}</main>
<footer>For programs: <a href="status">status</a> (JSON), <a href="metrics">metrics</a> (Prometheus). Times without a
zone are in UTC. This page, of {host}, is read-only; to give orders, log in to a host:
<code>pgvip --help</code>.</footer>
<script>{script}</script></body></html>
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """All that the page shows at one moment. `at`: wall clock with its zone; `range`: what the plots show."""

    document: Document
    age_s: float
    stale_s: float
    at: datetime
    samples: Sequence[Document]
    events: Sequence[Document]
    explained: Document
    range: plots.Range = plots.DEFAULT


def fragment(shown: Shown) -> Html:
    """The middle of the page."""
    document = shown.document
    said = summary(document, shown.age_s, shown.stale_s)
    record = document["record"]
    mode = "sync" if document["sync_wanted"] else "async"
    since = f", since {moment(record['at'])}" if record and record["at"] else ""
    term = f"{mode}, term {record['term']}{since}" if record else mode
    banner = fill(
        '<div class="banner {level}" data-title="{title}" data-at="{at}"><p><b class="level">{word}</b>{text} '
        '<span class="muted">({term})</span></p></div>',
        level=said.level, word=WORDS[said.level], text=said.text, term=term, at=stamp(shown.at),
        title=f"{document['pair']}: {said.short}",
    )  # fmt: skip
    return join((
        page_parts.observes(document),
        banner,
        page_parts.warnings(document),
        page_parts.doing(document),
        page_parts.hosts(document),
        plots.replication(document, shown.samples, shown.at.timestamp(), shown.range),
        page_parts.scenarios(shown.explained),
        page_parts.events(shown.events),
        page_parts.around(document),
        page_parts.blockers(document),
    ))  # fmt: skip


def waiting(at: datetime) -> Html:
    """The middle while the daemon has just started."""
    return fill(
        '<div class="banner warn" data-title="pgvip is starting" data-at="{at}"><p><b class="level">Starting:</b>'
        "the daemon has just started and has no observations yet.</p></div>",
        at=stamp(at),
    )


def page(pair: str, host: str, main: Html, at: datetime) -> Html:
    """The whole page around its middle."""
    style, script = (Html(asset(name)) for name in ("page.css", "page.js"))
    return fill(
        _PAGE, title=f"pgvip {pair}", style=style, script=script, pair=pair, host=host, main=main, at=stamp(at),
        refresh_s=REFRESH_S,
    )  # fmt: skip


def stamp(at: datetime) -> str:
    """When the page was made, as it stands at its top."""
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"


@cache
def asset(name: str) -> str:
    """The text of a file beside this module."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The Content-Security-Policy of the page: its own style and script by their hashes, and nothing from elsewhere."""
    style, script = (_hash(asset(name)) for name in ("page.css", "page.js"))
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
