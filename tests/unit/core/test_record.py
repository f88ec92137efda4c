"""Every record that a host writes, whole, and what it keeps of the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core import intake
from pgvip.core.actions import WriteState
from pgvip.core.knowledge import Claim, FenceOrder, GiveUp, Switchover, Veto, Why
from pgvip.core.messages import Order, Want
from pgvip.core.round import Round
from pgvip.core.settings import Inputs
from pgvip.core.values import FORCE_STEP, NEVER, Durable, Mode, Pause, Record, WalPoint
from tests.knowing import PART_OF, knowing
from tests.unit.core_world import (
    HERE,
    NOW_S,
    TERM,
    Host,
    attempt,
    claiming,
    grant,
    primary,
    record,
    role_wish,
    solo_wish,
    standby,
    stubborn,
)

OLD: dict[str, Any] = {"from_term": 3, "handover": WalPoint(1, HERE), "cause": "of old", "at": "once"}


RESUMED = Pause(2, active=False, reason="done", at="then")


AT = "2026-01-01T00:00:00+00:00"


def made(who: str, mode: Mode, term: int, cause: str, **more: Any) -> Record:
    return record(who, mode, term, cause=cause, at=AT, **more)


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
    assert moved.k.intent.holdoff_until_s == pytest.approx(moved.now_s + moved.s.holdoff_s)
    stays = standby().holds().told(record=record("a", Mode.SOLO, 6)).written()
    assert stays.k.intent.holdoff_until_s == NEVER


def test_the_first_record_of_all_is_adopted_by_a_host_without_one() -> None:
    blank = standby(term=0).durable(record=None).holds()
    assert blank.told(record=record(term=0)).must_start(WriteState).durable.record == record(term=0)


def events(host: Host) -> set[str]:
    return {note.event for note in host.last.notes} if host.last else set()


def test_a_newer_record_ends_at_once_what_this_host_was_doing() -> None:
    newer = record("a", Mode.SOLO, 6)
    claimed = stubborn(standby()).holds().told(record=newer)
    assert claimed.k.intent.writing is not None
    assert not claimed.message.claiming
    assert "claim-ended" in events(claimed)
    assert "claim-ended" not in events(standby().holds().told(record=newer)), "there was none"
    giving = standby().told(request=solo_wish())
    assert giving.k.consent.giving_up is not None
    adopting = giving.holds().told(record=newer)
    assert adopting.k.intent.writing is not None
    assert adopting.k.consent.giving_up is None


STAYS_ORDERED = [
    ("a", Mode.SOLO, None, True),
    ("a", Mode.PAIR, None, False),
    ("b", Mode.SOLO, None, False),
    ("a", Mode.SOLO, "claim", False),
]


@pytest.mark.parametrize(("who", "mode", "claim", "stays"), STAYS_ORDERED)
def test_an_order_to_power_the_peer_off_outlives_only_its_consent(
    who: str, mode: Mode, claim: str | None, stays: bool
) -> None:
    """The peer leaves this host alone, and can be powered off; any other change of the record is another story."""
    order = FenceOrder(NOW_S + 60, off=True)
    host = primary().knows(fence_order=order, claim=CLAIM if claim else None)
    r = Round(host.k.copy(), Inputs(host.seen), host.s, host.now_s)
    intake._written(r, replace(host.k.durable, record=record(who, mode, TERM + 2)), ok=True)
    assert r.k.orders.fence_order == (order if stays else None)


CLAIM = Claim("solo-by-fence", 4, Why.SILENCE, takeover=False, attempt="run-a/7", since_s=NOW_S - 1)
UNDER_WAY: dict[str, Any] = {
    "claim": CLAIM,
    "waiting": "solo-by-fence",
    "veto": Veto("run-a/7", NOW_S - 1),
    "giving_up": GiveUp("hand-over-database", Want.HANDOVER, 4, "boot-b", NOW_S - 1),
    "end": WalPoint(1, HERE),
    "given": grant(),
    "unwaited": "the names were wrong",
    "switchover": Switchover(NOW_S, NOW_S + 60),
    "fence_order": FenceOrder(NOW_S + 60, off=True),
    "alarm": "something of the old term",
}


@pytest.mark.parametrize("name", UNDER_WAY)
def test_a_record_of_another_term_ends_what_was_under_way_for_the_one_before(name: str) -> None:
    """Above all a claim, whose result may still come [m 6]; a write of the same term ends nothing."""
    host = primary()
    for term, kept in ((TERM, True), (TERM + 2, False)):
        knowledge = knowing(host.k, **UNDER_WAY)
        r = Round(knowledge, Inputs(host.seen), host.s, host.now_s)
        intake._written(r, replace(host.k.durable, record=record(term=term)), ok=True)
        left = getattr(getattr(r.k, PART_OF[name]), name)
        assert (left == UNDER_WAY[name]) is kept
        assert kept or not left
