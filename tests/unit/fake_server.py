"""A server at the other end of a real socket that says what a test tells it, or nothing at all."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def message(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def error(sqlstate: str, text: str, severity: str = "FATAL") -> bytes:
    fields = {"S": severity, "V": "FATAL", "C": sqlstate, "M": text}
    return message(b"E", b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


READY = message(b"R", bytes(4)) + message(b"S", b"server_version\x0015.1\0") + message(b"Z", b"I")
SSL_REQUEST = (80877103).to_bytes(4, "big")
PASSWORD = message(b"R", (10).to_bytes(4, "big") + b"SCRAM-SHA-256\0\0")


@contextmanager
def serving(
    answer: bytes | None, then: bytes = b"", *, tls: ssl.SSLContext | None = None, heard: list[bytes] | None = None,
    offered: bytes = b"N", directory: Path | None = None,
) -> Iterator[int]:
    """A port of 127.0.0.1 where each connection gets `answer` (None: accepted by the kernel, never answered).

    `then`: what is said to all that comes after it. `tls`: it is spoken where the client asks for it. `heard`: gets
    what the client says. `offered`: the answer to that question without `tls`. `directory`: of a Unix socket for port
    5432, in place of 127.0.0.1.
    """
    if directory is None:
        listener = socket.create_server(("127.0.0.1", 0))
    else:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(directory / ".s.PGSQL.5432"))
        listener.listen()
    kept: list[bytes] = [] if heard is None else heard

    def begin(connection: socket.socket) -> None:
        kept.append(connection.recv(1000))
        if kept[-1][4:8] == SSL_REQUEST and tls is not None:
            connection.sendall(b"S")
            with tls.wrap_socket(connection, server_side=True) as secure:
                kept.append(secure.recv(1000))
                speak(secure)
            return
        if kept[-1][4:8] == SSL_REQUEST:
            connection.sendall(offered)
            kept.append(connection.recv(1000))
        speak(connection)

    def speak(connection: socket.socket) -> None:
        connection.sendall(answer or b"")
        # Until the client leaves: closing first could throw away what was sent.
        while said := connection.recv(1000):
            kept.append(said)
            connection.sendall(then)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                begin(connection)

    thread = threading.Thread(target=serve, daemon=True)
    if answer is not None:
        thread.start()
    try:
        yield listener.getsockname()[1] if directory is None else 5432
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        if answer is not None:
            thread.join(5)
