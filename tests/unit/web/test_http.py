"""HTTP in bytes: what is plainly right is read, everything else is refused by its status, and soon."""

from __future__ import annotations

import doctest
import random
import time
from http import HTTPStatus

import pytest

from pgvip.web import http
from pgvip.web.http import (
    BLANKS_MAX,
    FIELDS_MAX,
    HEAD_MAX_BYTES,
    PARAMETERS_MAX,
    BadRequest,
    Exchange,
    Request,
    Response,
)

PIECE_BYTES = 4096
"""The server reads no more at once."""


def read(sent: bytes, piece_bytes: int = PIECE_BYTES) -> Request | None:
    """What an exchange makes of this, arriving in pieces."""
    exchange = Exchange()
    for start in range(0, len(sent), piece_bytes):
        if (request := exchange.take(sent[start : start + piece_bytes])) is not None:
            return request
    return None


@pytest.mark.parametrize("piece_bytes", [1, 7, PIECE_BYTES])
def test_a_request_is_read_whole(piece_bytes: int) -> None:
    head = b"GET /replica%2F?lag=16MB&x=%41 HTTP/1.1\r\nHost: db1:8433\r\nAuthorization:  Basic eA== \r\n"
    assert read(head, piece_bytes) is None
    request = read(head + b"\r\n", piece_bytes)
    assert request is not None
    assert (request.method, request.path) == ("GET", "/replica/")
    assert request.query == {"lag": "16MB", "x": "A"}
    assert request.fields == {"host": "db1:8433", "authorization": "Basic eA=="}


@pytest.mark.parametrize("line", [b"OPTIONS /primary HTTP/1.0", b"HEAD / HTTP/1.0", b"OPTIONS * HTTP/1.0"])
def test_what_load_balancers_send_without_a_host_field(line: bytes) -> None:
    request = read(line + b"\r\n\r\n")
    assert request is not None
    assert request.method in ("OPTIONS", "HEAD")


