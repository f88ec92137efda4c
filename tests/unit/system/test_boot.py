from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.errors import ProbeError
from pgvip.system import boot, processes


def test_the_identity_is_stable_and_names_boot_and_init() -> None:
    first, second = boot.boot_identity(), boot.boot_identity()
    assert first == second
    boot_id, _, started = first.partition("/")
    assert boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert started.isdigit()


def test_another_init_is_another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    before = boot.boot_identity()
    monkeypatch.setattr(processes, "ref_of", lambda pid: processes.ProcessRef(pid, "900022"))
    assert boot.boot_identity() != before
    assert boot.boot_identity().endswith("/900022")
    monkeypatch.setattr(processes, "ref_of", lambda _pid: None)
    with pytest.raises(ProbeError):
        boot.boot_identity()


def test_unreadable_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boot, "BOOT_ID", tmp_path / "none")
    with pytest.raises(ProbeError):
        boot.boot_identity()
