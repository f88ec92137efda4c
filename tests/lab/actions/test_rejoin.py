"""Rewind and rejoin of real data, and what of it is saved."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from pgvip.actions import postgres, prepare
from pgvip.core.values import Lsn
from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError, RejoinError
from pgvip.probes.database import DatabaseProbe
from pgvip.rejoin import copy as cloning
from pgvip.rejoin import follow, plan
from pgvip.system import pgtools
from pgvip.system.commands import check
from pgvip.system.stopped_wal import local_history
from pgvip.system.wal_files import segment_name
from tests.lab.actions.servers import caught_up, count, insert, look
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)


def test_crashed_primary_with_more_wal_is_rewound_and_its_loss_listed(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    before = count(streaming.a)
    beat = DatabaseProbe(streaming.a)
    for number in range(3):
        insert(streaming.a, number)
        beat.heartbeat()
    beat.close()
    postgres.stop(streaming.a, clean=False)
    end = postgres.end_of_wal(streaming.a)
    postgres.start(streaming.b, standby=True, sync=False)
    postgres.promote(streaming.b)
    said: list[str] = []
    done = follow.rejoin(streaming.a, progress=said.append)
    assert done.startswith("rewound to")
    saved = max(streaming.a.paths.saved.iterdir())
    facts = json.loads((saved / "lost.json").read_text())
    assert facts["commits"] == 3
    assert facts["heartbeats"] == 3
    assert facts["to"] == str(end.lsn)
    assert all((saved / name).stat().st_size == 1 << 24 for name in facts["files"] if "." not in name)
    assert any("3 lost transactions" in line for line in said)
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")
    assert count(streaming.a) == before
    assert pgtools.psql(streaming.a, "SELECT slot_name FROM pg_replication_slots").strip() == "pgvip_b"


def test_primary_without_more_wal_needs_nothing(streaming: Pair) -> None:
    postgres.stop(streaming.a, clean=True)
    end = postgres.end_of_wal(streaming.a)
    wait_until(lambda: look(streaming.b).point >= end, 20, what="shutdown checkpoint on the standby")
    postgres.promote(streaming.b)
    assert follow.rejoin(streaming.a, progress=print) == "nothing had diverged"
    postgres.start(streaming.a, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.b, streaming.a), 20, what="catching up")


def test_end_of_wal_of_a_standby_is_what_it_had_flushed(streaming: Pair) -> None:
    """Its shutdown writes no record: pg_control names the last restartpoint, which is older."""
    pgtools.psql(streaming.a, "CHECKPOINT")
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    flushed = Lsn.parse(pgtools.psql(streaming.b, "SELECT pg_last_wal_receive_lsn()").strip())
    postgres.stop(streaming.b, clean=True)
    assert pgtools.control_data(streaming.b).state == "shut down in recovery"
    end = postgres.end_of_wal(streaming.b)
    assert end.lsn >= flushed
    assert end.lsn > pgtools.control_data(streaming.b).checkpoint.lsn
    assert follow.rejoin(streaming.b, progress=print) == "nothing had diverged"


def test_a_switch_of_wal_files_may_be_the_end(streaming: Pair) -> None:
    """The rest of the file counts as replayed."""
    pgtools.psql(streaming.a, "SELECT pg_switch_wal()")
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    pgtools.psql(streaming.b, "CHECKPOINT")
    postgres.stop(streaming.b, clean=True)
    assert follow.rejoin(streaming.b, progress=print) == "nothing had diverged"


def test_wal_files_that_were_made_ahead_say_nothing(streaming: Pair) -> None:
    """The server makes them, filled with zeros, before they are needed; pg_waldump asks any file for its header."""
    postgres.stop(streaming.b, clean=True)
    end = postgres.end_of_wal(streaming.b)
    wal = streaming.b.postgres.data_directory / "pg_wal"
    ahead = [wal / segment_name(end.timeline, end.lsn + (number << 24), 1 << 24) for number in range(1, 40)]
    made = [path for path in ahead if not path.exists()]
    for path in made:
        path.touch()
        os.truncate(path, 1 << 24)
    assert postgres.end_of_wal(streaming.b) == end
    for path in made:
        path.unlink()


def test_standby_ahead_of_its_primary_is_cloned(streaming: Pair) -> None:
    """The primary's disk forgot what it had synced: on one timeline pg_rewind would do nothing, and say so with 0."""
    data = streaming.a.postgres.data_directory
    postgres.stop(streaming.a, clean=True)
    earlier = data.with_name("earlier")
    check(["cp", "-a", data, earlier], timeout_s=60)
    archived = set(streaming.a.archive.directory.iterdir())
    postgres.start(streaming.a, standby=False, sync=False)
    for number in range(3):
        insert(streaming.a, number)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    postgres.stop(streaming.a, clean=True)
    postgres.stop(streaming.b, clean=True)
    shutil.rmtree(data)
    earlier.rename(data)
    for path in set(streaming.a.archive.directory.iterdir()) - archived:
        path.unlink()  # it will be written again, with another content
    postgres.start(streaming.a, standby=False, sync=False)
    assert plan.plan(streaming.b).way is plan.Way.CLONE
    before = set(streaming.b.paths.saved.iterdir()) if streaming.b.paths.saved.exists() else set()
    assert follow.rejoin(streaming.b, progress=print) == "cloned from a"
    (saved,) = set(streaming.b.paths.saved.iterdir()) - before
    assert json.loads((saved / "lost.json").read_text())["commits"] == 3
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    assert count(streaming.b) == count(streaming.a)


