"""The configuration in force: read again on SIGHUP, as far as it can change while the daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgvip.config.load import load
from pgvip.config.model import Config
from pgvip.daemon.live_config import LiveConfig, Options
from tests.unit.config_text import edited

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pgvip.toml"
    path.write_text(edited())
    return path


def test_what_can_change_holds_at_once_and_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = LiveConfig(load(file, "db1"), Options(file, "db1"))
    heard: list[Config] = []
    live.listen(heard.append)
    file.write_text(edited(("[paths]", '[log]\nlevel = "warning"\n[paths]')))
    live.reload()
    assert live().log.level == "warning"
    assert heard == [live()]
    assert "reload: log.level" in capsys.readouterr().err


def test_a_file_with_mistakes_changes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = load(file, "db1")
    live = LiveConfig(old, Options(file, "db1"))
    heard: list[Config] = []
    live.listen(heard.append)
    file.write_text(edited(("[paths]", '[log]\nlevel = "loud"\n[paths]')))
    live.reload()
    assert live() is old
    assert heard == []
    assert "reload-failed: " in capsys.readouterr().err


def test_what_needs_a_restart_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = LiveConfig(load(file, "db1"), Options(file, "db1"))
    before = live().postgres.data_directory
    text = file.read_text()
    file.write_text(text.replace(f'"{before}"', '"/elsewhere"'))
    live.reload()
    assert live().postgres.data_directory == before
    assert "needs a restart of pgvip: postgresql.data_directory" in capsys.readouterr().err
