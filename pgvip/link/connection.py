"""One TLS connection of the peer link: handshake, frames in, frames out, never blocking.

A frame is a kind (1 byte), a length (4 bytes, big-endian) and a body. Each end first sends a hello with the name of
its link instance; from then on texts, each with a serial number that the receiver uses to drop what it has already
got through another connection, and now and then a bulk frame, which may wait and may be lost. Unknown kinds are skipped
(a newer peer, during a rolling upgrade).

Times are seconds of the caller's clock.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from pgvip.errors import LinkError
from pgvip.link.questions import NUMBER, Answered, Asked
from pgvip.state.codec import MAX_BYTES
from pgvip.system.reserve import RESERVE

if TYPE_CHECKING:
    from collections.abc import Container

HEADER = struct.Struct(">BI")
SERIAL = struct.Struct(">Q")
INSTANCE_BYTES = 16
BODY_MAX = MAX_BYTES + SERIAL.size
READ_BYTES = 16 * 1024
"""One TLS record."""
READS_MAX = 64
"""Reads in one go: 1 MB at once is no heartbeat."""
TCP_THIN_LINEAR_TIMEOUTS = 16
"""From linux/tcp.h; the socket module does not name it. A thin stream is retransmitted at a steady pace, so that a
connection that lives through a short cut goes on at once when the cut ends."""
PENDING_MAX = 16
"""Questions and answers that wait for their turn on one connection; the oldest goes, and whoever asked says so."""
SEGMENT_BYTES = 1220
"""What one packet carries at most: IPv6's smallest MTU is 1280 bytes (RFC 8200). The two daemons hear each other also
where larger packets are lost on the way and no ICMP says so; what does not pass then is named, and nobody is fenced."""
UNSENT_MAX = 16 * 1024
"""Unsent bytes that the kernel may hold: what is stuck there is old when it arrives."""


class Kind(int, Enum):
    """What a frame carries."""

    HELLO = 1
    TEXT = 2
    BULK = 3
    ASK = 4
    ANSWER = 5


class Stage(Enum):
    """How far a connection has come."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Hello:
    """The other end named its link instance."""

    instance: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the other end; serials grow within one instance."""

    serial: int
    text: str


@dataclass(frozen=True, slots=True)
class Bulk:
    """What may come late, twice, or not at all."""

    body: bytes


Got = Hello | Text | Bulk | Asked | Answered


_MAKERS: dict[int, type[Text | Asked | Answered]] = {Kind.TEXT: Text, Kind.ASK: Asked, Kind.ANSWER: Answered}


def frame(kind: Kind, body: bytes) -> bytes:
    """Pack one frame."""
    return HEADER.pack(kind, len(body)) + body


def text_frame(serial: int, text: str) -> bytes:
    """Pack a text. LinkError when it is too long for the other end."""
    body = text.encode()
    if len(body) > MAX_BYTES:
        raise LinkError(f"message is too long: {len(body)} bytes, at most {MAX_BYTES}")
    return frame(Kind.TEXT, SERIAL.pack(serial) + body)


def bulk_frame(body: bytes) -> bytes:
    """Pack what has no hurry. LinkError when it is too long for the other end."""
    if len(body) > MAX_BYTES:
        raise LinkError(f"message is too long: {len(body)} bytes, at most {MAX_BYTES}")
    return frame(Kind.BULK, body)


def ask_frame(kind: Kind, number: int, text: str) -> bytes:
    """Pack a question or an answer. LinkError when it is too long for the other end."""
    body = text.encode()
    if len(body) > MAX_BYTES:
        raise LinkError(f"message is too long: {len(body)} bytes, at most {MAX_BYTES}")
    return frame(kind, NUMBER.pack(number) + body)


def family(address: tuple[str, int]) -> socket.AddressFamily:
    """The family of a numeric address."""
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def open_socket(address: tuple[str, int]) -> socket.socket:
    """A socket to connect to this address, that waits for nothing. OSError."""
    with RESERVE.lent():  # with the peer's daemon goes the consent of a role's change
        return socket.socket(family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def open_listener(address: tuple[str, int], waiting_max: int) -> socket.socket:
    """A socket that listens on this address, and waits for nothing. OSError."""
    sock = open_socket(address)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(waiting_max)
    except OSError:
        sock.close()
        raise
    return sock


def limit_segments(sock: socket.socket) -> None:
    """Have packets carry `SEGMENT_BYTES` at most. Before it connects or listens, also those of the other end."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)