@pytest.mark.parametrize("later", [False, True])
def test_two_timelines_of_one_number_are_told_apart(streaming: Pair, later: bool) -> None:
    """Both were promoted at the same point, cut off from each other's archive; `later`: the peer once more since."""
    a, b = streaming.a, streaming.b
    postgres.stop(a, clean=True)
    end = postgres.end_of_wal(a)
    wait_until(lambda: look(b).point >= end, 20, what="shutdown checkpoint on the standby")
    postgres.stop(b, clean=True)
    postgres.start(a, standby=True, sync=False)
    postgres.promote(a)
    insert(a)
    timeline = look(a).point.timeline
    history = a.archive.directory / f"{timeline:08X}.history"
    wait_until(history.exists, 20, what="archiving")
    postgres.stop(a, clean=False)
    away = a.archive.directory.rename(a.archive.directory.with_name("away"))
    try:
        postgres.start(b, standby=True, sync=False)
        postgres.promote(b)
    finally:
        away.rename(a.archive.directory)
    assert (look(b).point.timeline, look(b).history) == (timeline, local_history(a, timeline))
    for number in range(3):
        insert(b, number)
    if later:
        postgres.stop(b, clean=True)
        postgres.start(b, standby=True, sync=False)
        postgres.promote(b)
    assert plan.plan(a).way is plan.Way.CLONE
    before = set(a.paths.saved.glob("*"))
    assert follow.rejoin(a, progress=print) == "cloned from b"
    (saved,) = set(a.paths.saved.glob("*")) - before
    assert json.loads((saved / "lost.json").read_text())["commits"] == 1
    assert not history.exists()
    postgres.start(a, standby=True, sync=False)
    wait_until(lambda: caught_up(b, a), 20, what="catching up")
    assert count(a) == count(b)


