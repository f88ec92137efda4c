"""How old an observation may be, and what "unknown" permits."""

from __future__ import annotations

import pytest

from pgvip.core.model import (
    NEVER,
    AddVip,
    Heard,
    Lsn,
    Observation,
    PeerDatabase,
    Processes,
    Promote,
    Rejoin,
    StartPostgres,
    Vip,
    WalPoint,
)
from tests.unit.core_world import HERE, NOW_S, Host, failing, heard_from, primary, record, saw, standby

# --- the peer's silence -------------------------------------------------------------------------------------


def test_silence_needs_every_path_to_be_silent_for_the_configured_time() -> None:
    host = standby().silence(3.0)
    assert host.view.peer_silent
    assert not standby().silence(2.9).view.peer_silent


@pytest.mark.parametrize("path", ["message", "own", "vip", "stream"])
def test_any_single_path_breaks_the_silence(path: str) -> None:
    host = standby().silence()
    database = PeerDatabase(in_recovery=False)
    one: dict[str, Host] = {
        "message": host.knows(heard=Heard(heard_from("a", record()), NOW_S - 2.9)),
        "own": host.sees(peer_own=saw(database, NOW_S - 2.9)),
        "vip": host.sees(peer_vip=saw(database, NOW_S - 2.9)),
        "stream": host.database(moved_at_s=NOW_S - 2.9),
    }
    assert not one[path].view.peer_silent


def test_what_a_kernel_answers_for_a_frozen_host_is_no_sign_of_life() -> None:
    host = standby().silence().database(streaming=True, moved_at_s=NOW_S - 60)
    host = host.sees(arp_primary=saw("02:00:00:00:00:01"), peer_port=saw(value=True))
    assert host.view.peer_silent


def test_silence_needs_the_database_to_have_been_asked_since_the_last_sign() -> None:
    host = standby().silence()
    assert not host.sees(peer_own=Observation()).view.peer_silent
    asked_before: Observation[PeerDatabase] = Observation(None, NEVER, 1, NOW_S - 61, NOW_S - 61, "refused")
    assert not host.sees(peer_own=asked_before).view.peer_silent


def test_at_a_start_silence_counts_from_the_start_of_the_daemon() -> None:
    host = standby().silence().daemon_restarts()
    assert not host.view.peer_silent
    assert host.at(NOW_S + 3.0).view.peer_silent


def test_a_message_of_another_term_is_no_word_about_this_one() -> None:
    assert primary().view.here is not None
    assert primary().hears(record=record(term=3)).view.here is None
    assert primary().hears(record=None).view.here is None


def test_an_old_message_is_none() -> None:
    assert primary().at(NOW_S + 1.5).view.message is not None
    assert primary().at(NOW_S + 1.6).view.message is None


# --- the own gateway ----------------------------------------------------------------------------------------


def test_an_unknown_gateway_gives_no_right_and_is_no_loss() -> None:
    for watch in (failing(failures=0), failing("192.0.2.1", since_s=NOW_S - 0.5, failures=1)):
        host = primary().sees(gateway=watch)
        assert not host.view.gateway
        assert not host.view.gateway_lost
    assert primary().sees(gateway=failing("192.0.2.1")).view.gateway_lost
    assert not primary().sees(gateway=saw("192.0.2.1", NOW_S - 1.7)).view.gateway


# --- the own database ---------------------------------------------------------------------------------------


def test_what_was_not_seen_may_write_and_is_not_gone() -> None:
    blind = primary().sees(processes=Observation(), database=Observation())
    assert blind.view.may_write
    assert not blind.view.gone
    assert not blind.view.dead


def test_an_orphan_may_write() -> None:
    orphaned = primary().down().processes(left=1)
    assert orphaned.view.may_write
    assert not orphaned.view.gone
    assert primary().down().view.gone


@pytest.mark.parametrize("action", [StartPostgres(standby=False, sync=True), Promote(), Rejoin()], ids=str)
def test_what_is_being_started_is_not_gone(action: StartPostgres | Promote | Rejoin) -> None:
    assert not primary().down().knows(running=(action,)).view.gone


def test_a_server_that_is_being_opened_may_write_and_a_standby_that_is_being_started_may_not() -> None:
    down = standby().down()
    assert not down.view.may_write
    assert down.knows(running=(Promote(),)).view.may_write
    assert down.knows(running=(StartPostgres(standby=False, sync=False),)).view.may_write
    assert not down.knows(running=(StartPostgres(standby=True, sync=False),)).view.may_write


def test_what_was_seen_before_an_action_ended_says_nothing() -> None:
    host = primary().knows(ended={"postgres": NOW_S + 0.1})
    assert host.view.processes is None
    assert host.view.database is None
    assert host.view.may_write
    assert host.at(NOW_S + 0.2).view.read_write


def test_the_word_of_another_postmaster_does_not_count() -> None:
    assert primary().processes(postmaster="999:9").view.database is None
    assert not primary().processes(postmaster="999:9").view.read_write


def test_hung_needs_two_failures_and_the_time() -> None:
    assert primary().sees(connection=failing(value=True, since_s=NOW_S - 2.95)).view.hung
    assert not primary().sees(connection=failing(value=True, since_s=NOW_S - 2.85)).view.hung
    assert not primary().sees(connection=failing(value=True, failures=1)).view.hung
    assert primary().sees(disks=failing(value=True)).view.hung
    assert not primary().down().view.hung


def test_a_single_query_that_timed_out_is_no_dead_database() -> None:
    host = primary().sees(database=failing(primary().seen.database.value), heartbeat=failing(value=True))
    assert not host.view.hung
    assert not host.view.dead


def test_no_data_directory_is_not_installed() -> None:
    assert not primary().sees(processes=saw(Processes())).view.installed
    assert not primary().sees(processes=Observation()).view.installed


# --- addresses ----------------------------------------------------------------------------------------------


def test_addresses_that_were_not_seen_or_are_being_raised_may_be_held() -> None:
    assert primary().sees(held=Observation()).view.held == frozenset(Vip)
    assert primary().holds().view.held == frozenset()
    assert primary().holds().knows(running=(AddVip(Vip.STANDBY),)).view.held == {Vip.STANDBY}
    assert primary().holds().knows(ended={"standby": NOW_S + 0.1}).view.held == {Vip.STANDBY}


# --- lag ----------------------------------------------------------------------------------------------------


def test_lagging_by_seconds_by_bytes_by_a_paused_replay_and_unknown() -> None:
    host = standby().configured(lag_bytes_max=8, lag_s_max=5.0)
    assert not host.view.lagging
    assert host.database(replay_lag_s=5.1).view.lagging
    assert not host.hears(point=WalPoint(1, Lsn(HERE + 8))).view.lagging
    assert host.hears(point=WalPoint(1, Lsn(HERE + 9))).view.lagging
    assert host.database(replay_paused=True).view.lagging
    assert host.sees(database=Observation()).view.lagging


def test_an_absent_replica_is_infinitely_behind() -> None:
    assert primary().database(replica=None).view.replica_lag_bytes > 1 << 60
    assert primary().replica(flush_lsn=Lsn(HERE - 5)).view.replica_lag_bytes == 5
    assert primary().replica(flush_lsn=Lsn(HERE + 5)).view.replica_lag_bytes == 0
