"""The HTTP server: one thread that accepts, one short-lived thread for each connection, and a limit for everything.

A slow client is cut off when its time is up; when all places are taken, the one that has been at its request the
longest has to go. A failure to listen is reported and tried again; it never ends the daemon.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from pgvip.deadlines import now_s
from pgvip.web.http import REQUEST_THREAD, BadRequest, Exchange, Request, Response
from pgvip.web.listeners import HttpState, Opened, Plan, open_all, shown
from pgvip.web.own_names import check_host

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS_MAX = 32
"""At the same time: two load balancers, a Prometheus and some viewers are below ten."""
REQUEST_S = 3.0
"""From the connection to the whole request, TLS handshake included."""
RESPONSE_S = 10.0
"""For a client to take the whole answer."""
REFUSAL_S = 1.0
"""For the answer to a request that was not understood, and for what the client still sends."""
RETRY_S = 5.0
"""Between two tries to listen where it did not work: an address may come with its interface."""
DRAIN_MAX_BYTES = 256 * 1024
ERROR = Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error of pgvip; see its log\n")
BUSY = Response(HTTPStatus.SERVICE_UNAVAILABLE, b"too many connections\n", fields=(("Retry-After", "1"),))

Secret = bytes | None


class Connection:
    """One client. `began_s`: when it was accepted; `asking`: its request is not whole yet."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None, secret: Secret) -> None:
        self.sock = sock
        self.context, self.secret = context, secret
        self.began_s = now_s()
        self.asking = True

    def cut(self) -> None:
        """End it from another thread: its thread sees the end of the stream."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # not ssl's: that takes its state from its thread


class HttpServer:
    """Serves what `respond(request, secret)` answers. `secret`: what the configuration asks for, or None.

    `log`: for a change of what it listens on, and for what keeps it from that.
    """

    def __init__(
        self, plan: Plan, respond: Callable[[Request, Secret], Response], log: Callable[[str, str], None]
    ) -> None:
        self._respond, self._log = respond, log
        self._plan = plan
        self._opened = Opened()
        self._state = HttpState()
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._retry_s = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to serve; returns at once, also where it cannot listen yet."""
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread.start()

    def apply(self, plan: Plan) -> None:
        """Serve by another configuration; certificates and passwords are read again. From any thread."""
        self._plan = plan
        os.eventfd_write(self._wake, 1)

    def state(self) -> HttpState:
        return self._state

    def close(self) -> None:
        """Stop to listen; answers under way go on to their end."""
        self._closing.set()
        os.eventfd_write(self._wake, 1)
        self._thread.join(1.0)

    # --- the accepting thread -----------------------------------------------------------------------

    def _run(self) -> None:
        self._listen()
        while not self._closing.is_set():
            ready = [key.fileobj for key, _ in self._selector.select(RETRY_S if self._state.error else None)]
            if self._wake in ready:
                os.eventfd_read(self._wake)
            if self._wake in ready or (self._state.error and now_s() >= self._retry_s):
                self._listen()
                continue  # what was ready may be closed by now
            for listener in ready:
                assert isinstance(listener, socket.socket)
                self._accept(listener)
        for address in list(self._opened.sockets):
            self._opened.close(address)

    def _listen(self) -> None:
        before, opened = self._state, self._opened
        for listener in opened.sockets.values():
            self._selector.unregister(listener)
        error = "" if self._closing.is_set() else open_all(opened, self._plan)
        self._retry_s = now_s() + RETRY_S
        for listener in opened.sockets.values():
            self._selector.register(listener, selectors.EVENT_READ)
        self._state = HttpState(tuple(shown(address, opened.port) for address in opened.sockets), error)
        if self._state.listening != before.listening or (before.error and not error):
            scheme = "https" if opened.context else "http"
            where = ", ".join(f"{scheme}://{place}" for place in self._state.listening)
            self._log("http", where or "not served")
        if error and error != before.error:
            self._log("http-failed", f"{error}; it is tried again")

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # it has gone meanwhile
        except OSError:
            time.sleep(0.1)  # no descriptor is left, or the like: do not spin on it
            return
        connection = Connection(sock, self._opened.context, self._opened.secret)
        if not self._admit(connection):
            _refuse(connection)
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), name=REQUEST_THREAD, daemon=True).start()
        except RuntimeError:  # the limit of threads
            with self._lock:
                self._connections.discard(connection)
            _refuse(connection)

    def _admit(self, connection: Connection) -> bool:
        """Find a place; False when all are taken by requests that are being answered."""
        with self._lock:
            if len(self._connections) >= CONNECTIONS_MAX:
                asking = [one for one in self._connections if one.asking]
                if not asking:
                    return False
                slowest = min(asking, key=lambda one: one.began_s)
                slowest.cut()
                self._connections.discard(slowest)
            self._connections.add(connection)
            return True

    # --- a connection's own thread ------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        try:
            with contextlib.suppress(OSError):  # the client has gone, or its time is up
                self._converse(connection)
        finally:
            connection.sock.close()
            with self._lock:
                self._connections.discard(connection)

    def _converse(self, connection: Connection) -> None:
        until_s = connection.began_s + REQUEST_S
        if connection.context is not None:
            connection.sock.settimeout(REQUEST_S)
            wrapped = connection.context.wrap_socket(connection.sock, server_side=True, do_handshake_on_connect=False)
            connection.sock = wrapped
            wrapped.do_handshake()
        sock, exchange = connection.sock, Exchange()
        try:
            request = read_request(sock, exchange, until_s)
            check_host(request.fields.get("host", ""), self._plan.names, sock.getsockname()[0])
        except BadRequest as refused:
            answer = Response(refused.status, f"{refused.reason}\n".encode())
            write(sock, exchange.answer(answer, time.time()), now_s() + REFUSAL_S)
            _drain(sock, now_s() + REFUSAL_S)
            return
        connection.asking = False
        answer = ERROR
        try:
            answer = self._respond(request, connection.secret)
        finally:  # after a fault of the program too, which goes on to the end of this thread
            write(sock, exchange.answer(answer, time.time()), now_s() + RESPONSE_S)


def read_request(sock: socket.socket, exchange: Exchange, until_s: float) -> Request:
    """Read until the request is whole.

    BadRequest when it is not plainly right, too long or not there in time; ConnectionError when the client has gone.
    """
    while True:
        sock.settimeout(max(0.001, until_s - now_s()))
        try:
            data = sock.recv(4096)
        except TimeoutError as error:
            raise BadRequest(HTTPStatus.REQUEST_TIMEOUT, f"no whole request within {REQUEST_S:g} s") from error
        if not data:
            raise ConnectionResetError
        if (request := exchange.take(data)) is not None:
            return request


def write(sock: socket.socket, data: bytes, until_s: float) -> None:
    """Send all of it; TimeoutError at the deadline."""
    view = memoryview(data)
    while view:
        sock.settimeout(max(0.001, until_s - now_s()))
        view = view[sock.send(view) :]


def _drain(sock: socket.socket, until_s: float) -> None:
    """Take what the client still sends: closing on unread data would reset the connection, and lose the answer."""
    socket.socket.shutdown(sock, socket.SHUT_WR)
    left = DRAIN_MAX_BYTES
    while left > 0:
        sock.settimeout(max(0.001, until_s - now_s()))
        data = sock.recv(4096)
        if not data:
            return
        left -= len(data)


def _refuse(connection: Connection) -> None:
    """Answer without reading, as far as that goes without waiting."""
    with connection.sock as sock, contextlib.suppress(OSError):
        if connection.context is None:
            sock.setblocking(False)
            sock.send(Exchange().answer(BUSY, time.time()))
