"""Gives the other host this host's archive over TLS, on a port of its own (`archive.peer_archive = "link"`).

The daemon has the keys, and PostgreSQL's user reads the archive: each question is answered by a process of that user
(archive.peer_reader), and a thread here passes on what it prints. Nothing here touches the archive, nothing is parsed
but one short line, and each step has its end: a stranger has HANDSHAKE_S, whoever stops to read has STALL_S, and an
answer has the archive's own time limit.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.archive import peer_reader, peer_wire
from pgvip.archive.peer_wire import Ask, WireError
from pgvip.deadlines import Deadline
from pgvip.errors import CommandError, LinkError
from pgvip.link import tls
from pgvip.link.connection import family, limit_segments
from pgvip.system import commands, wal_commands

if TYPE_CHECKING:
    import ssl

    from pgvip.config.model import Config
    from pgvip.link.tls import Contexts

PROTOCOL = "pgvip-archive/1"
"""For ALPN: a connection to the daemons' link that is led here, or the other way, is refused by both ends."""
HANDSHAKE_S = 2.0
ASK_S = 2.0
"""From the handshake to the question."""
STALL_S = 5.0
"""In which a part of an answer must have gone out."""
GRACE_S = 5.0
"""For the reader to start on a busy host, on top of the archive's own time limit."""
RETRY_S = 1.0
"""Until the next attempt to listen, where the address is not there yet."""
UNPROVEN_MAX = 8
"""Connections that have not proven to be the peer's; the oldest makes room for the next one."""
ANSWERS_MAX = 4
"""At the same time: recovery, a rewind, a list for people, a probe."""
HUNG_MAX = 4
"""Readers that hang in the kernel; then no further ones are started."""

Log = Callable[[str, str], None]


