"""Claims with a witness: when they are made, what they wait for, what ends them; its count; whether times fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core import lease
from pgvip.core.actions import Claimed, ClaimTerm, Fence, KillPostgres, StartPostgres, WriteState
from pgvip.core.changes import ROWS
from pgvip.core.decide import boot_facts
from pgvip.core.knowledge import FenceOrder, Why
from pgvip.core.messages import Order, Want
from pgvip.core.observations import WitnessStatus
from pgvip.core.rights import write_right
from pgvip.core.settings import misfit
from pgvip.core.values import NEVER, Durable, Lsn, Mode, Pause, Record, Serial
from tests.unit.core_world import (
    HERE,
    NOW_S,
    TERM,
    WITNESS_ID,
    Host,
    failing,
    primary,
    saw,
    settings,
    standby,
    witnessed,
)

FIRST = Claimed("a", 1)


def asks(host: Host) -> Host:
    """The host when it has just asked for its term."""
    host = host.round()
    if not host.started(ClaimTerm):
        host = host.round(after_s=host.s.fence_delay_s)
    assert host.message.claiming
    return host


def answer(host: Host, claimed: Claimed | None, text: str = "") -> Host:
    """The same after the witness's answer, and after the write that was under way."""
    asked = next(action for action in host.k.work.running if isinstance(action, ClaimTerm))
    return host.done(asked, ok=claimed is not None, text=text, claimed=claimed)


def settled(host: Host) -> Host:
    """The same after the writes under way."""
    while host.k.intent.writing is not None:
        host = host.written()
    return host


def alone(heard_s: float = 4.0) -> Host:
    """A primary whose standby is silent, for as long as makes it silent."""
    return witnessed(primary(), heard_s=heard_s).silence(3.0)


def left(silent_s: float = 3.0) -> Host:
    """An eligible standby whose primary is silent."""
    return witnessed(standby()).silence(silent_s)


def written(host: Host) -> Record:
    record = host.must_start(WriteState).durable.record
    assert record is not None
    return record


# --- claims -----------------------------------------------------------------------------------------------


def test_a_primary_asks_at_once_and_keeps_that_it_has_asked() -> None:
    host = alone().round()
    asked = host.must_start(ClaimTerm)
    assert (asked.witness_id, asked.term) == (WITNESS_ID, TERM)
    assert host.must_start(WriteState).durable.claimed_term == TERM
    assert host.k.fencing.claim is not None
    assert (host.k.fencing.claim.why, host.k.fencing.claim.won) == (Why.UNHEARD, False)
    assert not host.started(Fence)


def test_a_standby_waits_the_fence_delay_before_it_asks() -> None:
    host = left().round()
    assert host.k.intent.row == "take-over-by-witness"
    assert not host.started(ClaimTerm)
    assert host.round(after_s=0.5).started(ClaimTerm)


def test_a_primary_that_has_won_writes_solo_at_once_and_serves_on() -> None:
    host = settled(answer(asks(alone()), FIRST))
    assert (host.record.mode, host.record.primary, host.record.witness_id) == (Mode.SOLO, "a", WITNESS_ID)
    assert host.k.durable.served
    assert host.k.confirmed
    assert not host.actions or not [one for one in host.actions if isinstance(one, StartPostgres)]


def test_a_standby_that_has_won_writes_when_the_peer_s_lease_is_over() -> None:
    host = answer(settled(asks(left())), Claimed("b", 1))
    assert not isinstance(host.k.intent.writing, Durable) or host.k.intent.writing.record == host.record
    host = settled(host)
    early = host.round(after_s=NOW_S - 3.0 + 5.8 - host.now_s)
    assert early.record.primary == "a"
    late = early.round(after_s=0.06)
    new = written(late)
    assert (new.mode, new.primary) == (Mode.SOLO, "b")
    taken = late.must_start(WriteState).durable
    assert (taken.complete, taken.serial) == (True, Serial(WITNESS_ID, 1))


def test_a_fence_shortens_the_wait_and_comes_after_the_register() -> None:
    host = settled(asks(left().configured(fencing=True)))
    assert not host.running(Fence)
    host = settled(answer(host, Claimed("b", 1)))
    fence = next(action for action in host.k.work.running if isinstance(action, Fence))
    assert written(host.done(fence)).primary == "b"


