"""HTTP/1.1 as far as a read-only server needs it (RFC 9112): one request head in, one response out. Pure.

Every answer closes its connection, so a request that is malformed cannot hide a second one. No body is ever taken.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_THREAD = "http-request"
"""Name of the threads that answer. A fault in one of them ends that answer, not the daemon (cli.run)."""
METHODS = ("GET", "HEAD", "OPTIONS")
HEAD_MAX_BYTES = 8 * 1024
"""Of the request line and all headers; 8 kB is Apache's and nginx's limit for a line."""
FIELDS_MAX = 64
PARAMETERS_MAX = 16

_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/(\d)\.(\d)\Z")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\Z")
"""Without blanks beside a repeated group: trying every split of a long run of them took minutes, with the GIL held."""


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


def parse(head: bytes) -> Request:
    """Read a request head without its closing empty line. BadRequest for whatever is not plainly right.

    >>> parse(b"GET /replica?lag=16MB HTTP/1.0").query
    {'lag': '16MB'}
    """
    lines = head.decode("latin-1").split("\r\n")
    line = _REQUEST_LINE.match(lines[0])
    if line is None:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "not an HTTP request line")
    method, target, major, minor = line.groups()
    if major != "1":
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{major}.{minor} is not spoken here")
    fields = _fields(lines[1:])
    if minor != "0" and "host" not in fields:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "no Host field")
    if method not in METHODS:
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not taken: nothing can be changed here")
    if fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no body is taken")
    path, _, query = target.partition("?")
    if not path.startswith("/") and not (method == "OPTIONS" and path == "*"):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the target is not a path")
    return Request(method, unquote(path, errors="replace"), _query(query), fields)


def _fields(lines: list[str]) -> dict[str, str]:
    if len(lines) > FIELDS_MAX:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {FIELDS_MAX} header fields")
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.match(line)
        if match is None:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "not a header field")  # a folded one too (RFC 9112, 5.2)
        name = match[1].lower()
        if name in fields and name in ("host", "authorization", "content-length"):
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"more than one {name} field")
        fields[name] = match[2].strip(" \t")
    return fields


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise BadRequest(HTTPStatus.BAD_REQUEST, f"more than {PARAMETERS_MAX} parameters") from error
    return dict(pairs)


def encode(response: Response, method: str, wall_s: float) -> bytes:
    """The bytes of a response; HEAD and OPTIONS get no body. `wall_s`: Unix time, for Date."""
    body = response.body if method != "OPTIONS" else b""
    fields = [
        ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(wall_s))),
        ("Content-Type", response.kind),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
        *response.fields,
    ]
    if method == "OPTIONS" or response.status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields.append(("Allow", ", ".join(METHODS)))
    head = f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode("latin-1") + (body if method == "GET" else b"")
