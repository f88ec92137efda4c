"""What is brought about by the rights: PostgreSQL, the synchronous names, addresses, the archive."""

from __future__ import annotations

import pytest

from pgvip.core.actions import (
    AddVip,
    CheckVip,
    DropVip,
    MountArchive,
    Promote,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    UnmountArchive,
    WriteState,
)
from pgvip.core.converge import NOTICED_S
from pgvip.core.messages import AddressFree, Order
from pgvip.core.observations import Observation, Processes
from pgvip.core.values import NEVER, Lsn, Mode, Pause, Vip
from tests.unit.core_world import (
    HERE,
    NOW_S,
    SOLO_B,
    Host,
    failing,
    grant,
    in_vain,
    primary,
    record,
    role_wish,
    saw,
    standby,
)

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
    assert stopped.k.database.stopped_since_s == host.now_s
    assert not stopped.at(host.now_s + NOTICED_S - 0.01).round().started(StartPostgres)
    assert stopped.at(host.now_s + NOTICED_S + 0.01).round().started(StartPostgres)


def test_what_pgvip_itself_stopped_or_what_crashed_is_started_at_once() -> None:
    for host in (primary(), standby()):
        stopped = host.down(clean=True).knows(stopped_since_s=NEVER)
        assert stopped.knows(ended={"postgres": host.now_s - 0.5}).round().started(StartPostgres)
        assert not stopped.knows(ended={"postgres": host.now_s - 1.0}).round().started(StartPostgres)
    crashed = standby().down().round()
    assert crashed.started(StartPostgres)
    assert crashed.k.database.stopped_since_s == NEVER


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


def test_an_ordered_rejoin_does_not_wait_for_a_host_that_has_just_booted() -> None:
    """Its clock counts from the boot: what was to last for a while by now began before that."""
    host = standby(Mode.SOLO).database(streaming=False).configured(stuck_s=NOW_S + 5)
    assert not host.round().started(Rejoin)
    assert host.order(Order.REJOIN).must_start(Rejoin)


def test_a_server_is_not_restarted_while_its_role_is_on_offer() -> None:
    offered = primary().down().round()
    assert offered.message.invite
    assert not offered.started(StartPostgres)
    assert primary().hears(eligible=False).down().round().must_start(StartPostgres)


def test_a_primary_s_hung_server_without_a_taker_is_ended_to_be_restarted() -> None:
    hung = primary().hears(eligible=False).hangs(failing(value=True, since_s=NOW_S - 7))
    ended = hung.round()
    assert ended.must_start(StopPostgres).clean is False
    assert ended.last is not None
    assert [note.text for note in ended.last.notes if note.event == "postgresql"] == [
        "PostgreSQL has answered no connection for 6 s: it is killed and started again"]
    assert not hung.hangs(failing(value=True, since_s=NOW_S - 5)).round().started(StopPostgres)


def test_data_that_begin_to_be_rebuilt_are_eligible_for_nothing_whatever_is_still_seen_of_them() -> None:
    host = standby().order(Order.REJOIN, "clone")
    assert host.must_start(Rejoin).clone
    assert host.k.grants.grant is None
    assert not host.message.eligible
    assert not host.message.postmaster
    again = host.told(grant=grant("b"))
    assert again.k.grants.grant is None


def test_data_are_not_rebuilt_while_the_peer_offers_its_role_to_them() -> None:
    offered = standby().hears(invite="hand-over-switchover", invite_term=4)
    assert not offered.order(Order.REJOIN, "clone").started(Rejoin)


def test_data_are_not_rebuilt_while_the_peer_may_be_giving_its_role_up_to_them() -> None:
    """An old message of the peer, from before it offered the role, is no word that it does not (seed 4016876)."""
    asking = standby().knows(rejoin_clone=True).told(invite="hand-over-switchover", invite_term=4)
    assert asking.message.request is not None
    assert asking.message.request.eligible
    assert asking.k.consent.offered == (asking.facts.term, NOW_S)
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


def unasked(host: Host, state: str) -> Host:
    """Its server runs, without standby.signal, and has not been asked yet; this host has no right."""
    return host.processes(control_state=state, standby_signal=False).sees(database=Observation()).knows(confirmed=False)