def test_diverged_files_leave_the_own_archive(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    insert(streaming.a)
    wal_file = pgtools.psql(streaming.a, "SELECT pg_walfile_name(pg_current_wal_lsn())").strip()
    pgtools.psql(streaming.a, "SELECT pg_switch_wal()")
    archived = streaming.a.archive.directory / wal_file
    wait_until(archived.exists, 20, what="archiving")
    postgres.stop(streaming.a, clean=False)
    postgres.start(streaming.b, standby=True, sync=False)
    # It may fetch the whole segment from the archive first; then nothing diverged, and all may stay.
    postgres.promote(streaming.b)
    fork = look(streaming.b).history[-1]
    follow.rejoin(streaming.a, progress=print)
    after = Lsn((int(wal_file[8:16], 16) << 32) + (int(wal_file[16:], 16) + 1) * (1 << 24))
    assert archived.exists() is not (fork.lsn < after)


def test_rewound_data_is_not_started_before_its_archive_is_clean(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between: the standby would read the diverged files of its own archive."""
    pgtools.psql(streaming.a, "INSERT INTO public.numbers VALUES (2)")
    postgres.stop(streaming.b, clean=True)
    pgtools.psql(streaming.a, "INSERT INTO public.numbers VALUES (3)")
    postgres.stop(streaming.a, clean=False)
    postgres.start(streaming.b, standby=True, sync=False)
    postgres.promote(streaming.b)

    def crash(*_: object) -> list[str]:
        raise RejoinError("the daemon is killed now")

    with monkeypatch.context() as patch:
        patch.setattr(follow, "set_aside_archived", crash)
        with pytest.raises(RejoinError, match="killed now"):
            follow.rejoin(streaming.a, progress=print)
    with pytest.raises(PostgresError, match="not whole"):
        postgres.start(streaming.a, standby=True, sync=False)
    assert follow.rejoin(streaming.a, progress=print) == "cloned from b"
    assert prepare.why_unusable(streaming.a) == ""


def test_wal_that_could_not_be_read_outlives_the_data_it_was_in(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    wal = streaming.b.postgres.data_directory / "pg_wal"
    last = segment_name(1, pgtools.control_data(streaming.b).checkpoint.lsn, 1 << 24)
    here = sorted(path for path in wal.iterdir() if path.name[8:] >= last[8:] and len(path.name) == 24)
    for path in here:
        path.rename(path.with_suffix(".torn"))
    before = set(streaming.b.paths.saved.glob("*-unread"))
    assert follow.rejoin(streaming.b, progress=print) == "cloned from a"
    assert set(streaming.b.paths.saved.glob("*-unread")) == before
    assert follow.rejoin(streaming.b, clone=True, progress=print) == "cloned from a"
    (kept,) = set(streaming.b.paths.saved.glob("*-unread")) - before
    assert {path.with_suffix(".torn").name for path in here} <= {path.name for path in kept.iterdir()}
    assert not (streaming.b.postgres.data_directory / cloning.UNSAVED).exists()
    postgres.start(streaming.b, standby=True, sync=False)


def test_read_write_server_is_never_rejoined(streaming: Pair) -> None:
    postmaster = look(streaming.a).postmaster
    with pytest.raises(RejoinError, match="is a standby"):
        follow.rejoin(streaming.a, progress=print)
    postgres.promote(streaming.b)
    with pytest.raises(RejoinError, match="read-write"):
        follow.rejoin(streaming.a, progress=print)
    assert look(streaming.a).postmaster == postmaster


def test_server_that_was_promoted_while_it_was_copied_over_is_not_stopped(streaming: Pair) -> None:
    """An operator's clone copies beside a standby, for hours; the last check is made when it is to be stopped."""
    seen: list[bool] = []

    def promote(*_: int) -> None:
        if not seen:
            seen.append(True)
            postgres.promote(streaming.b)

    postmaster = look(streaming.b).postmaster
    with pytest.raises(RejoinError, match="read-write"):
        follow.rejoin(streaming.b, clone=True, progress=print, on_bytes=promote)
    after = look(streaming.b)
    assert (after.postmaster, after.in_recovery) == (postmaster, False)


def test_source_that_changed_its_role_during_the_stop_is_not_followed(streaming: Pair) -> None:
    """After the first proof the peer's server has become a standby, with no more WAL than it had then."""

    def demote(text: str) -> None:
        if text == "stopping the standby":
            postgres.stop(streaming.a, clean=False)
            postgres.start(streaming.a, standby=True, sync=False)

    with pytest.raises(RejoinError, match="the peer's database is a standby"):
        follow.rejoin(streaming.b, progress=demote)


def test_rejoin_to_a_silent_peer_touches_nothing(streaming: Pair) -> None:
    postgres.stop(streaming.a, clean=True)
    with pytest.raises(RejoinError, match="does not answer"):
        follow.rejoin(streaming.b, progress=print)
    assert look(streaming.b).in_recovery
