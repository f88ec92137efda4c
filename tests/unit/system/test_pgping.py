"""A new connection: alive, refusing, silent, or not PostgreSQL at all."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.system.pgping import Answer, negotiate, ping, ping_as_client
from tests.unit.fake_server import PASSWORD, READY, error, message, serving


def ask(port: int, timeout_s: float = 2.0) -> Answer:
    return ping("127.0.0.1", port, "pgvip", "postgres", timeout_s)


def test_ready_server_answers() -> None:
    with serving(READY) as port:
        assert ask(port) == Answer(ready=True)


def test_demand_for_a_password_is_an_answer() -> None:
    with serving(PASSWORD) as port:
        answer = ask(port)
    assert answer.serving
    assert not answer.ready


def test_too_many_clients_is_an_answer_of_a_serving_server() -> None:
    with serving(error("53300", "sorry, too many clients already")) as port:
        answer = ask(port)
    assert answer == Answer(ready=False, sqlstate="53300", text="sorry, too many clients already")
    assert answer.serving


def test_starting_up_is_an_answer_but_does_not_serve() -> None:
    with serving(error("57P03", "das Datenbanksystem startet", "FATAL")) as port:
        assert not ask(port).serving


def test_silence_costs_the_deadline_and_no_more() -> None:
    with serving(None) as port:
        begun_s = now_s()
        with pytest.raises(ProbeError):
            ask(port, 0.3)
    assert 0.25 <= now_s() - begun_s < 2.0


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", message(b"Q", b"?"), b"R\xff\xff\xff\xff"])
def test_something_else_on_the_port_is_no_answer(answer: bytes) -> None:
    with serving(answer) as port, pytest.raises(ProbeError):
        ask(port, 1.0)


def test_closed_port_and_missing_socket_are_no_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ProbeError):
        ask(port)
    with pytest.raises(ProbeError):
        ping(tmp_path, port, "pgvip", "postgres", 1.0)


def test_unix_socket_with_a_full_backlog_is_no_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.5432"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(str(tmp_path / ".s.PGSQL.5432"))
            begun_s = now_s()
            with pytest.raises(ProbeError):
                ping(tmp_path, 5432, "pgvip", "postgres", 0.3)
    assert now_s() - begun_s < 2.0


@pytest.mark.parametrize("offered", [b"S", b"N"])
def test_a_process_of_the_server_says_whether_it_speaks_tls(offered: bytes) -> None:
    heard: list[bytes] = []
    with serving(b"", heard=heard, offered=offered) as port:
        negotiate("127.0.0.1", port, 2.0)
    assert heard[0] == (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
    assert not any(heard[1:]), "nobody logs in"


@pytest.mark.parametrize("offered", [b"Ecould not fork new process for connection: Out of memory\n\0", b"H", b""])
def test_a_postmaster_that_can_make_no_process_is_no_answer(offered: bytes) -> None:
    """It says so itself (postmaster.c, report_fork_failure_to_client); so may somebody else on the port."""
    with serving(b"", offered=offered) as port, pytest.raises(ProbeError):
        negotiate("127.0.0.1", port, 0.3)


def test_a_postmaster_that_is_stopped_is_no_answer(tmp_path: Path) -> None:
    """The kernel accepts for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.5432"))
        listener.listen()
        begun_s = now_s()
        with pytest.raises(ProbeError):
            negotiate(tmp_path, 5432, 0.3)
    assert 0.25 <= now_s() - begun_s < 2.0


def test_a_client_gets_a_demand_for_a_password_or_the_servers_refusal() -> None:
    with serving(PASSWORD) as port:
        assert ping_as_client("127.0.0.1", port, "pgvip", "postgres", 2.0) == Answer(ready=False)
    with serving(error("53300", "sorry, too many clients already")) as port:
        assert ping_as_client("127.0.0.1", port, "pgvip", "postgres", 2.0).sqlstate == "53300"


def test_a_client_gets_nothing_from_who_is_silent_or_speaks_otherwise() -> None:
    with serving(None) as port, pytest.raises(ProbeError):
        ping_as_client("127.0.0.1", port, "pgvip", "postgres", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ProbeError, match="no database answers"):
        ping_as_client("127.0.0.1", port, "pgvip", "postgres", 1.0)
