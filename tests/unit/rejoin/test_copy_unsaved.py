"""WAL of replaced data that nobody could read: kept once, whole, before the old data is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.cli import clone as cli
from pgvip.config.model import Config
from pgvip.errors import RejoinError
from pgvip.link.bundle import Bundle
from pgvip.rejoin import copy as cloning
from pgvip.rejoin import follow, saved_wal
from pgvip.rejoin.places import Place
from pgvip.state import files
from pgvip.system import processes
from tests.unit import configs

FILES = {"000000010000000000000001": "torn", "archive_status/000000010000000000000001.ready": ""}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = configs.make(tmp_path)
    made.paths.state.mkdir()
    return made


def replaced(config: Config, wal: Path | None = None) -> Path:
    """Data that a clone has replaced, with the marker."""
    old = Place.of_data(config).replaced
    old.mkdir()
    place = wal or old / "pg_wal"
    (place / "archive_status").mkdir(parents=True)
    if wal is not None:
        (old / "pg_wal").symlink_to(wal)
    for name, content in FILES.items():
        (place / name).write_text(content)
    (old / cloning.UNSAVED).touch()
    return old


def kept(config: Config) -> list[dict[str, str]]:
    return [
        {str(path.relative_to(one)): path.read_text() for path in one.rglob("*") if path.is_file()}
        for one in config.paths.saved.iterdir()
    ]


@pytest.mark.parametrize("movable", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_wal_is_kept_whole(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, movable: bool, linked: bool
) -> None:
    old = replaced(config, tmp_path / "fast-disk" if linked else None)
    if not movable:
        monkeypatch.setattr(saved_wal, "_movable", lambda *_: False)
    cloning._keep_unsaved(config, old)
    assert kept(config) == [FILES]
    assert not (old / cloning.UNSAVED).exists()
    assert not list((tmp_path / "fast-disk").glob("*"))
    cloning._keep_unsaved(config, old)
    assert kept(config) == [FILES]


def test_wal_that_the_present_data_use_stays_theirs(config: Config, tmp_path: Path) -> None:
    """A directory for WAL that somebody linked again after a clone: the next clone may fail, and they are needed."""
    disk = tmp_path / "fast-disk"
    old = replaced(config, disk)
    config.postgres.data_directory.mkdir(parents=True, exist_ok=True)
    (config.postgres.data_directory / "pg_wal").symlink_to(disk)
    cloning._keep_unsaved(config, old)
    assert {str(path.relative_to(disk)): path.read_text() for path in disk.rglob("*") if path.is_file()} == FILES
    assert not (old / cloning.UNSAVED).exists()


def test_copy_that_is_cut_short_leaves_the_original_and_no_second_set(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = replaced(config)
    monkeypatch.setattr(saved_wal, "_movable", lambda *_: False)

    def full(*_: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(files, "copy", full)
        with pytest.raises(OSError, match="disk full"):
            cloning._keep_unsaved(config, old)
    assert (old / "pg_wal" / "000000010000000000000001").read_text() == "torn"
    # The daemon dies when the copy is whole, and the marker is not gone yet.
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", full)
        with pytest.raises(OSError, match="disk full"):
            cloning._keep_unsaved(config, old)
    cloning._keep_unsaved(config, old)
    assert kept(config) == [FILES]


def test_no_space_is_a_refusal_that_leaves_the_original(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    old = replaced(config)
    monkeypatch.setattr(saved_wal, "_movable", lambda *_: False)
    space = processes.disk_space(config.paths.state)
    monkeypatch.setattr(processes, "disk_space", lambda _: space._replace(free_bytes=saved_wal.MARGIN_BYTES))
    with pytest.raises(RejoinError, match="no space to save WAL"):
        cloning._keep_unsaved(config, old)
    assert (old / cloning.UNSAVED).exists()
    assert (old / "pg_wal" / "000000010000000000000001").read_text() == "torn"


def test_clone_of_an_operator_keeps_what_only_the_old_data_has(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set-up goes by `rejoin.clone_over`, which saves, and not by the bare clone."""
    asked: list[str] = []
    monkeypatch.setattr(follow, "clone_over", lambda *_, system_id: asked.append(system_id))
    bundle = Bundle(
        host="berlin", first_host="paris", pair_id="pair-1", system_id="70", config="",
        key="K", certificate="C", peer_certificate="P", passwords="",
    )  # fmt: skip
    (step,) = (one for one in cli._copy_steps(config, bundle) if one.title.startswith("copy of the database"))
    step.do()
    assert asked == ["70"]
