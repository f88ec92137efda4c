"""The first messages of PostgreSQL's protocol, spoken directly: is somebody there, and saying what.

The driver hides the SQLSTATE of a refused connection, and its text is in the server's language. A health
probe must distinguish "too many clients" (alive) from "starting up" (not serving) from silence
(PostgreSQL manual, 55.2.1 Start-up, 55.8 Error and Notice Message Fields).
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

from pgvip.deadlines import Deadline
from pgvip.errors import ProbeError
from pgvip.system import session_settings

PROTOCOL_3, SSL_REQUEST = 196608, 80877103
CANNOT_CONNECT_NOW = "57P03"
"""The server is starting up, shutting down, or recovering."""

MESSAGE_BYTES_MAX = 65536
"""Longer than any message before ReadyForQuery: more is not PostgreSQL."""

TERMINATE = b"X\x00\x00\x00\x04"
FOREIGN = "what answers does not speak PostgreSQL's protocol"


class NotPostgresError(ProbeError):
    """Something answered, in another protocol."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a live server said to a new connection.

    `ready`: it came all the way to "ready for query". `sqlstate`, `text`: of the error it sent instead
    ("" when it asked for a password, which is an answer too).
    """

    ready: bool
    sqlstate: str = ""
    text: str = ""

    @property
    def serving(self) -> bool:
        """False while the server says that it takes no connections now."""
        return self.sqlstate != CANNOT_CONNECT_NOW


def ping(address: str | Path, port: int, user: str, database: str, timeout_s: float) -> Answer:
    """Open a new connection and return what the server says first.

    `address`: a host's, or the directory of a Unix socket. Raises ProbeError when nothing answers in time.
    """
    deadline = Deadline.after(timeout_s)
    try:
        with _connect(address, port, deadline) as connection:
            connection.sendall(_startup(user, database))
            return _first_answer(connection, deadline)
    except (OSError, struct.error) as failure:
        raise ProbeError(f"no database answers at {address}:{port}", str(failure)) from failure


def negotiate(address: str | Path, port: int, timeout_s: float) -> None:
    """Open a new connection and have the process that the server makes for it say whether it speaks TLS: no login.

    The postmaster itself says no word before it has made that process (manual, 55.2.10; postmaster.c). Where it cannot
    make one, it sends an error in place of the answer. Raises ProbeError when there is no answer in time.
    """
    deadline = Deadline.after(timeout_s)
    try:
        with _connect(address, port, deadline) as connection:
            connection.sendall(struct.pack("!ii", 8, SSL_REQUEST))
            if _exactly(connection, 1, deadline) not in (b"S", b"N"):
                raise NotPostgresError(FOREIGN)
    except OSError as failure:
        raise ProbeError(f"no database answers at {address}:{port}", str(failure)) from failure


def served_certificate(address: str, port: int, timeout_s: float) -> bytes | None:
    """The certificate (DER) of the server at `address`, believed or not; None when there is none to be had.

    Only TLS is begun, by the request for it (manual, 55.2.10); nobody logs in.
    """
    deadline = Deadline.after(timeout_s)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with _connect(address, port, deadline) as connection:
            connection.sendall(struct.pack("!ii", 8, SSL_REQUEST))
            if _exactly(connection, 1, deadline) != b"S":
                return None
            connection.settimeout(_left_s(deadline))
            with context.wrap_socket(connection) as secure:
                return secure.getpeercert(binary_form=True)
    except OSError:
        return None


def ping_as_client(address: str, port: int, user: str, database: str, timeout_s: float) -> Answer:
    """As `ping`, over TCP; where the server offers TLS, that comes about, and no more (manual, 55.2.10).

    A login without a certificate would be a line in the server's log each time.
    """
    deadline = Deadline.after(timeout_s)
    try:
        with _connect(address, port, deadline) as connection:
            connection.sendall(struct.pack("!ii", 8, SSL_REQUEST))
            offered = _exactly(connection, 1, deadline)
            if offered == b"S":
                connection.settimeout(_left_s(deadline))
                with _tls().wrap_socket(connection):
                    return Answer(ready=False)
            if offered != b"N":
                raise NotPostgresError(FOREIGN)
            connection.sendall(_startup(user, database))
            return _first_answer(connection, deadline)
    except (OSError, struct.error) as failure:
        raise ProbeError(f"no database answers at {address}:{port}", str(failure)) from failure


def _tls() -> ssl.SSLContext:
    """Whoever answers at this host's own address is this host: what counts is that the handshake comes about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing secret is sent
    return context


def _connect(address: str | Path, port: int, deadline: Deadline) -> socket.socket:
    if isinstance(address, str) and not address.startswith("/"):
        return socket.create_connection((address, port), timeout=_left_s(deadline))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_left_s(deadline))
        connection.connect(str(Path(address) / f".s.PGSQL.{port}"))
    except BaseException:
        connection.close()
        raise
    return connection


def _left_s(deadline: Deadline) -> float:
    left_s = deadline.left_s()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def _startup(user: str, database: str) -> bytes:
    words = {
        "user": user,
        "database": database,
        "application_name": "pgvip",
        "options": session_settings.options(session_settings.IMMUNE),
    }
    body = struct.pack("!i", PROTOCOL_3)
    body += b"".join(f"{key}\0{value}\0".encode() for key, value in words.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def _first_answer(connection: socket.socket, deadline: Deadline) -> Answer:
    """Read up to "ready for query", an error, or a demand for a password."""
    while True:
        kind, body = _message(connection, deadline)
        if kind == b"E":
            fields = _error_fields(body)
            return Answer(ready=False, sqlstate=fields.get("C", ""), text=fields.get("M", ""))
        if kind == b"R" and struct.unpack("!i", body[:4])[0] != 0:
            return Answer(ready=False)
        if kind == b"Z":
            # Taking leave keeps "unexpected EOF on client connection" out of the server's log.
            connection.sendall(TERMINATE)
            return Answer(ready=True)
        if kind not in (b"R", b"S", b"K", b"N"):
            raise NotPostgresError(FOREIGN)


def _message(connection: socket.socket, deadline: Deadline) -> tuple[bytes, bytes]:
    kind = _exactly(connection, 1, deadline)
    (length,) = struct.unpack("!i", _exactly(connection, 4, deadline))
    if not 4 <= length <= MESSAGE_BYTES_MAX:
        raise NotPostgresError(FOREIGN)
    return kind, _exactly(connection, length - 4, deadline)


def _exactly(connection: socket.socket, size: int, deadline: Deadline) -> bytes:
    data = b""
    while len(data) < size:
        connection.settimeout(_left_s(deadline))
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the connection was closed")
        data += chunk
    return data


def _error_fields(body: bytes) -> dict[str, str]:
    return {part[:1].decode(errors="replace"): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
