"""What systemd is told, and the log."""

from __future__ import annotations

import argparse
import json
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgvip.cli import run
from pgvip.config.load import parse
from pgvip.daemon.live_config import Options, log_style
from pgvip.errors import ConfigError
from pgvip.events import event_log
from pgvip.events.event_table import Event, Level
from pgvip.state.record import PairIdentity, save_identity
from pgvip.system import service
from tests.unit.config_text import edited
from tests.unit.descriptors import none_left


def test_systemd_hears_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        service.notify("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_systemd_hears_of_each_round_when_no_descriptor_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        service.notify("READY=1")
        with none_left():
            service.notify("WATCHDOG=1")
        assert [listener.recv(100) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]


def test_a_manager_that_is_gone_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service.notify("WATCHDOG=1")
    assert "notify-failed" in capsys.readouterr().err


def test_a_line_for_people_begins_with_utc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hosts' logs are read beside each other, whatever their time zones are."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        event_log.log("started", "here")
        at = datetime.fromisoformat(capsys.readouterr().err.partition(" UTC started: here")[0] + "+00:00")
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60


def test_an_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    event_log.log("action-failed", "first\nsecond")
    assert capsys.readouterr().err.endswith("action-failed: first; second\n")


def test_no_text_commands_the_terminal_or_hides_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts come from servers, agents and hooks; journalctl shows "blob data" for a line that is not printable."""
    old = event_log.style()
    try:
        for as_json in (False, True):
            event_log.set_up(event_log.Style(json=as_json))
            event_log.log("action-failed", "caf\u00e9 \x1b[2J \r<3>: \x9b1m \u2028 \x7f \udcff", (("why", "\x9b2J"),))
            line = capsys.readouterr().err.removesuffix("\n")
            assert line.isprintable()
            assert "café" in line
            assert not as_json or json.loads(line)["why"] == "\x9b2J"
    finally:
        event_log.set_up(old)


def test_postgresql_is_never_run_inside_the_daemons_own_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pgvip.toml"
    file.write_text(edited(("[paths]", f'[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"')))
    (tmp_path / "state").mkdir()
    save_identity(tmp_path / "state/identity.json", PairIdentity("p", "1", "db1", "db2"))
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with pytest.raises(ConfigError, match=r"postgresql\.unit is empty"):
        run.run(argparse.Namespace(config=file, host="db1"))


# --- the log --------------------------------------------------------------------------------------------


@pytest.fixture
def plain_log() -> Iterator[None]:
    """The log as it is before a daemon sets it up."""
    yield
    event_log.set_up(event_log.Style())


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


@pytest.mark.usefixtures("plain_log")
def test_json_lines_have_the_same_keys_and_the_events_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    event_log.set_up(event_log.Style(json=True, host="db1", pair="shop", term=lambda: 7))
    event_log.log("record", "term 6->7\nsolo", (("cause", "take-over-by-fence"), ("host", "a liar")))
    event_log.log("link", "up: ünïcode")
    first, second = map(json.loads, lines(capsys))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "notice", "host": "db1", "pair": "shop", "event": "record", "text": "term 6->7\nsolo", "term": 7,
        "cause": "take-over-by-fence",
    }  # fmt: skip
    assert set(second) == {"time", "level", "host", "pair", "event", "text", "term"}


@pytest.mark.usefixtures("plain_log")
def test_less_important_events_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    event_log.set_up(event_log.Style(level=Level.WARNING))
    for name in ("link", "record", "fence-failed", "hold"):
        event_log.log(name, "said")
    assert [line.split()[-2] for line in lines(capsys)] == ["fence-failed:", "hold:"]


@pytest.mark.usefixtures("plain_log")
@pytest.mark.parametrize("as_json", [False, True])
def test_the_journal_gets_the_priority_and_no_second_time(
    as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    event_log.set_up(event_log.Style(json=as_json))
    event_log.log("fence-failed", "no answer")
    (line,) = lines(capsys)
    assert line.startswith('<4>{"' if as_json else "<4>fence-failed: no answer")


@pytest.mark.usefixtures("plain_log")
def test_whoever_listens_hears_all_events_until_they_cease(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    event_log.set_up(event_log.Style(level=Level.ERROR, host="db1", pair="shop", term=lambda: 7))
    event_log.listen(heard.append)
    event_log.log("link", "up", (("a", "b"),))
    event_log.unlisten(heard.append)
    event_log.log("link", "down")
    (one,) = heard
    assert (one.event, one.level, one.text) == ("link", Level.INFO, "up")
    assert (one.host, one.pair, one.term) == ("db1", "shop", 7)
    assert one.fields == (("a", "b"),)
    assert lines(capsys) == []


def test_the_command_line_comes_before_the_configuration() -> None:
    config = parse(edited(("[paths]", '[log]\nformat = "json"\nlevel = "warning"\n[paths]')), "db1")
    assert log_style(config, Options(), lambda: 3).json
    assert log_style(config, Options(), lambda: 3).level is Level.WARNING
    told = log_style(config, Options(log_format="human", log_level="debug"), lambda: 3)
    assert (told.json, told.level, told.host, told.pair, told.term()) == (False, Level.DEBUG, "db1", config.name, 3)

