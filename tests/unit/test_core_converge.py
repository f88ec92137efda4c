"""What is brought about by the rights: PostgreSQL, the synchronous names, addresses, the archive."""

from __future__ import annotations

import pytest

from pgvip.core.converge import NOTICED_S
from pgvip.core.model import (
    NEVER,
    AddressFree,
    AddVip,
    CheckVip,
    DropVip,
    Lsn,
    Mode,
    MountArchive,
    Order,
    Pause,
    Processes,
    Promote,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    UnmountArchive,
    Vip,
)
from tests.unit.core_world import HERE, NOW_S, Host, failing, grant, primary, record, saw, standby

# --- PostgreSQL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [primary(), primary(Mode.SOLO), standby(), standby(Mode.SOLO)], ids=str)
def test_a_healthy_host_touches_nothing(host: Host) -> None:
    kinds = (StartPostgres, StopPostgres, Promote, Rejoin, AddVip, DropVip, SetSyncNames)
    assert not [action for action in host.round().actions if isinstance(action, kinds)]


@pytest.mark.parametrize(
    "host",
    [primary().knows(confirmed=False), primary().knows(alarm="differ"), primary().durable(served=False)],
    ids=str,
)
def test_a_server_that_may_be_read_write_without_the_right_is_stopped(host: Host) -> None:
    assert host.round().must_start(StopPostgres).clean is False


def test_nothing_is_started_before_the_processes_were_seen() -> None:
    assert not primary().sees(processes=failing()).round().actions
    assert not standby().down().sees(processes=failing()).round().started(StartPostgres)


def test_orphans_are_ended_before_a_start() -> None:
    orphaned = primary().hears(eligible=False).down().processes(left=1).round()
    assert orphaned.must_start(StopPostgres).clean is False
    assert not orphaned.started(StartPostgres)
    behind = standby().down().processes(left=1).round()
    assert behind.must_start(StopPostgres)
    assert not behind.started(StartPostgres)


@pytest.mark.parametrize("host", [primary(), primary(Mode.SOLO), standby(), standby(Mode.SOLO)], ids=str)
@pytest.mark.parametrize("again", [False, True])
def test_whoever_stopped_the_server_in_an_orderly_way_sees_it_stopped(host: Host, again: bool) -> None:
    """pg_ctl looks every 0.1 s whether the postmaster is gone, and waits a minute when it misses that."""
    state = "shut down" if host.round().message.read_write else "shut down in recovery"
    since_s = host.now_s if again else NEVER  # seen down before: then it stays "since then"
    stopped = host.down(clean=True).processes(control_state=state).knows(stopped_since_s=since_s).round()
    assert not stopped.started(StartPostgres)
    assert stopped.k.stopped_since_s == host.now_s
    assert not stopped.at(host.now_s + NOTICED_S - 0.01).round().started(StartPostgres)
    assert stopped.at(host.now_s + NOTICED_S + 0.01).round().started(StartPostgres)


def test_what_pgvip_itself_stopped_or_what_crashed_is_started_at_once() -> None:
    for host in (primary(), standby()):
        stopped = host.down(clean=True).knows(stopped_since_s=NEVER)
        assert stopped.knows(ended={"postgres": host.now_s - 0.5}).round().started(StartPostgres)
        assert not stopped.knows(ended={"postgres": host.now_s - 1.5}).round().started(StartPostgres)
    crashed = standby().down().round()
    assert crashed.started(StartPostgres)
    assert crashed.k.stopped_since_s == NEVER


def test_a_standby_is_started_as_one_also_before_it_is_confirmed() -> None:
    assert standby().reboots().round().must_start(StartPostgres) == StartPostgres(standby=True, sync=False)
    assert not primary().reboots().round().started(StartPostgres)


def test_a_returned_primary_is_rebuilt_only_from_a_primary_that_is_seen_read_write() -> None:
    host = standby(Mode.SOLO).down().processes(standby_signal=False)
    assert host.round().must_start(Rejoin)
    for blocked in (
        host.hears(read_write=False),
        host.hears(confirmed=False),
        host.knows(confirmed=False, answered_term=-1),
        host.durable(hold="both wrote"),
        host.durable(pause=Pause(1, active=True)),
    ):
        assert not blocked.round().started(Rejoin)
        assert not blocked.round().started(StartPostgres)


