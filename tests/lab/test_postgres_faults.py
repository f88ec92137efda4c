"""What can happen to the database while its host lives."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.lab.hosts import DATA_DIRECTORY, SOCKET_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.pair import Pair
from tests.lab.postgres import bin_directory, process_exists
from tests.lab.scene import Scene

ORPHAN_TABLE = "create table if not exists orphan_rows (n int, at timestamptz default clock_timestamp())"
LONG_STATEMENT = """
do $$ begin
  set synchronous_commit = local;
  for n in 1..1000000 loop
    insert into orphan_rows values (n);
    commit;
    perform count(*) from generate_series(1, 20000);
  end loop;
end $$"""
"""Goes on committing without ever looking whether the postmaster still lives."""


def pg_ctl(pair: Pair, host: Host, *words: str) -> None:
    argv = [bin_directory(pair.options.version) / "pg_ctl", "-D", DATA_DIRECTORY, "-l", "/dev/null", *words]
    host.run(argv, user="postgres", timeout_s=60)


def backend_of(host: Host, words: str) -> int:
    """The process id, seen from here, of the backend whose query contains these words."""
    query = f"select pid from pg_stat_activity where query like '%{words}%' and pid <> pg_backend_pid()"
    answer = host.sql(query, check=False)
    return host.outer_pid(int(answer.split()[0])) if answer else 0


def test_postmaster_killed_with_a_backend_left_in_a_long_statement(scene: Scene) -> None:
    scene.primary.sql(ORPHAN_TABLE)
    scene.primary.popen(["psql", "-Xq", "-h", SOCKET_DIRECTORY, "-c", LONG_STATEMENT], user="postgres")
    wait_until(lambda: scene.primary.sql("select count(*) > 5 from orphan_rows", check=False) == "t", 20, "it commits")
    orphan = wait_until(lambda: backend_of(scene.primary, "orphan_rows values"), 10, "its backend")
    scene.strike()
    os.kill(scene.primary.postmaster(), signal.SIGKILL)
    scene.wait_roles(standby="primary_standby")
    assert not process_exists(orphan), "the orphaned backend outlived the change of roles"
    scene.finish(swapped=True, outage_max_s=4)
    assert scene.fenced(scene.primary) == 0


def test_postmaster_stopped_while_its_backends_go_on(scene: Scene) -> None:
    scene.strike()
    os.kill(scene.primary.postmaster(), signal.SIGSTOP)
    scene.finish(swapped=True, outage_max_s=10)
    assert scene.fenced(scene.primary) == 0


def test_all_of_postgres_stopped(scene: Scene) -> None:
    scene.strike()
    scene.primary.signal_postgres(signal.SIGSTOP)
    scene.finish(swapped=True, outage_max_s=10)
    assert scene.fenced(scene.primary) == 0


def test_a_clean_stop_by_a_dba_is_restarted_here(scene: Scene) -> None:
    scene.strike()
    pg_ctl(scene.pair, scene.primary, "stop", "-m", "fast")
    scene.finish(swapped=False, outage_max_s=10)


def test_database_restarted_on_the_standby(scene: Scene) -> None:
    scene.strike()
    pg_ctl(scene.pair, scene.standby, "restart", "-m", "fast")
    scene.finish(swapped=False, outage_max_s=8)
    assert scene.fenced(scene.standby) == 0


def test_postmaster_killed_on_the_standby(scene: Scene) -> None:
    scene.strike()
    os.kill(scene.standby.postmaster(), signal.SIGKILL)
    scene.finish(swapped=False, outage_max_s=5)
    assert scene.fenced(scene.standby) == 0


def crash(host: Host, number: int) -> None:
    """One backend ends by a signal, and with it every session."""
    words = f"pg_sleep(60 + {number})"
    host.popen(["psql", "-Xq", "-h", SOCKET_DIRECTORY, "-c", f"select {words}"], user="postgres")
    os.kill(wait_until(partial(backend_of, host, words), 10, "a backend"), signal.SIGKILL)


def test_crash_after_crash_ends_the_moving_to_and_fro(scene: Scene) -> None:
    """As by a query that follows the clients: after two hand-overs each crash is a restart in place."""
    pair = scene.pair
    before = sum(host.log().count("demoted") for host in (scene.primary, scene.standby))
    scene.strike()
    for number in range(6):
        primary = next(host for host in (scene.primary, scene.standby) if host.writable())
        crash(primary, number)
        assert scene.wait_writes() < 5
        pair.wait_healthy(60)
    for host in (scene.primary, scene.standby):
        wait_until(partial(scene.says, host, "ended without a shutdown"), 10, f"a warning on {host.name}")
    moves = sum(host.log().count("demoted") for host in (scene.primary, scene.standby)) - before
    assert moves <= 2
    scene.finish(swapped=None, outage_max_s=6)


@pytest.mark.pair(disk_mb=400)
def test_disk_full_on_the_data_directory(scene: Scene) -> None:
    free = "/var/lib/postgresql/filler"
    scene.strike()
    scene.primary.run(["sh", "-c", f"cat /dev/zero > {free}"], check=False, timeout_s=60)
    scene.wait_roles(standby="primary_standby", deadline_s=40)
    scene.wait_writes()
    scene.primary.run(["rm", "-f", free])
    scene.finish(swapped=True, deadline_s=90)


@pytest.mark.pair(mode="async", overrides={"replication": {"lag_bytes_max": 1_000_000}})
def test_lag_above_the_limit_takes_the_right_to_take_over(scene: Scene) -> None:
    receivers = [process for process in scene.standby.processes("postgres") if "walreceiver" in process.command]
    assert len(receivers) == 1
    os.kill(receivers[0].pid, signal.SIGSTOP)
    scene.primary.sql("create table filler as select g, repeat('x', 100) from generate_series(1, 50000) g")
    wait_until(lambda: not scene.pair.granted(scene.standby), 90, "the standby may not take over any more")
    scene.strike()
    os.kill(scene.primary.postmaster(), signal.SIGKILL)
    wait_until(scene.primary.writable, 20, "restarted where it was")
    assert not scene.standby.writable(), "a standby behind the limit has taken over"
    scene.wait_writes()
    if process_exists(receivers[0].pid):
        os.kill(receivers[0].pid, signal.SIGCONT)
    scene.finish(swapped=False)
    scene.pair.host_as("primary").sql("drop table filler")


NAMES_BY_WHOM = """
select current_setting('synchronous_standby_names'), count(*) from pg_file_settings
where name = 'synchronous_standby_names' and sourcefile like '%postgresql.auto.conf'"""


def reported(scene: Scene) -> set[str]:
    """Names of the warnings that the primary's status carries."""
    return {warning["name"] for warning in scene.pair.status(scene.primary)["warnings"]}