def test_a_server_that_is_still_starting_is_not_stopped_before_it_says_what_it_is() -> None:
    assert unasked(primary(), "in production").round().must_start(StopPostgres) == StopPostgres(clean=False)
    assert unasked(primary(), "in production, odd").round().must_start(StopPostgres) == StopPostgres(clean=False)
    for state in ("in crash recovery", "starting up", "shut down"):
        assert not unasked(primary(), state).round().started(StopPostgres)


def test_a_server_that_says_that_it_writes_is_stopped_whatever_its_files_say() -> None:
    starting = primary().knows(confirmed=False).processes(control_state="in crash recovery")
    assert starting.round().must_start(StopPostgres) == StopPostgres(clean=False)


@pytest.mark.parametrize("busy", [Rejoin(), StopPostgres(clean=True), Promote()], ids=str)
def test_nothing_is_started_beside_what_changes_the_server(busy: Rejoin | StopPostgres | Promote) -> None:
    down = standby().down()
    assert down.round().started(StartPostgres)
    assert not down.knows(running=(busy,)).round().started(StartPostgres)


def test_nothing_is_started_while_the_role_is_given_up_or_there_is_no_data() -> None:
    giving = primary().down().told(request=role_wish())
    assert giving.k.consent.giving_up is not None
    assert not giving.round(after_s=1).started(StartPostgres)
    assert not standby().down().processes(installed=False).round().started(StartPostgres)


def test_nothing_is_started_read_write_while_a_record_is_written() -> None:
    down = primary().hears(eligible=False).down(clean=True)
    assert down.round().started(StartPostgres)
    assert not down.order(Order.PAUSE).started(StartPostgres)


def test_orphans_of_a_standby_are_killed() -> None:
    assert standby().down().processes(left=1).round().must_start(StopPostgres) == StopPostgres(clean=False)


def test_a_primary_whose_role_lacks_wal_runs_as_a_standby() -> None:
    assert not blocked().round().started(StopPostgres)
    assert blocked().down().round().must_start(StartPostgres) == StartPostgres(standby=True, sync=False)
    assert blocked().down().processes(left=1).round().must_start(StopPostgres) == StopPostgres(clean=False)
    assert not blocked().knows(confirmed=False).down().round().started(StartPostgres)
    assert Vip.PRIMARY not in blocked().facts.held


def test_a_stop_by_somebody_else_is_left_alone_for_a_short_while_and_no_longer() -> None:
    assert NOTICED_S == 0.3
    stopped = standby().down(clean=True)
    assert not stopped.knows(stopped_since_s=NOW_S - 0.25).round().started(StartPostgres)
    assert stopped.knows(stopped_since_s=NOW_S - 0.3125).round().started(StartPostgres)


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


ALONE = primary(Mode.SOLO).hears(streaming=False)


def test_names_set_in_preparation_are_cleared_a_second_after_the_peer_has_ceased_to_stream() -> None:
    gone = ALONE.replica(state="catchup")
    assert not gone.knows(clear_since_s=NOW_S - 0.9).round().started(SetSyncNames)
    assert gone.knows(clear_since_s=NOW_S - 1.0).round().must_start(SetSyncNames) == SetSyncNames(on=False)
    assert not gone.database(sync_names="").round().started(SetSyncNames)


def test_a_standby_is_near_within_the_limit_of_bytes() -> None:
    host = primary(Mode.SOLO).database(sync_names="").configured(lag_bytes_max=8)
    assert host.replica(flush_lsn=Lsn(HERE - 8)).round().must_start(SetSyncNames).on
    assert not host.replica(flush_lsn=Lsn(HERE - 9)).round().started(SetSyncNames)


def test_a_peer_that_is_near_keeps_the_names_from_being_cleared() -> None:
    near = primary(Mode.SOLO).database(sync_names="")
    assert near.knows(clear_since_s=NOW_S - 9).round().k.database.clear_since_s == NOW_S
    assert ALONE.knows(clear_since_s=NOW_S - 9).round().k.database.clear_since_s == NOW_S - 9


