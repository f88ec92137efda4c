"""Sessions: hard deadlines, and the difference between an answer and silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.system import sql
from pgvip.system.sql import NoAnswer, ServerAnswered, Session
from tests.unit.fake_server import error, serving


def session(port: int) -> Session:
    return Session({"host": "127.0.0.1", "port": port, "user": "x", "dbname": "x", "sslmode": "disable"}, "it")


def test_silent_server_costs_the_deadline_and_no_more() -> None:
    with serving(None) as port, session(port) as silent:
        begun_s = now_s()
        with pytest.raises(NoAnswer):
            silent.query("in_recovery", timeout_s=0.3)
        assert 0.25 <= now_s() - begun_s < 2.0
        assert silent.backend_pid == 0


def test_whoever_waits_for_longer_than_usual_says_so_and_waits_on() -> None:
    slow_s: list[float] = []
    with serving(None) as port, session(port) as silent:
        silent.slow_after(0.1, lambda: slow_s.append(now_s()))
        begun_s = now_s()
        with pytest.raises(NoAnswer):
            silent.query("in_recovery", timeout_s=0.4)
        took_s = now_s() - begun_s
    assert len(slow_s) == 1
    assert 0.1 <= slow_s[0] - begun_s < 0.35 <= took_s < 2.0


def test_closed_port_is_no_answer() -> None:
    with serving(None) as port:
        pass
    with session(port) as closed, pytest.raises(NoAnswer):
        closed.query("in_recovery", timeout_s=1.0)


@pytest.mark.parametrize("severity", ["FATAL", "ВАЖНО"])
def test_refusal_is_an_answer_in_any_language(severity: str) -> None:
    with serving(error("53300", "sorry, too many clients", severity)) as port, session(port) as refused:
        with pytest.raises(ServerAnswered) as caught:
            refused.connect(2.0)
        assert "too many clients" in caught.value.detail


def test_what_is_not_even_text_is_no_answer() -> None:
    """libpq names the first byte in its message, as it came; from Python 3.13 on the driver fails to decode that."""
    with serving(b"\xb8\0\0\0\x08abcd") as port, session(port) as strange, pytest.raises(NoAnswer):
        strange.connect(2.0)


def test_both_are_probe_errors() -> None:
    assert issubclass(NoAnswer, ProbeError)
    assert issubclass(ServerAnswered, ProbeError)
    assert not issubclass(ServerAnswered, NoAnswer)


def test_query_file_of_the_highest_fitting_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "SQL_DIRECTORY", tmp_path)
    for name in ("q", "q_15", "q_17"):
        (tmp_path / f"{name}.sql").write_text(name)
    sql.load_sql.cache_clear()
    try:
        assert [sql.load_sql("q", version) for version in (14, 15, 16, 17, 18)] == ["q", "q_15", "q_15", "q_17", "q_17"]
    finally:
        sql.load_sql.cache_clear()


def test_no_query_hides_a_placeholder_from_the_driver() -> None:
    """A per cent sign in a query with parameters is one; so none but %s and a doubled one may be in any file."""
    for path in sql.SQL_DIRECTORY.glob("*.sql"):
        if path.name == "witness_init.sql":
            continue  # it has no parameters, and formats of its own
        assert path.read_text().replace("%s", "").replace("%%", "").count("%") == 0, path.name
