"""Taking in results, orders and messages; what time and the outside void."""

from __future__ import annotations

import pytest

from pgvip.core.knowledge import Switchover, Why
from pgvip.core.model import (
    FORCE_STEP,
    NEVER,
    AddressFree,
    Command,
    DropVip,
    Fence,
    Lsn,
    Mode,
    Order,
    Override,
    Pause,
    PowerOn,
    Promote,
    Result,
    StartPostgres,
    StopPostgres,
    Vip,
    WriteState,
)
from tests.unit.core_world import (
    HERE,
    NOW_S,
    SOLO_B,
    Host,
    attempt,
    claiming,
    failing,
    primary,
    record,
    saw,
    solo_wish,
    standby,
)

DIFFERENT = record("b", Mode.SOLO, 4)


# --- messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"pair_id": "other"}, {"system_id": "1"}, {"host": "c"}, {"host": "b"}], ids=str)
def test_a_message_of_another_pair_or_cluster_is_an_alarm_and_nothing_is_acted_on(change: dict[str, str]) -> None:
    host = standby().round()
    told = host.round(messages=[host.next_message(request=solo_wish(), record=record("a", Mode.SOLO, 6), **change)])
    assert told.k.yielding is None
    assert told.k.heard_record is None
    assert told.k.heard == host.k.heard
    assert "foreign-message" in told.concerns()
    assert "foreign-message" not in told.told().concerns()


def test_a_message_that_comes_again_or_out_of_order_changes_nothing() -> None:
    host = standby().told(gateway_ok=True)
    assert host.k.heard is not None
    old = host.k.heard.message
    newer = host.told(gateway_ok=False)
    assert newer.round(messages=[old]).k.heard == newer.k.heard


def test_a_message_of_a_new_process_counts_although_its_number_is_lower() -> None:
    host = standby().told()
    restarted = host.round(messages=[host.next_message(run_id="run-a-2", seq=1)])
    assert restarted.k.heard is not None
    assert restarted.k.heard.message.run_id == "run-a-2"


# --- equal terms that differ --------------------------------------------------------------------------------


def test_equal_terms_that_differ_are_an_alarm_and_confirm_nobody() -> None:
    host = primary().told(record=DIFFERENT)
    assert not host.k.confirmed
    assert host.must_start(StopPostgres).clean is False
    assert "promote --force" in host.concerns()["records-differ"]
    later = host.told(after_s=1.0, record=DIFFERENT, answer=host.message.question)
    assert not later.k.confirmed
    assert later.message.answer == ""


def test_equal_terms_of_the_same_rights_are_no_alarm() -> None:
    assert primary().told(record=record("a", cause="other words", at="1970")).k.confirmed


def test_a_forced_record_ends_the_alarm_on_both_hosts() -> None:
    forced = primary().configured(fencing=False).told(record=DIFFERENT).order(Order.FORCE_PROMOTE)
    new = forced.written().round()
    assert (new.k.alarm, new.k.confirmed) == ("", True)
    assert new.record.term > FORCE_STEP
    other = standby().told(record=record("a", Mode.SOLO, 4)).holds()
    assert other.k.alarm
    told = other.told(record=new.record).written()
    assert told.k.alarm == ""
    assert not told.k.confirmed, "nobody is confirmed by an announcement, nor by an answer from before the alarm"
    assert told.told(record=new.record, answer=told.message.question).k.confirmed


def test_an_answer_from_before_an_alarm_confirms_nothing_after_it() -> None:
    booted = standby().reboots().round()
    confirmed = booted.told(answer=booted.message.question)
    alarmed = confirmed.told(record=record("a", Mode.SOLO, 4))
    assert not alarmed.k.confirmed
    assert not alarmed.told(record=record("a", Mode.SOLO, 6), answer="").written().k.confirmed


# --- orders -------------------------------------------------------------------------------------------------


def test_a_pause_is_written_and_its_number_grows() -> None:
    paused = primary().order(Order.PAUSE, "kernel upgrade")
    assert paused.must_start(WriteState).durable.pause == Pause(
        1, active=True, reason="kernel upgrade", at="2026-01-01T00:00:00+00:00", host="a"
    )
    resumed = paused.written().order(Order.RESUME)
    assert resumed.must_start(WriteState).durable.pause.serial == 2
    assert not resumed.must_start(WriteState).durable.pause.active