def test_an_operator_who_sees_the_peer_off_ends_the_wait() -> None:
    host = settled(answer(settled(asks(left())), Claimed("b", 1))).order(Order.FENCE_CONFIRMED)
    assert written(host).primary == "b"
    unasked = settled(asks(left())).order(Order.FENCE_CONFIRMED)
    assert not unasked.started(WriteState), "the register comes first"


def test_a_fence_shortens_a_primary_s_wait_for_the_other_address_and_nothing_else() -> None:
    host = answer(settled(asks(alone().configured(fencing=True))), FIRST).written()
    fence = host.must_start(Fence)
    assert written(host).mode is Mode.SOLO, "its commits wait for no fence"
    host = settled(host).round()
    assert not lease.let_go(host.facts)
    assert lease.let_go(host.done(fence).round().facts)
    failed = host.done(fence, ok=False, text="no route").round(after_s=30.0)
    assert not failed.started(Fence)


@pytest.mark.parametrize(
    "change",
    [{"pause": Pause(1, active=True)}, {"kept_off": True}],
    ids=str,
)
def test_a_primary_that_has_won_does_not_fence_in_a_pause_or_what_an_operator_has_powered_off(
    change: dict[str, Any],
) -> None:
    host = settled(answer(settled(asks(alone().configured(fencing=True).durable(**change))), FIRST))
    assert host.record.mode is Mode.SOLO
    assert not host.running(Fence)


def test_a_primary_that_returns_after_a_boot_fences_nobody() -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(confirmed=False, lease=None)
    host = settled(answer(settled(asks(host.configured(fencing=True))), FIRST))
    assert host.record.mode is Mode.SOLO
    assert not host.running(Fence), "it was not confirmed"


def test_a_term_that_is_the_peer_s_is_not_asked_for_again() -> None:
    host = settled(answer(asks(alone()), Claimed("b", 1)))
    assert host.k.fencing.claim is None
    assert host.k.witness.lost_term == TERM
    assert not host.round(after_s=0.1).started(ClaimTerm)
    assert "claim-barred" in host.round().warnings()


def test_an_unanswered_claim_is_made_again_and_stands_meanwhile() -> None:
    host = settled(answer(settled(asks(alone())), None, "no route"))
    assert host.k.fencing.claim is not None
    assert "claim-failing" in host.warnings()
    assert not host.started(ClaimTerm)
    assert host.round(after_s=0.5).started(ClaimTerm)


def test_only_the_answer_to_the_open_claim_s_own_question_counts() -> None:
    host = settled(asks(alone()))
    first = next(action for action in host.k.work.running if isinstance(action, ClaimTerm))
    heard = host.told()
    assert heard.k.fencing.claim is None
    again = heard.silence(3.0).round()
    assert again.k.fencing.claim is not None
    old = again.done(first, claimed=FIRST)
    assert old.k.fencing.claim is not None
    assert not old.k.fencing.claim.won
    assert settled(old).running(ClaimTerm), "it asks for itself"


def test_a_claim_ends_when_the_peer_is_heard_and_the_term_is_left_by_consent() -> None:
    host = settled(asks(alone())).told()
    assert host.k.fencing.claim is None
    host = host.round()
    assert host.k.intent.row == "solo-for-register"
    assert host.message.request is not None
    assert host.message.request.want is Want.SOLO
    assert host.message.claimed_term == TERM


def test_the_standby_s_claim_is_told_and_the_primary_leaves_the_term() -> None:
    assert settled(asks(left())).told().message.claimed_term == TERM
    assert witnessed(primary()).hears(claimed_term=TERM).chosen()[0].name == "solo-for-register"
    assert witnessed(primary()).hears(claimed_term=TERM - 2).chosen()[0].name == "none"


def test_a_claimer_answers_no_question() -> None:
    host = settled(asks(left())).hears(question="boot-a/run-a")
    assert host.k.fencing.claim is not None
    asked = replace(host, k=host.k.copy()).knows(claim=replace(host.k.fencing.claim, why=Why.ORDER))
    assert asked.round().message.answer == ""


