"""What a finished base backup says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgvip.archive import basebackup
from pgvip.archive.backups import DATA, Backup
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import ArchiveError

LABEL = """\
START WAL LOCATION: 0/4000028 (file 000000010000000000000004)
CHECKPOINT LOCATION: 0/4000060
BACKUP METHOD: streamed
BACKUP FROM: standby
START TIME: 2026-11-25 22:30:00 UTC
LABEL: pgvip backup 20261125T223000Z
START TIMELINE: 1
"""


def written(path: Path, ranges: list[dict[str, object]]) -> Backup:
    data = path / DATA
    data.mkdir()
    (data / "backup_label").write_text(LABEL)
    (data / "backup_manifest").write_text(json.dumps({"WAL-Ranges": ranges}))
    begun = WalPoint(0, Lsn(0))
    return Backup("20261125T223000Z", "berlin", "running", begun, begun)


def test_backup_over_a_change_of_timeline_is_consistent_at_its_last_wal(tmp_path: Path) -> None:
    """As PostgreSQL writes them: the newest timeline first."""
    ranges: list[dict[str, object]] = [
        {"Timeline": 2, "Start-LSN": "0/5000100", "End-LSN": "0/6000050"},
        {"Timeline": 1, "Start-LSN": "0/4000028", "End-LSN": "0/5000100"},
    ]
    found = basebackup._facts(tmp_path, written(tmp_path, ranges))
    assert found.start == WalPoint(1, Lsn.parse("0/4000028"))
    assert found.stop == WalPoint(2, Lsn.parse("0/6000050"))


def test_manifest_without_wal_is_not_understood(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="did not understand"):
        basebackup._facts(tmp_path, written(tmp_path, []))
