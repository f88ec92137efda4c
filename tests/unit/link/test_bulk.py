"""Bulk frames on the peer link: they arrive, once, behind the texts, and never keep one waiting."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from pgvip.errors import LinkError
from pgvip.link.connection import Connection, Kind, Stage, bulk_frame, frame
from pgvip.state.codec import MAX_BYTES
from tests.unit.link.test_peer_link import HELLO, Pair, certificates, connected, free_port, pair, until

__all__ = ["certificates", "pair"]

LARGE = b"x" * 60_000


def test_a_bulk_frame_arrives_once(pair: Pair) -> None:
    alpha, beta = pair.end("alpha"), pair.end("beta")
    until(lambda: alpha.link.state().connections == 2 and beta.link.state().connections == 2)
    for number in range(20):
        alpha.link.send_bulk(b"%d" % number)
        assert beta.bulk.get(timeout=3) == b"%d" % number
    beta.link.send_bulk(LARGE)
    assert alpha.bulk.get(timeout=3) == LARGE
    assert beta.bulk.empty()
    assert alpha.got.empty()


def test_what_waits_is_replaced_by_what_comes_after_it(pair: Pair) -> None:
    alpha = pair.end("alpha")
    for number in range(50):
        alpha.link.send_bulk(b"%d" % number)
    beta = pair.end("beta")
    assert beta.bulk.get(timeout=5) == b"49"
    assert beta.bulk.empty()


def test_one_that_is_too_long_is_refused(pair: Pair) -> None:
    with pytest.raises(LinkError, match="too long"):
        pair.end("alpha").link.send_bulk(b"x" * (MAX_BYTES + 1))


def test_texts_go_on_while_the_other_end_takes_no_bulk(pair: Pair) -> None:
    """A peer that does not read: the bulk frame waits, and each newest text would have gone before it."""
    alpha, beta = pair.end("alpha"), pair.end("beta")
    until(lambda: connected(alpha) and connected(beta))
    slowest_s = 0.0
    for number in range(100):
        alpha.link.send_bulk(LARGE)
        began_s = time.monotonic()
        alpha.link.send(f"text {number}")
        beta.take_until(f"text {number}")
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    assert slowest_s < 1.0


def test_nothing_is_drained_while_bytes_are_on_their_way() -> None:
    """The kernel's own count of what the other end has not acknowledged decides."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock = socket.create_connection(("127.0.0.1", port))
        one = Connection(sock, outbound=True, remote="here", deadline_s=0.0)
        one.stage = Stage.OPEN
        before = one.drained
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(1000):
                sock.send(LARGE)
        assert (before, one.idle, one.drained) == (True, True, False)
        one.abort()


def test_a_bulk_frame_before_the_hello_ends_the_connection(pair: Pair) -> None:
    alpha = pair.end("alpha")
    client = pair.tls_client("beta", pair.alpha)
    client.sendall(frame(Kind.BULK, b"early"))
    until(lambda: "spoke before its hello" in alpha.link.state().last_error)
    assert alpha.bulk.empty()
    client.close()


def test_an_older_peer_that_knows_no_bulk_would_skip_it(pair: Pair) -> None:
    """As this one skips a kind that it does not know."""
    alpha = pair.end("alpha")
    client = pair.tls_client("beta", pair.alpha)
    unknown = bulk_frame(b"of a newer peer")
    client.sendall(HELLO + bytes([9]) + unknown[1:] + bulk_frame(b"known"))
    assert alpha.bulk.get(timeout=3) == b"known"
    client.close()


def test_whoever_sends_after_the_end_disturbs_nobody(pair: Pair) -> None:
    """The descriptor that woke the link's thread is gone then, and its number may be another file's."""
    alpha = pair.end("alpha")
    alpha.link.close()
    with socket.socket() as other:  # takes the number of a descriptor that was closed
        other.setblocking(False)
        alpha.link.send_bulk(b"late")
        alpha.link.send("late")
        alpha.link.close()