def test_a_primary_asks_though_the_database_of_the_silent_peer_answers_and_a_standby_does_not() -> None:
    assert half_silent().chosen()[0].name == "solo-by-witness"
    assert left().sees(peer_own=saw(standby().seen.peer_own.value)).chosen()[0].name == "none"


def half_silent(heard_s: float = 4.0) -> Host:
    """A primary beside a standby whose daemon is silent, and whose database answers."""
    return alone(heard_s).sees(peer_own=primary().seen.peer_own)


def still_answers(host: Host) -> Host:
    """The same when the peer's database has just answered again."""
    return host.sees(peer_own=saw(primary().seen.peer_own.value, host.now_s))


def test_a_primary_that_has_won_changes_nothing_while_the_peer_answers_by_any_path() -> None:
    host = settled(answer(settled(asks(half_silent())), FIRST))
    assert host.record.mode is Mode.PAIR
    for _ in range(20):
        host = settled(still_answers(host.at(host.now_s + 1.0)).round())
        assert (host.record.mode, host.running(Fence)) == (Mode.PAIR, False)
        assert write_right(host.facts), "the register takes the place of the lease"
        assert not host.started(KillPostgres)
    end_s = host.now_s + 3.0
    fell_silent = host.sees(peer_own=replace(host.seen.peer_own, failures=3, failed_at_s=end_s)).at(end_s)
    assert written(fell_silent.knows(round_s=end_s).round()).mode is Mode.SOLO, "now by no path"


def test_a_primary_that_has_won_leaves_a_standby_that_takes_nothing_whatever_else_of_it_answers() -> None:
    host = settled(answer(settled(asks(half_silent().replica(flush_lsn=Lsn(HERE - 8)))), FIRST))

    def beside(at_s: float) -> Host:
        return still_answers(host.at(at_s).database_moved(NOW_S)).knows(round_s=at_s, unflushed_since_s=NOW_S)

    assert settled(beside(NOW_S + 9.0).round()).record.mode is Mode.PAIR
    alone_now = settled(beside(NOW_S + 10.0).round())
    assert alone_now.record.mode is Mode.SOLO
    assert not lease.let_go(still_answers(alone_now.at(NOW_S + 60.0)).round().facts), "a dead daemon gives up nothing"


def test_the_register_outlives_the_daemon_that_has_won_it() -> None:
    host = settled(answer(settled(asks(half_silent())), FIRST)).at(NOW_S + 60.0)
    again = still_answers(host.daemon_restarts()).round()
    assert write_right(again.facts)
    assert not again.started(KillPostgres)
    assert not lease.leased(still_answers(host.knows(won_term=-1).daemon_restarts()).facts)
    assert boot_facts(host.k).won_term == TERM


def test_the_register_stands_in_for_the_lease_until_that_runs_again() -> None:
    host = still_answers(settled(answer(settled(asks(half_silent())), FIRST)).at(NOW_S + 60.0))
    heard = host.told()
    assert heard.k.fencing.claim is None
    assert heard.k.witness.won_term == TERM
    assert lease.leased(heard.facts), "the first message of a daemon that starts echoes nothing"
    late = heard.told(after_s=0.1, echo_boot="boot-a", echo_s=NOW_S)
    assert late.k.witness.won_term == TERM, "what it echoes is too old"
    runs = heard.told(after_s=0.1, echo_boot="boot-a", echo_s=heard.now_s)
    assert runs.k.witness.won_term == -1
    assert lease.leased(runs.facts)


def test_a_standby_that_has_won_has_no_lease_by_that() -> None:
    host = settled(answer(settled(asks(left())), Claimed("b", 1)))
    assert host.k.witness.won_term == -1


def test_an_order_is_not_held_up_by_a_claim_in_place_of_the_lease() -> None:
    host = settled(answer(settled(asks(half_silent().configured(fencing=True))), FIRST))
    host = still_answers(host).durable(kept_off=True).knows(fence_order=FenceOrder(NOW_S + 5, off=True)).round()
    assert host.k.fencing.claim is not None
    assert host.k.fencing.claim.why is Why.OPERATOR
    assert write_right(host.facts)


def test_a_primary_that_booted_asks_only_when_the_peer_answers_by_no_path() -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(lease=None)
    answers = host.sees(peer_own=primary().seen.peer_own)
    assert answers.knows(confirmed=False).chosen()[0].name == "none"
    assert answers.chosen()[0].name == "return-by-witness", "the term of its lease is this boot's own"


