"""The operator's socket: how the commands talk to the local daemon.

A Unix socket that only root can open. One connection carries one request (a line of JSON) and its replies: any number
of lines with `progress`, then one with `ok`, which is the last.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from pgvip.errors import Exit, FormatError, LinkError, PgvipError
from pgvip.state import codec
from pgvip.system.reserve import RESERVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Document = dict[str, Any]

REQUEST_MAX_BYTES = 64 * 1024
REPLY_MAX_BYTES = 4 * 1024 * 1024
CLIENTS_MAX = 16
"""Commands at work at the same time; a monitoring system that hangs must not use up the daemon's threads."""
REQUEST_S = 5.0
"""From the connection to the whole request."""
WRITE_S = 5.0
"""For one reply line, before a client that does not read is given up."""


class OperatorServer:
    """Serves the socket at `path` on threads of its own.

    `handle(request, reply)` runs in a thread per connection and calls `reply` for each line; it may take as long as it
    likes. When it returns without a final line, or fails with a PgvipError, the caller gets an error. A reply to a
    caller that has gone raises LinkError: the handler may stop waiting then.
    """

    def __init__(self, path: Path, handle: Callable[[Document, Callable[[Document], None]], None]) -> None:
        self._path, self._handle = path, handle
        self._slots = threading.BoundedSemaphore(CLIENTS_MAX)
        self._listener: socket.socket | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="operator-socket", daemon=True)

    def start(self) -> None:
        """Make the socket (0600) and begin to serve. LinkError when it cannot be made, or another daemon has it."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _clear_place(self._path)
            os.fchmod(listener.fileno(), 0o600)  # bind() gives the file this mode: it is never open to others
            listener.bind(str(self._path))
            listener.listen(CLIENTS_MAX)
        except OSError as error:
            listener.close()
            raise LinkError(f"cannot serve the operator's socket {self._path}", f"{error}.") from error
        except LinkError:
            listener.close()
            raise
        self._listener = listener
        self._thread.start()

    def close(self) -> None:
        """End the accepting thread and remove the socket; requests at work go on to their end."""
        self._closing = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._thread.join(1.0)
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        listener = self._listener
        while listener is not None and not self._closing:
            try:
                client, _ = listener.accept()
            except OSError:
                if not self._closing:
                    time.sleep(0.1)  # no descriptor is left, or the like: do not spin on it
                continue
            if not _is_allowed(client):
                client.close()
            elif self._slots.acquire(blocking=False):
                try:
                    threading.Thread(target=self._serve, args=(client,), name="operator", daemon=True).start()
                except RuntimeError:  # the limit of threads
                    self._slots.release()
                    _refuse(client)
            else:
                _refuse(client)

    def _serve(self, client: socket.socket) -> None:
        try:
            # LinkError: the caller has gone, nobody is left to be told.
            with client, RESERVE.lent(), contextlib.suppress(LinkError):
                self._converse(client)
        finally:
            self._slots.release()

    def _converse(self, client: socket.socket) -> None:
        final = False

        def reply(document: Document) -> None:
            nonlocal final
            if final:
                raise LinkError("a reply after the last one")
            _write_line(client, document)
            final = "ok" in document

        try:
            line = next(_lines(client, REQUEST_MAX_BYTES, _now_s() + REQUEST_S), b"")
            self._handle(_as_object(line), reply)
        except PgvipError as error:
            if not final:
                reply(failure(error))
        if not final:
            reply(failure(PgvipError("the daemon gave no answer to this request")))


def failure(error: PgvipError) -> Document:
    """Make the final reply that says what went wrong."""
    words = {"error": error.message, "detail": error.detail, "hint": error.hint}
    return {"ok": False, **words, "exit_code": int(error.exit_code)}


def raise_failure(document: Document) -> None:
    """Raise what `failure` packed, with its exit code; nothing for an answer that is ok."""
    if document.get("ok"):
        return
    texts = (str(document.get(key) or "") for key in ("error", "detail", "hint"))
    error = PgvipError(*texts)
    with contextlib.suppress(ValueError):  # a newer daemon's code: 1 will do
        error.exit_code = Exit(document.get("exit_code", Exit.FAILED))
    raise error


def call(
    path: Path, request: Document, timeout_s: float = 10.0, on_progress: Callable[[str], None] = lambda _text: None
) -> Document:
    """Ask the local daemon and return its final reply, whether `ok` or not.

    LinkError when it does not run, may not be asked, or has not answered after `timeout_s` in all.
    """
    deadline_s = _now_s() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _connect(sock, path, timeout_s)
        with contextlib.suppress(LinkError):  # it may have closed after an answer ("busy"): that is read below
            _write_line(sock, request)
        for line in _lines(sock, REPLY_MAX_BYTES, deadline_s):
            document = _as_object(line)
            if "ok" in document:
                return document
            if "progress" in document:
                on_progress(str(document["progress"]))
    raise LinkError("the daemon closed the connection without an answer", hint="See journalctl -u pgvip.")


def stream(path: Path, request: Document, silence_s: float = 15.0) -> Iterator[Document]:
    """Ask the local daemon for something without an end: every document that it sends, for as long as it does.

    LinkError when it does not run, ends, or is silent for `silence_s`; what `failure` packed is raised.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        _connect(sock, path, silence_s)
        _write_line(sock, request)
        sock.settimeout(silence_s)
        try:
            with sock.makefile("rb") as lines:
                for line in lines:
                    document = _as_object(line)
                    if "ok" in document:
                        raise_failure(document)
                    yield document
        except OSError as error:
            raise LinkError("the daemon has fallen silent", f"{error}.", "See journalctl -u pgvip.") from error
    raise LinkError("the daemon closed the connection", hint="See journalctl -u pgvip.")