def test_a_pause_with_a_higher_number_is_taken_over_from_the_peer() -> None:
    host = primary().told(pause=Pause(3, active=True))
    assert host.must_start(WriteState).durable.pause.serial == 3
    assert not host.written().told(pause=Pause(2, active=False)).started(WriteState)


def test_an_order_that_comes_while_something_is_being_written_is_not_lost() -> None:
    writing = primary(Mode.SOLO).round()
    assert writing.k.writing is not None
    ordered = writing.order(Order.PAUSE, "now")
    assert not ordered.started(WriteState)
    assert ordered.written().must_start(WriteState).durable.pause.active


def test_nothing_automatic_begins_in_a_pause() -> None:
    paused = primary().durable(pause=Pause(1, active=True))
    for host in (paused.silence(), paused.down(), paused.knows(unfollowed_since_s=NOW_S - 60)):
        assert not host.round().actions
    solo = primary(Mode.SOLO).durable(pause=Pause(1, active=True)).database(sync_names="")
    assert not solo.round().actions


def test_a_switchover_is_dropped_when_it_does_not_come_about() -> None:
    host = primary().hears(eligible=False).order(Order.SWITCHOVER)
    assert isinstance(host.k.switchover, Switchover)
    assert host.round(after_s=500.0).k.switchover is None


def test_an_operator_s_word_counts_as_the_result_of_an_open_claim_only() -> None:
    claimed = claiming(standby())
    confirmed = claimed.order(Order.FENCE_CONFIRMED)
    assert confirmed.must_start(WriteState).durable.complete
    assert not confirmed.written().running(PowerOn), "the operator saw it dead: it is theirs to switch on"
    assert not standby().order(Order.FENCE_CONFIRMED).started(WriteState)


def test_hold_is_cleared_by_the_operator_alone() -> None:
    host = standby().durable(hold="both wrote")
    assert host.round().k.durable.hold
    assert host.order(Order.CLEAR_HOLD).written().k.durable.hold == ""


# --- forced promotion ---------------------------------------------------------------------------------------


def test_a_forced_promotion_fences_first() -> None:
    host = standby().order(Order.FORCE_PROMOTE)
    assert host.k.claim is not None
    assert host.k.claim.why is Why.ORDER
    assert not host.started(WriteState)
    failed = host.done(attempt(host), ok=False)
    assert failed.k.claim is None
    assert not failed.k.force
    assert not failed.started(WriteState)
    done = host.holds().done(attempt(host)).must_start(WriteState).durable.record
    assert done is not None
    assert done.cause == "forced by an operator"


@pytest.mark.parametrize(("fencing", "text"), [(True, "without-fence"), (False, ""), (False, "without-fence")])
def test_a_forced_promotion_that_did_not_fence_says_so_to_both_hosts(fencing: bool, text: str) -> None:
    host = standby().configured(fencing=fencing).order(Order.FORCE_PROMOTE, text)
    new = host.must_start(WriteState).durable.record
    assert new is not None
    assert new.cause == "forced by an operator; a was not fenced"


@pytest.mark.parametrize("host", [primary(), standby(), primary(Mode.SOLO, me="b", term=9)], ids=["a", "b", "odd"])
def test_a_forced_term_is_a_large_step_above_everything_heard_and_of_the_own_parity(host: Host) -> None:
    heard = host.knows(heard_record=record(host.peer, Mode.SOLO, 60))
    forced = heard.holds().down().order(Order.FORCE_PROMOTE, "without-fence")
    forced = forced if forced.started(WriteState) else forced.round()
    new = forced.must_start(WriteState).durable
    assert new.record is not None
    assert new.record.term >= 60 + FORCE_STEP
    assert (new.record.term % 2 == 0) is (host.me == "a")
    assert (new.record.primary, new.record.mode, new.complete) == (host.me, Mode.SOLO, True)


def test_a_forced_promotion_works_without_a_record_and_unconfirmed() -> None:
    lost = standby().durable(record=None).reboots().order(Order.FORCE_PROMOTE, "without-fence")
    served = lost.written()
    assert served.k.confirmed
    assert served.must_start(WriteState).durable.served
    assert served.written().running(StartPostgres)


