"""When a new connection needs no login: each condition alone makes one."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.probes import kept_sessions
from pgvip.probes.database import DatabaseProbe
from pgvip.probes.kept_sessions import LOGIN_EVERY_S, SLOW_S, KeptSessions
from pgvip.system import processes
from tests.unit import configs
from tests.unit.fake_server import READY, SSL_REQUEST, error, serving

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.system.processes import ProcessRef

FRESH_S = 3.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kept_sessions, "now_s", lambda: clock.now_s)
    return clock


def server() -> ProcessRef:
    found = processes.ref_of(os.getpid())
    assert found is not None
    return found


@pytest.fixture
def kept(clock: Clock) -> KeptSessions:
    """The server has answered over both, just now."""
    kept = KeptSessions()
    kept.answered(server(), clock.now_s)
    kept.logged_in(ready=True)
    assert kept.vouch(FRESH_S)
    return kept


def test_before_the_first_answer_and_the_first_login_nothing_is_known(clock: Clock) -> None:
    kept = KeptSessions()
    assert not kept.vouch(FRESH_S)
    kept.logged_in(ready=True)
    assert not kept.vouch(FRESH_S)
    kept.answered(server(), clock.now_s)
    assert not kept.vouch(FRESH_S), "the login may have been another server's"


def test_a_login_counts_for_some_time(kept: KeptSessions, clock: Clock) -> None:
    clock.now_s += LOGIN_EVERY_S
    kept.answered(server(), clock.now_s)
    assert not kept.vouch(FRESH_S)


def test_a_login_that_failed_or_was_refused_makes_the_next_one(kept: KeptSessions) -> None:
    kept.logged_in(ready=False)
    assert not kept.vouch(FRESH_S)


def test_an_answer_counts_for_some_time_and_not_beyond_a_failure(kept: KeptSessions, clock: Clock) -> None:
    clock.now_s += FRESH_S + 0.1
    assert not kept.vouch(FRESH_S)
    kept.answered(server(), clock.now_s)
    assert kept.vouch(FRESH_S)
    kept.answered(None)
    assert not kept.vouch(FRESH_S)


@pytest.mark.parametrize("name", ["state", "heartbeat"])
def test_a_session_that_waits_for_its_answer_vouches_for_nothing(kept: KeptSessions, clock: Clock, name: str) -> None:
    with kept.asking(name):
        assert kept.vouch(FRESH_S)
        clock.now_s += SLOW_S
        assert not kept.vouch(FRESH_S)
    assert kept.vouch(FRESH_S)


def test_a_server_that_has_ended_vouches_for_nothing(clock: Clock) -> None:
    kept = KeptSessions()
    with subprocess.Popen(["sleep", "60"]) as child:
        kept.answered(processes.ref_of(child.pid), clock.now_s)
        kept.logged_in(ready=True)
        assert kept.vouch(FRESH_S)
        child.kill()
    assert not kept.vouch(FRESH_S)


def test_the_probe_logs_in_until_the_kept_sessions_vouch_and_again_after_a_failure(tmp_path: Path) -> None:
    probe = DatabaseProbe(configs.make(tmp_path))
    heard: list[bytes] = []

    def said(answer: bytes, offered: bytes = b"N") -> bool:
        """Whether a look at a server that answers so logs in."""
        heard.clear()
        with serving(answer, heard=heard, offered=offered, directory=tmp_path):
            assert probe.connection(0.5)
        (tmp_path / ".s.PGSQL.5432").unlink()
        return heard[0][4:8] != SSL_REQUEST

    assert said(READY)
    assert said(READY), "no kept session has been answered"
    probe._kept.answered(server(), now_s())
    assert said(READY)
    assert not said(READY)
    with pytest.raises(ProbeError):
        probe.connection(0.2)  # nobody is there
    assert said(error("53300", "sorry, too many clients already"))
    assert said(READY), "it was no whole login"
    assert not said(READY)
