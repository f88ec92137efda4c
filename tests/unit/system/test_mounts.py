"""What is mounted from another host gives nobody rights on this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgvip.errors import MountError
from pgvip.system import mounts
from pgvip.system.commands import Completed, Lookout


@pytest.mark.parametrize("options", ["", "ro,soft", "ro,suid,dev", "nosuid"])
def test_no_mount_has_setuid_programs_or_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str) -> None:
    """Whatever the configuration says: a server at the other host's address would make any user of this host root."""
    asked: list[list[str]] = []

    def run(_self: Lookout, words: list[str], *, timeout_s: float) -> Completed:
        asked.append(words)
        return Completed(1, "", f"refused within {timeout_s:g} s")

    monkeypatch.setattr(Lookout, "run", run)
    with pytest.raises(MountError):
        mounts.mount("nfs", "192.0.2.12:/archive", options, tmp_path / "point", 1.0)
    words = asked[0][asked[0].index("mount") :]
    given = words[words.index("-o") + 1].split(",")
    assert given[-2:] == ["nosuid", "nodev"]
    assert words[-2:] == ["192.0.2.12:/archive", str(tmp_path / "point")]
