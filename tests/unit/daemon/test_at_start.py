"""What is said of the host before the loop goes round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgvip.daemon import at_start
from pgvip.errors import PgvipError
from pgvip.system import locked_memory, units
from tests.unit import configs

if TYPE_CHECKING:
    from pathlib import Path


def test_what_starts_postgresql_at_boot_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A start.conf that was set back to auto, by a package or by a person (repmgr #80, #794)."""
    config = configs.make(tmp_path)
    cluster = tmp_path / "15/main"
    cluster.mkdir(parents=True)
    (cluster / "postgresql.conf").write_text(f"data_directory = '{config.postgres.data_directory}'\n")
    (cluster / "start.conf").write_text("auto\n")
    monkeypatch.setattr(units, "start_files", lambda data: [cluster / "start.conf"])
    at_start._tell_auto_starts(config)
    said = capsys.readouterr().err
    assert f"starts-at-boot: {cluster}/start.conf says auto" in said
    assert f"hint: echo manual > {cluster}/start.conf" in said
    (cluster / "start.conf").write_text("manual\n")
    at_start._tell_auto_starts(config)
    assert capsys.readouterr().err == ""


def test_a_look_that_fails_ends_no_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> list[Path]:
        raise PermissionError(13, "Permission denied", "/etc/postgresql")

    monkeypatch.setattr(units, "start_files", fail)
    at_start._tell_auto_starts(configs.make(tmp_path))
    assert "could not search" in capsys.readouterr().err


def test_memory_that_may_not_be_locked_is_said_and_ends_no_daemon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise PgvipError("the daemon's memory is not locked", hint="See LimitMEMLOCK=.")

    monkeypatch.setattr(locked_memory, "lock", refuse)
    at_start._lock_memory()
    assert "configuration: the daemon's memory is not locked; HINT: See LimitMEMLOCK=." in capsys.readouterr().err
