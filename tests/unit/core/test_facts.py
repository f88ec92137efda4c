"""How old an observation may be, and what "unknown" permits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.actions import AddVip, Promote, Rejoin, StartPostgres
from pgvip.core.changes import STANDBY_DOWN
from pgvip.core.knowledge import Claim, GiveUp, Why
from pgvip.core.messages import Heard, Want
from pgvip.core.observations import Observation, PeerDatabase, Processes
from pgvip.core.values import NEVER, Durable, Lsn, Vip, WalPoint
from tests.knowing import knowing
from tests.unit.core_world import (
    HERE,
    NOW_S,
    SYSTEM_ID,
    Host,
    failing,
    heard_from,
    in_vain,
    primary,
    record,
    saw,
    standby,
)

# --- the peer's silence -------------------------------------------------------------------------------------


def test_silence_needs_every_path_to_be_silent_for_the_configured_time() -> None:
    host = standby().silence(3.0)
    assert host.facts.peer_silent
    assert not standby().silence(2.9).facts.peer_silent


@pytest.mark.parametrize("path", ["message", "own", "vip", "stream"])
def test_any_single_path_breaks_the_silence(path: str) -> None:
    host = standby().silence()
    database = PeerDatabase(in_recovery=False, system_id=SYSTEM_ID)
    one: dict[str, Host] = {
        "message": host.knows(heard=Heard(heard_from("a", record()), NOW_S - 2.9)),
        "own": host.sees(peer_own=saw(database, NOW_S - 2.9)),
        "vip": host.sees(peer_vip=saw(database, NOW_S - 2.9)),
        "stream": host.database(moved_at_s=NOW_S - 2.9),
    }
    assert not one[path].facts.peer_silent


@pytest.mark.parametrize("system_id", ["", "7999999999999999999"])
@pytest.mark.parametrize("path", ["peer_own", "peer_vip"])
def test_the_answer_of_another_cluster_is_no_sign_of_life(path: str, system_id: str) -> None:
    """Anybody on the network can answer at a dead host's address."""
    stranger = PeerDatabase(in_recovery=False, system_id=system_id)
    host = standby().silence().sees(**{path: saw(stranger, NOW_S)})
    assert host.facts.peer_silent
    assert host.facts.peer_database is None


def test_a_stranger_s_answer_before_the_last_sign_of_life_does_not_say_that_the_database_was_asked_since() -> None:
    host = standby().silence().knows(heard=Heard(heard_from("a", record()), NOW_S - 3.0))
    stranger = PeerDatabase(in_recovery=False, system_id="7999999999999999999")
    assert not host.sees(peer_own=saw(stranger, NOW_S - 3.1)).facts.peer_silent
    assert host.sees(peer_own=saw(stranger, NOW_S - 2.9)).facts.peer_silent


def test_what_answers_in_the_silent_peer_s_place_is_a_warning_and_beside_a_peer_that_is_heard_none() -> None:
    stranger = saw("something answers at 10.0.0.1: no pg_hba.conf entry")
    assert "stranger" not in standby().sees(stranger=stranger).round().warnings()
    assert "stranger" in standby().silence().sees(stranger=stranger).round().warnings()
    assert "stranger" not in standby().silence().sees(stranger=saw("")).round().warnings()


def test_what_a_kernel_answers_for_a_frozen_host_is_no_sign_of_life() -> None:
    host = standby().silence().database(streaming=True, moved_at_s=NOW_S - 60)
    host = host.sees(arp_primary=saw("02:00:00:00:00:01"))
    assert host.facts.peer_silent


def test_silence_needs_the_database_to_have_been_asked_since_the_last_sign() -> None:
    host = standby().silence()
    assert not host.sees(peer_own=Observation()).facts.peer_silent
    asked_before: Observation[PeerDatabase] = Observation(None, NEVER, 1, NOW_S - 61, NOW_S - 61, "refused")
    assert not host.sees(peer_own=asked_before).facts.peer_silent


def test_at_a_start_silence_counts_from_the_start_of_the_daemon() -> None:
    host = standby().silence().daemon_restarts()
    assert not host.facts.peer_silent
    assert host.at(NOW_S + 3.0).facts.peer_silent


def test_a_message_of_another_term_is_no_word_about_this_one() -> None:
    assert primary().facts.peer is not None
    assert primary().hears(record=record(term=3)).facts.peer is None
    assert primary().hears(record=None).facts.peer is None


