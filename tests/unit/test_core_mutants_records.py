"""Every record that a host writes, whole; what outlives a daemon, and what an order comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.decide import begin, facts
from pgvip.core.knowledge import Switchover
from pgvip.core.model import (
    FORCE_STEP,
    NEVER,
    AddressFree,
    BootFacts,
    Durable,
    Identity,
    Mode,
    Order,
    Pause,
    PowerOn,
    Record,
    Rejoin,
    Vip,
    WalPoint,
    WriteState,
)
from tests.unit.core_world import (
    HERE,
    NOW_S,
    Host,
    attempt,
    claiming,
    grant,
    primary,
    record,
    role_wish,
    solo_wish,
    standby,
)

AT = "2026-01-01T00:00:00+00:00"
OLD: dict[str, Any] = {"from_term": 3, "handover": WalPoint(1, HERE), "cause": "of old", "at": "once"}
RESUMED = Pause(2, active=False, reason="done", at="then")


def made(who: str, mode: Mode, term: int, cause: str, **more: Any) -> Record:
    return record(who, mode, term, cause=cause, at=AT, **more)


# --- what is written ----------------------------------------------------------------------------------------


def test_solo_to_pair_starts_a_record_of_its_own() -> None:
    host = primary(Mode.SOLO, **OLD).durable(handbacks=2, pause=RESUMED, complete=True).round()
    wanted = Durable(made("a", Mode.PAIR, 6, "pair"), served=True, complete=True, pause=RESUMED)
    assert host.must_start(WriteState).durable == wanted


def test_a_claim_of_the_primary_keeps_what_is_its_own() -> None:
    claimed = claiming(primary(**OLD).durable(handbacks=1, pause=RESUMED))
    wanted = Durable(made("a", Mode.SOLO, 6, "solo-by-fence"), served=True, handbacks=1, pause=RESUMED)
    assert claimed.done(attempt(claimed)).must_start(WriteState).durable == wanted


def test_a_takeover_has_not_served_and_is_complete() -> None:
    claimed = claiming(standby().durable(record=record(**OLD), handbacks=1, pause=RESUMED))
    wanted = Durable(made("b", Mode.SOLO, 5, "take-over-by-fence"), complete=True, pause=RESUMED)
    assert claimed.done(attempt(claimed)).must_start(WriteState).durable == wanted


def test_consent_to_solo_names_the_primary_that_stays() -> None:
    given = standby().durable(record=record(**OLD), handbacks=1).holds().told(request=solo_wish())
    wanted = Durable(made("a", Mode.SOLO, 5, "solo-by-consent"), handbacks=1)
    assert given.must_start(WriteState).durable == wanted


def test_consent_to_a_hand_over_names_the_term_that_it_started_from() -> None:
    given = primary(**OLD).durable(complete=True, pause=RESUMED).down().holds().told(request=role_wish())
    wanted = Durable(made("b", Mode.SOLO, 6, "hand-over-database", from_term=4), pause=RESUMED)
    assert given.must_start(WriteState).durable == wanted


def test_the_mode_of_commits_goes_with_the_record_until_the_pair_is_made_anew() -> None:
    given = primary(sync=False).configured(sync=True, salvage_s=0.0).down().holds().told(request=role_wish())
    written = given.must_start(WriteState).durable.record
    assert written is not None
    assert not written.sync
    pair = primary(Mode.SOLO, sync=False).configured(sync=True).database(sync_names="peer")
    pair = pair.replica(sync_state="sync").round()
    written = pair.must_start(WriteState).durable.record
    assert written is not None
    assert written.sync


def test_a_forced_record_says_what_this_host_has_served() -> None:
    forced = primary(**OLD).durable(hold="both wrote", handbacks=1).configured(fencing=False).order(Order.FORCE_PROMOTE)
    new = made("a", Mode.SOLO, FORCE_STEP + 6, "forced by an operator")
    written = forced.must_start(WriteState).durable
    assert written.record is not None
    assert replace(written.record, cause=new.cause) == new
    assert (written.served, written.complete, written.hold, written.handbacks) == (True, True, "", 1)
    taken = standby().durable(served=True).configured(fencing=False).order(Order.FORCE_PROMOTE)
    assert not taken.must_start(WriteState).durable.served, "what it served as standby's record said was another's role"


def test_a_force_without_any_record_begins_above_zero() -> None:
    lost = primary().durable(record=None, served=True).down().holds().configured(fencing=False)
    written = lost.order(Order.FORCE_PROMOTE).must_start(WriteState).durable
    assert written.record is not None
    assert (written.record.term, written.served) == (FORCE_STEP + 2, False)


@pytest.mark.parametrize(("mode", "left"), [(Mode.PAIR, 0), (Mode.SOLO, 2)])
def test_hand_backs_are_counted_until_the_two_are_a_pair(mode: Mode, left: int) -> None:
    told = standby().durable(handbacks=2).holds().told(record=record("a", mode, 6))
    assert told.must_start(WriteState).durable.handbacks == left


@pytest.mark.parametrize("complete", [True, False])
def test_what_makes_a_role_complete_goes_with_it(complete: bool) -> None:
    keeps = primary().durable(complete=complete).holds().told(record=record("a", Mode.SOLO, 6))
    assert keeps.must_start(WriteState).durable.complete is complete
    loses = primary().durable(complete=complete).down().holds().told(record=record("b", Mode.SOLO, 5))
    written = loses.must_start(WriteState).durable
    assert (written.complete, written.served) == (False, False)


def test_a_hold_off_begins_when_the_role_has_moved_and_only_then() -> None:
    moved = standby().holds().told(record=record("b", Mode.SOLO, 6)).written()
    assert moved.k.holdoff_until_s == pytest.approx(moved.now_s + moved.s.holdoff_s)
    stays = standby().holds().told(record=record("a", Mode.SOLO, 6)).written()
    assert stays.k.holdoff_until_s == NEVER


# --- what outlives a daemon ---------------------------------------------------------------------------------

WHO = Identity("boot-b", "run-b-2", 700.0, "pair-1", "7")


def test_what_is_kept_of_a_boot_is_what_this_host_had() -> None:
    assert facts(standby().k) == BootFacts(True, 4, grant("b"), 4, NEVER, met=True)
    unconfirmed = standby().knows(confirmed=False, address=None, doubt_s=5.0, fence_s=7.0, met=False)
    assert facts(unconfirmed.k) == BootFacts(False, 0, grant("b"), -1, 7.0)
    assert facts(standby().durable(record=None).k).confirmed_term == 0


def test_a_daemon_begins_with_what_was_kept() -> None:
    kept = BootFacts(confirmed=True, confirmed_term=4, grant=grant("b"), address_term=4, doubt_s=5.0)
    k = begin(WHO, Durable(record()), kept)
    assert (k.confirmed, k.grant, k.address) == (True, grant("b"), AddressFree(4, "boot-b"))
    assert (k.jumped_s, k.doubt_s) == (700.0, 5.0)


@pytest.mark.parametrize(
    "kept",
    [BootFacts(False, 4, grant("b"), 4), BootFacts(True, 6, grant("b"), 4)],
    ids=["not confirmed", "the record was rolled back"],
)
def test_a_daemon_that_is_not_confirmed_has_no_promise_either(kept: BootFacts) -> None:
    k = begin(WHO, Durable(record()), kept)
    assert (k.confirmed, k.grant, k.address) == (False, None, None)


def test_an_address_told_free_in_another_term_is_not_kept() -> None:
    assert begin(WHO, Durable(record()), BootFacts(True, 4, None, 3)).address is None


# --- orders -------------------------------------------------------------------------------------------------


def test_a_switchover_has_the_time_of_a_stop_and_of_three_consents() -> None:
    host = primary().order(Order.SWITCHOVER)
    assert host.k.switchover == Switchover(NOW_S, NOW_S + 3 * host.s.consent_s + host.s.stop_s)
    assert host.round(after_s=89.9).k.switchover is not None
    assert host.round(after_s=90.0).k.switchover is None


def test_a_switchover_that_was_cancelled_is_not_offered() -> None:
    host = primary().hears(eligible=False).order(Order.SWITCHOVER).order(Order.CANCEL_SWITCHOVER)
    assert host.k.switchover is None
    assert host.hears(eligible=True).round().message.invite == ""


def test_an_order_to_copy_anew_copies_once() -> None:
    host = standby().order(Order.REJOIN, "clone")
    rejoin = host.must_start(Rejoin)
    assert rejoin.clone
    after = host.done(rejoin)
    assert not after.k.rejoin_clone
    assert not after.started(Rejoin)


def test_an_order_to_rejoin_without_a_copy_leaves_the_choice_to_the_rejoin() -> None:
    behind = standby().database(streaming=False)
    assert not behind.round().started(Rejoin)
    assert behind.order(Order.REJOIN, "").must_start(Rejoin) == Rejoin(clone=False)


def test_a_rejoin_that_failed_is_ordered_still() -> None:
    host = standby().order(Order.REJOIN, "clone")
    assert host.done(host.must_start(Rejoin), ok=False).k.rejoin_clone


def test_force_without_fence_is_said_in_these_words_alone() -> None:
    assert standby().order(Order.FORCE_PROMOTE, "without-fence").k.unfenced
    assert not standby().order(Order.FORCE_PROMOTE, "").k.unfenced
    assert Vip.STANDBY in standby().view.held


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


def test_a_peer_that_an_operator_saw_dead_is_theirs_to_switch_on() -> None:
    host = claiming(standby()).order(Order.FENCE_CONFIRMED)
    for _ in range(3):
        assert not host.running(PowerOn)
        host = host.written() if host.k.writing is not None else host.round()
    assert not host.k.peer_off


def test_the_first_record_of_all_is_adopted_by_a_host_without_one() -> None:
    blank = standby(term=0).durable(record=None).holds()
    assert blank.told(record=record(term=0)).must_start(WriteState).durable.record == record(term=0)


def test_a_host_that_lost_its_record_is_not_confirmed_by_what_was_kept_of_the_boot() -> None:
    for term in (0, 1):
        assert not begin(WHO, Durable(), BootFacts(confirmed=True, confirmed_term=term)).confirmed
