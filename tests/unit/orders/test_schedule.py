"""A switchover for later: kept in a file, made once at its time, dropped in words when that was missed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pgvip.errors import PostgresError, RefusedError
from pgvip.orders.desk import Desk, Document, Reply
from pgvip.orders.schedule import GRACE_S, SETTLE_S, Schedule
from pgvip.status.snapshot import Newest, Snapshot
from pgvip.text.times import wall
from tests.unit.core_world import Host, primary, standby
from tests.unit.orders.test_order_table import snapshot_of

START = datetime(2026, 11, 25, 22, 0, tzinfo=UTC)


@dataclass
class Bench:
    """A schedule whose clock and daemon the test moves."""

    path: Path
    now: datetime = START
    snapshot: Snapshot | None = field(default_factory=lambda: snapshot_of(primary()))
    events: list[tuple[str, str]] = field(default_factory=list)
    runs: list[Document] = field(default_factory=list)
    outcome: Document = field(default_factory=lambda: {"text": "b is primary"})
    schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new daemon that reads what the last one kept."""
        bench = self

        class Given(Newest):
            def get(self) -> Snapshot | None:
                return bench.snapshot

        desk = Desk(Given(), SimpleQueue(), log=lambda event, text: self.events.append((event, text)))
        self.schedule = Schedule(self.path, desk, self._run, lambda: self.now)

    def _run(self, request: Document, reply: Reply) -> Document:
        self.runs.append(request)
        reply({"progress": "a stops"})
        return self.outcome

    def add(self, at_s: float = 60.0, **more: Any) -> str:
        return self.schedule.add({"at": wall(START + timedelta(seconds=at_s)), "by": "ann", **more})

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def told(self) -> set[str]:
        return {event for event, _ in self.events}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "scheduled.json")


def test_it_is_made_once_at_its_time(bench: Bench) -> None:
    assert "from a to b" in bench.add()
    assert bench.schedule.due() == 20.0
    bench.passes(50.0)
    assert bench.schedule.due() == 10.0
    assert bench.runs == []
    bench.passes(10.0)
    bench.schedule.due()
    assert [run["force"] for run in bench.runs] == [False]
    assert ("schedule-done", "b is primary") in bench.events
    assert bench.schedule.waiting is None
    bench.restart()
    assert bench.schedule.waiting is None
    bench.schedule.due()
    assert len(bench.runs) == 1


def test_it_outlives_the_daemon(bench: Bench) -> None:
    bench.add(force=True)
    bench.restart()
    waiting = bench.schedule.waiting
    assert waiting is not None
    assert (waiting.by, waiting.primary, waiting.force) == ("ann", "a", True)
    bench.passes(60.0 + GRACE_S)
    bench.schedule.due()
    assert [run["force"] for run in bench.runs] == [True]


def test_one_that_was_missed_by_more_than_the_grace_is_dropped(bench: Bench) -> None:
    bench.add()
    bench.passes(61.0 + GRACE_S)
    bench.restart()
    bench.schedule.due()
    assert bench.runs == []
    assert "schedule-dropped" in bench.told()
    assert not bench.path.exists()


def test_checks_that_fail_then_call_it_off(bench: Bench) -> None:
    bench.add()
    bench.outcome = {"ok": False, "error": "no switchover now: the pair is paused", "detail": "more"}
    bench.passes(60.0)
    bench.schedule.due()
    assert ("schedule-called-off", "no switchover now: the pair is paused; more") in bench.events
    assert bench.schedule.waiting is None


def test_an_error_then_is_told_and_ends_nothing_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_request: Document, _reply: Reply) -> Document:
        raise PostgresError("the disk is full")

    bench.add()
    monkeypatch.setattr(bench.schedule, "_run", fails)
    bench.passes(60.0)
    bench.schedule.due()
    assert ("schedule-called-off", "the disk is full") in bench.events


@pytest.mark.parametrize("now", [standby(me="a"), primary(me="b")], ids=["b is primary", "b is primary here"])
def test_roles_that_changed_meanwhile_call_it_off(bench: Bench, now: Host) -> None:
    bench.add()
    bench.snapshot = snapshot_of(now)
    bench.passes(60.0)
    bench.schedule.due()
    assert bench.runs == []
    assert "schedule-called-off" in bench.told()


def test_a_daemon_that_has_just_started_is_given_time_to_hear_its_peer(bench: Bench) -> None:
    bench.add()
    bench.snapshot = snapshot_of(primary().knows(heard=None))
    bench.passes(60.0)
    assert bench.schedule.due() == 0.5
    assert bench.runs == []
    bench.passes(SETTLE_S)
    bench.schedule.due()
    assert len(bench.runs) == 1


def test_only_one_waits_and_it_can_be_cancelled(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="no switchover is scheduled"):
        bench.schedule.cancel({})
    bench.add()
    with pytest.raises(RefusedError, match="scheduled already"):
        bench.add(120.0)
    assert "dry run" in bench.schedule.cancel({"dry_run": True})
    assert bench.schedule.waiting is not None
    assert "cancelled" in bench.schedule.cancel({"by": "bob"})
    assert any(event == "schedule-cancelled" and "bob" in text for event, text in bench.events)
    bench.restart()
    assert bench.schedule.waiting is None


@pytest.mark.parametrize("at", ["", "soon", "2026-11-25T21:59:59.000+00:00", "2036-01-01T00:00:00.000+00:00"])
def test_what_is_no_time_is_refused_and_not_kept(bench: Bench, at: str) -> None:
    with pytest.raises(RefusedError):
        bench.schedule.add({"at": at})
    assert not bench.path.exists()
    assert "dry run" in bench.add(dry_run=True)
    assert not bench.path.exists()


def test_a_file_that_cannot_be_read_is_told_and_ends_no_daemon(bench: Bench) -> None:
    bench.path.write_text("{")
    bench.restart()
    assert bench.schedule.waiting is None
    assert "schedule-dropped" in bench.told()