def _connect(sock: socket.socket, path: Path, timeout_s: float) -> None:
    try:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise LinkError(
            "the pgvip daemon does not run on this host", f"Nobody serves {path}.", "Start it: systemctl start pgvip"
        ) from error
    except PermissionError as error:
        raise LinkError(f"permission denied for {path}", hint="Run this command as root.") from error
    except OSError as error:
        raise LinkError(f"cannot reach the pgvip daemon at {path}", f"{error}.") from error


def _clear_place(path: Path) -> None:
    """Remove the socket that an earlier daemon left; LinkError when its daemon still lives."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass  # full or stopped, but there
    raise LinkError(
        "another pgvip daemon runs on this host", f"It serves {path}.", "See systemctl status pgvip; one host has one."
    )


def _is_allowed(client: socket.socket) -> bool:
    """Check the caller itself too: the mode of a file can be changed by mistake."""
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return uid in (0, os.geteuid())


def _refuse(client: socket.socket) -> None:
    with client, contextlib.suppress(LinkError):
        _write_line(client, failure(LinkError("the daemon is busy with other commands", hint="Try again.")))


def _write_line(sock: socket.socket, document: Document) -> None:
    line = codec.plain_to_json(document, max_bytes=REPLY_MAX_BYTES).encode() + b"\n"
    try:
        sock.settimeout(WRITE_S)
        sock.sendall(line)
    except OSError as error:
        raise LinkError("the other end of the operator's socket has gone", f"{error}.") from error


def _lines(sock: socket.socket, max_bytes: int, deadline_s: float) -> Iterator[bytes]:
    """Give each whole line until the other end closes. LinkError at the deadline or for a line without end."""
    held = bytearray()
    while True:
        while (end := held.find(b"\n")) >= 0:
            yield bytes(held[:end])
            del held[: end + 1]
        if len(held) > max_bytes:
            raise LinkError(f"a line on the operator's socket is longer than {max_bytes} bytes")
        try:
            sock.settimeout(max(0.001, deadline_s - _now_s()))
            data = sock.recv(64 * 1024)
        except TimeoutError as error:
            raise LinkError(
                "no answer on the operator's socket in time", hint="See journalctl -u pgvip, and pgvip status."
            ) from error
        except OSError as error:
            raise LinkError("the operator's socket broke", f"{error}.") from error
        if not data:
            return
        held += data


def _as_object(line: bytes) -> Document:
    try:
        return codec.parse_object(line, max_bytes=max(REQUEST_MAX_BYTES, REPLY_MAX_BYTES))
    except FormatError as error:
        raise LinkError("did not understand what came over the operator's socket", f"{error}.") from error


def _now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