def test_alter_system_against_synchronous_commits_is_undone_or_reported_at_once(scene: Scene) -> None:
    """Names that somebody clears are set again; a weaker synchronous_commit is the administrator's, and is told."""
    primary = scene.primary
    names = primary.sql("show synchronous_standby_names")
    assert names
    primary.sql("alter system set synchronous_standby_names = ''")
    primary.sql("alter system set synchronous_commit = local")
    primary.sql("select pg_reload_conf()")
    scene.strike()
    wait_until(lambda: primary.sql(NAMES_BY_WHOM) == f"{names}|0", 10, "the names are set again", every_s=0.02)
    undone_s = time.monotonic() - scene.struck_s
    wait_until(lambda: "weak-commits" in reported(scene), 20, "weak commits are reported")
    told_s = time.monotonic() - scene.struck_s
    print(f"ALTER SYSTEM: names set again after {undone_s:.2f} s, weak commits told after {told_s:.2f} s")
    primary.sql("alter system reset synchronous_commit")
    primary.sql("select pg_reload_conf()")
    wait_until(lambda: "weak-commits" not in reported(scene), 20, "the warning ends")
    scene.finish(swapped=False)


def raise_limits(scene: Scene) -> str:
    """As an administrator does it, on the primary alone; the standby has a lower one of its own. The new limit."""
    now = max(int(host.sql("show max_connections")) for host in scene.pair.hosts.values())
    scene.standby.sql(f"alter system set max_connections = {now - 1}")
    scene.primary.sql(f"alter system set max_connections = {now + 10}")
    pg_ctl(scene.pair, scene.primary, "-m", "fast", "stop")
    wait_until(lambda: limit(scene.primary) == str(now + 10), 60, "the primary has its new limit")
    return str(now + 10)


