"""`pgvip run`, as far as it needs no daemon."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pgvip.core.values import BootFacts
from pgvip.daemon import assembly as assembling
from pgvip.state.record import load_boot_facts
from pgvip.system import units
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
    assembling._tell_auto_starts(config)
    said = capsys.readouterr().err
    assert f"starts-at-boot: {cluster}/start.conf says auto" in said
    assert f"hint: echo manual > {cluster}/start.conf" in said
    (cluster / "start.conf").write_text("manual\n")
    assembling._tell_auto_starts(config)
    assert capsys.readouterr().err == ""


def test_a_look_that_fails_ends_no_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> list[Path]:
        raise PermissionError(13, "Permission denied", "/etc/postgresql")

    monkeypatch.setattr(units, "start_files", fail)
    assembling._tell_auto_starts(configs.make(tmp_path))
    assert "could not look" in capsys.readouterr().err


@contextmanager
def no_more_bytes() -> Iterator[None]:
    """Every write(2) to a file fails, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_facts_that_cannot_be_kept_are_forgotten_told_once_and_kept_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assembly = assembling.Assembly.__new__(assembling.Assembly)  # only what keeping needs of it
    assembly._facts_file, assembly._boot_id, assembly._facts_kept = tmp_path / "boot.json", "boot-1", True
    assert assembly._keep(BootFacts(confirmed=True))
    with no_more_bytes():
        assert not assembly._keep(BootFacts())
        assert "facts-failed: could not write" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
        assert not assembly._keep(BootFacts())
    assert capsys.readouterr().err == ""
    assert assembly._keep(BootFacts(met=True))
    assert load_boot_facts(tmp_path / "boot.json", "boot-1") == BootFacts(met=True)
