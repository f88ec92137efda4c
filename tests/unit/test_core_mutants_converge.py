"""What is brought about, in the cases beside the plain ones: servers, names, grants, addresses, the archive, power."""

from __future__ import annotations

import pytest

from pgvip.core.model import (
    NEVER,
    AddVip,
    CheckVip,
    ConfirmGrant,
    DropVip,
    Grant,
    Lsn,
    Mode,
    MountArchive,
    Observation,
    Order,
    Override,
    Pause,
    PowerOn,
    Promote,
    Rejoin,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    UnmountArchive,
    Vip,
    WriteState,
)
from tests.unit.core_world import (
    HERE,
    NOW_S,
    POSTMASTER,
    SOLO_B,
    Host,
    attempt,
    claiming,
    failing,
    primary,
    record,
    role_wish,
    saw,
    solo_wish,
    standby,
)

ALONE = primary(Mode.SOLO).hears(streaming=False)


# --- a server without the right to write -------------------------------------------------------------------


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
    assert giving.k.yielding is not None
    assert not giving.round(after_s=1).started(StartPostgres)
    assert not standby().down().processes(installed=False).round().started(StartPostgres)


def test_nothing_is_started_read_write_while_a_record_is_written() -> None:
    down = primary().hears(eligible=False).down(clean=True)
    assert down.round().started(StartPostgres)
    assert not down.order(Order.PAUSE).started(StartPostgres)


def test_a_standby_asks_for_no_address_that_is_not_its_own() -> None:
    for host in (standby(), standby(Mode.SOLO), standby().knows(running=(StartPostgres(standby=True, sync=False),))):
        assert not host.round().started(CheckVip)


def test_orphans_of_a_standby_are_killed() -> None:
    assert standby().down().processes(left=1).round().must_start(StopPostgres) == StopPostgres(clean=False)


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
    assert writing.k.writing is not None
    assert not writing.round().started(Rejoin)


# --- the synchronous names ----------------------------------------------------------------------------------


def test_names_set_in_preparation_are_cleared_a_second_after_the_peer_has_ceased_to_stream() -> None:
    gone = ALONE.replica(state="catchup")
    assert not gone.knows(clear_since_s=NOW_S - 0.9).round().started(SetSyncNames)
    assert gone.knows(clear_since_s=NOW_S - 1.0).round().must_start(SetSyncNames) == SetSyncNames(on=False)
    assert not gone.database(sync_names="").round().started(SetSyncNames)


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


# --- grants -------------------------------------------------------------------------------------------------


def granted(sync: bool, **given: float) -> ConfirmGrant | None:
    host = primary(sync=sync).knows(given=None)
    if given:
        old = Grant(4, "boot-b", POSTMASTER["b"], NOW_S - 9, None if sync else NOW_S + 51)
        host = host.knows(given=old, **given)
    return host.hears(sent_s=NOW_S - 0.1).round().started(ConfirmGrant)


def test_in_sync_a_grant_has_no_end_and_is_made_once() -> None:
    key = Grant(4, "boot-b", POSTMASTER["b"], NOW_S - 0.1, None)
    assert granted(sync=True) == ConfirmGrant(key, sync=True)
    assert granted(sync=True, given_at_s=NOW_S - 60) is None


def test_in_async_a_lease_counts_from_the_peer_s_own_clock_and_is_renewed_in_time() -> None:
    key = Grant(4, "boot-b", POSTMASTER["b"], NOW_S - 0.1, NOW_S - 0.1 + 60.0)
    assert granted(sync=False) == ConfirmGrant(key, sync=False)
    assert granted(sync=False, given_at_s=NOW_S - 4.9) is None
    assert granted(sync=False, given_at_s=NOW_S - 5.0) == ConfirmGrant(key, sync=False)


def test_a_short_lease_is_renewed_ten_times_before_it_ends() -> None:
    host = primary(sync=False).configured(lag_s_max=20.0)
    old = Grant(4, "boot-b", POSTMASTER["b"], NOW_S, NOW_S + 20.0)
    assert not host.knows(given=old, given_at_s=NOW_S - 1.9).round().started(ConfirmGrant)
    assert host.knows(given=old, given_at_s=NOW_S - 2.0).round().started(ConfirmGrant)


@pytest.mark.parametrize("word", [{"postmaster": ""}, {"in_recovery": False}], ids=str)
def test_nothing_is_granted_to_a_peer_that_runs_no_standby(word: dict[str, object]) -> None:
    assert primary().knows(given=None).round().started(ConfirmGrant)
    assert not primary().knows(given=None).hears(**word).round().started(ConfirmGrant)


