"""Start, stop, promote: real servers, and the end of their WAL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.actions import postgres, replication, starting
from pgvip.core.values import Lsn
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import PostgresError, PromoteError
from pgvip.system import forks, pgtools, processes
from tests.lab.actions.servers import caught_up, insert, look, swallow
from tests.lab.clusters import Pair

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.values import WalPoint

pytestmark = pytest.mark.timeout(180)


def test_start_and_stop_can_be_repeated(streaming: Pair) -> None:
    data = streaming.b.postgres.data_directory
    postgres.start(streaming.b, standby=True, sync=False)
    for clean in (True, False, True):
        postgres.stop(streaming.b, clean=clean)
        assert processes.cluster_processes(data) == []
    assert pgtools.control_data(streaming.b).state == "shut down in recovery"


def test_running_in_the_other_role_is_refused(streaming: Pair) -> None:
    with pytest.raises(PostgresError, match="read-write"):
        postgres.start(streaming.a, standby=True, sync=False)
    with pytest.raises(PostgresError, match="as a standby"):
        postgres.start(streaming.b, standby=False, sync=False)
    assert look(streaming.b).in_recovery


def test_start_refuses_strangers_and_relics(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    with pytest.raises(PostgresError, match="another database cluster"):
        postgres.start(streaming.b, standby=True, sync=False, system_id="1234")
    relic = streaming.b.postgres.data_directory / "recovery.conf"
    relic.touch()
    try:
        with pytest.raises(PostgresError, match=r"recovery\.conf"):
            postgres.start(streaming.b, standby=True, sync=False)
    finally:
        relic.unlink()


def test_start_refuses_weak_commits_in_sync(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    main = streaming.b.postgres.config_directory / "postgresql.conf"
    text = main.read_text()
    main.write_text("synchronous_commit = local\n" + text)
    try:
        with pytest.raises(PostgresError, match="synchronous_commit is local"):
            postgres.start(streaming.b, standby=True, sync=True)
    finally:
        main.write_text(text)


def test_start_tells_what_the_server_said(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    main = streaming.b.postgres.config_directory / "postgresql.conf"
    text = main.read_text()
    main.write_text("no_such_setting = 1\n" + text)
    try:
        with pytest.raises(PostgresError) as caught:
            postgres.start(streaming.b, standby=True, sync=False)
    finally:
        main.write_text(text)
    assert "no_such_setting" in caught.value.detail


@pytest.mark.parametrize(
    ("option", "said"), [("-p 6543", "listens on port 6543, and"), ("-k /tmp", "has answered nothing for")]
)
def test_a_server_that_somebody_started_elsewhere_is_not_waited_for(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch, option: str, said: str
) -> None:
    """Until the end of `start_timeout_s` it would not count as hung, and nobody would serve."""
    monkeypatch.setattr(starting, "UNANSWERED_S", 0.5)
    postgres.stop(streaming.b, clean=True)
    pgtools.pg_ctl(streaming.b, "start", "-w", "-s", "-l", postgres.make_log(streaming.b), "-o", option)
    begun_s = now_s()
    try:
        with pytest.raises(PostgresError, match=said):
            postgres.start(streaming.b, standby=True, sync=False)
        assert now_s() - begun_s < postgres.INCONSISTENT_S
    finally:
        postgres.stop(streaming.b, clean=True)
    postgres.start(streaming.b, standby=True, sync=False)


def test_left_over_settings_of_a_clone_are_removed(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    auto = streaming.b.postgres.data_directory / "postgresql.auto.conf"
    auto.write_text("primary_conninfo = 'host=192.0.2.99'\nwork_mem = '5MB'\n")
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")
    assert auto.read_text() == "work_mem = '5MB'\n"


def test_standby_gets_settings_as_high_as_the_primarys(streaming: Pair) -> None:
    main = streaming.a.postgres.config_directory / "postgresql.conf"
    text = main.read_text()
    postgres.stop(streaming.a, clean=False)
    main.write_text(text.replace("max_connections = 20", "max_connections = 23"))
    try:
        postgres.start(streaming.a, standby=False, sync=False)
        wait_until(lambda: higher_is_known(streaming.b), 20, what="the change arriving, and the standby's stop")
        postgres.stop(streaming.b, clean=False)
        postgres.start(streaming.b, standby=True, sync=False)
        wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
        assert pgtools.psql(streaming.b, "SHOW max_connections").strip() == "23"
        replication.set_sync_names(streaming.b, on=False)
        assert "max_connections = '23'" in (streaming.b.postgres.config_directory / "pgvip.conf").read_text()
    finally:
        main.write_text(text)
        postgres.stop(streaming.a, clean=False)


def higher_is_known(config: Config) -> bool:
    return ("max_connections", "23") in pgtools.control_data(config).settings


def test_kill_ends_a_frozen_server_with_a_busy_backend(streaming: Pair) -> None:
    data = streaming.a.postgres.data_directory
    thread = threading.Thread(target=lambda: swallow(lambda: pgtools.psql(streaming.a, "SELECT pg_sleep(60)", 90)))
    thread.start()
    wait_until(lambda: "1" in pgtools.psql(streaming.a, BUSY), 10, what="a busy backend")
    postmaster = processes.postmaster(data)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGSTOP)
    begun_s = now_s()
    postgres.stop(streaming.a, clean=False)
    assert now_s() - begun_s < 2
    assert processes.cluster_processes(data) == []
    thread.join(20)
    assert not thread.is_alive()


BUSY = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND pid <> pg_backend_pid()"


def test_promotion_is_fast_and_can_be_repeated(streaming: Pair) -> None:
    insert(streaming.a)
    replication.confirm_grant(streaming.a, sync=False, timeout_s=10)
    postgres.stop(streaming.a, clean=False)
    begun_s = now_s()
    postgres.promote(streaming.b)
    assert now_s() - begun_s < 2
    after = look(streaming.b)
    assert not after.in_recovery
    assert after.history[-1].timeline == after.point.timeline - 1
    assert not streaming.b.paths.no_restore.exists()
    postgres.promote(streaming.b)
    assert look(streaming.b).postmaster == after.postmaster


@pytest.mark.parametrize("torn", [False, True])
def test_a_promotion_that_leaves_out_what_was_flushed_says_so(streaming: Pair, torn: bool) -> None:
    """At a recovery target the standby flushes on, and its promotion ends there. A torn last record is nobody's."""
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    if torn:
        flushed = look(streaming.b).point
        postgres.stop(streaming.a, clean=False)
        assert postgres.promote(streaming.b) == ""
        both = left_out_behind(streaming.b, flushed)
        assert both == ("", ""), "a torn record, and one that a later process looks for"
        for file in (streaming.b.postgres.data_directory / "pg_wal").glob(f"{flushed.timeline:08X}*"):
            file.unlink()
        gone, long_ago = left_out_behind(streaming.b, flushed)
        assert gone.endswith("the WAL file that would show whether a whole record is missing cannot be read")
        assert long_ago == ""
        return
    postgres.stop(streaming.b, clean=True)
    log = postgres.make_log(streaming.b)
    pinned = streaming.b.postgres.config_directory / "pgvip.conf"  # the next start by pgvip writes it again
    lines = pinned.read_text().splitlines(keepends=True)
    pinned.write_text("".join(line for line in lines if "recovery_target" not in line or "timeline" in line))
    pgtools.pg_ctl(streaming.b, "start", "-w", "-s", "-l", log, "-o", "-c recovery_target_name=later")
    wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")
    pgtools.psql(streaming.a, "SELECT pg_create_restore_point('later')")
    insert(streaming.a)
    goal = look(streaming.a).point
    wait_until(lambda: look(streaming.b).point >= goal and look(streaming.b).replay_paused, 10, what="the pause")
    postgres.stop(streaming.a, clean=False)
    said = postgres.promote(streaming.b)
    assert re.fullmatch(r"the promotion left timeline \d+ at \S+, before [0-9A-F/]+, which had been flushed", said)
    assert look(streaming.b).recovery_target == "recovery_target_name = 'later'", "what made it so can be named"
    again = postgres.promote(streaming.b)
    assert again.endswith("before what had been flushed there"), "a later look finds the record that follows"
    postgres.stop(streaming.b, clean=False)


