"""HTTP in bytes: what is plainly right is read, everything else is refused by its status."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from pgvip.web.http import FIELDS_MAX, PARAMETERS_MAX, BadRequest, Response, encode, parse


def test_a_request_is_read_whole() -> None:
    request = parse(b"GET /replica%2F?lag=16MB&x=%41 HTTP/1.1\r\nHost: db1:8433\r\nAuthorization:  Basic eA== ")
    assert (request.method, request.path) == ("GET", "/replica/")
    assert request.query == {"lag": "16MB", "x": "A"}
    assert request.fields == {"host": "db1:8433", "authorization": "Basic eA=="}


@pytest.mark.parametrize("line", [b"OPTIONS /primary HTTP/1.0", b"HEAD / HTTP/1.0", b"OPTIONS * HTTP/1.0"])
def test_what_load_balancers_send_without_a_host_field(line: bytes) -> None:
    assert parse(line).method in ("OPTIONS", "HEAD")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1\r\nHost: x", 400),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost : x", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d", 400),
        # took minutes, in which nothing else of the process ran
        (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b" " * 8000 + b"\nx", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0", 400),
        (b"GET http://other/ HTTP/1.1\r\nHost: x", 400),
        (b"GET * HTTP/1.0", 400),
        (b"GET /?" + b"&".join(b"a%d=1" % n for n in range(PARAMETERS_MAX + 1)) + b" HTTP/1.0", 400),
        (b"GET / HTTP/2.0", 505),
        (b"POST / HTTP/1.0", 405),
        (b"DELETE /primary HTTP/1.0", 405),
        (b"GET / HTTP/1.0\r\nContent-Length: 3", 413),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked", 413),
        (b"GET / HTTP/1.0" + b"\r\nA: b" * (FIELDS_MAX + 1), 431),
    ],
)
def test_what_is_not_plainly_right_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(head)
    assert caught.value.status == status
    assert caught.value.reason


def answer(method: str, status: HTTPStatus = HTTPStatus.OK) -> tuple[list[str], bytes]:
    head, _, body = encode(Response(status, b"body\n", fields=(("X-One", "1"),)), method, 0.0).partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_an_answer_says_its_length_and_ends_the_connection() -> None:
    head, body = answer("GET")
    assert head[0] == "HTTP/1.1 200 OK"
    assert {"Content-Length: 5", "Connection: close", "X-One: 1", "Cache-Control: no-store"} <= set(head)
    assert "Date: Thu, 01 Jan 1970 00:00:00 GMT" in head
    assert body == b"body\n"


def test_head_has_the_length_and_no_body_and_options_says_what_is_allowed() -> None:
    assert answer("HEAD")[1] == answer("OPTIONS")[1] == b""
    assert "Content-Length: 5" in answer("HEAD")[0]
    assert {"Content-Length: 0", "Allow: GET, HEAD, OPTIONS"} <= set(answer("OPTIONS")[0])
    assert "Allow: GET, HEAD, OPTIONS" in answer("GET", HTTPStatus.METHOD_NOT_ALLOWED)[0]