def limit(host: Host) -> str:
    return host.sql("show max_connections", check=False)


def lower_limits(scene: Scene) -> None:
    for host in scene.pair.hosts.values():
        host.sql("alter system reset max_connections")


def test_a_standby_is_restarted_when_its_primary_s_limits_were_raised(scene: Scene) -> None:
    """Else its replay would stand still for ever."""
    raised = raise_limits(scene)
    wait_until(lambda: limit(scene.standby) == raised, 60, "the standby has it too")
    scene.finish(swapped=False)
    lower_limits(scene)


def test_a_standby_with_limits_that_are_too_low_takes_over(scene: Scene) -> None:
    """The primary is lost before the standby could be restarted: its promotion ends the server, which starts anew."""
    scene.standby.stop_service("pgvip")
    raise_limits(scene)
    wait_until(lambda: scene.standby.sql("select pg_is_wal_replay_paused()") == "t", 30, "replay stands still")
    scene.strike()
    scene.primary.power_off()
    scene.pair.start_services(scene.standby)
    scene.finish(swapped=True, deadline_s=90)
    lower_limits(scene)


def test_a_standby_whose_replay_is_paused_does_not_take_over_and_both_hosts_say_so(scene: Scene) -> None:
    """Its promotion is not known to bring back all that it flushed; the primary is started again where it was."""
    scene.standby.sql("select pg_wal_replay_pause()")
    paused_s = time.monotonic()
    wait_until(lambda: len(scene.writer.acknowledged(paused_s)) > 50, 20, "writes that the standby has not replayed")
    wait_until(lambda: scene.says(scene.primary, "its replay is paused"), 10, "the primary says why")
    assert scene.says(scene.standby, "its replay is paused")
    scene.strike()
    postmaster = scene.primary.postmaster()
    os.kill(postmaster, signal.SIGKILL)
    # Its sessions acknowledge a few more writes: only a new postmaster shows that it was started again.
    wait_until(lambda: scene.primary.writable() and scene.primary.postmaster() != postmaster, 30, "started again")
    scene.wait_writes()
    scene.standby.sql("select pg_wal_replay_resume()")
    scene.finish(swapped=False)


def test_postmaster_that_answers_late_while_its_backends_go_on_keeps_its_role(scene: Scene) -> None:
    """As a machine short of CPU looks from within: new connections wait, sessions are served."""
    os.kill(scene.primary.postmaster(), signal.SIGSTOP)
    wait_until(lambda: scene.says(scene.primary, "new connections"), 10, "people are told", every_s=0.2)
    os.kill(scene.primary.postmaster(), signal.SIGCONT)
    scene.finish(swapped=False)
    assert scene.fenced(scene.primary) == 0


@contextmanager
def slow_sync(host: Host, seconds: float) -> Iterator[None]:
    """Each flush of WAL takes so long, and nothing else does; strace delays the call in whoever commits."""
    words = ["strace", "-q", "-f", "-o", "/dev/null", "-e", "trace=fdatasync"]
    words += ["-e", f"inject=fdatasync:delay_enter={int(seconds * 1e6)}"]
    found = [process for process in host.processes("postgres") if "walsender" not in process.command]
    pids = [word for process in found for word in ("-p", str(process.pid))]
    with subprocess.Popen([*words, *pids], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
        try:
            yield
        finally:
            tracer.terminate()


@pytest.mark.pair(preset="default")
def test_a_primary_whose_commits_take_seconds_is_handed_over(scene: Scene) -> None:
    """Its sessions, its new connections and its disks answer; an eligible standby is better off."""
    scene.strike()
    with slow_sync(scene.primary, 7.0):
        scene.wait_roles(standby="primary_standby", deadline_s=60)
        scene.wait_writes()
    scene.finish(swapped=True, outage_max_s=45)
    assert scene.fenced(scene.primary) == 0