def test_a_primary_goes_on_in_a_pause_and_a_standby_waits_for_its_end() -> None:
    paused = {"pause": Pause(1, active=True)}
    assert alone().durable(**paused).chosen()[0].name == "solo-by-witness"
    assert left().durable(**paused).chosen()[0].name == "none"


# --- after a boot, and after the end of a lease ------------------------------------------------------------


def test_a_primary_that_boots_beside_nobody_serves_when_it_has_won() -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(confirmed=False, lease=None)
    assert host.chosen()[0].name == "return-by-witness"
    host = settled(answer(asks(host), FIRST))
    assert host.k.confirmed
    assert host.record.mode is Mode.SOLO
    assert host.round().running(StartPostgres)


@pytest.mark.parametrize(
    "change",
    [{"hold": "both wrote"}, {"served": False}, {"lacks": True}],
    ids=str,
)
def test_a_primary_that_may_not_serve_does_not_return(change: dict[str, Any]) -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(confirmed=False)
    assert host.durable(**change).chosen()[0].name == "none"


def test_a_primary_beside_a_winner_stays_unconfirmed() -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(confirmed=False)
    host = settled(answer(asks(host), Claimed("b", 1)))
    assert not host.k.confirmed
    assert not host.running(StartPostgres)


# --- rows by fence ----------------------------------------------------------------------------------------


def test_an_ordered_fence_needs_the_register_first() -> None:
    host = witnessed(standby()).configured(fencing=True).knows(fence_order=FenceOrder(NOW_S + 10, off=False))
    host = settled(asks(host))
    assert not host.running(Fence)
    assert settled(answer(host, Claimed("b", 1))).running(Fence)


def test_an_order_that_the_witness_refuses_ends() -> None:
    host = witnessed(standby()).configured(fencing=True).knows(fence_order=FenceOrder(NOW_S + 10, off=False))
    host = settled(answer(settled(asks(host)), Claimed("a", 1)))
    assert host.k.orders.fence_order is None
    assert not host.running(Fence)


def test_rows_for_silence_are_by_witness_where_one_counts_and_by_fence_where_none_does() -> None:
    without = ["solo-by-fence", "solo-by-fence-unfollowed", "take-over-by-fence"]
    assert [row.name for row in ROWS.values() if row.witness is False] == without
    host = alone().configured(fencing=True)
    assert "solo-by-fence" not in dict(host.chosen()[1])


# --- forced -----------------------------------------------------------------------------------------------


def test_a_forced_promotion_asks_and_waits() -> None:
    host = left().order(Order.FORCE_PROMOTE, "without-fence")
    assert host.started(ClaimTerm)
    host = settled(answer(settled(host), Claimed("b", 1)))
    assert host.record.term == TERM
    late = host.round(after_s=5.0)
    assert written(late).cause == "forced by an operator; a was not fenced"


@pytest.mark.parametrize("claimed", [Claimed("a", 1), None])
def test_a_forced_promotion_that_does_not_get_the_term_changes_nothing(claimed: Claimed | None) -> None:
    host = settled(answer(settled(left().order(Order.FORCE_PROMOTE)), claimed, "no route"))
    assert not host.k.orders.force
    assert host.k.fencing.claim is None
    assert host.record.term == TERM


def test_without_witness_nobody_is_asked_and_the_record_says_so() -> None:
    host = left().order(Order.FORCE_PROMOTE, "without-fence without-witness")
    assert not host.started(ClaimTerm)
    new = written(host)
    assert new.cause == "forced by an operator; a was not fenced; the witness was not asked"
    assert new.witness_id == WITNESS_ID


# --- which witness counts ----------------------------------------------------------------------------------


def test_which_witness_counts_changes_by_way_of_solo() -> None:
    host = witnessed(primary()).configured(witness_id="another")
    assert host.chosen()[0].name == "solo-for-mode"
    assert primary().configured(witness_id=WITNESS_ID).chosen()[0].name == "solo-for-mode"
    assert witnessed(primary()).configured(witness_id="").chosen()[0].name == "solo-for-mode"
    solo = witnessed(primary(Mode.SOLO)).configured(witness_id="another").round()
    assert written(solo).witness_id == "another"


