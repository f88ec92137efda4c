"""What the probe makes of one answer of the server, and of those before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pgvip.core.values import Lsn
from pgvip.probes import database
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


def dated(probe: DatabaseProbe, monkeypatch: pytest.MonkeyPatch, looks: list[tuple[float, Answers]]) -> float:
    """When new WAL last came, after looks at these times."""
    for at_s, said in looks:
        monkeypatch.setattr(database, "now_s", lambda at_s=at_s: at_s)
        moved_at_s = probe._database(said, "1:1").moved_at_s
    return moved_at_s


@pytest.mark.parametrize(
    ("age_s", "moved_at_s"),
    [
        (0.8, 100.2),
        (0.0, 101.0),
        (None, 101.0),
        (1.5, 101.0),  # before the last look, which did not see it: the clock was set
        (-0.5, 101.0),
    ],
)
def test_new_wal_is_dated_by_the_message_that_brought_it(
    probe: DatabaseProbe, monkeypatch: pytest.MonkeyPatch, age_s: float | None, moved_at_s: float
) -> None:
    """A look comes up to an interval later; that long, the primary's silence would be found too late."""
    came = STANDBY._replace(receive_lsn="0/3000", message_age_s=age_s)
    found_s = dated(probe, monkeypatch, [(100.0, STANDBY), (101.0, came)])
    assert found_s == pytest.approx(moved_at_s)
    still = came._replace(message_age_s=0.1)  # a message without WAL is no sign of life
    assert dated(probe, monkeypatch, [(102.0, still)]) == found_s


def replied(apart_s: float | None, lsn: str) -> Answers:
    return PRIMARY._replace(replica_flush_lsn=lsn, replica_reply_age_s=apart_s)


@pytest.mark.parametrize("ahead_s", [0.0, 3600.0, -3600.0])
def test_a_flush_is_dated_by_the_reply_that_told_of_it_whatever_the_standbys_clock_says(
    probe: DatabaseProbe, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    looks = [(100.0, replied(ahead_s + 0.01, "0/2000")), (101.0, replied(ahead_s + 0.71, "0/3000"))]
    assert dated(probe, monkeypatch, looks) == pytest.approx(100.3, abs=0.01)


def test_a_flush_is_not_dated_before_it_can_have_been(probe: DatabaseProbe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The standby's clock is set back by an hour: all its replies look old, until the difference is learned again."""
    looks = [(100.0, replied(0.01, "0/2000")), (101.0, replied(3600.2, "0/3000"))]
    assert dated(probe, monkeypatch, looks) == 101.0
    again = [(102.0, replied(3600.1, "0/4000")), (103.0, replied(3600.6, "0/5000"))]
    assert dated(probe, monkeypatch, again) == pytest.approx(102.5, abs=0.01)
    assert dated(probe, monkeypatch, [(104.0, replied(None, "0/6000"))]) == 104.0