def left_out_behind(config: Config, end: WalPoint) -> tuple[str, str]:
    """What a promotion is said to have left out when 100 bytes after `end` had arrived; and when that is not known."""
    timeline = end.timeline + 1
    return forks.left_out(config, timeline, Lsn(end.lsn + 100)), forks.left_out(config, timeline, None)


def test_what_was_flushed_before_a_promotion_outlives_the_process_that_asked_for_it(streaming: Pair) -> None:
    """A promotion that came about after its time-out, or whose daemon died: the next look still knows the end."""
    insert(streaming.a)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    postgres.stop(streaming.a, clean=False)
    flushed = look(streaming.b).point
    with pytest.raises(PromoteError):
        postgres.promote(replace(streaming.b, postgres=replace(streaming.b.postgres, promote_timeout_s=0.0)))
    wait_until(lambda: "f" in pgtools.psql(streaming.b, "SELECT pg_is_in_recovery()"), 5, what="the promotion")
    assert forks.remembered(streaming.b) == flushed.lsn
    forks.remember(streaming.b, Lsn(flushed.lsn + 100))
    for file in (streaming.b.postgres.data_directory / "pg_wal").glob(f"{flushed.timeline:08X}*"):
        file.unlink()
    assert f"before {Lsn(flushed.lsn + 100)}, which" in postgres.promote(streaming.b)
    assert forks.remembered(streaming.b) is None
    assert not streaming.b.paths.flushed.exists()