@pytest.mark.parametrize("mode", Mode)
def test_a_standby_whose_settings_are_too_low_is_restarted_beside_a_serving_primary(mode: Mode) -> None:
    host = standby(mode).database(replay_paused=True)
    assert not host.round().started(StopPostgres)  # somebody paused replay by hand
    low = host.database(settings_low=True)
    assert low.round().must_start(StopPostgres).clean
    for blocked in (
        low.knows(heard=None),  # its postmaster may be the eligible one
        low.hears(read_write=False),
        low.durable(pause=Pause(1, active=True)),
    ):
        assert not blocked.round().started(StopPostgres)


def test_a_standby_that_cannot_follow_is_rebuilt_after_a_time() -> None:
    host = standby(Mode.SOLO).database(streaming=False)
    assert not host.knows(unstreamed_since_s=NOW_S - 14).round().started(Rejoin)
    assert host.knows(unstreamed_since_s=NOW_S - 15).round().must_start(Rejoin)


def test_a_server_is_not_restarted_while_its_role_is_on_offer() -> None:
    offered = primary().down().round()
    assert offered.message.invite
    assert not offered.started(StartPostgres)
    assert primary().hears(eligible=False).down().round().must_start(StartPostgres)


def test_a_primary_s_hung_server_without_a_taker_is_ended_to_be_restarted() -> None:
    hung = primary().hears(eligible=False).sees(connection=failing(value=True, since_s=NOW_S - 7))
    assert hung.round().must_start(StopPostgres).clean is False
    assert not hung.sees(connection=failing(value=True, since_s=NOW_S - 5)).round().started(StopPostgres)


def test_data_that_begin_to_be_rebuilt_are_eligible_for_nothing_whatever_is_still_seen_of_them() -> None:
    host = standby().order(Order.REJOIN, "clone")
    assert host.must_start(Rejoin).clone
    assert host.k.grant is None
    assert not host.message.eligible
    assert not host.message.postmaster
    again = host.told(grant=grant("b"))
    assert again.k.grant is None


def test_data_are_not_rebuilt_while_the_peer_offers_its_role_to_them() -> None:
    offered = standby().hears(invite="hand-over-switchover", invite_term=4)
    assert not offered.order(Order.REJOIN, "clone").started(Rejoin)


def test_data_are_not_rebuilt_while_the_peer_may_be_giving_its_role_up_to_them() -> None:
    """An old message of the peer, from before it offered the role, is no word that it does not (seed 4016876)."""
    asking = standby().knows(rejoin_clone=True).told(invite="hand-over-switchover", invite_term=4)
    assert asking.message.request is not None
    assert asking.message.request.eligible
    assert asking.k.offered_s == NOW_S
    old = asking.told(invite="")
    assert old.message.request is None
    assert not old.started(Rejoin)
    assert not old.told(after_s=old.s.consent_s - 0.5).started(Rejoin)
    assert old.told(after_s=old.s.consent_s).must_start(Rejoin) == Rejoin(clone=True)


def test_a_drop_that_failed_is_tried_again_while_the_server_is_being_started() -> None:
    """The starting server has not been asked yet, which is no reason to keep its address (seed 6023700)."""
    down = primary().hears(eligible=False).down().round()
    assert down.started(DropVip) == DropVip(Vip.PRIMARY)
    failed = down.done(DropVip(Vip.PRIMARY), ok=False)
    starting = failed.at(failed.now_s + 1).knows(round_s=failed.now_s + 1).holds(Vip.PRIMARY)
    starting = starting.sees(processes=saw(Processes(installed=True, postmaster="300:5"), starting.now_s))
    assert starting.running(StartPostgres)
    assert starting.round().must_start(DropVip) == DropVip(Vip.PRIMARY)


# --- the synchronous names ----------------------------------------------------------------------------------


def test_names_are_set_before_the_pair_is_made_and_only_beside_a_streaming_standby() -> None:
    solo = primary(Mode.SOLO).database(sync_names="")
    assert solo.round().must_start(SetSyncNames).on
    assert not solo.database(replica=None, sync_names="").round().started(SetSyncNames)


def test_names_are_not_set_beside_a_standby_that_receives_without_flushing_and_are_cleared_soon() -> None:
    stalled = primary(Mode.SOLO).replica(flush_lsn=Lsn(HERE - 8)).database_moved(NOW_S - 60)
    solo = stalled.knows(behind_since_s=NOW_S - 60, clear_since_s=NOW_S - 2)
    assert not solo.database(sync_names="").round().started(SetSyncNames)
    assert solo.database(sync_names="b").round().must_start(SetSyncNames).on is False


