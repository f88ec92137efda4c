"""Taking in results, orders and messages; what time and the outside void."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import DropVip, Fence, PowerOn, Promote, StartPostgres, StopPostgres, WriteState
from pgvip.core.knowledge import Switchover, Why
from pgvip.core.messages import AddressFree, Order
from pgvip.core.values import FORCE_STEP, NEVER, Lsn, Mode, Pause, Vip
from tests.unit.core_world import (
    HERE,
    NOW_S,
    SOLO_B,
    TERM,
    Host,
    attempt,
    claiming,
    failing,
    primary,
    record,
    solo_wish,
    standby,
)

DIFFERENT = record("b", Mode.SOLO, 4)


# --- messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"pair_id": "other"}, {"system_id": "1"}, {"host": "c"}, {"host": "b"}], ids=str)
def test_a_message_of_another_pair_or_cluster_is_an_alarm_and_nothing_is_acted_on(change: dict[str, str]) -> None:
    host = standby().round()
    told = host.round(messages=[host.next_message(request=solo_wish(), record=record("a", Mode.SOLO, 6), **change)])
    assert told.k.consent.giving_up is None
    assert told.k.peer.heard_record is None
    assert told.k.peer.heard == host.k.peer.heard
    assert "foreign-message" in told.warnings()
    assert "foreign-message" not in told.told().warnings()


def test_a_message_that_comes_again_or_out_of_order_changes_nothing() -> None:
    host = standby().told(gateway_ok=True)
    assert host.k.peer.heard is not None
    old = host.k.peer.heard.message
    newer = host.told(gateway_ok=False)
    assert newer.round(messages=[old]).k.peer.heard == newer.k.peer.heard


def test_a_message_of_a_new_process_counts_although_its_number_is_lower() -> None:
    host = standby().told()
    restarted = host.round(messages=[host.next_message(run_id="run-a-2", seq=1)])
    assert restarted.k.peer.heard is not None
    assert restarted.k.peer.heard.message.run_id == "run-a-2"


@pytest.mark.parametrize("bad", [{"seq": 1}, {"pair_id": "another"}], ids=["an old one", "a foreign one"])
def test_a_message_behind_one_that_does_not_count_counts(bad: dict[str, object]) -> None:
    host = standby().told()
    good = host.next_message(gateway_ok=False)
    told = host.round(messages=[host.next_message(**bad), good])
    assert told.k.peer.heard is not None
    assert told.k.peer.heard.message == good


def test_a_message_s_number_counts_once() -> None:
    host = standby().told()
    assert host.k.peer.heard is not None
    twin = replace(host.k.peer.heard.message, gateway_ok=False)
    assert host.round(messages=[twin]).k.peer.heard == host.k.peer.heard


def test_a_lower_record_does_not_hide_a_higher_one_that_was_heard() -> None:
    told = standby().told(record=record("a", Mode.SOLO, 8)).told(record=record("a", Mode.SOLO, 6))
    assert told.k.peer.heard_record == record("a", Mode.SOLO, 8)


def test_since_when_a_gateway_answers_the_peer_is_counted_from_the_first_word_of_it() -> None:
    first = primary().knows(heard=None).told(gateway_ok=True, gateway_age_s=0.5)
    later = first.told(after_s=3.0, gateway_ok=True, gateway_age_s=0.1)
    lost = later.told(after_s=1.0, gateway_ok=False)
    again = lost.told(after_s=1.0, gateway_ok=True, gateway_age_s=0.25)
    other = again.told(after_s=1.0, boot_id="boot-b-2", run_id="run-b-2", gateway_ok=True, gateway_age_s=0.0)
    broken = other.told(after_s=3.1, boot_id="boot-b-2", run_id="run-b-2", gateway_ok=True, gateway_age_s=0.5)
    since = [host.k.peer.heard.gateway_since_s for host in (first, later, again, other, broken) if host.k.peer.heard]
    assert since == [NOW_S - 0.5, NOW_S - 0.5, NOW_S + 4.75, NOW_S + 6.0, pytest.approx(NOW_S + 8.6)]


# --- equal terms that differ --------------------------------------------------------------------------------


def test_equal_terms_that_differ_are_an_alarm_and_confirm_nobody() -> None:
    host = primary().told(record=DIFFERENT)
    assert not host.k.confirmed
    assert host.must_start(StopPostgres).clean is False
    assert "promote --force" in host.warnings()["records-differ"]
    later = host.told(after_s=1.0, record=DIFFERENT, answer=host.message.question)
    assert not later.k.confirmed
    assert later.message.answer == ""


def test_equal_terms_of_the_same_rights_are_no_alarm() -> None:
    assert primary().told(record=record("a", cause="other words", at="1970")).k.confirmed


def test_a_forced_record_ends_the_alarm_on_both_hosts() -> None:
    forced = primary().configured(fencing=False).told(record=DIFFERENT).order(Order.FORCE_PROMOTE)
    new = forced.written().round()
    assert (new.k.peer.alarm, new.k.confirmed) == ("", True)
    assert new.record.term > FORCE_STEP
    other = standby().told(record=record("a", Mode.SOLO, 4)).holds()
    assert other.k.peer.alarm
    told = other.told(record=new.record).written()
    assert told.k.peer.alarm == ""
    assert not told.k.confirmed, "nobody is confirmed by an announcement, nor by an answer from before the alarm"
    assert told.told(record=new.record, answer=told.message.question).k.confirmed


def test_an_answer_from_before_an_alarm_confirms_nothing_after_it() -> None:
    booted = standby().reboots().round()
    confirmed = booted.told(answer=booted.message.question)
    alarmed = confirmed.told(record=record("a", Mode.SOLO, 4))
    assert not alarmed.k.confirmed
    assert not alarmed.told(record=record("a", Mode.SOLO, 6), answer="").written().k.confirmed


def test_a_host_is_confirmed_once() -> None:
    again = standby().knows(answered_term=TERM).round()
    assert again.k.confirmed
    assert again.last is not None
    assert "confirmed" not in {note.event for note in again.last.notes}


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
    assert writing.k.intent.writing is not None
    ordered = writing.order(Order.PAUSE, "now")
    assert not ordered.started(WriteState)
    paused = ordered.written()
    assert paused.must_start(WriteState).durable.pause.active
    assert paused.k.orders.deferred == ()
    assert not paused.written().started(WriteState), "it is obeyed once"


def test_nothing_automatic_begins_in_a_pause() -> None:
    paused = primary().durable(pause=Pause(1, active=True))
    for host in (paused.silence(), paused.down(), paused.knows(unfollowed_since_s=NOW_S - 60)):
        assert not host.round().actions
    solo = primary(Mode.SOLO).durable(pause=Pause(1, active=True)).database(sync_names="")
    assert not solo.round().actions


def test_a_switchover_is_dropped_when_it_does_not_come_about() -> None:
    host = primary().hears(eligible=False).order(Order.SWITCHOVER)
    assert isinstance(host.k.orders.switchover, Switchover)
    assert host.round(after_s=500.0).k.orders.switchover is None


def test_an_ordered_switchover_is_tried_although_one_was_called_off_a_moment_ago() -> None:
    ordered = primary().knows(called_off_until_s=NOW_S + 30).order(Order.SWITCHOVER)
    assert ordered.message.invite == "hand-over-switchover"
    assert ordered.k.consent.called_off_until_s == NEVER


def test_an_operator_s_word_counts_as_the_result_of_an_open_claim_only() -> None:
    claimed = claiming(standby())
    confirmed = claimed.order(Order.FENCE_CONFIRMED)
    assert confirmed.must_start(WriteState).durable.complete
    assert not confirmed.written().running(PowerOn), "the operator saw it dead: it is theirs to switch on"
    assert (confirmed.k.power.peer_off, confirmed.k.power.power_pending) == (False, False)
    assert not standby().order(Order.FENCE_CONFIRMED).started(WriteState)


def test_hold_is_cleared_by_the_operator_alone() -> None:
    host = standby().durable(hold="both wrote")
    assert host.round().k.durable.hold
    assert host.order(Order.CLEAR_HOLD).written().k.durable.hold == ""


# --- forced promotion ---------------------------------------------------------------------------------------


def test_a_forced_promotion_fences_first() -> None:
    host = standby().order(Order.FORCE_PROMOTE)
    assert host.k.fencing.claim is not None
    assert host.k.fencing.claim.why is Why.ORDER
    assert not host.started(WriteState)
    failed = host.done(attempt(host), ok=False)
    assert failed.k.fencing.claim is None
    assert not failed.k.orders.force
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
    assert giving.k.consent.giving_up is not None
    forced = giving.order(Order.FORCE_PROMOTE)
    assert forced.k.consent.giving_up is None
    assert forced.k.fencing.claim is not None
    assert not forced.holds().done(DropVip(Vip.STANDBY)).started(WriteState)


def test_a_forced_promotion_does_not_wait_for_a_claim_whose_fence_fails() -> None:
    failing_fence = claiming(standby())
    failing_fence = failing_fence.done(attempt(failing_fence), ok=False)
    assert failing_fence.k.fencing.claim is not None
    forced = failing_fence.order(Order.FORCE_PROMOTE, "without-fence")
    assert forced.k.fencing.claim is None
    new = forced.must_start(WriteState).durable.record
    assert new is not None
    assert (new.primary, new.term) == ("b", 4 + FORCE_STEP + 1)


def test_a_forced_promotion_fences_by_an_attempt_of_its_own() -> None:
    host = claiming(standby())
    old = attempt(host)
    forced = host.order(Order.FORCE_PROMOTE)
    assert forced.k.fencing.claim is not None
    assert (forced.k.fencing.claim.why, forced.k.fencing.claim.attempt == old.attempt) == (Why.ORDER, False)
    again = forced.done(old)
    assert not again.started(WriteState)
    again = again if again.started(Fence) else again.round()
    assert again.done(attempt(again)).started(WriteState)


def test_force_without_fence_is_said_in_these_words_alone() -> None:
    assert standby().order(Order.FORCE_PROMOTE, "without-fence").k.orders.unfenced
    assert not standby().order(Order.FORCE_PROMOTE, "").k.orders.unfenced
    assert Vip.STANDBY in standby().facts.held


def forced_cause(host: Host) -> str:
    written = host.must_start(WriteState).durable.record
    assert written is not None
    return written.cause


def test_a_force_says_on_both_hosts_whether_the_peer_was_fenced() -> None:
    ordered = standby().order(Order.FORCE_PROMOTE)
    fenced = ordered.done(attempt(ordered))
    assert "was not fenced" not in forced_cause(fenced if fenced.started(WriteState) else fenced.round())
    off = standby().knows(peer_off=True).order(Order.FORCE_PROMOTE)
    assert "was not fenced" not in forced_cause(off)
    seen_dead = ordered.order(Order.FENCE_CONFIRMED)
    assert "was not fenced" not in forced_cause(seen_dead if seen_dead.started(WriteState) else seen_dead.round())
    unfenced = standby().order(Order.FORCE_PROMOTE, "without-fence")
    assert "a was not fenced" in forced_cause(unfenced)
    claimed = claiming(standby()).order(Order.FORCE_PROMOTE, "without-fence")
    assert "a was not fenced" in forced_cause(claimed), "a claim's fence that is not in says nothing"


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


def test_a_role_that_was_taken_is_given_up_the_hard_way() -> None:
    assert primary().told(record=SOLO_B).must_start(StopPostgres) == StopPostgres(clean=False)


def test_what_was_held_back_by_an_operator_s_word_stays_held_back() -> None:
    held = standby().durable(hold="both wrote").holds().told(record=record("a", Mode.SOLO, 6))
    assert held.must_start(WriteState).durable.hold == "both wrote"


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
    assert host.round().k.grants.address is None


def test_a_failed_action_is_tried_again_after_a_growing_wait() -> None:
    host = primary().down(clean=True).round()
    waits = []
    for _ in range(3):
        host = host.done(next(a for a in host.k.work.running if isinstance(a, StartPostgres)), ok=False, text="no")
        waits.append(host.k.work.failures[StartPostgres].retry_at_s - host.now_s)
        host = host.hears(eligible=False).round(after_s=waits[-1] + 0.01)
        assert host.running(StartPostgres)
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]


def test_an_unasked_gateway_is_no_gateway_and_no_lost_one() -> None:
    blind = primary().sees(gateway=failing(failures=0))
    assert not blind.facts.gateway
    assert not blind.facts.gateway_lost


def test_a_server_has_caught_up_once_the_standby_has_its_recovered_end() -> None:
    new = primary().processes(postmaster="101:5").database(postmaster="101:5").knows(caught_up="")
    assert new.round().k.database.caught_up == "101:5"
    assert new.database(recovered_end=Lsn(HERE + 1)).round().k.database.caught_up == ""
    assert new.database(replica=None).round().k.database.caught_up == ""
    alone = primary(Mode.SOLO).processes(postmaster="101:5").database(postmaster="101:5", replica=None)
    assert alone.knows(caught_up="").round().k.database.caught_up == "101:5"
    assert standby().round().k.database.caught_up == ""


# --- how long something has been so -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "since_s"),
    [
        (primary(), NEVER),
        (primary().replica(state="catchup"), NOW_S),
        (primary().hears(streaming=False), NOW_S),
        (primary().database(replica=None), NOW_S),
        (primary().knows(heard=None), NEVER),
        (primary().replica(flush_lsn=Lsn(HERE - 9)).configured(lag_bytes_max=8), NEVER),
        (primary(sync=False).replica(flush_lsn=Lsn(HERE - 9)).configured(lag_bytes_max=8), NOW_S),
        (primary(sync=False).replica(flush_lsn=Lsn(HERE - 8)).configured(lag_bytes_max=8), NEVER),
        (primary(Mode.SOLO).database(replica=None), NEVER),
        (standby(), NEVER),
        (primary().down(), NEVER),
    ],
)
def test_since_when_a_pair_is_not_followed(host: Host, since_s: float) -> None:
    assert host.round().k.database.unfollowed_since_s == since_s
    if since_s == NOW_S:
        assert host.knows(unfollowed_since_s=NOW_S - 1).round().k.database.unfollowed_since_s == NOW_S - 1


@pytest.mark.parametrize(
    ("host", "since_s"),
    [
        (standby(), NEVER),
        (standby().database(streaming=False), NOW_S),
        (primary(), NEVER),
        (standby().down(), NEVER),
    ],
)
def test_since_when_a_standby_does_not_stream(host: Host, since_s: float) -> None:
    assert host.round().k.database.unstreamed_since_s == since_s


@pytest.mark.parametrize(
    ("host", "since_s"),
    [
        (primary(), NEVER),
        (standby(), NEVER),
        (primary().durable(served=False), NOW_S),
        (primary().durable(served=False, complete=True), NEVER),
        (primary().durable(served=False).knows(confirmed=False), NEVER),
    ],
)
def test_since_when_a_role_cannot_be_served(host: Host, since_s: float) -> None:
    assert host.round().k.database.blocked_since_s == since_s