def test_names_that_are_set_again_in_a_pair_are_a_log_line_and_those_of_a_first_start_are_not() -> None:
    host = primary().database(sync_names="")
    again = host.round()
    assert again.must_start(SetSyncNames) == SetSyncNames(on=True)
    assert again.last is not None
    assert "sync-names" in {note.event for note in again.last.notes}
    first = host.knows(caught_up="").database(sync_names="", recovered_end=Lsn(HERE + 8)).round()
    assert first.must_start(SetSyncNames)
    assert first.last is not None
    assert "sync-names" not in {note.event for note in first.last.notes}


def test_names_that_were_seen_before_they_were_changed_say_nothing() -> None:
    host = primary().database(sync_names="").knows(ended={"names": NOW_S + 0.1})
    assert not host.round().started(SetSyncNames)
    assert primary().database(sync_names="").knows(ended={"postgres": NOW_S - 1}).round().started(SetSyncNames)
    solo = primary(Mode.SOLO).knows(ended={"names": NOW_S + 0.1})
    assert not solo.round().started(WriteState), "whether the names are set is not known"


# --- addresses ----------------------------------------------------------------------------------------------


def test_an_address_is_raised_after_nobody_answered_for_it() -> None:
    bare = primary().holds()
    asked = bare.round()
    assert asked.must_start(CheckVip) == CheckVip(Vip.PRIMARY)
    assert not asked.started(AddVip)
    assert asked.done(CheckVip(Vip.PRIMARY)).must_start(AddVip) == AddVip(Vip.PRIMARY)
    taken = asked.done(CheckVip(Vip.PRIMARY), text="02:00:00:00:00:99")
    assert not taken.started(AddVip)
    assert "vip-taken" in taken.warnings()
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


def test_a_primary_that_becomes_one_of_a_pair_keeps_its_own_address() -> None:
    told = primary(Mode.SOLO).told(record=record("a", Mode.PAIR, 6))
    assert [action for action in told.actions if isinstance(action, DropVip)] == [DropVip(Vip.STANDBY)]


def test_a_standby_asks_for_no_address_that_is_not_its_own() -> None:
    for host in (standby(), standby(Mode.SOLO), standby().knows(running=(StartPostgres(standby=True, sync=False),))):
        assert not host.round().started(CheckVip)


def winner(**changes: object) -> Host:
    """Has taken the role by fence and is about to be promoted; its addresses are not held yet."""
    host = standby().durable(record=SOLO_B, complete=True, served=True).holds()
    return host.knows(**changes)


def test_addresses_are_asked_for_while_the_server_is_still_being_promoted() -> None:
    checks = {action.vip for action in winner().round().actions if isinstance(action, CheckVip)}
    assert checks == set(Vip)
    promoting = winner(running=(Promote(),), checked=dict.fromkeys(Vip, (NOW_S, ""))).round()
    assert not [action for action in promoting.actions if isinstance(action, AddVip)]


@pytest.mark.parametrize("busy", [Promote(), StartPostgres(standby=False, sync=False)], ids=str)
def test_addresses_are_asked_for_before_a_server_that_comes_has_been_asked(busy: Promote | StartPostgres) -> None:
    host = winner(running=(busy,)).sees(database=Observation())
    assert {action.vip for action in host.round().actions if isinstance(action, CheckVip)} == set(Vip)


def test_in_a_pair_the_standby_address_is_not_the_primary_s_to_ask_for() -> None:
    restarting = primary().down(clean=True).holds().hears(eligible=False).round()
    assert {action.vip for action in restarting.actions if isinstance(action, CheckVip)} == {Vip.PRIMARY}


def test_an_answer_about_an_address_is_good_for_two_seconds() -> None:
    host = primary().holds()
    assert host.knows(checked={Vip.PRIMARY: (NOW_S - 2.0, "")}).round().started(AddVip) == AddVip(Vip.PRIMARY)
    assert host.knows(checked={Vip.PRIMARY: (NOW_S - 2.1, "")}).round().started(CheckVip) == CheckVip(Vip.PRIMARY)
    assert host.round().started(CheckVip) == CheckVip(Vip.PRIMARY)


def test_no_address_is_raised_in_a_pause_or_while_a_higher_record_is_heard() -> None:
    ready = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "")})
    assert ready.round().started(AddVip)
    assert not ready.durable(pause=Pause(1, active=True)).round().started(AddVip)
    assert not ready.knows(heard_record=record("a", Mode.SOLO, 6)).round().started(AddVip)