def test_a_primary_that_is_alone_by_choice_grants_nothing() -> None:
    chosen = primary().knows(given=None).configured(override=Override.PRIMARY_STANDBY)
    assert not chosen.round().started(ConfirmGrant)


# --- addresses ----------------------------------------------------------------------------------------------


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


# --- giving up ----------------------------------------------------------------------------------------------


def test_a_server_that_was_not_looked_at_lately_is_stopped_before_its_role_is_adopted_away() -> None:
    """Not at once: after a start, or an action on it, the look comes first. A look that never comes is no excuse."""
    blind = primary().holds().sees(processes=Observation()).knows(heard_record=SOLO_B)

    def stops(host: Host) -> bool:
        assert not host.round().started(WriteState)
        return host.round().started(StopPostgres) == StopPostgres(clean=False)

    assert stops(blind)
    assert not stops(blind.knows(ended={"postgres": NOW_S - 2.9}))
    assert stops(blind.knows(ended={"postgres": NOW_S - 3.0}))
    assert stops(blind.knows(ended={"names": NOW_S}))
    assert not stops(blind.daemon_restarts().knows(heard_record=SOLO_B))


def test_a_stop_that_fails_is_not_asked_to_be_clean_again() -> None:
    giving = primary().told(request=role_wish(reason="take-over-by-order"))
    stop = giving.must_start(StopPostgres)
    assert stop.clean
    failed = giving.done(stop, ok=False, text="a backend does not end")
    assert failed.k.yielding is not None
    assert not failed.k.yielding.clean
    assert failed.round(after_s=0.5).must_start(StopPostgres) == StopPostgres(clean=False)


def test_only_a_standby_of_a_pair_consents_to_solo() -> None:
    assert standby().told(request=solo_wish()).k.yielding is not None
    for host in (primary(), standby(Mode.SOLO), primary(Mode.SOLO).hears(streaming=False)):
        assert host.told(request=solo_wish(boot_id=f"boot-{host.peer}")).k.yielding is None


def test_consent_to_solo_ends_the_right_to_take_over_at_once() -> None:
    assert standby().told(request=solo_wish()).k.grant is None
    assert primary().knows(grant=None).told(request=role_wish(reason="take-over-by-order")).k.grant is None


def test_a_claim_ends_when_a_higher_record_is_heard() -> None:
    claimed = claiming(standby()).knows(heard_record=record("a", Mode.SOLO, 6)).round()
    assert claimed.k.claim is None
    assert not claimed.done(attempt(claimed)).started(WriteState)


# --- power --------------------------------------------------------------------------------------------------


def waits() -> Host:
    """Booted, unconfirmed, its peer silent and seen off."""
    host = standby().reboots().knows(heard=None).at(NOW_S + 60)
    return host.sees(fence=saw("off", NOW_S + 60), peer_own=failing(since_s=NOW_S)).knows(round_s=NOW_S + 60)


def test_a_peer_that_is_off_and_needed_is_switched_on_once() -> None:
    host = waits().round()
    assert host.must_start(PowerOn)
    assert not host.done(PowerOn()).running(PowerOn)


def test_a_peer_that_is_off_is_left_off_where_nobody_waits_for_it() -> None:
    for host in (
        waits().sees(fence=saw("on", NOW_S + 60)),
        waits().sees(fence=saw("off", NOW_S - 1)),
        waits().durable(record=record("b", Mode.SOLO, 5)).knows(met=True),
    ):
        assert not host.round().started(PowerOn)


def test_a_primary_that_serves_does_not_need_its_standby_s_power() -> None:
    """Whoever switched it off may want it so; what this host fenced itself is another rule's."""
    serving = primary().configured(fencing=False).silence()
    assert not serving.sees(fence=saw("off", NOW_S)).round().started(PowerOn)


def test_what_the_fence_device_said_before_the_last_action_on_the_power_says_nothing() -> None:
    assert waits().round().started(PowerOn)
    assert not waits().knows(ended={"power": NOW_S + 60.1}).round().started(PowerOn)


def test_the_fence_device_is_asked_now_and_then_whether_a_needed_peer_is_off() -> None:
    def asked(fence: Observation[str]) -> bool:
        last = waits().sees(fence=fence).round().last
        assert last is not None
        return "fence" in last.kick

    assert asked(Observation())
    assert asked(saw("on", NOW_S + 54.9))
    assert not asked(saw("on", NOW_S + 55.0))
    assert not asked(Observation("on", NEVER, 1, NOW_S + 55.1, NOW_S + 50, "no"))