class PeerServer:
    """Listens for the peer, on threads of its own. `config` is asked again for each answer, since it changes."""

    def __init__(self, config: Callable[[], Config], contexts: Contexts, log: Log) -> None:
        self._config, self._contexts, self._log = config, contexts, log
        self._lock = threading.Lock()
        self._unproven: dict[int, socket.socket] = {}
        self._answering: set[socket.socket] = set()
        self._hung: list[subprocess.Popen[bytes]] = []
        self._listener: socket.socket | None = None
        self._number, self._moving = 0, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archive-server", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def renew(self, contexts: Contexts) -> None:
        """Use other certificates from now on; an answer that is under way goes on."""
        self._contexts = contexts

    def move(self) -> None:
        """Listen on the address that this host has now; an answer that is under way goes on."""
        with self._lock:
            listener, self._listener = self._listener, None
            self._moving = listener is not None
        if listener is not None:
            tls.end(listener)

    def close(self) -> None:
        """End the accepting thread and every connection."""
        self._ended.set()
        with self._lock:
            sockets = [*self._unproven.values(), *self._answering, *([self._listener] if self._listener else [])]
        for sock in sockets:
            tls.end(sock)
        if self._thread.is_alive():
            self._thread.join(RETRY_S)

    # --- listening -----------------------------------------------------------------------------------

    def _run(self) -> None:
        said = ""
        while not self._ended.is_set():
            try:
                with self._listen() as listener:
                    said = ""
                    self._accept(listener)
            except OSError as failure:
                if self._moving:
                    self._moving = False
                    continue
                if not self._ended.is_set() and said != str(failure):
                    said = str(failure)
                    self._log("archive-link", f"cannot listen for the peer: {failure}")
            self._ended.wait(RETRY_S)

    def _listen(self) -> socket.socket:
        config = self._config()
        address = (config.me.address, config.archive.port)
        listener = socket.socket(family(address), socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            limit_segments(listener)  # the sockets that it accepts have it from here
            listener.bind(address)
            listener.listen(UNPROVEN_MAX * 2)
        except OSError:
            listener.close()
            raise
        with self._lock:
            self._listener = listener
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while not self._ended.is_set():
            try:
                sock, _ = listener.accept()
            except ConnectionError:  # a client that went away again
                continue
            with self._lock:
                self._number += 1
                number = self._number
                oldest = min(self._unproven) if len(self._unproven) >= UNPROVEN_MAX else None
                room = None if oldest is None else self._unproven.pop(oldest)
                self._unproven[number] = sock
            if room is not None:
                tls.end(room)
            self._begin(number, sock)

    def _begin(self, number: int, sock: socket.socket) -> None:
        try:
            threading.Thread(target=self._serve, args=(number, sock), name="archive-server", daemon=True).start()
        except RuntimeError:  # no thread is to be had: the peer asks again
            with self._lock:
                self._unproven.pop(number, None)
            tls.reset(sock)

    # --- one connection ------------------------------------------------------------------------------

    def _serve(self, number: int, plain: socket.socket) -> None:
        sock = plain
        # A stranger, or a peer that went away: nothing is owed to either, and strangers must not fill the log.
        with contextlib.suppress(OSError, LinkError, WireError):
            try:
                contexts = self._contexts
                secure = sock = tls.wrapped(plain, contexts, server_side=True)
                with self._lock:
                    if number not in self._unproven:
                        return  # it has made room already
                    self._unproven[number] = secure
                tls.prove(secure, contexts, PROTOCOL, HANDSHAKE_S)
                ask = read_line(secure, Deadline.after(ASK_S))
                with self._lock:
                    busy = len(self._answering) >= ANSWERS_MAX
                    self._unproven.pop(number, None)
                    self._answering.add(secure)
                if busy:
                    secure.sendall(peer_wire.failed("busy with other answers"))
                else:
                    self._answer(secure, ask)
                secure.settimeout(STALL_S)
                secure.unwrap()  # ends when the other end has read all and closed
            finally:
                with self._lock:
                    self._unproven.pop(number, None)
                    self._answering.discard(sock)
                tls.reset(sock)

    def _answer(self, sock: ssl.SSLSocket, ask: Ask) -> None:
        config = self._config()
        with self._lock:
            self._hung = [child for child in self._hung if child.poll() is None]
            hung = len(self._hung)
        if hung >= HUNG_MAX:
            sock.sendall(peer_wire.failed("the archive hangs: its disk does not answer"))
            return
        script = Path(peer_reader.__file__).resolve()
        interpreter = [wal_commands.interpreter(), "-I", "-S"]
        words = [*interpreter, str(script), str(config.archive.directory), *filter(None, ask)]
        try:
            child = commands.begin(words, user=config.postgres.user)
        except CommandError as failure:
            sock.sendall(peer_wire.failed(failure.message))
            return
        try:
            self._pass_on(sock, child, Deadline.after(config.archive.timeout_s + GRACE_S))
        finally:
            if not commands.finish(child):
                with self._lock:
                    self._hung.append(child)

    def _pass_on(self, sock: ssl.SSLSocket, child: subprocess.Popen[bytes], deadline: Deadline) -> None:
        """What the reader prints, to the peer. It ends without an end of the answer when the time is up."""
        assert child.stdout is not None  # a pipe, see commands.begin
        poll = select.poll()
        poll.register(child.stdout, select.POLLIN)
        left = peer_wire.STREAM_MAX_BYTES
        while left > 0 and poll.poll(deadline.left_s() * 1000):
            data = os.read(child.stdout.fileno(), peer_wire.CHUNK_BYTES)
            if not data:
                return
            left -= len(data)
            sock.settimeout(max(0.001, min(STALL_S, deadline.left_s())))
            sock.sendall(data)
        raise LinkError("the answer did not end in time")


def read_line(sock: socket.socket, deadline: Deadline) -> Ask:
    """The question that a connection begins with. WireError, or OSError when it does not come in time."""
    held = b""
    while not held.endswith(b"\n"):
        if len(held) >= peer_wire.ASK_MAX_BYTES:
            raise WireError("the question is too long")
        sock.settimeout(max(0.001, deadline.left_s()))
        data = sock.recv(peer_wire.ASK_MAX_BYTES - len(held))
        if not data:
            raise WireError("there was no question")
        held += data
    return peer_wire.read_ask(held[:-1])