def test_names_are_not_touched_without_the_right_nor_while_a_record_is_being_written() -> None:
    unset = primary().database(sync_names="")
    assert unset.round().must_start(SetSyncNames).on
    assert not unset.knows(confirmed=False).round().started(SetSyncNames)
    assert not unset.knows(writing=unset.k.durable).round().started(SetSyncNames)


def test_async_clears_the_names_in_a_pair() -> None:
    assert primary(sync=False).database(sync_names="b").round().must_start(SetSyncNames).on is False


# --- addresses ----------------------------------------------------------------------------------------------


def test_an_address_is_raised_after_nobody_answered_for_it() -> None:
    bare = primary().holds()
    asked = bare.round()
    assert asked.must_start(CheckVip) == CheckVip(Vip.PRIMARY)
    assert not asked.started(AddVip)
    assert asked.done(CheckVip(Vip.PRIMARY)).must_start(AddVip) == AddVip(Vip.PRIMARY)
    taken = asked.done(CheckVip(Vip.PRIMARY), text="02:00:00:00:00:99")
    assert not taken.started(AddVip)
    assert "vip-taken" in taken.concerns()
    assert taken.at(taken.now_s + 2.5).round().must_start(CheckVip)


def test_the_primary_address_is_raised_only_where_writes_work() -> None:
    checked = primary(Mode.SOLO).holds().knows(checked=dict.fromkeys(Vip, (NOW_S, "")))
    assert AddVip(Vip.PRIMARY) in checked.round().actions
    recovering = checked.database(in_recovery=True).round()
    assert AddVip(Vip.PRIMARY) not in recovering.actions
    assert AddVip(Vip.PRIMARY) not in checked.knows(confirmed=False).round().actions
    assert AddVip(Vip.PRIMARY) not in checked.down().round().actions


def test_the_standby_address_is_raised_only_when_told_and_streaming() -> None:
    host = standby().holds().knows(checked={Vip.STANDBY: (NOW_S, "")})
    assert host.round().must_start(AddVip) == AddVip(Vip.STANDBY)
    assert not host.knows(address=None).round().started(AddVip)
    assert not host.knows(address=AddressFree(3, "boot-b")).round().started(AddVip)
    assert not host.database(streaming=False).round().started(AddVip)


def test_an_address_without_the_right_is_dropped() -> None:
    assert primary().down().round().must_start(DropVip) == DropVip(Vip.PRIMARY)
    assert standby().database(replay_lag_s=61.0).round().must_start(DropVip) == DropVip(Vip.STANDBY)
    assert standby().holds(Vip.PRIMARY).round().must_start(DropVip) == DropVip(Vip.PRIMARY)
    assert primary().holds(*Vip).round().must_start(DropVip) == DropVip(Vip.STANDBY)


def test_a_daemon_that_has_just_started_drops_nothing_that_it_has_not_asked_about() -> None:
    for host in (primary(), primary(Mode.SOLO), standby()):
        fresh = host.daemon_restarts()
        for blind in (
            fresh.sees(database=failing(failures=0)),
            fresh.sees(database=failing(failures=0), processes=failing(failures=0)),
        ):
            begun = blind.round()
            assert not begun.started(DropVip)
            assert not begun.started(StopPostgres)


def test_in_a_pause_the_addresses_stay() -> None:
    paused = primary().durable(pause=Pause(1, active=True)).down(clean=True).round()
    assert not paused.started(DropVip)


def test_once_a_higher_term_was_heard_nothing_is_raised() -> None:
    host = standby().holds().knows(checked={Vip.STANDBY: (NOW_S, "")}, heard_record=record("a", Mode.SOLO, 6))
    assert not host.round().started(AddVip)


# --- the archive --------------------------------------------------------------------------------------------


def test_the_peer_s_archive_is_mounted_when_the_peer_is_there_and_dropped_when_it_hangs() -> None:
    assert primary().sees(archive=saw(value=False)).round().must_start(MountArchive)
    assert not primary().sees(archive=saw(value=False)).knows(heard=None).round().started(MountArchive)
    assert primary().sees(archive=failing(value=True)).round().must_start(UnmountArchive)
    assert not primary().configured(archive=False).sees(archive=saw(value=False)).round().started(MountArchive)


def test_a_mount_is_looked_at_before_it_is_made_again() -> None:
    host = primary().sees(archive=saw(value=False)).round()
    mounted = host.knows(running=(), ended={"archive": NOW_S + 0.1})
    assert not mounted.round().started(MountArchive)
