"""What systemd is told, and the log."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

from pgvip.cli import run
from pgvip.errors import ConfigError
from pgvip.record import PairIdentity, save_identity
from pgvip.system import service
from tests.unit.config_text import edited


def test_systemd_hears_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        service.notify("READY=1")
        assert listener.recv(100) == b"READY=1"


def test_a_manager_that_is_gone_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    service.notify("WATCHDOG=1")
    assert "notify-failed" in capsys.readouterr().err


def test_an_event_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    service.log("action-failed", "first\nsecond")
    assert capsys.readouterr().err.endswith("action-failed: first; second\n")


def test_postgresql_is_never_run_inside_the_daemons_own_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pgvip.toml"
    file.write_text(edited(("[paths]", f'[paths]\nstate = "{tmp_path}/state"\nrun = "{tmp_path}/run"')))
    (tmp_path / "state").mkdir()
    save_identity(tmp_path / "state/identity.json", PairIdentity("p", "1", "db1", "db2"))
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    with pytest.raises(ConfigError, match=r"postgresql\.unit is empty"):
        run.run(argparse.Namespace(config=file, host="db1"))