def test_a_forced_promotion_ends_a_give_up_under_way() -> None:
    giving = standby().told(request=solo_wish())
    assert giving.k.yielding is not None
    forced = giving.order(Order.FORCE_PROMOTE)
    assert forced.k.yielding is None
    assert forced.k.claim is not None
    assert not forced.holds().done(DropVip(Vip.STANDBY)).started(WriteState)


def test_a_forced_promotion_does_not_wait_for_a_claim_whose_fence_fails() -> None:
    failing_fence = claiming(standby())
    failing_fence = failing_fence.done(attempt(failing_fence), ok=False)
    assert failing_fence.k.claim is not None
    forced = failing_fence.order(Order.FORCE_PROMOTE, "without-fence")
    assert forced.k.claim is None
    new = forced.must_start(WriteState).durable.record
    assert new is not None
    assert (new.primary, new.term) == ("b", 4 + FORCE_STEP + 1)


def test_a_forced_promotion_fences_by_an_attempt_of_its_own() -> None:
    host = claiming(standby())
    old = attempt(host)
    forced = host.order(Order.FORCE_PROMOTE)
    assert forced.k.claim is not None
    assert (forced.k.claim.why, forced.k.claim.attempt == old.attempt) == (Why.ORDER, False)
    again = forced.done(old)
    assert not again.started(WriteState)
    again = again if again.started(Fence) else again.round()
    assert again.done(attempt(again)).started(WriteState)


# --- what was taken without consent -------------------------------------------------------------------------


def test_a_role_taken_without_consent_after_serving_leaves_hold() -> None:
    host = primary().down().holds().told(record=SOLO_B)
    assert host.must_start(WriteState).durable.hold
    never = primary().durable(served=False, complete=True).down().holds().told(record=SOLO_B)
    assert not never.must_start(WriteState).durable.hold
    fenced = primary().reboots().told(record=SOLO_B)
    assert not fenced.must_start(WriteState).durable.hold, "a real fence ended its memory: nobody else confirmed it"


def test_giving_up_waits_for_a_start_that_is_under_way() -> None:
    starting = primary().down(clean=True).holds().round()
    assert starting.running(StartPostgres)
    told = starting.told(record=SOLO_B)
    assert not told.started(WriteState), "the server may come up read-write in a moment"


def test_giving_up_waits_for_a_promotion_that_is_under_way() -> None:
    promoting = standby().durable(record=SOLO_B, complete=True, served=True).holds().round()
    assert promoting.running(Promote)
    told = promoting.told(record=record("a", Mode.SOLO, 6))
    assert not told.started(WriteState)
    assert told.started(StopPostgres)


def test_without_a_record_a_read_write_server_is_stopped() -> None:
    host = primary().durable(record=None).round()
    assert host.started(StopPostgres)
    assert host.started(DropVip) == DropVip(Vip.PRIMARY)
    assert not standby().durable(record=None).round().started(StopPostgres)


# --- power --------------------------------------------------------------------------------------------------


def test_the_peer_is_switched_on_again_only_when_no_claim_is_open_and_not_in_a_pause() -> None:
    claimed = claiming(primary())
    off = claimed.done(attempt(claimed))
    assert not off.running(PowerOn)
    assert off.durable(pause=Pause(1, active=True)).written().running(PowerOn) is True
    assert off.written().running(PowerOn)
    assert not primary().knows(power_owed=True).durable(pause=Pause(1, active=True)).round().running(PowerOn)


def test_the_peer_is_not_switched_on_into_the_fence_of_a_claim_that_has_ended() -> None:
    ended = claiming(primary()).told(after_s=0.1)
    assert ended.k.claim is None
    old = attempt(ended)
    off = ended.knows(power_owed=True).round()
    assert not off.running(PowerOn)
    assert off.done(old).running(PowerOn)


def test_what_the_peer_said_before_its_power_was_cut_does_not_mean_that_it_is_on() -> None:
    off = primary().knows(peer_off=True)
    assert off.told().k.peer_off, "the same boot: it was on its way when the power went"
    assert not off.told(boot_id="boot-b-2", run_id="run-b-2").k.peer_off


