"""A server at the other end of a real socket that says what a test tells it, or nothing at all."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def error(sqlstate: str, text: str, severity: str = "FATAL") -> bytes:
    fields = {"S": severity, "V": "FATAL", "C": sqlstate, "M": text}
    return message(b"E", b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


READY = message(b"R", bytes(4)) + message(b"S", b"server_version\x0015.1\0") + message(b"Z", b"I")
SSL_REQUEST = (80877103).to_bytes(4, "big")
PASSWORD = message(b"R", (10).to_bytes(4, "big") + b"SCRAM-SHA-256\0\0")


@contextmanager
def serving(answer: bytes | None, then: bytes = b"") -> Iterator[int]:
    """A port of 127.0.0.1 where each connection gets `answer` (None: accepted by the kernel, never answered).

    `then`: what is said to all that comes after it.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                if connection.recv(1000)[4:8] == SSL_REQUEST:
                    connection.sendall(b"N")
                    connection.recv(1000)
                connection.sendall(answer or b"")
                # Until the client leaves: closing first could throw away what was sent.
                while connection.recv(1000):
                    connection.sendall(then)

    thread = threading.Thread(target=serve, daemon=True)
    if answer is not None:
        thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if answer is not None:
            thread.join(5)
