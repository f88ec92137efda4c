"""What the probes see of real servers."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pgvip.actions import postgres, replication
from pgvip.actions.postgres import make_log
from pgvip.config.model import Config
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import PostgresError, ProbeError
from pgvip.probes import peer_database
from pgvip.probes.database import DatabaseProbe
from pgvip.probes.peer_database import StrangerError
from pgvip.system import pgtools, processes
from pgvip.system.sql import ServerAnswered, connect_local
from pgvip.system.sql_shapes import Row
from tests.lab.actions.servers import caught_up, look, stopped
from tests.lab.clusters import Pair

pytestmark = pytest.mark.timeout(180)

NOT_HUNG_S = 10.0
"""Three deadlines of 0.3 s are over by then on any machine; without them a session waits for minutes."""


def test_primary_and_standby_as_they_see_themselves(streaming: Pair) -> None:
    replication.confirm_grant(streaming.a, sync=False, timeout_s=10)
    primary, standby = look(streaming.a), look(streaming.b)
    assert not primary.in_recovery
    assert primary.replica is not None
    assert primary.replica.streaming
    assert primary.replica.sync_state == "async"
    assert not primary.slot_lost
    assert primary.postmaster == str(processes.postmaster(streaming.a.postgres.data_directory))
    assert standby.in_recovery
    assert standby.streaming
    assert not standby.replay_paused
    assert standby.point.timeline == primary.point.timeline
    assert standby.history == primary.history
    assert len(standby.history) == standby.point.timeline - 1


def test_standbys_clock_moves_only_while_wal_arrives(streaming: Pair) -> None:
    probe = DatabaseProbe(streaming.b)
    beat = DatabaseProbe(streaming.a)
    first = probe.probe()
    beat.heartbeat()
    wait_until(lambda: probe.probe().moved_at_s > first.moved_at_s, 20, what="movement")
    wait_until(lambda: caught_up(streaming.a, streaming.b), 20, what="catching up")
    before = probe.probe()
    postmaster = processes.postmaster(streaming.a.postgres.data_directory)
    assert postmaster is not None
    senders = [
        ref.pid
        for ref in processes.cluster_processes(streaming.a.postgres.data_directory)
        if b"walsender" in Path(f"/proc/{ref.pid}/cmdline").read_bytes()
    ]
    go_on = [stopped(pid) for pid in senders]
    try:
        beat.heartbeat()
        limit_s = streaming.b.settings.dead_after_s
        wait_until(lambda: not probe.probe().streaming, limit_s + 3, what="end of streaming")
        assert probe.probe().moved_at_s == before.moved_at_s
    finally:
        for start_again in go_on:
            start_again()
        probe.close()
        beat.close()


def test_a_standby_says_what_keeps_its_replay_from_what_it_flushed(streaming: Pair) -> None:
    """Each with real PostgreSQL: it flushes and acknowledges all the same."""
    assert look(streaming.b).unfit == look(streaming.b).recovery_target == ""
    pgtools.psql(streaming.b, "SELECT pg_wal_replay_pause()")
    assert look(streaming.b).replay_paused
    for setting in ("recovery_target_name = 'old'", "recovery_min_apply_delay = '5min'"):
        pgtools.psql(streaming.b, f"ALTER SYSTEM SET {setting}")  # wins over pgvip.conf until pgvip starts it again
    postgres.stop(streaming.b, clean=True)
    pgtools.pg_ctl(streaming.b, "start", "-w", "-s", "-l", make_log(streaming.b))
    try:
        wait_until(lambda: look(streaming.b).streaming, 10, what="streaming")
        seen = look(streaming.b)
        assert seen.recovery_target == "recovery_target_name = 'old'"
        assert seen.unfit == "its replay is delayed by recovery_min_apply_delay = 5min"
    finally:
        postgres.stop(streaming.b, clean=True)


def test_orphaned_backend_is_not_the_database(streaming: Pair) -> None:
    probe = DatabaseProbe(streaming.a)
    probe.probe()
    postmaster = processes.postmaster(streaming.a.postgres.data_directory)
    assert postmaster is not None
    os.kill(postmaster.pid, signal.SIGKILL)
    for call in (probe.probe, probe.heartbeat, probe.connection):
        with pytest.raises(ProbeError):
            wait_until(lambda call=call: call(1.0) and False, 5)  # type: ignore[misc]  # a bound default
    probe.close()


def test_backend_of_another_postmaster_is_not_the_database(streaming: Pair) -> None:
    """As one that outlives its own: what answers at the socket is no child of the postmaster that runs here."""
    there = streaming.b.postgres.socket_directory
    probe = DatabaseProbe(replace(streaming.a, postgres=replace(streaming.a.postgres, socket_directory=there)))
    with pytest.raises(ProbeError, match="not the server that runs now"):
        probe.probe(2.0)
    probe.close()


def test_answer_of_a_backend_whose_postmaster_died_meanwhile_is_not_the_database_s(
    streaming: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = streaming.a.postgres.data_directory
    probe = DatabaseProbe(streaming.a)
    really = probe._state.query

    def query(name: str, params: tuple[object, ...], *, timeout_s: float) -> list[Row]:
        rows = really(name, params, timeout_s=timeout_s)
        postmaster = processes.postmaster(data)
        assert postmaster is not None
        os.kill(postmaster.pid, signal.SIGKILL)
        wait_until(lambda: processes.postmaster(data) is None, 20, what="its end")
        return rows

    monkeypatch.setattr(probe._state, "query", query)
    with pytest.raises(ProbeError):
        probe.probe(2.0)
    probe.close()


@pytest.mark.parametrize("everything", [False, True])
def test_stopped_dead_server_costs_the_deadline(streaming: Pair, everything: bool) -> None:
    probe = DatabaseProbe(streaming.a)
    probe.probe()
    probe.heartbeat()
    data = streaming.a.postgres.data_directory
    frozen = processes.cluster_processes(data) if everything else [processes.postmaster(data)]
    go_on = [stopped(ref.pid) for ref in frozen if ref is not None]
    try:
        begun_s = now_s()
        with pytest.raises(ProbeError):
            probe.connection(0.3)
        if everything:
            for call in (probe.probe, probe.heartbeat):
                with pytest.raises(ProbeError):
                    call(0.3)
        else:
            assert probe.heartbeat() == "", "over the kept session"
        assert now_s() - begun_s < NOT_HUNG_S
        with pytest.raises(ProbeError):
            peer_database.probe(streaming.b, streaming.a.me.address, "", 0.3)
    finally:
        for start_again in go_on:
            start_again()
    assert probe.connection(5.0)
    assert not probe.probe(5.0).in_recovery
    probe.close()


def test_peer_database_over_the_network(streaming: Pair) -> None:
    seen = peer_database.probe(streaming.b, streaming.a.me.address, "", 2.0)
    own = look(streaming.a)
    assert (seen.in_recovery, seen.timeline) == (False, own.point.timeline)
    assert seen.system_id == pgtools.control_data(streaming.a).system_id
    assert peer_database.probe(streaming.a, streaming.b.me.address, seen.system_id, 2.0).in_recovery


def test_too_many_clients_prove_nothing_over_the_network_and_are_named(streaming: Pair) -> None:
    sessions = [connect_local(streaming.a) for _ in range(30)]

    def take_all() -> None:
        for session in sessions:
            session.connect(2.0)

    try:
        with pytest.raises(ServerAnswered):
            take_all()
        probe = DatabaseProbe(streaming.a)
        assert probe.connection()
        with pytest.raises(StrangerError, match="something answers at"):
            peer_database.probe(streaming.b, streaming.a.me.address, "", 2.0)
    finally:
        for session in sessions:
            session.close()


def test_a_beat_costs_the_same_however_long_something_holds_the_horizon(streaming: Pair) -> None:
    """The row is written in place: there is no dead one for the next beat to read, and nothing for VACUUM."""
    probe = DatabaseProbe(streaming.a)
    size = "SELECT pg_relation_size('pgvip.heartbeat')"
    hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_snapshot(); SELECT pg_sleep(60)"
    held = "SELECT pid FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND query LIKE '%pg_sleep(60)'"
    holder = threading.Thread(target=lambda: suppressed(streaming.a, hold))
    holder.start()
    wait_until(lambda: pgtools.psql(streaming.a, held), 10, what="a transaction with a snapshot")
    before = pgtools.psql(streaming.a, size)
    for _ in range(500):
        probe.heartbeat()
    assert pgtools.psql(streaming.a, size) == before
    pgtools.psql(streaming.a, f"SELECT pg_terminate_backend(pid) FROM ({held}) AS found")
    holder.join(10)
    beats = "SELECT clock_timestamp() - to_timestamp(last_value / 1e6) < '5 s' FROM pgvip.heartbeat"
    assert pgtools.psql(streaming.a, beats).strip() == "t"
    probe.close()


def suppressed(config: Config, script: str) -> None:
    with suppress(PostgresError):
        pgtools.psql(config, script, timeout_s=70)
