"""The HTTP server on real sockets: limits in size, time and number; listening that fails and comes back; TLS."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from pgvip.config.model import HttpConfig
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import PgvipError
from pgvip.link.certificates import make_pair_certificates
from pgvip.web import http_server as module
from pgvip.web.http import REQUEST_THREAD, Request, Response
from pgvip.web.http_server import CONNECTIONS_MAX, HttpServer
from pgvip.web.listeners import LOOPBACK, HttpState, Plan, plan_of
from tests.unit import configs

Respond = Callable[[Request, bytes | None], Response]
Serve = Callable[..., "Served"]


class Served:
    """A server of one test, on a port of its own."""

    def __init__(self, http: HttpConfig, respond: Respond, addresses: tuple[str, ...] = (LOOPBACK,)) -> None:
        self.logged: list[tuple[str, str]] = []
        self.http = http
        self.server = HttpServer(
            Plan(addresses, http), respond, lambda event, text: self.logged.append((event, text))
        )  # fmt: skip
        self.server.start()

    def wait(self, what: Callable[[HttpState], bool]) -> HttpState:
        wait_until(lambda: what(self.server.state()) or None, 5.0, what="state of the server", error=PgvipError)
        return self.server.state()

    def ready(self) -> Served:
        self.wait(lambda state: bool(state.listening))
        return self

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.http.port), timeout=5.0)

    def ask(self, sent: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
        with self.connect() as client:
            client.sendall(sent)
            return everything(client)

    def get(self, path: str = "/") -> int:
        connection = http.client.HTTPConnection(LOOPBACK, self.http.port, timeout=5.0)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status


def everything(client: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            found += data
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def hello(_request: Request, _secret: bytes | None) -> Response:
    return Response(HTTPStatus.OK, b"hello\n")


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[Served] = []

    def make(respond: Respond = hello, **changes: Any) -> Served:
        addresses = changes.pop("addresses", (LOOPBACK,))
        made.append(Served(HttpConfig(**{"port": free_port(), **changes}), respond, addresses))
        return made[-1]

    yield make
    for one in made:
        one.server.close()


def test_an_answer_and_the_end(serve: Serve) -> None:
    served = serve().ready()
    answer = served.ask()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello\n")
    assert served.server.state() == HttpState((f"{LOOPBACK}:{served.http.port}",))
    assert served.logged == [("http", f"http://{LOOPBACK}:{served.http.port}")]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST / HTTP/1.0\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000, b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\nA: " + b"x" * 20_000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA:" + b" " * 20_000 + b"\0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 10_000, b"413"),
        (b"GET / HTTP/1.1\r\nHost: evil.example:8433\r\n\r\n", b"421"),
    ],
)
def test_what_is_refused_is_answered_although_more_was_sent(serve: Serve, sent: bytes, status: bytes) -> None:
    asked: list[Request] = []

    def respond(request: Request, _secret: bytes | None) -> Response:
        asked.append(request)
        return Response(HTTPStatus.OK)

    assert serve(respond).ready().ask(sent).split()[1] == status
    assert not asked


def test_the_names_of_another_configuration_are_answered(serve: Serve) -> None:
    served = serve().ready()
    asked = b"GET / HTTP/1.1\r\nHost: pg.example.org\r\n\r\n"
    assert served.ask(asked).split()[1] == b"421"
    served.server.apply(Plan((LOOPBACK,), served.http, frozenset({"pg.example.org"})))
    assert served.ask(asked).split()[1] == b"200"


def test_a_slow_client_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.2)
    served, began_s = serve().ready(), now_s()
    with served.connect() as client:
        client.sendall(b"GET / HT")
        assert everything(client).split()[1] == b"408"
    assert now_s() - began_s < 3.0


def test_a_trickle_does_not_win_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.4)
    with serve().ready().connect() as client:
        ended = threading.Event()
        began_s = now_s()

        def listen() -> None:
            everything(client)
            ended.set()

        threading.Thread(target=listen).start()
        while not ended.wait(0.05):
            with contextlib.suppress(OSError):
                client.send(b"x")
            assert now_s() - began_s < 4.0


def test_a_client_that_does_not_read_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESPONSE_S", 0.2)
    served = serve(lambda _request, _secret: Response(HTTPStatus.OK, b"x" * 50_000_000)).ready()
    with served.connect() as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_until(lambda: not requests_running() or None, 5.0, what="end of the thread", error=PgvipError)


def requests_running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == REQUEST_THREAD]


def test_slow_clients_do_not_keep_others_out(serve: Serve) -> None:
    served = serve().ready()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(served.connect()) for _ in range(3 * CONNECTIONS_MAX)]
        for client in slow:
            client.sendall(b"GET ")
        assert served.get() == 200
        few = CONNECTIONS_MAX + 5  # a thread whose connection was ended needs a moment for its own end
        wait_until(lambda: len(requests_running()) <= few or None, 5.0, what="bounded threads", error=PgvipError)
        assert everything(slow[0]) == b""  # the one that took longest had to go


def test_requests_at_work_are_not_cut_and_the_next_is_turned_away(serve: Serve) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)

    def respond(request: Request, _secret: bytes | None) -> Response:
        if request.path == "/wait":
            begun.release()
            release.wait(10.0)
        return Response(HTTPStatus.OK, b"done\n")

    served = serve(respond).ready()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.connect()) for _ in range(CONNECTIONS_MAX)]
        for client in clients:
            client.sendall(b"GET /wait HTTP/1.0\r\n\r\n")
            assert begun.acquire(timeout=5.0)
        with served.connect() as late:
            answer = everything(late)
        assert answer.split()[1] == b"503"
        assert b"Retry-After: 1" in answer
        release.set()
        assert all(everything(client).endswith(b"done\n") for client in clients)
    assert served.get() == 200


def test_a_client_whom_no_thread_can_answer_is_turned_away(serve: Serve) -> None:
    served = serve().ready()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(CONNECTIONS_MAX + 1):
            assert served.ask().split()[1] == b"503"
    assert served.get() == 200


def no_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_fault_in_an_answer_is_a_500_and_ends_its_thread(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def respond(_request: Request, _secret: bytes | None) -> Response:
        raise ZeroDivisionError

    served = serve(respond).ready()
    assert served.ask().split()[1] == b"500"
    wait_until(lambda: seen or None, 5.0, what="the hook", error=PgvipError)
    args = seen[0]
    assert args.exc_type is ZeroDivisionError
    assert args.thread is not None
    assert args.thread.name == REQUEST_THREAD
    assert served.get() == 500
    wait_until(lambda: not requests_running() or None, 5.0, what="the end of its threads", error=PgvipError)


def test_a_port_in_use_is_reported_once_and_tried_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    port = free_port()
    with socket.create_server((LOOPBACK, port)):
        served = serve(port=port)
        state = served.wait(lambda state: bool(state.error))
        assert f"{LOOPBACK}:{port}: Address already in use" in state.error
        served.wait(lambda _state: served.server._retry_s > now_s())
    served.ready()
    assert [event for event, _ in served.logged] == ["http-failed", "http"]
    assert served.server.state().error == ""
    assert served.get() == 200


def test_one_address_that_is_not_there_does_not_keep_the_other_from_serving(serve: Serve) -> None:
    served = serve(addresses=("192.0.2.77", LOOPBACK)).ready()
    state = served.server.state()
    assert state.listening == (f"{LOOPBACK}:{served.http.port}",)
    assert "192.0.2.77" in state.error
    assert served.get() == 200


def test_another_port_and_off_at_run_time(serve: Serve) -> None:
    served = serve().ready()
    old, new = served.http, replace(served.http, port=free_port())
    served.server.apply(Plan((LOOPBACK,), new))
    served.wait(lambda state: state.listening == (f"{LOOPBACK}:{new.port}",))
    with pytest.raises(ConnectionRefusedError):
        served.connect()
    served.http = new
    assert served.get() == 200
    served.server.apply(Plan((), old))
    served.wait(lambda state: not state.listening)
    assert served.logged[-1] == ("http", "not served")
    with pytest.raises(ConnectionRefusedError):
        served.connect()


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path]:
    pair = make_pair_certificates(["db1"])["db1"]
    certificate, key = tmp_path / "http.crt", tmp_path / "http.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    return certificate, key


def test_tls(serve: Serve, certificates: tuple[Path, Path]) -> None:
    certificate, key = certificates
    served = serve(certificate=certificate, key=key).ready()
    assert served.logged[0][1].startswith("https://")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with served.connect() as plain, context.wrap_socket(plain) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert everything(client).endswith(b"hello\n")
    assert not served.ask().startswith(b"HTTP")  # in the clear nothing is said
    wait_until(lambda: not requests_running() or None, 5.0, what="end of the threads", error=PgvipError)


def test_a_certificate_gone_at_a_reload_leaves_the_old_one(serve: Serve, certificates: tuple[Path, Path]) -> None:
    certificate, key = certificates
    served = serve(certificate=certificate, key=key).ready()
    served.server.apply(Plan((LOOPBACK,), replace(served.http, certificate=key.with_name("none"))))
    state = served.wait(lambda state: bool(state.error))
    assert "none" in state.error
    assert state.listening
    assert served.logged[-1][0] == "http-failed"
    served.server.apply(Plan((LOOPBACK,), served.http))
    served.wait(lambda state: not state.error)
    assert served.logged[-1][0] == "http"


def test_the_password_is_read_and_given_to_who_answers(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("dba:se:cret\nnothing\n")
    secrets: list[bytes | None] = []

    def respond(_request: Request, secret: bytes | None) -> Response:
        secrets.append(secret)
        return Response(HTTPStatus.OK)

    served = serve(respond, password_file=file).ready()
    served.get()
    assert secrets == [b"dba:se:cret"]


@pytest.mark.parametrize("text", ["", "\n", "nocolon", ":x", "user:"])
def test_a_password_file_without_a_password_serves_nothing(serve: Serve, tmp_path: Path, text: str) -> None:
    file = tmp_path / "password"
    file.write_text(text)
    served = serve(password_file=file)
    state = served.wait(lambda state: bool(state.error))
    assert "is not user:password" in state.error
    assert not state.listening


def test_where_it_listens_by_configuration(tmp_path: Path) -> None:
    config = configs.make(tmp_path)

    def addresses(listen: str) -> tuple[str, ...]:
        return plan_of(replace(config, http=HttpConfig(listen=listen))).addresses

    assert plan_of(config).addresses == (LOOPBACK,)
    assert addresses("own") == ("10.9.0.1", LOOPBACK)
    assert addresses("all") == ("0.0.0.0",)  # noqa: S104 - the configuration says "all"
    assert addresses("off") == ()
    six = replace(config, me=replace(config.me, address="2001:db8::1"), http=HttpConfig(listen="all"))
    assert plan_of(six).addresses == ("::",)
