"""Which path gives what. Reads the daemon's sources, changes nothing; docs/http.md is the list."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from pgvip.deadlines import now_s
from pgvip.errors import PgvipError
from pgvip.web import page, sections
from pgvip.web.cluster import cluster
from pgvip.web.exposition import CONTENT_TYPE
from pgvip.web.health import CHECKS, Look, alive, judge
from pgvip.web.markup import Html
from pgvip.web.metrics import metrics
from pgvip.web.wire import Request, Response

if TYPE_CHECKING:
    from pgvip.config import Config
    from pgvip.web.sources import Document, Sources

T = TypeVar("T")

LIVENESS = "/liveness"
FRESH_S = 1.0
"""So long a page is shown again as it is: many viewers cost no more than one."""
MAKING_S = 5.0
"""How long a viewer waits for a page that is being made for another."""


class Site:
    """Answers requests; from any thread. `config`: asked anew each time."""

    def __init__(self, config: Callable[[], Config], sources: Sources) -> None:
        self._config, self._sources = config, sources
        self._page = Kept(self._fragment, FRESH_S)

    def respond(self, request: Request, secret: bytes | None) -> Response:
        """Answer one request. `secret`: what all but the health checks ask for, as user:password."""
        path = request.path.rstrip("/") or "/"
        if request.method == "OPTIONS" and path == "*":
            return Response(HTTPStatus.OK)
        if path == LIVENESS:
            return self._told(*alive(self._sources.age_s()))
        if path in CHECKS:
            return self._check(path, request)
        make = {
            "/": self._whole_page,
            "/fragment": self._middle,
            "/status": self._status,
            "/cluster": self._cluster,
            "/metrics": self._metrics,
        }.get(path)
        if make is None:
            return _json(HTTPStatus.NOT_FOUND, {"error": f"there is nothing at {path}", "hint": "See docs/http.md."})
        if secret is not None and not _knows(request, secret):
            return _text(HTTPStatus.UNAUTHORIZED, "a password is asked for here", _CHALLENGE)
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
            document = None  # the loop has not gone round yet
        text = metrics(document, age_s, sources.counts(), {"pair": config.name, "host": config.me.name})
        return Response(HTTPStatus.OK, text.encode(), CONTENT_TYPE)

    # --- for people -----------------------------------------------------------------------------------

    def _whole_page(self) -> Response:
        config = self._config()
        text = page.page(config.name, config.me.name, self._page.get(), _now())
        return Response(HTTPStatus.OK, text.encode(), _HTML, _PAGE_FIELDS)

    def _middle(self) -> Response:
        return Response(HTTPStatus.OK, self._page.get().encode(), _HTML, _PAGE_FIELDS)

    def _fragment(self) -> Html:
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
            samples=_optional(lambda: sources.samples(sections.GRAPH_S), []),
            events=_optional(lambda: sources.events(sections.EVENTS), []),
            explained=_optional(sources.explain, {}),
        )
        return page.fragment(shown)


class Kept:
    """Keeps what was made for a moment. One makes it, others wait for it, though not for long: PgvipError then."""

    def __init__(self, make: Callable[[], Html], fresh_s: float) -> None:
        self._make, self._fresh_s = make, fresh_s
        self._lock = threading.Lock()
        self._made: tuple[float, Html] | None = None

    def get(self) -> Html:
        """What was made lately, or now."""
        made = self._made
        if made is not None and now_s() - made[0] < self._fresh_s:
            return made[1]
        if not self._lock.acquire(timeout=MAKING_S):
            raise PgvipError("the page is still being made for another viewer", hint="Try again.")
        try:
            made = self._made
            if made is None or now_s() - made[0] >= self._fresh_s:
                made = self._made = (now_s(), self._make())
            return made[1]
        finally:
            self._lock.release()


_HTML = "text/html; charset=utf-8"
_PAGE_FIELDS = (("Content-Security-Policy", page.policy()), ("Referrer-Policy", "no-referrer"))
_CHALLENGE = (("WWW-Authenticate", 'Basic realm="pgvip", charset="UTF-8"'),)


def _optional(read: Callable[[], T], otherwise: T) -> T:
    """A part of the page that may be missing: its file may be unreadable."""
    try:
        return read()
    except (PgvipError, OSError):
        return otherwise


def _now() -> datetime:
    return datetime.now(tz=UTC).astimezone()


def _json(status: HTTPStatus, document: Document) -> Response:
    return Response(status, json.dumps(document).encode() + b"\n", "application/json")


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
