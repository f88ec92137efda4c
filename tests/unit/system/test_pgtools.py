"""pg_controldata's output."""

from __future__ import annotations

import pytest

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import PostgresError
from pgvip.system.pgtools import parse_control_data

TEXT = """\
pg_control version number:            1300
Database system identifier:           7710464019522801149
Database cluster state:               in production
pg_control last modified:             Sat Nov 21 03:38:21 2026
Latest checkpoint location:           0/20000A0
Latest checkpoint's REDO location:    0/2000028
Latest checkpoint's TimeLineID:       1
Latest checkpoint's PrevTimeLineID:   1
Minimum recovery ending location:     0/2000180
Min recovery ending loc's timeline:   2
wal_level setting:                    replica
wal_log_hints setting:                on
max_connections setting:              100
WAL block size:                       8192
Bytes per WAL segment:                16777216
Data page checksum version:           0
"""


def test_control_data_is_understood() -> None:
    control = parse_control_data(TEXT)
    assert control.checkpoint == WalPoint(1, Lsn.parse("0/20000A0"))
    assert control.redo == Lsn.parse("0/2000028")
    assert (control.system_id, control.segment_bytes) == ("7710464019522801149", 1 << 24)
    assert not control.clean
    assert control.rewindable
    assert dict(control.settings)["max_connections"] == "100"


@pytest.mark.parametrize(
    ("state", "clean", "closed"),
    [("shut down", True, True), ("shut down in recovery", True, False), ("in archive recovery", False, False)],
)
def test_only_a_primary_ends_with_its_checkpoint(state: str, clean: bool, closed: bool) -> None:
    (line,) = (line for line in TEXT.splitlines() if line.startswith("Database cluster state:"))
    control = parse_control_data(TEXT.replace(line, f"Database cluster state: {state}"))
    assert (control.clean, control.closed) == (clean, closed)


def test_promotion_that_crashed_before_its_checkpoint_counts() -> None:
    assert parse_control_data(TEXT).timeline == 2


@pytest.mark.parametrize(
    ("state", "clean"),
    [("shut down", True), ("shut down in recovery", True), ("in archive recovery", False), ("shutting down", False)],
)
def test_clean_states(state: str, clean: bool) -> None:
    assert parse_control_data(TEXT.replace("in production", state)).clean is clean


def test_missing_line_is_an_error() -> None:
    with pytest.raises(PostgresError, match="did not understand"):
        parse_control_data(TEXT.replace("Latest checkpoint's REDO", "Something else"))
