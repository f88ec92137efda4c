"""Every limit in time at its very second: reached is over, and what is just within it still counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.model import (
    NEVER,
    Lsn,
    Mode,
    Observation,
    PeerDatabase,
    StartPostgres,
    StopPostgres,
    Vip,
)
from pgvip.core.rights import grant_holds, takes_from_me
from tests.unit.core_world import HERE, NOW_S, Host, failing, grant, primary, record, saw, standby


def watch(at_s: float, failures: int, failing_since_s: float) -> Observation[bool]:
    """Last good at `at_s`; so many failures since."""
    return Observation(True, at_s, failures, NOW_S, failing_since_s, "no answer")


# --- the own database ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "hung"),
    [
        (watch(NOW_S - 3.0, 2, NOW_S - 2.0), True),
        (watch(NOW_S - 2.9, 2, NOW_S - 2.0), False),
        (watch(NOW_S - 9.0, 1, NOW_S - 8.0), False),
        (watch(NEVER, 2, NOW_S - 2.0), True),
        (watch(NEVER, 2, NOW_S - 1.9), False),
        (watch(NOW_S - 9.0, 2, NOW_S - 1.9), False),
    ],
)
def test_hung_is_no_answer_for_the_whole_time_and_twice(connection: Observation[bool], hung: bool) -> None:
    assert primary().sees(connection=connection).view.hung is hung


@pytest.mark.parametrize(
    ("disks", "bad"),
    [
        (watch(NOW_S - 10.0, 2, NOW_S - 9.0), True),
        (watch(NOW_S - 9.9, 2, NOW_S - 9.0), False),
        (watch(NOW_S - 60.0, 1, NOW_S - 59.0), False),
        (watch(NEVER, 2, NOW_S - 9.0), True),
        (watch(NEVER, 2, NOW_S - 8.9), False),
    ],
)
def test_disks_may_be_slow_for_longer_than_a_server(disks: Observation[bool], bad: bool) -> None:
    host = primary().sees(disks=disks)
    assert host.view.disks_bad is bad
    assert host.view.hung is bad


def test_a_server_that_is_being_started_is_not_hung() -> None:
    host = standby().sees(connection=failing(value=True))
    assert host.view.hung
    assert not host.knows(running=(StartPostgres(standby=True, sync=False),)).view.hung


def test_the_database_answers_as_long_as_it_would_not_count_as_hung() -> None:
    old = primary().seen.database.value
    assert primary().sees(database=saw(old, NOW_S - 3.0)).view.responding
    assert not primary().sees(database=saw(old, NOW_S - 3.1)).view.responding
    assert not primary().sees(database=saw(None)).view.responding


@pytest.mark.parametrize(
    ("seen", "healthy"),
    [
        ({"connection": saw(value=True, at_s=NOW_S - 4.0)}, True),
        ({"connection": saw(value=True, at_s=NOW_S - 4.1)}, False),
        ({"disks": saw(value=True, at_s=NOW_S - 60.0)}, True),
        ({"disks": watch(NOW_S - 11.0, 1, NOW_S - 10.0)}, True),
        ({"disks": watch(NOW_S - 11.1, 1, NOW_S - 10.0)}, False),
        ({"connection": failing(value=True)}, False),
        ({"database": saw(None)}, False),
    ],
)
def test_a_database_is_healthy_while_it_and_its_disks_answered_lately(
    seen: dict[str, Observation[object]], healthy: bool
) -> None:
    assert primary().sees(**seen).view.database_healthy is healthy


def test_what_was_seen_at_the_very_end_of_an_action_counts() -> None:
    assert primary().knows(ended={"postgres": NOW_S}).view.processes is not None
    assert primary().knows(ended={"postgres": NOW_S}).view.database is not None
    assert primary().knows(ended={"postgres": NOW_S + 0.01}).view.database is None
    assert not primary().holds().knows(ended={"primary": NOW_S}).view.held


def test_what_a_server_said_before_an_action_on_it_ended_says_nothing_though_its_processes_were_seen_since() -> None:
    host = standby().knows(ended={"postgres": NOW_S})
    assert host.view.recovering
    assert host.sees(database=saw(host.seen.database.value, NOW_S - 0.1)).view.database is None


def test_a_server_that_nobody_has_asked_may_write_unless_it_was_started_as_a_standby() -> None:
    unasked = primary().durable(served=False).sees(database=Observation())
    assert unasked.view.may_write
    assert not unasked.processes(standby_signal=True).view.may_write


# --- the gateway, the peer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gateway", "answers", "lost"),
    [
        (saw("gw", NOW_S - 1.59), True, False),
        (saw("gw", NOW_S - 1.61), False, False),
        (watch(NOW_S - 3.0, 2, NOW_S - 2.0), False, True),
        (watch(NOW_S - 2.9, 2, NOW_S - 2.0), False, False),
        (watch(NOW_S - 9.0, 1, NOW_S - 8.0), False, False),
    ],
)
def test_a_gateway_answers_or_is_lost_or_neither(gateway: Observation[str], answers: bool, lost: bool) -> None:
    host = primary().sees(gateway=gateway)
    assert (host.view.gateway, host.view.gateway_lost) == (answers, lost)


def test_the_peer_s_database_was_seen_lately_and_without_a_failure_since() -> None:
    seen = PeerDatabase(in_recovery=True)
    assert primary().sees(peer_own=saw(seen, NOW_S - 12.0)).view.peer_database == seen
    assert primary().sees(peer_own=saw(seen, NOW_S - 12.1)).view.peer_database is None
    assert primary().sees(peer_own=Observation(seen, NOW_S - 1, 1, NOW_S, NOW_S, "no")).view.peer_database is None


def test_silence_is_believed_when_the_database_was_asked_in_vain_at_or_after_the_last_sign() -> None:
    host = standby().silence(3.0)
    asked: Observation[PeerDatabase] = Observation(None, NEVER, 1, NOW_S - 3.0, NOW_S - 3.0, "refused")
    assert host.sees(peer_own=asked).view.peer_silent


def test_a_time_without_rounds_is_more_than_two_heartbeats_and_half_the_time_to_silence() -> None:
    def woke(gap_s: float, heartbeat_s: float) -> bool:
        host = primary().configured(heartbeat_s=heartbeat_s).knows(round_s=NOW_S - gap_s)
        return host.round().k.awake_s == NOW_S

    assert [woke(gap_s, 0.5) for gap_s in (1.4, 1.5, 1.6)] == [False, False, True]
    assert [woke(gap_s, 1.0) for gap_s in (1.6, 2.0, 2.1)] == [False, False, True]
    assert primary().round().k.awake_s == NEVER, "a daemon's first round follows upon nothing"


# --- replication --------------------------------------------------------------------------------------------


def test_a_replica_is_behind_by_the_last_byte() -> None:
    assert not primary().view.replica_behind
    assert primary().replica(flush_lsn=Lsn(HERE - 1)).view.replica_behind
    assert not primary().replica(flush_lsn=Lsn(HERE - 1), state="catchup").view.replica_behind
    assert not primary().database(replica=None).view.replica_behind


@pytest.mark.parametrize(("behind_s", "moved_s", "stalled"), [(10, 60, True), (9.9, 60, False), (60, 9.9, False)])
def test_a_replica_is_stalled_after_the_whole_time_without_a_flush(
    behind_s: float, moved_s: float, stalled: bool
) -> None:
    host = primary().knows(behind_since_s=NOW_S - behind_s).database(moved_at_s=NOW_S - moved_s)
    assert host.view.replica_stalled is stalled


def test_a_lease_ends_at_its_second() -> None:
    host = standby(sync=False)
    assert grant_holds(host.view, grant(expires_s=NOW_S + 0.1), 4)
    assert not grant_holds(host.view, grant(expires_s=NOW_S), 4)


def test_a_term_far_above_was_forced_and_takes_without_consent_also_from_the_unconfirmed() -> None:
    host = primary().knows(confirmed=False)
    assert not takes_from_me(host.view, record("b", Mode.SOLO, 5))
    assert takes_from_me(host.view, record("b", Mode.SOLO, 1_000_005))
    old = primary(term=1_000_004).knows(confirmed=False)
    assert not takes_from_me(old.view, record("b", Mode.SOLO, 1_000_005)), "an older force of the same pair"


def test_limits_go_with_the_interval_that_is_configured() -> None:
    slow = primary().configured(interval_s=0.5)
    assert slow.sees(gateway=saw("gw", NOW_S - 0.79)).view.gateway
    assert not slow.sees(gateway=saw("gw", NOW_S - 0.81)).view.gateway
    seen = PeerDatabase(in_recovery=True)
    assert slow.sees(peer_own=saw(seen, NOW_S - 6.0)).view.peer_database == seen
    assert slow.sees(peer_own=saw(seen, NOW_S - 6.1)).view.peer_database is None


def test_a_message_is_fresh_for_half_the_time_to_silence_or_three_heartbeats() -> None:
    def fresh(age_s: float, interval_s: float) -> bool:
        host = primary().configured(interval_s=interval_s)
        heard = host.k.heard
        assert heard is not None
        return host.knows(heard=replace(heard, at_s=NOW_S - age_s)).view.message is not None

    assert [fresh(age_s, 2.0) for age_s in (3.0, 3.1)] == [True, False]
    assert [fresh(age_s, 0.5) for age_s in (1.5, 1.6)] == [True, False]


def test_reads_are_too_old_beyond_the_limit_and_bytes_count_only_where_there_is_one() -> None:
    host = standby().configured(lag_s_max=5.0, lag_bytes_max=0)
    assert not host.database(replay_lag_s=5.0).view.lagging
    assert not host.database(replay_lsn=Lsn(0)).view.lagging
    assert host.configured(lag_bytes_max=1).database(replay_lsn=Lsn(HERE - 2)).view.lagging
    assert not host.configured(lag_bytes_max=1).database(replay_lsn=Lsn(HERE - 1)).view.lagging


# --- hung for long ------------------------------------------------------------------------------------------

HUNG: dict[str, tuple[Observation[bool], bool]] = {
    "thrice and twice the time": (watch(NOW_S - 9, 3, NOW_S - 6.0), True),
    "not twice the time": (watch(NOW_S - 9, 3, NOW_S - 5.9), False),
    "only twice": (watch(NOW_S - 9, 2, NOW_S - 8.0), False),
}


ALONE = primary(Mode.SOLO).hears(streaming=False)


def blocked() -> Host:
    """Primary by a record that came by hand-over, without the WAL that the role needs."""
    return standby(Mode.SOLO, me="a", term=5).durable(record=record("a", Mode.SOLO, 6, from_term=5))


@pytest.mark.parametrize("case", HUNG)
@pytest.mark.parametrize("host", [ALONE, standby(), blocked()], ids=["primary", "standby", "blocked"])
def test_a_server_that_hangs_for_long_is_killed(host: Host, case: str) -> None:
    connection, killed = HUNG[case]
    stop = host.sees(connection=connection).round().started(StopPostgres)
    assert stop == (StopPostgres(clean=False) if killed else None)


@pytest.mark.parametrize("host", [ALONE, standby(), blocked()], ids=["primary", "standby", "blocked"])
def test_silence_from_before_the_postmaster_s_start_is_not_held_against_it(host: Host) -> None:
    silent = host.sees(connection=watch(NEVER, 30, NOW_S - 300))
    started = silent.knows(postmaster_since_s=NEVER).round()  # a return, a rewind: long without a server, and now one
    assert not started.started(StopPostgres)
    assert not started.view.hung
    assert "database-hung" not in started.concerns()
    assert started.k.postmaster_since_s == NOW_S
    assert not started.at(NOW_S + 2.9).round().view.hung
    assert started.at(NOW_S + 3).round().view.hung
    assert not started.at(NOW_S + 5.9).round().started(StopPostgres)
    assert started.at(NOW_S + 6).round().must_start(StopPostgres) == StopPostgres(clean=False)


def test_a_postmaster_that_was_not_looked_at_lately_is_no_new_one() -> None:
    host = standby().knows(ended={"postgres": NOW_S + 1}).round()
    assert host.view.processes is None
    assert host.k.postmaster_since_s == standby().k.postmaster_since_s
    assert standby().down().round().k.postmaster_since_s == NEVER


@pytest.mark.parametrize("host", [ALONE, standby(), blocked()], ids=["primary", "standby", "blocked"])
def test_a_server_whose_disks_hang_is_left_alone(host: Host) -> None:
    stuck = host.sees(disks=failing(value=True), connection=failing(value=True))
    assert not stuck.round().started(StopPostgres)


def test_a_primary_whose_role_lacks_wal_runs_as_a_standby() -> None:
    assert not blocked().round().started(StopPostgres)
    assert blocked().down().round().must_start(StartPostgres) == StartPostgres(standby=True, sync=False)
    assert blocked().down().processes(left=1).round().must_start(StopPostgres) == StopPostgres(clean=False)
    assert not blocked().knows(confirmed=False).down().round().started(StartPostgres)
    assert Vip.PRIMARY not in blocked().view.held
