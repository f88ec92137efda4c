"""pgvip's lines of pg_hba.conf and pg_ident.conf stay there; a real pair is in tests/lab/test_settings.py."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.config.model import Config
from pgvip.daemon import server_files
from pgvip.events import event_log
from pgvip.setup import access
from pgvip.system import pgconf, processes
from tests.unit import configs

THEIRS = "host all all 192.0.2.0/24 md5\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A host whose server runs: this process, which gets no signal."""
    found = tmp_path / "pg_hba.conf", tmp_path / "pg_ident.conf"
    for path in found:
        path.write_text(THEIRS)
    monkeypatch.setattr(access, "access_files", lambda _: found)
    monkeypatch.setattr(processes, "postmaster", lambda _: processes.ref_of(os.getpid()))
    monkeypatch.setattr(processes, "send", lambda *_: True)
    return configs.make(tmp_path)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    events = list[str]()
    monkeypatch.setattr(event_log, "log", lambda name, *_: events.append(name))
    return events


def test_lines_that_are_missing_are_put_back_once_and_told(config: Config, told: list[str]) -> None:
    assert server_files.keep(config) == server_files.keep(config) == ()
    assert told == ["access-restored"]
    hba, ident = access.access_files(config)
    assert hba.read_text() == access.with_block(THEIRS, access.hba_lines(config))
    assert ident.read_text() == access.with_block(THEIRS, access.ident_lines(config))
    hba.write_text(THEIRS)
    server_files.keep(config)
    assert told == ["access-restored"] * 2


def test_where_that_is_switched_off_it_is_warned_of(config: Config, told: list[str]) -> None:
    config = replace(config, postgres=replace(config.postgres, keep_access=False))
    [warning] = server_files.keep(config)
    assert warning.name == "access-missing"
    assert told == []
    assert access.access_files(config)[0].read_text() == THEIRS
    access.write_access(config)
    assert server_files.keep(config) == ()


def test_what_cannot_be_written_is_warned_of(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Path("/nonexistent/pg_hba.conf")
    monkeypatch.setattr(access, "access_files", lambda _: (gone, gone))
    [warning] = server_files.keep(config)
    assert str(gone) in warning.text


def test_a_running_server_takes_what_was_changed_and_needs_no_restart(config: Config, told: list[str]) -> None:
    data = config.postgres.data_directory
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    (data / "pgvip.conf").write_text(pgconf.render(config, sync=True, version=15))
    server_files.follow(config)
    assert told == []
    server_files.follow(replace(config, max_slot_wal_keep_mb=77))
    assert told == ["reload"]
    assert "max_slot_wal_keep_size = '77MB'" in (data / "pgvip.conf").read_text()
    server_files.follow(replace(config, max_slot_wal_keep_mb=77))
    assert told == ["reload"]
    (data / "PG_VERSION").unlink()
    [warning] = server_files.follow(config)
    assert warning.name == "settings-unwritten"
    assert "there is no database cluster" in warning.text
    assert told == ["reload"]


def test_without_a_server_nothing_is_touched(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "postmaster", lambda _: None)
    assert server_files.follow(config) == server_files.keep(config) == ()
    assert access.access_files(config)[0].read_text() == THEIRS