def test_a_peer_fenced_just_as_it_said_its_first_word_is_switched_on_again() -> None:
    """The word came with the fence's result, or after it: this host forgot that it had switched the peer off."""
    claimed = claiming(primary())
    word = claimed.next_message(boot_id="boot-b-2", run_id="run-b-2")
    later = claimed.at(claimed.now_s + 1).knows(round_s=claimed.now_s + 1)
    result = Result(attempt(claimed), ok=True, at_s=later.now_s)
    together = later.round(results=[result], messages=[word])
    after = later.round(results=[result]).round(messages=[word])
    for host in (together, after):
        assert host.k.writing is not None
        alone = host.written()
        assert alone.record.mode is Mode.SOLO
        assert alone.running(PowerOn)


def test_an_operator_s_word_is_not_used_when_the_peer_is_heard() -> None:
    claimed = claiming(primary()).at(NOW_S + 1).knows(round_s=NOW_S + 1)
    command = Command(Order.FENCE_CONFIRMED)
    assert claimed.round(commands=[command]).started(WriteState)
    heard = claimed.round(commands=[command], messages=[claimed.next_message()])
    assert not heard.started(WriteState)
    assert heard.k.claim is None


def test_the_peer_is_switched_on_when_a_fence_that_failed_has_done_its_work_all_the_same() -> None:
    """Else a lease that ends during a slow fence leaves the pair without a primary, and nobody to bring one."""
    failed = claiming(standby(sync=False))
    failed = failed.done(attempt(failed), ok=False)
    ended = failed.knows(grant=None).round(after_s=1)
    assert ended.k.claim is None
    assert ended.last is not None
    assert "fence" in ended.last.kick
    off = ended.sees(fence=saw("off", ended.now_s))
    assert off.round().running(PowerOn)
    assert not off.durable(pause=Pause(1, active=True)).round().running(PowerOn)
    off = off.knows(roused=True)
    assert off.round().running(PowerOn)
    assert not off.knows(doubt_s=NEVER).round().running(PowerOn), "it was not this host's fence"
    assert not ended.sees(fence=saw("off", failed.k.doubt_s - 1)).round().running(PowerOn), "seen before the fence"
    assert not ended.sees(fence=saw("on", ended.now_s)).round().running(PowerOn)
    assert not off.told().running(PowerOn), "the peer is heard"


def test_a_fence_that_failed_is_forgotten_once_the_peer_has_lived_on_for_long() -> None:
    doubt = standby().knows(doubt_s=NOW_S)
    assert doubt.told(after_s=5).k.doubt_s == NOW_S
    assert doubt.told(after_s=61).k.doubt_s == NEVER
    assert doubt.told(after_s=5, boot_id="boot-a-2", run_id="run-a-2").k.doubt_s == NOW_S, "it may come after the boot"


def test_a_late_fence_that_comes_after_the_peer_was_switched_on_is_mended_as_well() -> None:
    """A fence fails, the next one works, the peer is switched on; then the first one is carried out (seed 200082)."""
    first = claiming(standby())
    second = first.done(attempt(first), ok=False).round(after_s=5).round()
    off = second.done(attempt(second)).written().written()
    assert off.running(PowerOn)
    on = off.sees(fence=saw("off", off.now_s)).done(PowerOn())
    assert on.k.doubt_s > NEVER
    assert not on.round().running(PowerOn), "what was seen before the peer was switched on says nothing"
    again = on.round(after_s=20).silence().knows(awake_s=NEVER)
    assert again.sees(fence=saw("off", again.now_s)).round().running(PowerOn)


def test_a_daemon_that_restarts_before_it_has_switched_the_peer_on_does_so() -> None:
    fenced = claiming(standby())
    fenced = fenced.done(attempt(fenced)).written().written()
    restarted = fenced.daemon_restarts()
    later = restarted.silence().at(restarted.now_s + 30)
    assert later.sees(fence=saw("off", later.now_s)).round().running(PowerOn)
    under_way = claiming(standby()).daemon_restarts().knows(grant=None)
    under_way = under_way.silence().at(under_way.now_s + 30)
    seen = under_way.sees(fence=saw("off", under_way.now_s))
    assert seen.round().running(PowerOn), "its result went with the process"