def test_another_witness_than_the_one_that_counts_is_not_asked() -> None:
    host = alone().configured(witness_id="another")
    assert host.chosen()[0].name == "none"
    assert "another one is configured" in dict(host.chosen()[1])["solo-by-witness"]


# --- its count --------------------------------------------------------------------------------------------


def counted(host: Host, serial: int, witness_id: str = WITNESS_ID, at_s: float = NOW_S) -> Host:
    return host.sees(witness=saw(WitnessStatus(witness_id, serial), at_s)).round()


def test_the_highest_count_is_kept() -> None:
    host = counted(witnessed(primary()), 7)
    assert host.must_start(WriteState).durable.serial == Serial(WITNESS_ID, 7)
    assert not counted(host.written(), 7).started(WriteState)


def test_a_lower_count_is_an_alarm_and_nobody_claims() -> None:
    host = witnessed(primary()).durable(serial=Serial(WITNESS_ID, 7))
    low = counted(host, 6)
    assert "witness-rolled-back" in low.warnings()
    assert low.silence(3.0).chosen()[0].name == "none"
    assert "witness-rolled-back" not in counted(host, 7).warnings()


def test_a_count_that_was_asked_for_before_the_higher_one_was_learned_says_nothing() -> None:
    host = witnessed(primary()).durable(serial=Serial(WITNESS_ID, 7)).knows(learned_s=NOW_S)
    assert not counted(host, 6, at_s=NOW_S - 0.5).k.witness.rolled_back
    assert counted(host, 6, at_s=NOW_S + 0.1).k.witness.rolled_back


def test_the_count_of_another_witness_is_no_news() -> None:
    host = witnessed(primary()).durable(serial=Serial(WITNESS_ID, 7))
    assert not counted(host, 3, "another").k.witness.rolled_back
    assert "witness-differs" in counted(host, 3, "another").warnings()
    new = counted(witnessed(primary()).durable(serial=Serial("old", 9)), 3)
    assert new.must_start(WriteState).durable.serial == Serial(WITNESS_ID, 3)


def test_an_answer_with_a_lower_count_wins_nothing() -> None:
    host = asks(alone().durable(serial=Serial(WITNESS_ID, 7)))
    host = settled(answer(host, Claimed("a", 5)))
    assert host.k.witness.rolled_back
    assert host.k.fencing.claim is None
    assert host.record.mode is Mode.PAIR


def test_a_witness_that_does_not_answer_is_a_warning_and_changes_nothing() -> None:
    host = witnessed(primary()).sees(witness=failing()).round()
    assert "witness-silent" in host.warnings()
    assert host.k.intent.row == "none"
    assert host.k.witness.learned_s == NEVER


# --- whether the times fit ---------------------------------------------------------------------------------

WITH: dict[str, Any] = {"witness_id": WITNESS_ID, "fencing": False}


def test_the_defaults_fit() -> None:
    assert misfit(settings(**WITH)) == ("", "")
    assert misfit(settings(**WITH, sync=False, watchdog_required=True)) == ("", "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lease_s": 4.4}, "3 s of silence, noticed up to two heartbeats of 0.5 s late, and a claim may take"),
        ({"lease_s": 4.4}, "together 4.5 s"),
        ({"check_times": 4}, "together 5.5 s"),
        ({"lease_stop_s": 0.4}, "shorter than a heartbeat of 0.5 s"),
        ({"sync": False, "lag_s_max": 6.0}, "(lease_s + lease_stop_s) * (1 + clock_margin) = 5.83 s"),
        ({"sync": False}, "whose daemon hangs"),
    ],
    ids=lambda item: str(item)[:30],
)  # fmt: skip
def test_times_that_do_not_fit_are_told_with_the_arithmetic(change: dict[str, Any], says: str) -> None:
    what, hint = misfit(settings(**{**WITH, **change}))
    assert says in what
    assert hint
    assert misfit(settings(**{**WITH, **change, "witness_id": ""})) == ("", "")


def test_a_fence_or_a_watchdog_is_enough_in_async() -> None:
    assert misfit(settings(**{**WITH, "sync": False, "fencing": True})) == ("", "")
