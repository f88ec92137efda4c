from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.errors import ProbeError
from pgvip.system import boot


def test_the_identity_is_stable_and_names_boot_and_init() -> None:
    first, second = boot.boot_identity(), boot.boot_identity()
    assert first == second
    boot_id, _, started = first.partition("/")
    assert boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert started.isdigit()


def test_another_init_is_another_boot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = boot.boot_identity()
    other = tmp_path / "stat"
    other.write_text("1 (in it) ) S " + " ".join(str(n) for n in range(900_004, 900_060)))
    monkeypatch.setattr(boot, "INIT", other)
    assert boot.boot_identity() != before
    assert boot.boot_identity().endswith("/900022")


def test_unreadable_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(boot, "BOOT_ID", tmp_path / "none")
    with pytest.raises(ProbeError):
        boot.boot_identity()