def test_a_standby_address_that_comes_here_with_the_record_stays() -> None:
    """The peer consents to solo: this primary's readers, on both addresses already, are not cut off meanwhile."""
    host = primary().holds(*Vip)
    assert host.round().started(DropVip) == DropVip(Vip.STANDBY)
    assert not host.knows(heard_record=record("a", Mode.SOLO, 6)).round().started(DropVip)


# --- the archive --------------------------------------------------------------------------------------------


def test_the_peer_s_archive_is_mounted_when_the_peer_is_there_and_dropped_when_it_hangs() -> None:
    assert primary().sees(archive=saw(value=False)).round().must_start(MountArchive)
    assert not primary().sees(archive=saw(value=False)).knows(heard=None).round().started(MountArchive)
    assert primary().sees(archive=failing(value=True)).round().must_start(UnmountArchive)
    assert not primary().configured(archive=False).sees(archive=saw(value=False)).round().started(MountArchive)


@pytest.mark.parametrize("watch", [saw(value=False), failing(), Observation()])
def test_an_archive_that_is_read_over_the_link_is_neither_mounted_nor_dropped(watch: Observation[bool]) -> None:
    host = primary().configured(archive_mounted=False).sees(archive=watch).round()
    assert not host.started(MountArchive)
    assert not host.started(UnmountArchive)


def test_a_mount_is_looked_at_before_it_is_made_again() -> None:
    host = primary().sees(archive=saw(value=False)).round()
    mounted = host.knows(running=(), ended={"archive": NOW_S + 0.1})
    assert not mounted.round().started(MountArchive)


@pytest.mark.parametrize(
    ("archive", "action"),
    [
        (Observation(True, NOW_S - 9, 1, NOW_S, NOW_S, "no"), None),
        (Observation(True, NOW_S - 9, 2, NOW_S, NOW_S, "no"), UnmountArchive()),
        # mounted by this daemon a moment ago, or before it started: neither was ever seen to answer
        (Observation(False, NOW_S - 9, 1, NOW_S, NOW_S, "no"), None),
        (Observation(False, NOW_S - 9, 2, NOW_S, NOW_S, "no"), UnmountArchive()),
        (Observation(None, NEVER, 1, NOW_S, NOW_S, "no"), None),
        (Observation(None, NEVER, 2, NOW_S, NOW_S, "no"), UnmountArchive()),
        (saw(value=False), MountArchive()),
        (saw(value=True), None),
    ],
)
def test_a_mount_that_fails_twice_is_dropped(archive: Observation[bool], action: object) -> None:
    acts = primary().sees(archive=archive).round().actions
    assert [act for act in acts if isinstance(act, MountArchive | UnmountArchive)] == ([action] if action else [])


def test_an_archive_seen_before_it_was_mounted_says_nothing() -> None:
    host = primary().sees(archive=saw(value=False)).knows(ended={"archive": NOW_S + 0.1})
    assert not host.round().started(MountArchive)


def test_a_mount_that_has_not_answered_since_it_was_made_is_dropped_too() -> None:
    """Its last look that succeeded said that nothing was mounted."""
    dead = Observation(False, NOW_S - 9, 2, NOW_S, NOW_S, "no")
    assert primary().sees(archive=dead).knows(ended={"archive": NOW_S}).round().started(UnmountArchive)
    assert not primary().sees(archive=dead).knows(ended={"archive": NOW_S + 0.1}).round().started(UnmountArchive)


def test_what_systemd_has_unmounted_in_a_shutdown_stays_so() -> None:
    leaving = primary().knows(leaving=True)
    assert not leaving.sees(archive=saw(value=False)).round().started(MountArchive)
    dead = Observation(True, NOW_S - 9, 2, NOW_S, NOW_S, "no")
    assert leaving.sees(archive=dead).round().started(UnmountArchive)


# --- rejoin -------------------------------------------------------------------------------------------------