def test_an_old_message_is_none() -> None:
    assert primary().at(NOW_S + 1.5).facts.message is not None
    assert primary().at(NOW_S + 1.6).facts.message is None


def test_the_peer_s_database_was_seen_lately_and_without_a_failure_since() -> None:
    seen = PeerDatabase(in_recovery=True, system_id=SYSTEM_ID)
    assert primary().sees(peer_own=saw(seen, NOW_S - 12.0)).facts.peer_database == seen
    assert primary().sees(peer_own=saw(seen, NOW_S - 12.1)).facts.peer_database is None
    assert primary().sees(peer_own=Observation(seen, NOW_S - 1, 1, NOW_S, NOW_S, "no")).facts.peer_database is None


def test_silence_is_believed_when_the_database_was_asked_in_vain_at_or_after_the_last_sign() -> None:
    host = standby().silence(3.0)
    asked: Observation[PeerDatabase] = Observation(None, NEVER, 1, NOW_S - 3.0, NOW_S - 3.0, "refused")
    assert host.sees(peer_own=asked).facts.peer_silent


def test_a_message_is_fresh_for_half_the_time_to_silence_or_three_heartbeats() -> None:
    def fresh(age_s: float, interval_s: float) -> bool:
        host = primary().configured(interval_s=interval_s)
        heard = host.k.peer.heard
        assert heard is not None
        return host.knows(heard=replace(heard, at_s=NOW_S - age_s)).facts.message is not None

    assert [fresh(age_s, 2.0) for age_s in (3.0, 3.1)] == [True, False]
    assert [fresh(age_s, 0.5) for age_s in (1.5, 1.6)] == [True, False]


# --- the own gateway ----------------------------------------------------------------------------------------


def test_an_unknown_gateway_gives_no_right_and_is_no_loss() -> None:
    for watch in (failing(failures=0), failing("192.0.2.1", since_s=NOW_S - 0.5, failures=1)):
        host = primary().sees(gateway=watch)
        assert not host.facts.gateway
        assert not host.facts.gateway_lost
    assert primary().sees(gateway=failing("192.0.2.1")).facts.gateway_lost
    assert not primary().sees(gateway=saw("192.0.2.1", NOW_S - 1.7)).facts.gateway


@pytest.mark.parametrize(
    ("gateway", "answers", "lost"),
    [
        (saw("gw", NOW_S - 1.59), True, False),
        (saw("gw", NOW_S - 1.61), False, False),
        (in_vain(NOW_S - 3.0, 2, NOW_S - 2.0), False, True),
        (in_vain(NOW_S - 2.9, 2, NOW_S - 2.0), False, False),
        (in_vain(NOW_S - 9.0, 1, NOW_S - 8.0), False, False),
    ],
)
def test_a_gateway_answers_or_is_lost_or_neither(gateway: Observation[str], answers: bool, lost: bool) -> None:
    host = primary().sees(gateway=gateway)
    assert (host.facts.gateway, host.facts.gateway_lost) == (answers, lost)


def test_limits_go_with_the_interval_that_is_configured() -> None:
    slow = primary().configured(interval_s=0.5)
    assert slow.sees(gateway=saw("gw", NOW_S - 0.79)).facts.gateway
    assert not slow.sees(gateway=saw("gw", NOW_S - 0.81)).facts.gateway
    seen = PeerDatabase(in_recovery=True, system_id=SYSTEM_ID)
    assert slow.sees(peer_own=saw(seen, NOW_S - 6.0)).facts.peer_database == seen
    assert slow.sees(peer_own=saw(seen, NOW_S - 6.1)).facts.peer_database is None


# --- the own database ---------------------------------------------------------------------------------------


def test_what_was_not_seen_may_write_and_is_not_gone() -> None:
    blind = primary().sees(processes=Observation(), database=Observation())
    assert blind.facts.may_write
    assert not blind.facts.gone
    assert not blind.facts.dead


def test_an_orphan_may_write() -> None:
    orphaned = primary().down().processes(left=1)
    assert orphaned.facts.may_write
    assert not orphaned.facts.gone
    assert primary().down().facts.gone


