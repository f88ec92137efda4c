"""The configuration in force: read again on SIGHUP, as far as it can change while the daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgvip.config import former_vips
from pgvip.config.load import load
from pgvip.config.model import Config
from pgvip.daemon.live_config import LiveConfig, Options
from pgvip.deadlines import now_s
from tests.unit.config_text import DB1_FENCING, edited

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
    text = file.read_text()
    file.write_text(edited(("[paths]", '[log]\nlevel = "loud"\n[paths]')))
    live.reload()
    assert live() is old
    assert heard == []
    assert "reload-failed: " in capsys.readouterr().err
    [warning] = live.warnings()
    assert warning.name == "configuration-refused"
    assert 'log.level = "loud"' in warning.text
    file.write_text(text)
    live.reload()
    assert live.warnings() == ()


def test_what_needs_a_restart_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = LiveConfig(load(file, "db1"), Options(file, "db1"))
    before = live().postgres.data_directory
    text = file.read_text()
    file.write_text(text.replace(f'"{before}"', '"/elsewhere"'))
    live.reload()
    assert live().postgres.data_directory == before
    assert "needs a restart of pgvip: postgresql.data_directory" in capsys.readouterr().err
    [warning] = live.warnings()
    assert warning.name == "restart-pending"
    assert f'"{before}" -> "/elsewhere"' in warning.text
    file.write_text(text)
    live.reload()
    assert live.warnings() == ()


WITNESS = """
[witness]
postgresql = "host=w.example.org dbname=w"
id = "0123456789abcdef"
[watchdog]
mode = "required"
timeout_s = 10
"""
NO_FENCING = (DB1_FENCING, 'fencing = "none"')


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (('mode = "sync"', 'mode = "async"'), "would need 10 s to stop, and lease_stop_s = 0.8 holds"),
        (("[timing]", "[timing]\ncheck_times = 6"), "lease_s = 4.5 is too short"),
    ],
)
def test_what_the_lease_of_a_witness_does_not_allow_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], edit: tuple[str, str], why: str
) -> None:
    """In async a primary whose daemon hangs goes on until its watchdog ends it: its standby has to wait for that."""
    file.write_text(edited(NO_FENCING) + WITNESS)
    old = load(file, "db1")
    live = LiveConfig(old, Options(file, "db1"))
    file.write_text(edited(NO_FENCING, edit) + WITNESS)
    live.reload()
    assert live() is old
    said = capsys.readouterr().err
    assert "reload-failed: with a witness this change needs a restart of pgvip" in said
    assert why in said
    file.write_text(edited(NO_FENCING, ("[paths]", '[log]\nlevel = "warning"\n[paths]')) + WITNESS)
    live.reload()
    assert live().log.level == "warning"


def test_a_vip_that_changes_keeps_its_former_address(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("[paths]", f'[paths]\nrun = "{tmp_path}"')
    file.write_text(edited(run))
    live = LiveConfig(load(file, "db1"), Options(file, "db1"))
    file.write_text(edited(run, ("192.0.2.20", "192.0.2.21")))
    live.reload()
    assert [str(one.address.ip) for one in live().former_vips] == ["192.0.2.20"]
    said = capsys.readouterr().err
    assert "address-former: the standby VIP is 192.0.2.21 now; 192.0.2.20 is served for 600 s more" in said
    assert former_vips.at_start(load(file, "db1"), now_s()).former_vips == live().former_vips
    file.write_text(edited(run, ("192.0.2.10", "192.0.2.22"), ("192.0.2.20", "192.0.2.10")))
    live.reload()
    assert "reload-failed: addresses.standby = 192.0.2.10 is still served as the primary VIP" in capsys.readouterr().err


def test_a_change_of_the_mode_brings_nothing_along_before_the_restart(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A daemon that only observes treats the pair as asynchronous: one that acts must not come to that by a reload."""
    old = load(file, "db1")
    assert old.settings.sync
    live = LiveConfig(old, Options(file, "db1"))
    file.write_text(edited(("[pair]", '[pair]\nmode = "observe"')))
    live.reload()
    assert live() is old
    assert "needs a restart of pgvip: pair.mode: normal -> observe" in capsys.readouterr().err
