"""Lets PostgreSQL's user read the other host's archive over TLS, without the keys of the link.

A Unix socket of the daemon: who connects is root or PostgreSQL's user, by the kernel's word, and asks one of the four
questions of archive.peer_wire. A thread here asks the peer's daemon (archive.peer_server) and passes the answer on as
it is. Bounded as there.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pgvip.archive import peer_wire
from pgvip.archive.peer_server import ASK_S, GRACE_S, HANDSHAKE_S, PROTOCOL, STALL_S, read_line
from pgvip.archive.peer_wire import Ask, WireError
from pgvip.deadlines import Deadline
from pgvip.errors import LinkError
from pgvip.link import tls
from pgvip.link.connection import family, limit_segments

if TYPE_CHECKING:
    import ssl

    from pgvip.config.model import Config
    from pgvip.link.tls import Contexts

CONNECT_S = 1.0
CLIENTS_MAX = 8
"""At the same time; the peer answers fewer."""
SILENCE_S = 10.0
"""In which a part of an answer must come."""


class PeerRelay:
    """Serves the socket `config().paths.archive_socket` on threads of its own.

    `reachable`: the peer's daemon is connected. Where it is not nothing is dialled: recovery asks for file after file,
    and would wait for a dead host each time.
    """

    def __init__(self, config: Callable[[], Config], contexts: Contexts, reachable: Callable[[], bool]) -> None:
        self._config, self._contexts, self._reachable = config, contexts, reachable
        self._slots = threading.BoundedSemaphore(CLIENTS_MAX)
        self._listener: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive-relay", daemon=True)

    def start(self) -> None:
        """Make the socket and begin to serve. LinkError when it cannot be made.

        This daemon is the only one: one that an earlier daemon left is in nobody's use.
        """
        path = self._config().paths.archive_socket
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o666)  # whoever connects is asked for his identity
            listener.listen(CLIENTS_MAX)
        except OSError as failure:
            listener.close()
            raise LinkError(f"cannot serve the socket {path}", f"{failure}.") from failure
        self._listener = listener
        self._thread.start()

    def renew(self, contexts: Contexts) -> None:
        """Use other certificates from now on."""
        self._contexts = contexts

    def close(self) -> None:
        self._ended.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._thread.join(1.0)
            self._listener.close()
            self._config().paths.archive_socket.unlink(missing_ok=True)

    def _run(self) -> None:
        assert self._listener is not None  # see start()
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                self._ended.wait(0.1)  # no descriptor is left, or the like: do not spin on it
                continue
            if not self._is_allowed(client) or not self._slots.acquire(blocking=False):
                client.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(client,), name="archive-relay", daemon=True).start()
            except RuntimeError:  # no thread is to be had: who asked tries again
                self._slots.release()
                client.close()

    def _is_allowed(self, client: socket.socket) -> bool:
        try:
            return _caller(client) in (0, os.geteuid(), pwd.getpwnam(self._config().postgres.user).pw_uid)
        except (KeyError, OSError):
            return False

    def _serve(self, client: socket.socket) -> None:
        try:
            # The client went away, or asked for what there is not: it gets no more than the end of the connection.
            with client, contextlib.suppress(OSError, WireError):
                ask = read_line(client, Deadline.after(ASK_S))
                why = self._relay(client, ask)
                if why:
                    client.settimeout(STALL_S)
                    client.sendall(peer_wire.failed(why))
        finally:
            self._slots.release()

    def _relay(self, client: socket.socket, ask: Ask) -> str:
        """Ask the peer and pass its answer on; why it could not be asked, "" when it was. Raises OSError."""
        config = self._config()
        peer = config.peer.name
        if not self._reachable():
            if ask.what == peer_wire.PING:
                client.sendall(peer_wire.frame(peer_wire.MISSING))
                return ""
            return f"the daemon of {peer} is not connected"
        try:
            sock = self._dial(config)
        except (OSError, LinkError) as failure:
            where = f"{config.peer.address} port {config.archive.port}"
            return f"cannot reach the archive of {peer} at {where}: {failure}"
        try:
            sock.sendall(ask.line())
            why = self._pass_on(sock, client, Deadline.after(config.archive.timeout_s + GRACE_S))
            return why and f"could not read the archive of {peer}: {why}"
        finally:
            tls.reset(sock)

    def _dial(self, config: Config) -> ssl.SSLSocket:
        """Connect from this host's own address: a VIP as the source would break the connection when the VIP moves."""
        address, contexts = (config.peer.address, config.archive.port), self._contexts
        sock = socket.socket(family(address), socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_S)
            limit_segments(sock)
            sock.bind((config.me.address, 0))
            sock.connect(address)
            secure = sock = tls.wrapped(sock, contexts, server_side=False)
            tls.prove(secure, contexts, PROTOCOL, HANDSHAKE_S)
        except (OSError, LinkError):
            tls.reset(sock)
            raise
        return secure

    def _pass_on(self, sock: ssl.SSLSocket, client: socket.socket, deadline: Deadline) -> str:
        """Every byte, until the peer closes; who asked knows whether the answer was whole. Raises OSError.

        Returns why there was no answer. One that has begun is cut off: nothing is added to a part of a frame.
        """
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(client, select.POLLRDHUP)  # who asked went away, as in a promotion
        left = peer_wire.STREAM_MAX_BYTES
        why = "it does not answer"
        while left > 0 and not deadline.expired:
            if not sock.pending():
                ready = {descriptor for descriptor, _ in poll.poll(min(SILENCE_S, deadline.left_s()) * 1000)}
                if not ready or client.fileno() in ready:
                    break
            sock.settimeout(max(0.001, deadline.sooner_s(SILENCE_S)))
            try:
                data = sock.recv(peer_wire.CHUNK_BYTES)
            except OSError as failure:
                why = f"the connection broke: {failure}"
                break
            if not data:
                return ""
            left -= len(data)
            client.settimeout(max(0.001, deadline.sooner_s(STALL_S)))
            client.sendall(data)
        return why if left == peer_wire.STREAM_MAX_BYTES else ""


def _caller(client: socket.socket) -> int:
    """The user id of who connected, by the kernel's word (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)