def tune(sock: socket.socket, dead_s: float) -> None:
    """Small messages at once, and the kernel gives up when the driver would."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limit_segments(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(dead_s * 1000)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1)


class Connection:
    """A socket and what is half read and half written on it. Any failure is an OSError or a LinkError."""

    def __init__(self, sock: socket.socket, *, outbound: bool, remote: str, deadline_s: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.outbound = outbound
        self.remote = remote
        self.deadline_s = deadline_s
        self.stage = Stage.CONNECTING if outbound else Stage.HANDSHAKE
        self.instance = b""
        self.heard_s = 0.0
        self.wants_write = outbound
        self.ended = ""
        self.replaced = False  # by one that is being made with other certificates; it carries on until then
        self.pending: deque[bytes] = deque(maxlen=PENDING_MAX)
        self._in = bytearray()
        self._out = memoryview(b"")

    @property
    def live(self) -> bool:
        """True once the peer itself was heard on it: a handshake alone may still be refused by the other end."""
        return bool(self.instance)

    @property
    def idle(self) -> bool:
        """True when another frame can be given to `queue`."""
        return self.stage is Stage.OPEN and not self._out

    @property
    def drained(self) -> bool:
        """True when the other end's kernel has acknowledged everything: what is sent now delays nothing before it."""
        try:
            return self.idle and not struct.unpack("i", fcntl.ioctl(self.fd, termios.TIOCOUTQ, bytes(4)))[0]
        except OSError:
            return False

    def connected(self) -> None:
        """Look how a non-blocking connect ended."""
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, f"cannot connect to {self.remote}")
        self.stage = Stage.HANDSHAKE

    def wrap(self, context: ssl.SSLContext) -> None:
        """Begin TLS on the socket; the file descriptor stays the same."""
        self.sock = context.wrap_socket(
            self.sock, server_side=not self.outbound, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )

    def handshake(self, peer_ders: Container[bytes]) -> bool:
        """Go on with the handshake; True when it is done. LinkError when the certificate is not the peer's."""
        sock = self._tls()
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self.wants_write = False
            return False
        except ssl.SSLWantWriteError:
            self.wants_write = True
            return False
        if sock.getpeercert(binary_form=True) not in peer_ders:
            raise LinkError(f"certificate of {self.remote} is not the peer's")
        self.stage, self.wants_write = Stage.OPEN, False
        return True

    def queue(self, data: bytes) -> None:
        """Take one frame and write what the kernel accepts now; only when `idle`."""
        self._out = memoryview(data)
        self.flush()

    def flush(self) -> None:
        """Write more of the frame that is under way."""
        sock = self._tls()
        try:
            while self._out:
                self._out = self._out[sock.send(self._out) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass  # TLS 1.3 has no renegotiation: both mean later
        self.wants_write = bool(self._out)

    def receive(self) -> list[Got]:
        """Read what has come. LinkError when the other end does not keep to the form.

        When it closed, or the connection broke, `ended` says so: what came before that still counts.
        """
        sock = self._tls()
        for _ in range(READS_MAX):
            try:
                data = sock.recv(READ_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return self._frames()
            except ssl.SSLEOFError:  # its daemon ended without a farewell
                data = b""
            except OSError as error:
                self.ended = str(error)
                return self._frames()
            if not data:
                self.ended = "closed by the peer"
                return self._frames()
            self._in += data
        raise LinkError(f"{self.remote} sends faster than heartbeats come")

    def abort(self) -> None:
        """Close with a reset, so that the other end and both kernels forget it at once."""
        with contextlib.suppress(OSError):  # already gone
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def finish(self) -> None:
        """Close in an orderly way: what was queued still arrives, and the other end knows at once."""
        if isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(OSError, ValueError):  # the answer to the notice is not waited for
                self.sock.unwrap()
        self.sock.close()

    def _tls(self) -> ssl.SSLSocket:
        if not isinstance(self.sock, ssl.SSLSocket):
            raise LinkError(f"connection to {self.remote} is not encrypted yet")
        return self.sock

    def _frames(self) -> list[Got]:
        found: list[Got] = []
        while len(self._in) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._in)
            if length > BODY_MAX:
                raise LinkError(f"{self.remote} announces a frame of {length} bytes, at most {BODY_MAX}")
            end = HEADER.size + length
            if len(self._in) < end:
                break
            body = bytes(self._in[HEADER.size : end])
            del self._in[:end]
            found += self._read(kind, body)
        return found

    def _read(self, kind: int, body: bytes) -> list[Got]:
        if kind == Kind.HELLO:
            if len(body) < INSTANCE_BYTES:
                raise LinkError(f"{self.remote} sent a short hello")
            return [Hello(body[:INSTANCE_BYTES])]
        if kind == Kind.BULK:
            return [Bulk(body)]
        make = _MAKERS.get(kind)
        if make is None:
            return []
        if len(body) < SERIAL.size:
            raise LinkError(f"{self.remote} sent a short message")
        try:
            return [make(SERIAL.unpack_from(body)[0], body[SERIAL.size :].decode())]
        except UnicodeDecodeError as error:
            raise LinkError(f"{self.remote} sent a message that is not UTF-8", f"{error}.") from error
