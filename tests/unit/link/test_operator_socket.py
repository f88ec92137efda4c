"""The operator's socket: one request, progress, one last word; and nobody but root."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.errors import Exit, LinkError, PgvipError, RefusedError
from pgvip.link.operator_socket import CLIENTS_MAX, REPLY_MAX_BYTES, OperatorServer, call, raise_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgvip.link.operator_socket import Document

    Handler = Callable[[Document, Callable[[Document], None]], None]
    Serve = Callable[[Handler], OperatorServer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "pgvip.sock"


@pytest.fixture
def serve(path: Path) -> Iterator[Serve]:
    servers = []

    def make(handle: Handler) -> OperatorServer:
        server = OperatorServer(path, handle)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.close()


def test_progress_then_the_last_word(path: Path, serve: Serve) -> None:
    def handle(request: Document, reply: Callable[[Document], None]) -> None:
        reply({"progress": "one"})
        reply({"progress": "größe"})
        reply({"ok": True, "echo": request})

    serve(handle)
    heard: list[str] = []
    assert call(path, {"command": "x"}, on_progress=heard.append) == {"ok": True, "echo": {"command": "x"}}
    assert heard == ["one", "größe"]


def test_errors_of_the_handler_come_back_with_their_words_and_exit_code(path: Path, serve: Serve) -> None:
    def handle(_request: Document, _reply: Callable[[Document], None]) -> None:
        raise RefusedError("paused", "Since noon.", "Resume first.")

    serve(handle)
    document = call(path, {})
    assert document["ok"] is False
    with pytest.raises(PgvipError) as caught:
        raise_failure(document)
    error = caught.value
    assert (error.message, error.detail, error.hint) == ("paused", "Since noon.", "Resume first.")
    assert error.exit_code is Exit.REFUSED


def test_failure_of_a_newer_daemon_still_has_an_exit_code() -> None:
    with pytest.raises(PgvipError) as caught:
        raise_failure({"ok": False, "error": "x", "exit_code": 99})
    assert caught.value.exit_code is Exit.FAILED
    raise_failure({"ok": True})


def test_handler_that_says_nothing_is_answered_for(path: Path, serve: Serve) -> None:
    serve(lambda _request, _reply: None)
    assert "no answer" in call(path, {})["error"]


@pytest.mark.parametrize("value", [float("nan"), "x" * REPLY_MAX_BYTES])
def test_answer_that_has_no_form_is_an_answer_that_says_so(path: Path, serve: Serve, value: object) -> None:
    serve(lambda _request, reply: reply({"ok": True, "value": value}))
    document = call(path, {})
    assert document["ok"] is False
    assert document["error"] in ("no JSON form", f"too long: {REPLY_MAX_BYTES + 22} bytes, at most {REPLY_MAX_BYTES}")


def test_socket_is_for_root_only_whatever_the_umask(path: Path, serve: Serve) -> None:
    old = os.umask(0)
    try:
        serve(lambda _request, reply: reply({"ok": True}))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Not below tmp_path: what is above that one is closed to others, and above it is the machine's."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_is_refused_even_where_the_file_lets_him(open_directory: Path) -> None:
    path = open_directory / "s"
    child = os.fork()  # before there is a thread
    if child == 0:
        os._exit(_ask_as_nobody(path))
    server = OperatorServer(path, lambda _request, reply: reply({"ok": True}))
    server.start()
    path.chmod(0o666)
    _, status = os.waitpid(child, 0)
    server.close()
    assert os.waitstatus_to_exitcode(status) == 42


def _ask_as_nobody(path: Path) -> int:
    """42: the connection was made and closed without an answer."""
    os.setuid(65534)
    deadline_s = time.monotonic() + 5.0
    while time.monotonic() < deadline_s:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
            except OSError:
                time.sleep(0.01)
                continue
            try:
                client.sendall(b"{}\n")
                return 1 if client.recv(100) else 42
            except OSError:
                return 42
    return 2


def test_daemon_that_does_not_run_is_said_with_the_hint(path: Path, serve: Serve) -> None:
    for _ in range(2):
        with pytest.raises(LinkError, match="does not run") as caught:
            call(path, {})
        assert "systemctl start pgvip" in caught.value.hint
        assert caught.value.exit_code is Exit.UNREACHABLE
        serve(lambda _request, reply: reply({"ok": True})).close()
        assert not path.exists()


def test_socket_left_by_a_killed_daemon_is_replaced_and_a_living_one_is_not(path: Path, serve: Serve) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with pytest.raises(LinkError, match="does not run"):
        call(path, {})
    serve(lambda _request, reply: reply({"ok": True}))
    with pytest.raises(LinkError, match="another pgvip daemon"):
        serve(lambda _request, reply: reply({"ok": True}))
    assert call(path, {})["ok"]


def test_deadline_of_the_caller(path: Path, serve: Serve) -> None:
    release = threading.Event()

    def handle(_request: Document, reply: Callable[[Document], None]) -> None:
        reply({"progress": "waiting"})
        release.wait(5.0)

    serve(handle)
    began_s = time.monotonic()
    with pytest.raises(LinkError, match="in time"):
        call(path, {}, timeout_s=0.3)
    assert time.monotonic() - began_s < 2.0
    release.set()


def test_handler_learns_that_the_caller_has_gone(path: Path, serve: Serve) -> None:
    gone = threading.Event()

    def handle(_request: Document, reply: Callable[[Document], None]) -> None:
        deadline_s = time.monotonic() + 5.0
        try:
            while time.monotonic() < deadline_s:
                reply({"progress": "x" * 1000})
        except LinkError:
            gone.set()
            raise

    serve(handle)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"{}\n")
        client.recv(10)
    assert gone.wait(5.0)


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"[1]\n", b"\xff\xfe\n", b"[" * 50_000 + b"\n", b"x" * 200_000 + b"\n"], ids=range(5)
)
def test_nonsense_is_answered_not_served(path: Path, serve: Serve, line: bytes) -> None:
    served: list[Document] = []
    serve(lambda request, _reply: served.append(request))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.settimeout(5.0)
        try:
            client.sendall(line)
            answer = client.makefile("rb").readline()
        except ConnectionError:
            answer = b'{"ok": false}'  # a line without end may be cut
    assert json.loads(answer)["ok"] is False
    assert not served


def test_too_many_callers_are_turned_away_and_room_comes_back(path: Path, serve: Serve) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)

    def handle(request: Document, reply: Callable[[Document], None]) -> None:
        if request.get("wait"):
            begun.release()
            release.wait(10.0)
        reply({"ok": True})

    serve(handle)
    callers = [threading.Thread(target=call, args=(path, {"wait": True})) for _ in range(CLIENTS_MAX)]
    for caller in callers:
        caller.start()
    for _ in callers:
        assert begun.acquire(timeout=5.0)
    assert "busy" in call(path, {})["error"]
    release.set()
    for caller in callers:
        caller.join(5.0)
    assert call(path, {})["ok"]


def test_a_caller_whom_no_thread_can_answer_is_told_that_the_daemon_is_busy(path: Path, serve: Serve) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    serve(lambda _request, reply: reply({"ok": True}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(CLIENTS_MAX + 1):
            assert "busy" in call(path, {})["error"]
    assert call(path, {})["ok"]


def test_path_that_cannot_be_is_a_link_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LinkError, match="cannot serve"):
        OperatorServer(tmp_path / "file" / "sock", lambda _request, _reply: None).start()
    with pytest.raises(LinkError, match="cannot reach"):
        call(tmp_path / ("x" * 200), {})
