"""What the probe makes of one answer of the server, and of those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgvip.core.values import Lsn
from pgvip.probes.database import Answers, DatabaseProbe
from tests.unit import configs

if TYPE_CHECKING:
    from pathlib import Path

NOTHING: dict[str, Any] = dict.fromkeys(Answers._fields)
PRIMARY = Answers(**NOTHING)._replace(
    in_recovery=False,
    timeline_hex="00000001",
    flush_lsn="0/2000",
    control_timeline=1,
    replay_paused=False,
    sync_names="",
    replica_state="streaming",
    replica_flush_lsn="0/2000",
    segment_bytes=1 << 24,
    settings_read_at="",
)
STANDBY = PRIMARY._replace(
    in_recovery=True,
    timeline_hex=None,
    flush_lsn=None,
    receive_lsn="0/2000",
    replay_lsn="0/2000",
    received_timeline=1,
    receiver_status="streaming",
    message_age_s=0.5,
    replica_state=None,
)


@pytest.fixture
def probe(tmp_path: Path) -> DatabaseProbe:
    return DatabaseProbe(configs.make(tmp_path))


def test_where_recovery_ended_is_remembered_of_one_postmaster(probe: DatabaseProbe) -> None:
    """Another one has recovered anew: the end of the former's recovery is not its own."""
    first = probe._database(PRIMARY, "1:1")
    later = probe._database(PRIMARY._replace(flush_lsn="0/5000"), "1:1")
    assert first.recovered_end == later.recovered_end == Lsn(0x2000)
    assert probe._database(PRIMARY._replace(flush_lsn="0/6000"), "2:2").recovered_end == Lsn(0x6000)


def test_a_timeline_is_remembered_of_one_postmaster(probe: DatabaseProbe) -> None:
    ahead = STANDBY._replace(received_timeline=3)
    assert probe._database(ahead, "1:1").point.timeline == 3
    assert probe._database(STANDBY, "1:1").point.timeline == 3
    assert probe._database(STANDBY, "2:2").point.timeline == 1, "a copy of older data has taken its place"


def test_movement_is_not_what_a_former_postmaster_had_received(probe: DatabaseProbe) -> None:
    """A rewound standby is behind where it was: its first WAL is a sign of life all the same."""
    probe._database(STANDBY._replace(receive_lsn="0/9000", replay_lsn="0/9000"), "1:1")
    first = probe._database(STANDBY, "2:2")
    moved = probe._database(STANDBY._replace(receive_lsn="0/3000"), "2:2")
    assert moved.moved_at_s > first.moved_at_s


@pytest.mark.parametrize(
    ("status", "age_s", "streaming"),
    [
        ("streaming", 0.5, True),
        ("streaming", 60.0, False),
        ("streaming", None, False),
        ("waiting", 0.5, False),
        (None, None, False),
    ],
)
def test_a_stream_is_one_over_which_its_sender_was_heard(
    probe: DatabaseProbe, status: str | None, age_s: float | None, streaming: bool
) -> None:
    """The view goes on saying "streaming" for minutes when the sender's host has lost its power."""
    said = STANDBY._replace(receiver_status=status, message_age_s=age_s)
    assert probe._database(said, "1:1").streaming is streaming
