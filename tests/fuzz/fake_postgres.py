"""A server that speaks PostgreSQL's protocol as far as a login and an answer, and then says whatever a test wants."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.unit.fake_server import SSL_REQUEST, message

SAYS = {"server_version": "15.1", "client_encoding": "UTF8", "DateStyle": "ISO", "standard_conforming_strings": "on"}
GREETING = b"".join((
    message(b"R", bytes(4)),
    *(message(b"S", f"{key}\0{value}\0".encode()) for key, value in SAYS.items()),
    message(b"K", bytes(8)),
    message(b"Z", b"I"),
))  # fmt: skip
"""A login without a password, and what the driver wants to know."""
PORT = 5432
Cell = bytes | None
Answer = tuple[Sequence[int], Sequence[Sequence[Cell]]]
"""Type OIDs of the columns, and rows of texts (None: null); a row may have another number of columns."""


def described(oids: Sequence[int]) -> bytes:
    """RowDescription (PostgreSQL manual, 55.7)."""
    columns = b"".join(b"c\0" + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0) for oid in oids)
    return message(b"T", struct.pack("!h", len(oids)) + columns)


def data(row: Sequence[Cell]) -> bytes:
    """DataRow."""
    cells = b"".join(struct.pack("!i", -1) if one is None else struct.pack("!i", len(one)) + one for one in row)
    return message(b"D", struct.pack("!h", len(row)) + cells)


def spoken(answer: Answer) -> bytes:
    """What a server sends for a query."""
    oids, rows = answer
    return described(oids) + b"".join(map(data, rows)) + message(b"C", b"SELECT 1\0") + message(b"Z", b"I")


class FakePostgres:
    """Serves `greeting` to each new connection and `answer` to its first query, on a Unix socket in `directory`.

    `patience_s`: how long it waits for a query; a client that did not understand the greeting waits for more of it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.greeting, self.answer = GREETING, b""
        self.patience_s = 5.0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / f".s.PGSQL.{PORT}"))
        self._listener.listen(16)
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self.directory / f".s.PGSQL.{PORT}")  # noqa: PTH108 - a plain name

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(5)
                self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        if client.recv(4000)[4:8] == SSL_REQUEST:
            client.sendall(b"N")
            client.recv(4000)
        client.sendall(self.greeting)
        client.settimeout(self.patience_s)
        if client.recv(65536):
            client.sendall(self.answer)
        client.shutdown(socket.SHUT_WR)  # a client that waits for more gets the end
        while client.recv(65536):
            pass
