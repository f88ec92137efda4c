"""Which WAL files of a returned host are still archived, and how long that may take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pgvip.config.model import Config
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import CommandError
from pgvip.rejoin import unarchived
from pgvip.rejoin.saved_wal import Divergence
from pgvip.system import pgtools
from pgvip.system.stopped_wal import Piece
from tests.unit import configs

SEGMENT = 16 * 1024 * 1024


def at(timeline: int, text: str) -> WalPoint:
    return WalPoint(timeline, Lsn.parse(text))


FORK, END = at(2, "0/6000100"), at(2, "0/8000100")
DIVERGED = Divergence(FORK, END, (Piece(2, FORK.lsn, END.lsn),), frozenset(), SEGMENT)
SHARED = Divergence(END, END, (), frozenset(), SEGMENT)


def name(timeline: int, number: int) -> str:
    return f"{timeline:08X}{0:08X}{number:08X}"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data/pg_wal/archive_status").mkdir(parents=True)
    return configs.make(tmp_path)


def holds(config: Config, files: dict[str, str]) -> None:
    """Files of pg_wal, each with the end of its mark's name ("" for none)."""
    wal = config.postgres.data_directory / "pg_wal"
    for file, mark in files.items():
        (wal / file).write_text(file)
        if mark:
            (wal / "archive_status" / f"{file}.{mark}").touch()


def after(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setattr(pgtools, "control_data", lambda _: SimpleNamespace(state=state))


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def test_what_is_marked_and_shared_waits(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    after(monkeypatch, "shut down")
    label = f"{name(2, 5)}.00000028.backup"
    lost = f"{name(2, 7)}.00000028.backup"
    holds(config, {
        name(1, 3): "ready", "00000002.history": "ready", name(2, 4): "done", name(2, 5): "ready", label: "ready",
        name(2, 6): "ready", lost: "ready", name(2, 8): "",
    })  # fmt: skip
    assert names(unarchived.waiting(config, DIVERGED)) == [name(1, 3), "00000002.history", name(2, 5), label]
    assert name(2, 6) in names(unarchived.waiting(config, SHARED))


def test_finished_file_of_a_crashed_primary_needs_no_mark(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(config, {name(1, 3): "", name(2, 5): "", name(2, 6): "done", name(2, 7): "", name(2, 8): "", name(2, 9): ""})
    after(monkeypatch, "in production")
    assert names(unarchived.waiting(config, SHARED)) == [name(2, 5), name(2, 7)]
    assert names(unarchived.waiting(config, DIVERGED)) == [name(2, 5)]
    after(monkeypatch, "shut down in recovery")
    assert unarchived.waiting(config, SHARED) == []


def test_no_archive_no_waiting(config: Config) -> None:
    holds(config, {name(2, 5): "ready"})
    off = replace(config, archive=replace(config.archive, enabled=False))
    assert unarchived.waiting(off, SHARED) == []


def test_dead_archive_is_asked_three_times_and_the_rest_saved(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    after(monkeypatch, "shut down")
    asked: list[str] = []

    def dead(command: list[Path], *, timeout_s: float, user: str) -> None:
        assert (0 < timeout_s <= 2 * config.archive.timeout_s + 5, user) == (True, "nobody")
        asked.append(command[-1].name)
        raise CommandError("did not finish")

    monkeypatch.setattr(unarchived, "check", dead)
    files = [name(2, number) for number in range(1, 7)]
    holds(config, dict.fromkeys(files, "ready"))
    for _ in range(2):
        unarchived.keep_unarchived(config, SHARED, print)
    assert asked == files[:3] * 2
    (kept,) = config.paths.saved.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == files
    assert (kept / files[0]).read_text() == files[0]


def test_file_beyond_the_end_of_valid_wal_is_saved_and_not_archived(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(monkeypatch, "shut down")
    asked: list[str] = []
    monkeypatch.setattr(unarchived, "check", lambda command, **_: asked.append(command[-1].name))
    holds(config, {name(2, 8): "ready", name(2, 9): "ready"})
    unarchived.keep_unarchived(config, SHARED, print)
    assert asked == [name(2, 8)]
    assert [path.name for path in config.paths.saved.glob("*/*")] == [name(2, 9)]
    marks = {path.name for path in (config.postgres.data_directory / "pg_wal/archive_status").iterdir()}
    assert marks == {f"{name(2, 8)}.done", f"{name(2, 9)}.ready"}