def test_a_copy_that_was_ordered_is_made_although_the_standby_follows() -> None:
    assert standby().knows(rejoin_clone=True).round().must_start(Rejoin) == Rejoin(clone=True)
    assert not standby().knows(rejoin_clone=True).hears(read_write=False).round().started(Rejoin)


@pytest.mark.parametrize("clone", [True, False])
def test_data_that_is_rebuilt_is_copied_only_when_that_was_ordered(clone: bool) -> None:
    returned = standby(Mode.SOLO).down().processes(standby_signal=False).knows(rejoin_clone=clone)
    assert returned.round().must_start(Rejoin) == Rejoin(clone=clone)
    stuck = standby(Mode.SOLO).database(streaming=False).knows(unstreamed_since_s=NOW_S - 15, rejoin_clone=clone)
    assert stuck.round().must_start(Rejoin) == Rejoin(clone=clone)


def test_nothing_is_rebuilt_while_a_record_is_being_written() -> None:
    returned = standby(Mode.SOLO).down().processes(standby_signal=False)
    writing = returned.order(Order.PAUSE).order(Order.RESUME)
    assert writing.k.intent.writing is not None
    assert not writing.round().started(Rejoin)


# --- a server that hangs for long ---------------------------------------------------------------------------


HUNG_LONG = in_vain(NOW_S - 60, 30, NOW_S - 59)
HUNG: dict[str, tuple[Observation[bool], bool]] = {
    "thrice and twice the time": (in_vain(NOW_S - 9, 3, NOW_S - 6.0), True),
    "not twice the time": (in_vain(NOW_S - 9, 3, NOW_S - 5.9), False),
    "only twice": (in_vain(NOW_S - 9, 2, NOW_S - 8.0), False),
}


def blocked() -> Host:
    """Primary by a record that came by hand-over, without the WAL that the role needs."""
    return standby(Mode.SOLO, me="a", term=5).durable(record=record("a", Mode.SOLO, 6, from_term=5))


@pytest.mark.parametrize("case", HUNG)
@pytest.mark.parametrize("host", [ALONE, standby(), blocked()], ids=["primary", "standby", "blocked"])
def test_a_server_that_hangs_for_long_is_killed(host: Host, case: str) -> None:
    connection, killed = HUNG[case]
    stop = host.hangs(connection).round().started(StopPostgres)
    assert stop == (StopPostgres(clean=False) if killed else None)


def test_a_standby_whose_primary_gives_up_for_it_is_not_killed_however_slow_it_is() -> None:
    """In a planned switchover the loser's checkpoint and the winner's replay take the CPU from everything else."""
    slow = standby().hangs(HUNG_LONG)
    assert slow.round().must_start(StopPostgres) == StopPostgres(clean=False)
    assert not slow.hears(invite=True).round().started(StopPostgres)
    term = slow.facts.term
    assert not slow.knows(offered=(term, NOW_S - 1)).round().started(StopPostgres)
    # What was offered before a switchover and back is not what the present primary may take.
    assert slow.knows(offered=(term - 2, NOW_S - 1)).round().started(StopPostgres)


@pytest.mark.parametrize("host", [ALONE, standby(), blocked()], ids=["primary", "standby", "blocked"])
def test_silence_from_before_the_postmaster_s_start_is_not_held_against_it(host: Host) -> None:
    silent = host.hangs(in_vain(NEVER, 30, NOW_S - 300))
    started = silent.knows(postmaster_since_s=NEVER).round()  # a return, a rewind: long without a server, and now one
    assert not started.started(StopPostgres)
    assert not started.facts.hung
    assert "database-hung" not in started.warnings()
    assert started.k.database.postmaster_since_s == NOW_S
    assert not started.at(NOW_S + 2.9).round().facts.hung
    assert started.at(NOW_S + 3).round().facts.hung
    assert not started.at(NOW_S + 5.9).round().started(StopPostgres)
    assert started.at(NOW_S + 6).round().must_start(StopPostgres) == StopPostgres(clean=False)


@pytest.mark.parametrize("host", [ALONE, standby(), blocked()], ids=["primary", "standby", "blocked"])
def test_a_server_whose_disks_hang_is_left_alone(host: Host) -> None:
    stuck = host.sees(disks=failing(value=True), connection=failing(value=True))
    assert not stuck.round().started(StopPostgres)