REFUSED: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "no version": (b"GET /", 400),
    "two blanks": (b"GET  / HTTP/1.1\r\nHost: x", 400),
    "no host": (b"GET / HTTP/1.1", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y", 400),
    "folded": (b"GET / HTTP/1.1\r\nHost: x\r\n folded", 400),
    "folded by a tab": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc", 400),
    "blank before the colon": (b"GET / HTTP/1.1\r\nHost : x", 400),
    "no name": (b"GET / HTTP/1.1\r\nHost: x\r\n: y", 400),
    "bare CR": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d", 400),
    "bare CR in the first line": (b"GET /\rHost: x HTTP/1.1\r\nHost: x", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "another host's": (b"GET http://other/ HTTP/1.1\r\nHost: x", 400),
    "no path": (b"GET * HTTP/1.0", 400),
    "parameters": (b"GET /?" + b"&".join(b"a%d=1" % n for n in range(PARAMETERS_MAX + 1)) + b" HTTP/1.0", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0", 505),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM", 505),
    "POST": (b"POST / HTTP/1.0", 405),
    "DELETE": (b"DELETE /primary HTTP/1.0", 405),
    "body": (b"GET / HTTP/1.0\r\nContent-Length: 3", 413),
    "chunked": (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked", 413),
    "chunks": (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff;x\r\nbody", 413),
    "both lengths": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked", 413),
    "no number": (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
    "another coding": (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", 501),
    "fields": (b"GET / HTTP/1.0" + b"\r\nA: b" * (FIELDS_MAX + 1), 431),
    "endless fields": (b"GET / HTTP/1.0" + b"\r\nA: b" * HEAD_MAX_BYTES, 431),
    "endless line": (b"GET /" + b"x" * 3 * HEAD_MAX_BYTES, 431),
    "empty lines": (b"\r\n" * HEAD_MAX_BYTES, 400),
    # Each of these took a second or more, in which nothing else of the process ran.
    "blanks, then another line": (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b" " * 8000 + b"\nx", 400),
    "blanks, then NUL": (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b" " * 8000 + b"\0", 400),
    "tabs, then a bare CR": (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b"\t" * 8000 + b"\r\x0b", 400),
    "folded blanks": (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b"\r\n " * 2600 + b"\0", 400),
    "blanks only": (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b" " * HEAD_MAX_BYTES, 400),
}


@pytest.mark.parametrize("piece_bytes", [1, 100, PIECE_BYTES])
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_plainly_right_is_refused_soon(what: str, piece_bytes: int) -> None:
    head, status = REFUSED[what]
    sent = head if b"\r\n\r\n" in head else head + b"\r\n\r\n"
    began_s = time.thread_time()
    with pytest.raises(BadRequest) as caught:
        read(sent, piece_bytes)
    assert time.thread_time() - began_s < 0.2
    assert caught.value.status == status
    assert 0 < len(caught.value.reason) <= 200


def test_some_blanks_are_no_fault() -> None:
    for count in (1, BLANKS_MAX - 1):
        request = read(b"GET / HTTP/1.1\r\nHost:" + b" " * count + b"x" + b"\t" * count + b"\r\n\r\n", 1)
        assert request is not None
        assert request.fields["host"] == "x"


def answer(method: str, status: HTTPStatus = HTTPStatus.OK) -> tuple[set[str], bytes]:
    """The lines of the head and the body."""
    exchange = Exchange()
    if method:
        exchange.take(f"{method} / HTTP/1.0\r\n\r\n".encode())
    head, _, body = exchange.answer(Response(status, b"body\n", fields=(("X-One", "1"),)), 0.0).partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    return {first, *(field.lower() for field in fields)}, body


@pytest.mark.parametrize("method", ["GET", ""])
def test_an_answer_says_its_length_and_ends_the_connection(method: str) -> None:
    head, body = answer(method)
    assert "HTTP/1.1 200 OK" in head
    assert {"content-length: 5", "connection: close", "x-one: 1", "cache-control: no-store"} <= head
    assert "date: thu, 01 jan 1970 00:00:00 gmt" in head
    assert body == b"body\n"


def test_head_has_the_length_and_no_body_and_options_says_what_is_allowed() -> None:
    assert answer("HEAD")[1] == answer("OPTIONS")[1] == b""
    assert "content-length: 5" in answer("HEAD")[0]
    assert {"content-length: 0", "allow: get, head, options"} <= answer("OPTIONS")[0]
    assert "allow: get, head, options" in answer("GET", HTTPStatus.METHOD_NOT_ALLOWED)[0]


def test_whatever_is_sent_is_read_or_refused_and_can_be_answered() -> None:
    chance = random.Random(8433)
    parts = [b"GET", b"HEAD ", b" /", b" HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host: x", b"A:", b" " * 100, b"\t", b"\0",
             b"Content-Length: 1", b"Transfer-Encoding: chunked", b"Connection: upgrade", b"Expect: 100-continue",
             b"\r\n\r\n", b"\xff\x80", b"%", b"?", b"CONNECT x:1"]  # fmt: skip
    outcomes: set[object] = set()
    for _ in range(2000):
        exchange = Exchange()
        start = chance.choice([b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"HEAD /?"])
        data = start + b"".join(chance.choices(parts, k=chance.randrange(1, 12)))
        try:
            outcomes.add(exchange.take(data) is not None)
        except BadRequest as error:
            outcomes.add(error.status)
        assert exchange.answer(Response(HTTPStatus.OK, b"body\n"), 0.0).startswith(b"HTTP/1.1 200 OK\r\n")
    assert {True, False, HTTPStatus.BAD_REQUEST} <= outcomes


def test_doctests() -> None:
    assert doctest.testmod(http) == (0, 1)


def test_what_is_refused_is_answered() -> None:
    exchange = Exchange()
    with pytest.raises(BadRequest):
        exchange.take(b"nonsense\r\n\r\n")
    assert exchange.answer(Response(HTTPStatus.BAD_REQUEST, b"why\n"), 0.0).endswith(b"\r\n\r\nwhy\n")
