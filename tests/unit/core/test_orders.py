"""What operators order: a fence of the peer by the ordinary right, its power, and a pause that ends by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import Fence, PowerOn, Rejoin, Result, SetSyncNames, StartPostgres, StopPostgres, WriteState
from pgvip.core.decide import decide
from pgvip.core.knowledge import Failures, FenceOrder, Switchover, Why
from pgvip.core.messages import Command, Order, Want
from pgvip.core.settings import Inputs
from pgvip.core.values import NEVER, Mode, Pause, Vip
from tests.unit.core_world import NOW_S, Host, attempt, failing, primary, record, role_wish, standby

PAUSED = Pause(1, active=True)


def notes(host: Host) -> set[str]:
    assert host.last is not None
    return {note.event for note in host.last.notes}


# --- failover -----------------------------------------------------------------------------------------------


def failing_over(host: Host | None = None) -> Host:
    """A standby whose fence of a primary that is heard is under way, as ordered."""
    ordered = (host or standby()).order(Order.FAILOVER)
    assert not ordered.started(Fence)
    return ordered.told(after_s=ordered.s.fence_delay_s)


def test_an_ordered_failover_fences_first_and_takes_the_role_by_its_result() -> None:
    host = failing_over()
    assert host.k.fencing.claim is not None
    assert (host.k.fencing.claim.change, host.k.fencing.claim.why, host.k.fencing.claim.takeover) == (
        "take-over-by-fence-ordered", Why.OPERATOR, True,
    )  # fmt: skip
    assert host.message.claiming
    taken = host.told().done(attempt(host))
    durable = taken.must_start(WriteState).durable
    assert durable.record is not None
    assert durable.record == record("b", Mode.SOLO, 5, cause="take-over-by-fence-ordered", at=durable.record.at)
    assert durable.complete
    done = taken.written()
    assert done.k.orders.fence_order is None
    assert not done.k.durable.kept_off
    assert done.written().running(PowerOn)


def test_a_claim_by_order_is_not_ended_by_a_peer_that_is_heard_and_consents_to_nothing() -> None:
    host = failing_over().told(request=None)
    assert host.k.fencing.claim is not None
    assert host.told(invite="hand-over-switchover", invite_term=4).message.request is None


@pytest.mark.parametrize(
    "host",
    [
        standby().knows(grant=None),
        standby().knows(confirmed=False),
        standby().durable(pause=PAUSED),
        standby().durable(hold="x"),
        standby(Mode.SOLO),
        standby().configured(fencing=False),
    ],
    ids=["not eligible", "not confirmed", "paused", "hold", "solo", "no fencing"],
)
@pytest.mark.parametrize("order", [Order.FAILOVER, Order.FENCE_OFF])
def test_an_order_gives_no_right(host: Host, order: Order) -> None:
    later = host.order(order)
    later = later.written() if later.k.intent.writing else later
    for _ in range(3):
        later = later.told(after_s=1.0)
        assert not later.running(Fence)
        assert later.k.fencing.claim is None


def test_the_right_is_looked_at_again_when_the_result_comes() -> None:
    host = failing_over().knows(grant=None)
    lost = host.done(attempt(host))
    assert lost.k.fencing.claim is None
    assert lost.k.orders.fence_order is None
    assert not lost.started(WriteState)


def test_a_fence_that_fails_ends_the_order_and_nothing_is_tried_again() -> None:
    host = failing_over()
    failed = host.done(attempt(host), ok=False, text="no answer")
    assert failed.k.fencing.claim is None
    assert failed.k.orders.fence_order is None
    assert "fence-order-failed" in notes(failed)
    later = failed.told(after_s=failed.s.fence_retry_s + 1)
    assert not later.running(Fence)


def test_an_order_that_cannot_begin_is_dropped() -> None:
    host = standby().knows(grant=None).order(Order.FAILOVER)
    limit_s = host.s.consent_s + host.s.fence_delay_s
    assert host.k.orders.fence_order == FenceOrder(NOW_S + limit_s, off=False)
    early = host.told(after_s=limit_s - 0.1)
    assert early.k.orders.fence_order is not None
    late = early.told(after_s=0.2)
    assert late.k.orders.fence_order is None
    assert "fence-order-dropped" in notes(late)
    ending = standby().knows(grant=None, fence_order=FenceOrder(NOW_S, off=False)).round()
    assert ending.k.orders.fence_order is None, "at the very time"


def test_an_operators_word_does_not_end_the_peer_that_is_heard() -> None:
    host = failing_over()
    said = host.order(Order.FENCE_CONFIRMED).told()
    assert said.k.fencing.claim is None
    assert not said.running(WriteState)


def test_an_operators_word_counts_for_a_peer_that_fell_silent_before() -> None:
    quiet = standby().silence(for_s=2.4)
    host = quiet.order(Order.FAILOVER).round(after_s=quiet.s.fence_delay_s)
    assert host.k.fencing.claim is not None
    assert host.k.fencing.claim.why is Why.OPERATOR
    assert host.order(Order.FENCE_CONFIRMED).k.fencing.claim is None
    assert host.round(after_s=0.2).order(Order.FENCE_CONFIRMED).started(WriteState)


# --- off, and it stays off -------------------------------------------------------------------------------------


def ordered_off(host: Host) -> Host:
    """That the peer is to stay off is written before anything is done about it."""
    ordered = host.order(Order.FENCE_OFF)
    assert ordered.must_start(WriteState).durable.kept_off
    assert not ordered.running(Fence)
    return ordered.written()


def without_consent(host: Host) -> Host:
    """The standby did not consent in the time that it has for it."""
    return host if host.running(Fence) else host.told(after_s=host.s.consent_s / 2 + 0.1)


def test_a_healthy_standby_consents_before_it_is_powered_off() -> None:
    """Else commits would wait for it while it loses its power, and until that is proven."""
    host = ordered_off(primary()).told()
    assert not host.running(Fence)
    assert host.message.request is not None
    assert host.message.request.want is Want.SOLO
    alone = record("a", Mode.SOLO, 6)
    adopted = host.told(record=alone).written().told(record=alone)
    assert (adopted.record.mode, adopted.record.primary) == (Mode.SOLO, "a")
    assert adopted.k.orders.fence_order is not None
    assert adopted.running(SetSyncNames)
    assert not adopted.running(Fence)
    assert not adopted.running(WriteState), "not a pair again"
    cleared = adopted.done(SetSyncNames(on=False)).database(sync_names="").told(record=alone)
    assert cleared.running(Fence)
    assert cleared.k.orders.fence_order is None
    assert not cleared.told(record=alone).running(WriteState)
    assert cleared.done(attempt(cleared)).k.power.peer_off


def test_a_standby_that_does_not_consent_is_powered_off_by_a_claim_and_stays_off() -> None:
    host = without_consent(ordered_off(primary()))
    assert host.k.fencing.claim is not None
    assert (host.k.fencing.claim.change, host.k.fencing.claim.why) == ("solo-by-fence-ordered", Why.OPERATOR)
    done = host.done(attempt(host)).written()
    assert done.record.mode is Mode.SOLO
    assert done.k.durable.kept_off
    for _ in range(3):
        done = done.round(after_s=30.0)
        assert not done.running(PowerOn)
    assert "kept-off" in done.warnings()


def test_a_failover_by_fence_off_keeps_the_old_primary_off() -> None:
    host = ordered_off(standby()).told(after_s=0.5)
    host = host if host.running(Fence) else host.told(after_s=0.5)
    taken = host.done(attempt(host))
    assert taken.must_start(WriteState).durable.kept_off
    assert not taken.written().round(after_s=5.0).running(PowerOn)


def test_a_lone_primary_powers_the_other_host_off_without_a_claim() -> None:
    host = ordered_off(primary(Mode.SOLO).database(sync_names="").hears(database_ok=False))
    host = host if host.running(Fence) else host.told()
    assert host.k.fencing.claim is None
    assert host.k.orders.fence_order is None
    assert not host.told(database_ok=False).started(WriteState)
    off = host.done(attempt(host))
    assert host.k.power.fence_s == host.now_s
    assert off.k.power.peer_off
    assert off.record == primary(Mode.SOLO).record
    assert not off.round(after_s=30.0).running(PowerOn)


def test_a_lone_primary_without_the_write_right_powers_nobody_off() -> None:
    for host in (primary(Mode.SOLO).knows(confirmed=False), primary(Mode.SOLO).configured(fencing=False)):
        ordered = host.hears(database_ok=False).order(Order.FENCE_OFF)
        assert not ordered.written().told().running(Fence)


def test_a_primary_of_a_pair_powers_nobody_off_without_the_solo_right() -> None:
    host = ordered_off(primary().sees(gateway=failing())).told()
    assert host.k.orders.fence_order is not None
    assert not host.running(Fence)


def test_a_lone_primary_powers_nobody_off_without_an_order_for_it() -> None:
    solo = primary(Mode.SOLO).database(sync_names="").hears(database_ok=False)
    assert not solo.durable(kept_off=True).knows(peer_off=True, heard=None).round().running(Fence)
    full = solo.knows(failures={WriteState: Failures(3, NOW_S + 5, "disk full")})
    assert not full.order(Order.FENCE_OFF).running(Fence), "that it is to stay off is not written"


@pytest.mark.parametrize("mode", Mode)
def test_nobody_is_powered_off_before_it_is_written_that_they_stay_off(mode: Mode) -> None:
    full = primary(mode).hears(database_ok=mode is Mode.PAIR)
    full = full.knows(failures={WriteState: Failures(3, NOW_S + 5, "disk full")})
    host = full.order(Order.FENCE_OFF).told()
    assert not host.running(Fence)
    assert host.told(after_s=5.0).must_start(WriteState).durable.kept_off


def test_a_peer_that_is_being_switched_on_is_not_switched_off_at_the_same_time() -> None:
    host = primary(Mode.SOLO).database(sync_names="").hears(database_ok=False).durable(kept_off=True)
    host = host.knows(running=(PowerOn(),))
    host = host.order(Order.FENCE_OFF)
    assert not host.running(Fence)
    assert host.done(PowerOn()).running(Fence)


def test_a_peer_is_not_switched_on_while_its_fence_is_ordered() -> None:
    pending = standby().knows(grant=None, power_pending=True)
    assert pending.round().running(PowerOn)
    assert not pending.order(Order.FAILOVER).running(PowerOn)


def test_the_newest_order_counts() -> None:
    waiting = standby().knows(grant=None).order(Order.FENCE_OFF).written()
    assert waiting.k.orders.fence_order is not None
    on = waiting.order(Order.POWER_ON)
    assert on.k.orders.fence_order is None
    for order in (Order.FENCE_OFF, Order.FAILOVER):
        again = waiting.knows(power_order_until_s=NOW_S + 9).order(order)
        assert again.k.orders.power_order_until_s == NEVER
    kept = standby().durable(kept_off=True).knows(peer_off=True).silence().order(Order.FAILOVER)
    assert not kept.must_start(WriteState).durable.kept_off


def test_an_order_whose_fence_takes_long_is_not_dropped_meanwhile() -> None:
    host = failing_over()
    late = host.told(after_s=host.s.consent_s + 5)
    assert "fence-order-dropped" not in notes(late)
    assert late.done(attempt(late)).must_start(WriteState).durable.record != late.record


def test_a_peer_that_is_heard_again_is_kept_off_no_more() -> None:
    host = primary(Mode.SOLO).durable(kept_off=True).knows(peer_off=True, heard=None)
    assert not host.round().started(WriteState)
    back = host.told(boot_id="boot-b-2", database_ok=False)
    assert not back.must_start(WriteState).durable.kept_off


def test_a_last_word_that_the_fence_outran_does_not_end_it() -> None:
    host = primary(Mode.SOLO).durable(kept_off=True).knows(peer_off=True)
    assert not host.told(database_ok=False).started(WriteState)


def test_it_is_remembered_over_a_reboot() -> None:
    host = primary(Mode.SOLO).durable(kept_off=True).reboots()
    assert host.k.durable.kept_off
    later = host.round(after_s=5.0)
    assert not later.running(PowerOn)


@pytest.mark.parametrize("mode", Mode)
def test_a_fence_that_failed_leaves_the_peer_as_it_was(mode: Mode) -> None:
    host = without_consent(ordered_off(primary(mode).hears(database_ok=mode is Mode.PAIR)))
    failed = host.done(attempt(host), ok=False, text="no answer").told()
    assert not (failed.k.intent.writing or failed.k.durable).kept_off


def test_an_order_to_power_off_waits_for_what_is_being_written_and_for_a_claim() -> None:
    solo = primary(Mode.SOLO).database(sync_names="").hears(database_ok=False).durable(kept_off=True)
    solo = solo.knows(fence_order=FenceOrder(NOW_S + 60, off=True))
    assert solo.round().started(Fence)
    writing = replace(solo.k.durable, complete=True)
    assert not solo.knows(writing=writing, running=(WriteState(writing),)).round().started(Fence)


# --- on ---------------------------------------------------------------------------------------------------------


def test_an_operator_switches_the_peer_on_also_in_a_pause() -> None:
    host = primary(Mode.SOLO).durable(kept_off=True, pause=PAUSED).knows(peer_off=True, power_pending=True, heard=None)
    ordered = host.order(Order.POWER_ON)
    assert not ordered.must_start(WriteState).durable.kept_off
    on = ordered.written()
    on = on if on.running(PowerOn) else on.round()
    assert on.running(PowerOn)
    done = on.done(PowerOn())
    assert not done.k.power.peer_off
    assert not done.round(after_s=5.0).running(PowerOn)


def test_a_peer_is_not_switched_on_while_it_is_being_fenced() -> None:
    host = failing_over()
    ordered = host.order(Order.POWER_ON)
    assert not ordered.running(PowerOn)
    late = ordered.told(after_s=ordered.s.consent_s)
    assert not late.running(PowerOn)
    assert "power-order-dropped" in notes(late)
    assert late.k.orders.power_order_until_s == NEVER


# --- a pause that ends --------------------------------------------------------------------------------------------

END = "2026-01-01T02:00:00.000+00:00"


def at_wall(host: Host, wall: str) -> Host:
    decision = decide(host.k, Inputs(host.seen, wall=wall), host.s, host.now_s)
    return replace(host, k=decision.knowledge, last=decision)


def test_an_order_to_pause_says_until_when_and_by_whom() -> None:
    host = primary().round(commands=[Command(Order.PAUSE, "disks", END, "root")])
    pause = host.must_start(WriteState).durable.pause
    assert (pause.until, pause.by, pause.host, pause.reason) == (END, "root", "a", "disks")


@pytest.mark.parametrize(
    ("wall", "ends"),
    [("2026-01-01T01:59:59.999+00:00", False), (END, True), ("2026-01-02T00:00:00.000+00:00", True)],
)
def test_a_pause_ends_by_itself(wall: str, ends: bool) -> None:
    host = at_wall(primary().durable(pause=Pause(3, active=True, until=END, host="a")), wall)
    assert (host.started(WriteState) is not None) is ends
    if ends:
        pause = host.must_start(WriteState).durable.pause
        assert (pause.serial, pause.active, pause.until) == (4, False, "")
        assert "pause-ended" in notes(host)


def test_a_pause_without_an_end_never_ends_by_itself() -> None:
    assert not at_wall(primary().durable(pause=replace(PAUSED, host="a")), "9999").started(WriteState)
    resumed = primary().durable(pause=Pause(3, active=False, until=END, host="a"))
    assert not at_wall(resumed, "9999").started(WriteState)


def test_one_clock_decides_while_both_are_heard() -> None:
    theirs = primary().durable(pause=Pause(3, active=True, until=END, host="b"))
    assert not at_wall(theirs, "9999").started(WriteState)
    assert at_wall(theirs.silence(), "9999").started(WriteState)


def test_a_pause_keeps_the_standby_address_while_its_server_is_restarted() -> None:
    down = standby().down(clean=True)
    assert down.round().running(StartPostgres)
    assert any(getattr(action, "vip", None) is Vip.STANDBY for action in down.round().actions)
    assert not down.durable(pause=PAUSED).round().actions


def test_a_pause_that_ends_by_itself_says_who_ended_it_and_when() -> None:
    paused = primary().durable(pause=Pause(3, active=True, until="2025-12-31T23:00:00+00:00", host="a"))
    ended = paused.round()
    assert ended.k.intent.writing is not None
    pause = Pause(4, active=False, at="2026-01-01T00:00:00+00:00", by="its end", host="a")
    assert ended.k.intent.writing.pause == pause


# --- a switchover ---------------------------------------------------------------------------------------------------


def giving_up(*, sync: bool) -> Host:
    """A primary that gives its role up by an order and stops cleanly."""
    host = primary(sync=sync).order(Order.SWITCHOVER)
    host = host.told(request=role_wish())
    assert host.must_start(StopPostgres).clean
    return host


@pytest.mark.parametrize("sync", [True, False])
def test_a_switchover_whose_stop_was_not_clean_loses_nothing(sync: bool) -> None:
    host = giving_up(sync=sync)
    late = host.told(after_s=host.s.stop_s)
    killed = late.done(StopPostgres(clean=True, handover=True), ok=False, text="timed out").told(after_s=0.4)
    assert killed.running(StopPostgres)
    assert not killed.message.cannot
    after = killed.down().round(results=[Result(StopPostgres(clean=False), ok=True, at_s=killed.now_s)])
    after = after.holds().at(after.now_s + 0.1).down().told()
    if sync:
        written = after.must_start(WriteState).durable.record
        assert written is not None
        assert written.primary == "b"
    else:
        assert after.k.consent.giving_up is None
        assert "called-off" in notes(after)
        assert after.started(StartPostgres) or after.round().running(StartPostgres)


@pytest.mark.parametrize("host", [primary(), standby()], ids=["primary", "standby"])
def test_a_switchover_is_not_begun_in_a_pause(host: Host) -> None:
    ordered = host.durable(pause=PAUSED).order(Order.SWITCHOVER)
    assert not ordered.message.invite
    assert ordered.message.request is None


def test_a_request_by_order_is_not_granted_again_after_it_was_called_off() -> None:
    asked = role_wish(reason="take-over-by-order")
    assert primary().told(request=asked).k.consent.giving_up is not None
    host = primary().knows(called_off_until_s=NOW_S + 30)
    assert host.told(request=asked).k.consent.giving_up is None
    assert host.told(after_s=30.0, request=asked).k.consent.giving_up is not None


def test_nothing_of_this_touches_a_rejoin() -> None:
    assert not standby().order(Order.FAILOVER).running(Rejoin)


def test_a_switchover_has_the_time_of_a_stop_and_of_three_consents() -> None:
    host = primary().order(Order.SWITCHOVER)
    assert host.k.orders.switchover == Switchover(NOW_S, NOW_S + 3 * host.s.consent_s + host.s.stop_s)
    assert host.round(after_s=89.9).k.orders.switchover is not None
    assert host.round(after_s=90.0).k.orders.switchover is None


def test_a_switchover_that_was_cancelled_is_not_offered() -> None:
    host = primary().hears(eligible=False).order(Order.SWITCHOVER).order(Order.CANCEL_SWITCHOVER)
    assert host.k.orders.switchover is None
    assert host.hears(eligible=True).round().message.invite == ""


# --- a rejoin -----------------------------------------------------------------------------------------------


def test_an_order_to_copy_anew_copies_once() -> None:
    host = standby().order(Order.REJOIN, "clone")
    rejoin = host.must_start(Rejoin)
    assert rejoin.clone
    after = host.done(rejoin)
    assert not after.k.orders.rejoin_clone
    assert not after.started(Rejoin)


def test_an_order_to_rejoin_without_a_copy_leaves_the_choice_to_the_rejoin() -> None:
    behind = standby().database(streaming=False)
    assert not behind.round().started(Rejoin)
    assert behind.order(Order.REJOIN, "").must_start(Rejoin) == Rejoin(clone=False)


def test_a_rejoin_that_failed_is_ordered_still() -> None:
    host = standby().order(Order.REJOIN, "clone")
    assert host.done(host.must_start(Rejoin), ok=False).k.orders.rejoin_clone