def test_hanging_archive_does_not_hold_up_a_promotion(streaming: Pair, tmp_path: Path) -> None:
    """A history file that is a FIFO: whoever opens it hangs, as on a dead NFS server."""
    hanging = streaming.a.archive.directory
    timeline = look(streaming.b).point.timeline
    names = [hanging / f"{number:08X}.history" for number in range(timeline + 1, timeline + 4)]
    for name in names:
        os.mkfifo(name, 0o644)
    try:
        postgres.stop(streaming.a, clean=False)
        begun_s = now_s()
        postgres.promote(streaming.b)
        assert now_s() - begun_s < 2
    finally:
        for name in names:
            name.unlink()


def test_promotion_of_a_dead_server_says_so(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=False)
    with pytest.raises(PromoteError):
        postgres.promote(streaming.b)
    assert not streaming.b.paths.no_restore.exists()


def test_end_of_wal_is_where_recovery_ends(streaming: Pair) -> None:
    postgres.stop(streaming.b, clean=True)
    with pytest.raises(PostgresError, match="while the server runs"):
        postgres.end_of_wal(streaming.a)
    pgtools.psql(streaming.a, "INSERT INTO public.numbers SELECT generate_series(1, 20000)")
    flushed = look(streaming.a).point
    postgres.stop(streaming.a, clean=False)
    crashed = postgres.end_of_wal(streaming.a)
    assert crashed.timeline == flushed.timeline
    assert flushed.lsn <= crashed.lsn <= flushed.lsn + 65536
    postgres.start(streaming.a, standby=False, sync=False)
    log = postgres.log_file(streaming.a).read_text()
    redone = [line for line in log.splitlines() if "redo done at" in line][-1]
    assert Lsn.parse(redone.split("redo done at ")[1].split()[0]) < crashed.lsn


def test_clean_stop_leaves_the_checkpoint_with_the_standby(streaming: Pair) -> None:
    postgres.stop(streaming.a, clean=True)
    end = postgres.end_of_wal(streaming.a)
    wait_until(lambda: look(streaming.b).point >= end, 20, what="shutdown checkpoint on the standby")
    assert look(streaming.b).point == end


def start_that_ends(config: Config) -> PostgresError | None:
    """Why a start failed that saw its server end; None when the server ended a moment after it."""
    try:
        postgres.start(config, standby=True, sync=False)
    except PostgresError as failure:
        return failure if "the server ended" in failure.message else None
    wait_until(lambda: processes.postmaster(config.postgres.data_directory) is None, 20, what="the end of the standby")
    return None


def test_standby_without_a_tablespaces_directory_says_so(streaming: Pair) -> None:
    """Its replay ends it, a moment after each start: PostgreSQL's reason and hint are the failure's, and no log."""
    place = streaming.root / "only-on-a"
    place.mkdir()
    shutil.chown(place, "postgres")
    postgres.stop(streaming.b, clean=True)
    pgtools.psql(streaming.a, f"CREATE TABLESPACE lonely LOCATION '{place}'")
    kept = place.rename(streaming.root / "away")  # both hosts have the same paths here
    try:
        failed = wait_until(partial(start_that_ends, streaming.b), 60, what="a start that sees the end")
        assert f'FATAL: directory "{place}" does not exist; HINT: Create this directory' in failed.detail
        assert len(str(failed)) < 300
    finally:
        kept.rename(place)
    pgtools.psql(streaming.a, "DROP TABLESPACE lonely")
    postgres.start(streaming.b, standby=True, sync=False)
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    # The directory stays: after a crash of either host this WAL may be replayed once more.


def test_a_script_of_the_superuser_calls_nothing_of_the_databases_owner(streaming: Pair) -> None:
    """Whoever owns the database chooses its search_path, and could put functions of its own before PostgreSQL's."""
    database = streaming.a.postgres.database
    pgtools.psql(
        streaming.a,
        "CREATE ROLE application; CREATE SCHEMA first;\n"
        "CREATE FUNCTION first.pg_conf_load_time() RETURNS timestamptz LANGUAGE plpgsql AS\n"
        "  'BEGIN ALTER ROLE application SUPERUSER; RETURN NULL; END';\n"
        f"ALTER DATABASE {database} SET search_path = first, pg_catalog;",
    )
    try:
        assert pgtools.psql(streaming.a, "SELECT pg_conf_load_time();").strip()
        said = pgtools.psql(streaming.a, "SELECT rolsuper FROM pg_roles WHERE rolname = 'application';")
        assert said.strip() == "f"
    finally:
        pgtools.psql(streaming.a, f"ALTER DATABASE {database} RESET search_path;")
        pgtools.psql(streaming.a, "DROP SCHEMA first CASCADE; DROP ROLE application;")