@pytest.mark.parametrize("action", [StartPostgres(standby=False, sync=True), Promote(), Rejoin()], ids=str)
def test_what_is_being_started_is_not_gone(action: StartPostgres | Promote | Rejoin) -> None:
    assert not primary().down().knows(running=(action,)).facts.gone


def test_a_server_that_is_being_opened_may_write_and_a_standby_that_is_being_started_may_not() -> None:
    down = standby().down()
    assert not down.facts.may_write
    assert down.knows(running=(Promote(),)).facts.may_write
    assert down.knows(running=(StartPostgres(standby=False, sync=False),)).facts.may_write
    assert not down.knows(running=(StartPostgres(standby=True, sync=False),)).facts.may_write


def test_what_was_seen_before_an_action_ended_says_nothing() -> None:
    host = primary().knows(ended={"postgres": NOW_S + 0.1})
    assert host.facts.processes is None
    assert host.facts.database is None
    assert host.facts.may_write
    assert host.at(NOW_S + 0.2).facts.read_write


def test_the_word_of_another_postmaster_does_not_count() -> None:
    assert primary().processes(postmaster="999:9").facts.database is None
    assert not primary().processes(postmaster="999:9").facts.read_write


def test_hung_needs_two_failures_and_the_time() -> None:
    assert primary().hangs(failing(value=True, since_s=NOW_S - 2.95)).facts.hung
    assert not primary().hangs(failing(value=True, since_s=NOW_S - 2.85)).facts.hung
    assert not primary().hangs(failing(value=True, failures=1)).facts.hung
    assert primary().sees(disks=failing(value=True)).facts.hung
    assert not primary().down().facts.hung


def test_a_single_query_that_timed_out_is_no_dead_database() -> None:
    host = primary().sees(database=failing(primary().seen.database.value), heartbeat=failing("", since_s=NOW_S - 9))
    assert not host.facts.hung
    assert not host.facts.dead


def test_no_data_directory_is_not_installed() -> None:
    assert not primary().sees(processes=saw(Processes())).facts.installed
    assert not primary().sees(processes=Observation()).facts.installed


@pytest.mark.parametrize(
    ("connection", "hung"),
    [
        (in_vain(NOW_S - 3.0, 2, NOW_S - 2.0), True),
        (in_vain(NOW_S - 2.9, 2, NOW_S - 2.0), False),
        (in_vain(NOW_S - 9.0, 1, NOW_S - 8.0), False),
        (in_vain(NEVER, 2, NOW_S - 2.0), True),
        (in_vain(NEVER, 2, NOW_S - 1.9), False),
        (in_vain(NOW_S - 9.0, 2, NOW_S - 1.9), False),
        # One that times out has waited since it began; what came before that is not known.
        (replace(in_vain(NOW_S - 9.0, 2, NOW_S - 1.5), tried_s=NOW_S - 3.0), True),
        (replace(in_vain(NOW_S - 9.0, 2, NOW_S - 1.5), tried_s=NOW_S - 2.9), False),
        (replace(in_vain(NOW_S - 2.9, 2, NOW_S - 1.5), tried_s=NOW_S - 3.0), False),
        (replace(in_vain(NOW_S - 9.0, 1, NOW_S - 0.0), tried_s=NOW_S - 3.0), False),
        (replace(in_vain(NOW_S - 9.0, 2, NOW_S - 2.0), tried_s=NOW_S - 2.0), True),
    ],
)
def test_hung_is_no_answer_for_the_whole_time_and_twice(connection: Observation[bool], hung: bool) -> None:
    assert primary().hangs(connection).facts.hung is hung


def test_a_server_that_answers_has_not_been_without_an_answer_at_all() -> None:
    assert primary().facts.unconnected_s == 0.0
    assert primary().sees(connection=in_vain(NOW_S - 9.0, 1, NOW_S - 8.0)).facts.unconnected_s == 0.0
    assert primary().sees(heartbeat=Observation()).facts.uncommitted_s == 0.0
    assert standby().facts.uncommitted_s == 0.0
    assert primary().knows(heard=None).facts.heard_age_s == -NEVER


