"""HTTP/1.1 as far as a read-only server needs it: one request in, one response out. The bytes are h11's; no I/O here.

Every answer closes its connection, so what follows a request is never read as a second one. No body is ever accepted.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

import h11

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_THREAD = "http-request"
"""Name of the threads that answer. A fault in one of them ends that answer, not the daemon (cli.run)."""
METHODS = ("GET", "HEAD", "OPTIONS")
HEAD_MAX_BYTES = 8 * 1024
"""Of the request line and all headers; 8 kB is Apache's and nginx's limit for a line."""
FIELDS_MAX = 64
PARAMETERS_MAX = 16
BLANKS_MAX = 128
"""In a row. h11 tries every split of the blanks before a value that is not valid: 8 kB of them take a second, in which
nothing else of the process runs."""

_NOT_FOR_H11 = re.compile(rb"\n[ \t]|[ \t]{%d}" % BLANKS_MAX)
"""Too many blanks, or a folded line (RFC 9112, 5.2), from which h11 makes a run of blanks."""


class BadRequest(Exception):
    """The request cannot be answered as asked; `status` and `reason` say why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks. `query`: decoded parameters; `fields`: headers by lower-case name."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """What a client gets. `fields`: further headers."""

    status: HTTPStatus
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    fields: tuple[tuple[str, str], ...] = ()


class Exchange:
    r"""One request and its response. `take` what arrives until it gives the request, then `answer` once.

    >>> Exchange().take(b"GET /replica?lag=16MB HTTP/1.0\r\n\r\n").query
    {'lag': '16MB'}
    """

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
        self._tail = b""
        self._method = ""

    def take(self, data: bytes) -> Request | None:
        """Take what the client sent; None while the request is not whole. BadRequest when it is not plainly right."""
        self._tail += data
        if _NOT_FOR_H11.search(self._tail):
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"a folded header field, or {BLANKS_MAX} blanks in a row")
        self._tail = self._tail[1 - BLANKS_MAX :]
        try:
            self._h11.receive_data(data)
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            long = status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            reason = f"more than {HEAD_MAX_BYTES} bytes" if long else f"not an HTTP request: {error}"
            raise BadRequest(status, reason[:200]) from error
        if not isinstance(event, h11.Request):
            return None
        self._method = event.method.decode("latin-1")
        return _request(event)

    def answer(self, response: Response, wall_s: float) -> bytes:
        """The bytes of the response; HEAD and OPTIONS get no body. `wall_s`: Unix time, for Date."""
        body = response.body if self._method != "OPTIONS" else b""
        fields = [
            ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall_s))),
            ("Content-Type", response.kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
            *response.fields,
        ]
        if self._method == "OPTIONS" or response.status is HTTPStatus.METHOD_NOT_ALLOWED:
            fields.append(("Allow", ", ".join(METHODS)))
        status, reason = response.status.value, response.status.phrase
        head = self._h11.send(h11.Response(status_code=status, headers=fields, reason=reason)) or b""
        return head if self._method == "HEAD" else head + (self._h11.send(h11.Data(data=body)) or b"")


def _request(event: h11.Request) -> Request:
    method, target = event.method.decode("latin-1"), event.target.decode("latin-1")
    if not event.http_version.startswith(b"1."):
        version = event.http_version.decode("latin-1")
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{version} is not supported")
    if method not in METHODS:
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not allowed: this server is read-only")
    if len(event.headers) > FIELDS_MAX:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {FIELDS_MAX} header fields")
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
    if fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request body is not accepted")
    path, _, query = target.partition("?")
    if not path.startswith("/") and not (method == "OPTIONS" and path == "*"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the target is not a path")
    return Request(method, unquote(path, errors="replace"), _query(query), fields)


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise BadRequest(HTTPStatus.BAD_REQUEST, f"more than {PARAMETERS_MAX} parameters") from error
    return dict(pairs)
