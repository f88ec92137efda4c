"""Packet sockets are closed in the background, all of them."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from pgvip.deadlines import wait_until
from pgvip.errors import ProbeError
from pgvip.system import closing

if TYPE_CHECKING:
    import pytest


class Slow(socket.socket):
    """The kernel takes its time with closing it."""

    go_on = threading.Event()

    def close(self) -> None:
        self.go_on.wait(20)
        super().close()


def closed(sock: socket.socket) -> bool:
    return sock.fileno() < 0


def test_nobody_waits_for_the_kernel_and_all_are_closed_in_the_end() -> None:
    closer, sockets = closing.Closer(), [Slow() for _ in range(closing.CLOSING_MAX)]
    for sock in sockets:
        closer.close(sock)
    assert not any(closed(sock) for sock in sockets)
    Slow.go_on.set()
    wait_until(lambda: all(closed(sock) for sock in sockets), 20, what="the end of the sockets", error=ProbeError)


def test_where_no_thread_can_be_had_it_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sock = socket.socket()
    closing.Closer().close(sock)
    assert closed(sock)


def test_when_too_many_wait_it_is_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing.Closer, "_run", lambda _self: None)
    closer, sockets = closing.Closer(), [socket.socket() for _ in range(closing.CLOSING_MAX + 1)]
    for sock in sockets:
        closer.close(sock)
    assert [closed(sock) for sock in sockets] == [False] * closing.CLOSING_MAX + [True]
    for sock in sockets:
        sock.close()