def test_new_connections_that_wait_beside_a_kept_one_that_is_answered_are_given_longer() -> None:
    """A CPU is short, in a bulk load say: each new connection is a process to be made."""
    for waited_s, hung, starved in ((2.9, False, False), (3.1, False, True), (11.8, False, True), (12.1, True, False)):
        host = primary().sees(connection=failing(value=True, since_s=NOW_S - waited_s + 0.1))
        assert host.facts.hung is hung, waited_s
        assert ("connections-slow" in host.round().warnings()) is starved
    assert "connections-slow" not in primary().hangs(failing(value=True)).round().warnings()


@pytest.mark.parametrize(
    ("disks", "bad"),
    [
        (in_vain(NOW_S - 10.0, 2, NOW_S - 9.0), True),
        (in_vain(NOW_S - 9.9, 2, NOW_S - 9.0), False),
        (in_vain(NOW_S - 60.0, 1, NOW_S - 59.0), False),
        (in_vain(NEVER, 2, NOW_S - 9.0), True),
        (in_vain(NEVER, 2, NOW_S - 8.9), False),
    ],
)
def test_disks_may_be_slow_for_longer_than_a_server(disks: Observation[bool], bad: bool) -> None:
    host = primary().sees(disks=disks)
    assert host.facts.disks_bad is bad
    assert host.facts.hung is bad


def test_a_server_that_is_being_started_is_not_hung() -> None:
    host = standby().sees(connection=failing(value=True))
    assert host.facts.hung
    assert not host.knows(running=(StartPostgres(standby=True, sync=False),)).facts.hung


def test_the_database_answers_as_long_as_it_would_not_count_as_hung() -> None:
    old = primary().seen.database.value
    assert primary().sees(database=saw(old, NOW_S - 3.0)).facts.responding
    assert not primary().sees(database=saw(old, NOW_S - 3.1)).facts.responding
    assert not primary().sees(database=saw(None)).facts.responding


@pytest.mark.parametrize(
    ("seen", "healthy"),
    [
        ({"connection": saw(value=True, at_s=NOW_S - 4.0)}, True),
        ({"connection": saw(value=True, at_s=NOW_S - 4.1)}, False),
        ({"disks": saw(value=True, at_s=NOW_S - 60.0)}, True),
        ({"disks": in_vain(NOW_S - 11.0, 1, NOW_S - 10.0)}, True),
        ({"disks": in_vain(NOW_S - 11.1, 1, NOW_S - 10.0)}, False),
        ({"connection": failing(value=True)}, False),
        ({"database": saw(None)}, False),
    ],
)
def test_a_database_is_healthy_while_it_and_its_disks_answered_lately(
    seen: dict[str, Observation[object]], healthy: bool
) -> None:
    assert primary().sees(**seen).facts.database_healthy is healthy


def test_what_was_seen_at_the_very_end_of_an_action_counts() -> None:
    assert primary().knows(ended={"postgres": NOW_S}).facts.processes is not None
    assert primary().knows(ended={"postgres": NOW_S}).facts.database is not None
    assert primary().knows(ended={"postgres": NOW_S + 0.01}).facts.database is None
    assert not primary().holds().knows(ended={"primary": NOW_S}).facts.held


def test_what_a_server_said_before_an_action_on_it_ended_says_nothing_though_its_processes_were_seen_since() -> None:
    host = standby().knows(ended={"postgres": NOW_S})
    assert host.facts.recovering
    assert host.sees(database=saw(host.seen.database.value, NOW_S - 0.1)).facts.database is None


def test_a_server_that_nobody_has_asked_may_write_unless_it_was_started_as_a_standby() -> None:
    unasked = primary().durable(served=False).sees(database=Observation())
    assert unasked.facts.may_write
    assert not unasked.processes(standby_signal=True).facts.may_write


def test_a_postmaster_that_was_not_looked_at_lately_is_no_new_one() -> None:
    host = standby().knows(ended={"postgres": NOW_S + 1}).round()
    assert host.facts.processes is None
    assert host.k.database.postmaster_since_s == standby().k.database.postmaster_since_s
    assert standby().down().round().k.database.postmaster_since_s == NEVER


# --- addresses ----------------------------------------------------------------------------------------------


def test_addresses_that_were_not_seen_or_are_being_raised_may_be_held() -> None:
    assert primary().sees(held=Observation()).facts.held == frozenset(Vip)
    assert primary().holds().facts.held == frozenset()
    assert primary().holds().knows(running=(AddVip(Vip.STANDBY),)).facts.held == {Vip.STANDBY}
    assert primary().holds().knows(ended={"standby": NOW_S + 0.1}).facts.held == {Vip.STANDBY}


