"""What comes over HTTP: every sequence of bytes is a request that gets its answer, or is refused with a status."""

from __future__ import annotations

from contextlib import suppress

import pytest

from pgvip.web.http import BadRequest, Exchange, Request, Response
from pgvip.web.own_names import check_host
from pgvip.web.site import Site
from tests.fuzz.cases import fuzz, numbers, one_of, raw
from tests.unit.web_world import World

REQUESTS = (
    b"GET /replica?lag=16MB HTTP/1.1\r\nHost: db1\r\n\r\n",
    b"GET /cluster HTTP/1.0\r\n\r\n",
    b"HEAD /metrics HTTP/1.1\r\nHost: [fd00::1]:8433\r\nAuthorization: Basic cm9vdDp4\r\nAccept: */*\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: 192.0.2.11\r\n\r\n",
    b"GET /async?lag=1&x=%ff%00 HTTP/1.1\r\nHost: db1\r\nContent-Length: 0\r\nX: \t y \r\n\r\n",
    b"POST /status HTTP/1.1\r\nHost: db1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
)


@pytest.fixture(scope="module")
def site() -> Site:
    return World().site()


@fuzz(data=raw(*REQUESTS), chunk=numbers(1, 60), secret=one_of(None, b"root:x"))
def test_requests(site: Site, data: bytes, chunk: int, secret: bytes | None) -> None:
    exchange = Exchange()
    request: Request | None = None
    try:
        for at in range(0, len(data), chunk):
            request = exchange.take(data[at : at + chunk])
            if request is not None:
                break
        if request is None:
            return
        check_host(request.fields.get("host", ""), {"db1"}, "192.0.2.11")
        answer = site.respond(request, secret)
    except BadRequest as refused:
        answer = Response(refused.status, f"{refused.reason}\n".encode())
    written = exchange.answer(answer, 1_790_000_000.0)
    assert written.startswith(b"HTTP/1.1 ")
    head, _, body = written.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert all(b":" in line for line in lines[1:]), "nothing of the request becomes a line of the answer's head"
    if body:
        assert f"Content-Length: {len(body)}".encode() in lines


@fuzz(data=raw(b"db1", b"[fd00::1]:8433", b"192.0.2.11:80", b"::ffff:192.0.2.1"))
def test_host_fields(data: bytes) -> None:
    with suppress(BadRequest):
        check_host(data.decode("latin-1"), {"db1"}, "192.0.2.11")
