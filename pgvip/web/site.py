"""Which path gives what. Reads the daemon's sources, changes nothing; docs/http.md is the list."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pgvip.errors import PgvipError
from pgvip.text.schema import SCHEMA
from pgvip.web import page, page_parts, plots
from pgvip.web.cache import Background, Kept
from pgvip.web.cluster import cluster
from pgvip.web.exposition import CONTENT_TYPE
from pgvip.web.health import CHECKS, Look, alive, judge
from pgvip.web.http import REQUEST_THREAD, Request, Response
from pgvip.web.markup import Html
from pgvip.web.metrics import metrics

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.web.sources import Document, Sources

T = TypeVar("T")

LIVENESS = "/liveness"
FRESH_S = 1.0
"""So long a page is shown again as it is."""
READ_S = 0.5
"""How long a page waits for what is read from a disk; then it shows what it has."""
EXPLAIN_S = 30.0
"""So long an explanation is shown while nothing that decides it has changed: playing it takes a second of CPU."""


class Site:
    """Answers requests; from any thread. `config`: asked again each time."""

    def __init__(self, config: Callable[[], Config], sources: Sources) -> None:
        self._config, self._sources = config, sources
        self._pages = {one: Kept(partial(self._fragment, one), FRESH_S) for one in plots.RANGES.values()}
        nothing: Document = {}
        none: list[Document] = []
        self._explained = Background(
            lambda: _optional(sources.explain, nothing), nothing, fresh_s=EXPLAIN_S, wait_s=0.0, name=REQUEST_THREAD
        )
        self._events = Background(self._newest, none, fresh_s=FRESH_S, wait_s=READ_S, name=REQUEST_THREAD)
        self._samples = {
            one: Background(partial(self._history, one), none, fresh_s=one.fresh_s, wait_s=READ_S, name=REQUEST_THREAD)
            for one in plots.RANGES.values()
        }

    def respond(self, request: Request, secret: bytes | None) -> Response:
        """Answer one request. `secret`: what all but the health checks ask for, as user:password."""
        path = request.path.rstrip("/") or "/"
        if request.method == "OPTIONS" and path == "*":
            return Response(HTTPStatus.OK)
        if path == LIVENESS:
            return self._told(*alive(self._sources.age_s()))
        if path in CHECKS:
            return self._check(path, request)
        makers: dict[str, Callable[[], Response]] = {
            "/": partial(self._ranged, self._whole_page, request),
            "/fragment": partial(self._ranged, self._middle, request),
            "/status": self._status,
            "/cluster": self._cluster,
            "/metrics": self._metrics,
        }
        make = makers.get(path)
        if make is None:
            return _json(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {path}", "hint": "See docs/http.md."})
        if secret is not None and not _knows(request, secret):
            return _text(HTTPStatus.UNAUTHORIZED, "a password is required", _CHALLENGE)
        try:
            return make()
        except PgvipError as error:
            return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": error.message, "hint": error.hint})

    # --- health ---------------------------------------------------------------------------------------

    def _check(self, path: str, request: Request) -> Response:
        age_s = self._sources.age_s()  # before the status, which can only be newer
        try:
            document = self._sources.status()
        except PgvipError as error:
            return self._told(HTTPStatus.SERVICE_UNAVAILABLE, error.message)
        status, reason = judge(path, Look(document, age_s, self._sources.limits(), request.query))
        return self._told(status, reason, document)

    def _told(self, status: HTTPStatus, reason: str, document: Document | None = None) -> Response:
        config = self._config()
        told = {"pair": config.name, "host": config.me.name, "ok": status is HTTPStatus.OK, "reason": reason}
        if document is not None:
            server = document["me"]["postgresql"]
            told |= {"role": document["role"], "state": server["state"], "timeline": server["timeline"]}
        return _json(status, told)

    # --- for programs ---------------------------------------------------------------------------------

    def _status(self) -> Response:
        return _json(HTTPStatus.OK, self._sources.status())

    def _cluster(self) -> Response:
        return _json(HTTPStatus.OK, cluster(self._sources.status(), self._config().postgres.port))

    def _metrics(self) -> Response:
        sources, config = self._sources, self._config()
        age_s = sources.age_s()
        try:
            document: Document | None = sources.status()
        except PgvipError:
            document = None  # before the first round of the loop
        names = {"pair": config.name, "host": config.me.name}
        text = metrics(document, age_s, sources.limits().stale_s, sources.counts(), names)
        return Response(HTTPStatus.OK, text.encode(), CONTENT_TYPE)

    # --- for people -----------------------------------------------------------------------------------

    def _ranged(self, make: Callable[[plots.Range], Response], request: Request) -> Response:
        """Answer with the time that the parameter `range` names."""
        name = request.query.get("range", plots.DEFAULT.name)
        if name not in plots.RANGES:
            hint = f"It is one of {', '.join(plots.RANGES)}."
            return _json(HTTPStatus.BAD_REQUEST, {"error": f'range is "{name}"', "hint": hint})
        return make(plots.RANGES[name])

    def _whole_page(self, chosen: plots.Range) -> Response:
        config = self._config()
        text = page.page(config.name, config.me.name, self._pages[chosen].get(), _now())
        return Response(HTTPStatus.OK, text.encode(), _HTML, _PAGE_FIELDS)

    def _middle(self, chosen: plots.Range) -> Response:
        return Response(HTTPStatus.OK, self._pages[chosen].get().encode(), _HTML, _PAGE_FIELDS)

    def _newest(self) -> list[Document]:
        return _optional(lambda: self._sources.events(page_parts.EVENTS), [])

    def _history(self, chosen: plots.Range) -> list[Document]:
        return _optional(lambda: self._sources.samples(chosen.seconds), [])

    def _fragment(self, chosen: plots.Range) -> Html:
        sources = self._sources
        age_s = sources.age_s()
        try:
            document = sources.status()
        except PgvipError:
            return page.waiting(_now())
        shown = page.Shown(
            document=document,
            age_s=age_s,
            stale_s=sources.limits().stale_s,
            at=_now(),
            samples=self._samples[chosen].get(),
            events=self._events.get(),
            explained=self._explained.get(_what_decides(document)),
            range=chosen,
        )
        return page.fragment(shown)


_HTML = "text/html; charset=utf-8"
_PAGE_FIELDS = (("Content-Security-Policy", page.policy()), ("Referrer-Policy", "no-referrer"))
_CHALLENGE = (("WWW-Authenticate", 'Basic realm="pgvip", charset="UTF-8"'),)


def _what_decides(document: Document) -> object:
    """What of the state an explanation hangs on most: with another of these the old one is not shown."""
    found = [document["term"], document["pause"]["active"], *sorted(one["name"] for one in document["warnings"])]
    for host in (document["me"], document["peer"]):
        server = host["postgresql"]
        found += [host["role"], host["eligible"], host["gateway_ok"], server["state"], server["streaming"]]
    return found


def _optional(read: Callable[[], T], otherwise: T) -> T:
    """A part of the page that may be missing: its file may be unreadable."""
    try:
        return read()
    except (PgvipError, OSError):
        return otherwise


def _now() -> datetime:
    return datetime.now(tz=UTC).astimezone()


def _json(status: HTTPStatus, document: Document) -> Response:
    text = json.dumps({"schema": SCHEMA, **document})
    return Response(status, text.encode() + b"\n", "application/json")


def _text(status: HTTPStatus, text: str, fields: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, f"{text}\n".encode(), fields=fields)


def _knows(request: Request, secret: bytes) -> bool:
    """The request brings the password (RFC 7617), compared in constant time."""
    scheme, _, given = request.fields.get("authorization", "").partition(" ")
    try:
        told = base64.b64decode(given.strip(), validate=True)
    except ValueError:
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(told, secret)