def test_an_unconfirmed_host_switches_on_the_peer_whose_answer_it_needs() -> None:
    """Both hosts fenced each other; one is back, does not remember, and could wait for ever (seed 310325)."""
    for host in (primary(), standby()):
        waits = host.reboots().silence().knows(heard=None)
        waits = waits.at(waits.now_s + 30)
        assert not waits.round().running(PowerOn), "its power was not looked at"
        asks = waits.round().last
        assert asks is not None
        assert "fence" in asks.kick
        off = waits.sees(fence=saw("off", waits.now_s))
        assert off.round().running(PowerOn)
        assert not off.durable(pause=Pause(1, active=True)).round().running(PowerOn)
        assert not waits.sees(fence=saw("on", waits.now_s)).round().running(PowerOn)
        done = off.round().done(PowerOn())
        assert not done.sees(fence=saw("off", done.now_s + 1)).round().running(PowerOn), "somebody wants it off"
    with_solo = standby(Mode.SOLO).reboots().silence().knows(heard=None)
    with_solo = with_solo.at(with_solo.now_s + 30)
    assert with_solo.sees(fence=saw("off", with_solo.now_s)).round().running(PowerOn)


def test_a_solo_primary_switches_on_the_peer_that_it_has_not_met_since_its_own_boot() -> None:
    """It may have fenced it, and not remember (seed 1006853); but whom it has met, somebody else has switched off."""
    booted = primary(Mode.SOLO).reboots().silence().knows(heard=None)
    booted = booted.at(booted.now_s + 30)
    off = booted.sees(fence=saw("off", booted.now_s))
    assert off.round().running(PowerOn)
    assert not off.configured(override=Override.PRIMARY_STANDBY).round().running(PowerOn)
    met = booted.told().silence().at(booted.now_s + 60)
    for host in (met, met.daemon_restarts().silence().at(met.now_s + 60)):
        assert not host.sees(fence=saw("off", host.now_s)).round().running(PowerOn)


@pytest.mark.parametrize("waits", [standby(Mode.SOLO), standby().knows(grant=None)], ids=["solo", "not eligible"])
def test_a_standby_switches_on_the_primary_whose_role_it_may_not_take(waits: Host) -> None:
    """It lost its power, and nothing else could end that outage (found by chaos, and by seed 4004301)."""
    waits = waits.silence().at(NOW_S + 30)
    off = waits.sees(fence=saw("off", waits.now_s))
    assert off.round().running(PowerOn)
    assert not off.durable(pause=Pause(1, active=True)).round().running(PowerOn)
    assert not waits.sees(fence=saw("on", waits.now_s)).round().running(PowerOn)
    assert not off.told().running(PowerOn), "the peer is heard"
    done = off.round().done(PowerOn())
    assert not done.sees(fence=saw("off", done.now_s + 1)).round().running(PowerOn), "somebody wants it off"


# --- the recovered end --------------------------------------------------------------------------------------


def test_no_client_of_a_restarted_sync_primary_until_the_standby_has_the_recovered_end() -> None:
    host = primary().knows(caught_up="").holds().knows(checked={Vip.PRIMARY: (NOW_S, "")})
    behind = host.database(recovered_end=Lsn(HERE + 8)).round()
    assert Vip.PRIMARY not in {getattr(action, "vip", None) for action in behind.actions}
    assert Vip.PRIMARY in {getattr(action, "vip", None) for action in host.round().actions}


def test_a_server_restarted_by_others_loses_its_address_until_the_standby_has_caught_up() -> None:
    restarted = primary().processes(postmaster="101:5").database(postmaster="101:5", recovered_end=Lsn(HERE + 8))
    assert restarted.round().started(DropVip) == DropVip(Vip.PRIMARY)
    assert not primary().daemon_restarts().database(recovered_end=Lsn(HERE + 8)).round().started(DropVip)


def test_an_address_told_free_is_forgotten_with_the_term() -> None:
    host = standby().knows(address=AddressFree(3, "boot-b"))
    assert host.round().k.address is None


def test_a_failed_action_is_tried_again_after_a_growing_wait() -> None:
    host = primary().down(clean=True).round()
    waits = []
    for _ in range(3):
        host = host.done(next(a for a in host.k.running if isinstance(a, StartPostgres)), ok=False, text="no")
        waits.append(host.k.trouble["StartPostgres"].retry_at_s - host.now_s)
        host = host.hears(eligible=False).round(after_s=waits[-1] + 0.01)
        assert host.running(StartPostgres)
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]


def test_an_unasked_gateway_is_no_gateway_and_no_lost_one() -> None:
    blind = primary().sees(gateway=failing(failures=0))
    assert not blind.view.gateway
    assert not blind.view.gateway_lost