# --- lag ----------------------------------------------------------------------------------------------------


def test_lagging_by_seconds_by_bytes_by_a_paused_replay_and_unknown() -> None:
    host = standby().configured(lag_bytes_max=8, lag_s_max=5.0)
    assert not host.facts.lagging
    assert host.database(replay_lag_s=5.1).facts.lagging
    assert not host.hears(point=WalPoint(1, Lsn(HERE + 8))).facts.lagging
    assert host.hears(point=WalPoint(1, Lsn(HERE + 9))).facts.lagging
    assert host.database(replay_paused=True).facts.lagging
    assert host.sees(database=Observation()).facts.lagging


def test_a_standby_is_fit_when_nothing_keeps_its_replay_from_what_it_flushed() -> None:
    host = standby()
    assert host.facts.fit
    assert not host.facts.unfit
    target = host.database(recovery_target="recovery_target_name = 'old'")
    assert target.facts.unfit == "its recovery ends at recovery_target_name = 'old'"
    assert host.database(replay_paused=True).facts.unfit == "its replay is paused"
    assert host.database(unfit="it listens on localhost").facts.unfit == "it listens on localhost"
    assert not target.facts.fit
    assert not host.sees(database=Observation()).facts.fit, "unknown counts as no"


def test_a_replay_that_waits_for_higher_settings_goes_on_after_the_next_start() -> None:
    assert standby().database(replay_paused=True, settings_low=True).facts.fit


def test_an_absent_replica_is_infinitely_behind() -> None:
    assert primary().database(replica=None).facts.replica_lag_bytes > 1 << 60
    assert primary().replica(flush_lsn=Lsn(HERE - 5)).facts.replica_lag_bytes == 5
    assert primary().replica(flush_lsn=Lsn(HERE + 5)).facts.replica_lag_bytes == 0


def test_a_replica_is_behind_by_the_last_byte() -> None:
    assert not primary().facts.replica_behind
    assert primary().replica(flush_lsn=Lsn(HERE - 1)).facts.replica_behind
    assert not primary().replica(flush_lsn=Lsn(HERE - 1), state="catchup").facts.replica_behind
    assert not primary().database(replica=None).facts.replica_behind


@pytest.mark.parametrize(("behind_s", "moved_s", "stalled"), [(10, 60, True), (9.9, 60, False), (60, 9.9, False)])
def test_a_replica_is_stalled_after_the_whole_time_without_a_flush(
    behind_s: float, moved_s: float, stalled: bool
) -> None:
    host = primary().knows(behind_since_s=NOW_S - behind_s).database(moved_at_s=NOW_S - moved_s)
    assert host.facts.replica_stalled is stalled


def test_reads_are_too_old_beyond_the_limit_and_bytes_count_only_where_there_is_one() -> None:
    host = standby().configured(lag_s_max=5.0, lag_bytes_max=0)
    assert not host.database(replay_lag_s=5.0).facts.lagging
    assert not host.database(replay_lsn=Lsn(0)).facts.lagging
    assert host.configured(lag_bytes_max=1).database(replay_lsn=Lsn(HERE - 2)).facts.lagging
    assert not host.configured(lag_bytes_max=1).database(replay_lsn=Lsn(HERE - 1)).facts.lagging


@pytest.mark.parametrize(
    "under_way",
    [
        {"giving_up": GiveUp("hand-over-database", Want.HANDOVER, 4, "boot-b", NOW_S)},
        {"claim": Claim("solo-by-fence", 4, Why.SILENCE, takeover=False, attempt="1", since_s=NOW_S)},
        {"waiting": "solo-by-fence"},
        {"writing": Durable()},
    ],
    ids=lambda case: next(iter(case)),
)
def test_each_change_that_is_under_way_makes_a_host_busy(under_way: dict[str, Any]) -> None:
    """Then every observation is acted on as it comes (daemon/loop.py)."""
    assert primary().k.busy is False
    assert knowing(primary().k, **under_way).busy is True


def test_who_was_never_heard_of_does_not_follow_and_is_not_known_to_be_down() -> None:
    """Right after the start of a daemon: silence is judged by other rows, after a time."""
    assert not STANDBY_DOWN.test(primary().knows(heard=None).facts)
