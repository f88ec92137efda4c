"""Rules that docs/protocol.md marks, m 8 to m 16: consent, eligibility, what is given up. Each is red when left out."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

import pytest

from pgvip.core import wal_tail
from pgvip.core.actions import (
    ConfirmGrant,
    DropVip,
    Fence,
    FindEnd,
    Promote,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    WriteState,
)
from pgvip.core.knowledge import Failures, GiveUp, Switchover
from pgvip.core.messages import AddressFree, Request, Stopped, Want
from pgvip.core.round import Round
from pgvip.core.settings import Inputs
from pgvip.core.values import Lsn, Mode, Override, Vip, WalPoint
from tests.unit.core_world import (
    HERE,
    NO_VIPS,
    NOW_S,
    POSTMASTER,
    SOLO_B,
    Host,
    attempt,
    claiming,
    failing,
    grant,
    primary,
    record,
    role_wish,
    saw,
    solo_wish,
    standby,
)

# --- m 8: requests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", [solo_wish(3), solo_wish(5), solo_wish(boot_id="boot-a-0")], ids=str)
def test_m8_a_request_for_solo_counts_for_its_term_and_boot_only(wish: Request) -> None:
    assert standby().told(request=solo_wish()).k.consent.giving_up is not None
    refused = standby().told(request=wish)
    assert refused.k.consent.giving_up is None
    assert not refused.started(DropVip)


@pytest.mark.parametrize(
    "wish", [role_wish(3), role_wish(5), role_wish(boot_id="boot-b-0"), role_wish(eligible=False)], ids=str
)
def test_m8_a_request_for_the_role_counts_for_its_term_boot_and_an_eligible_winner_only(wish: Request) -> None:
    offered = primary().down().round()
    assert offered.message.invite == "hand-over-database"
    assert offered.told(request=role_wish()).k.consent.giving_up is not None
    assert offered.told(request=wish).k.consent.giving_up is None


def test_m8_nobody_gets_a_role_that_was_not_offered() -> None:
    assert primary().told(request=role_wish()).k.consent.giving_up is None
    assert primary().told(request=role_wish(reason="take-over-by-order")).k.consent.giving_up is not None


def test_m8_the_term_is_checked_again_before_writing() -> None:
    host = primary().told(request=role_wish(reason="take-over-by-order"))
    assert host.must_start(StopPostgres).clean
    moved = host.durable(record=record("a", Mode.PAIR, 8)).down(clean=True).holds().round()
    assert moved.k.consent.giving_up is None
    assert not moved.started(WriteState)


def test_m8_a_crashed_loser_writes_only_on_a_request_that_still_stands() -> None:
    host = primary().down().holds().round()
    host = host.told(request=role_wish())
    assert host.must_start(WriteState)
    slow = primary().down().round().told(request=role_wish())
    assert not slow.started(WriteState), "the address is still held"
    rebooted = slow.holds().told(request=None, boot_id="boot-b-2", eligible=False)
    assert not rebooted.started(WriteState)


# --- m 9 to m 12: eligibility -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [grant("b", 3), grant("b", 5), grant("b", boot_id="boot-b-0"), grant("b", postmaster="199:1")], ids=str
)
def test_m9_m11_a_grant_for_another_term_boot_or_postmaster_is_ignored(given: object) -> None:
    host = standby().knows(grant=None)
    assert host.told(grant=grant("b")).message.eligible
    ignored = host.told(grant=given)
    assert ignored.k.grants.grant is None
    assert not ignored.message.eligible


@pytest.mark.parametrize("free", [AddressFree(3, "boot-b"), AddressFree(5, "boot-b"), AddressFree(4, "boot-b-0")])
def test_m9_the_address_is_free_only_in_this_term_and_boot(free: AddressFree) -> None:
    host = standby().knows(address=None)
    assert host.told(address_free=AddressFree(4, "boot-b")).k.grants.address is not None
    assert host.told(address_free=free).k.grants.address is None


def test_m9_a_new_record_voids_grant_and_address() -> None:
    host = standby().told(record=record("a", Mode.SOLO, 6))
    adopted = host.holds().round().written()
    assert adopted.record.term == 6
    assert not adopted.message.eligible
    assert adopted.round().k.grants.address is None
    again = adopted.told(record=record("a", Mode.PAIR, 8)).written()
    assert (again.record.mode, again.message.eligible) == (Mode.PAIR, False)


def test_m11_another_postmaster_voids_the_grant() -> None:
    restarted = standby().processes(postmaster="201:9").round()
    assert restarted.k.grants.grant is None
    assert not restarted.processes(postmaster=POSTMASTER["b"]).round().message.eligible


def test_m10_nothing_is_granted_before_it_is_proven() -> None:
    host = primary().knows(given=None).told()
    assert host.message.grant is None
    proof = host.must_start(ConfirmGrant)
    assert (proof.key.term, proof.key.boot_id, proof.key.postmaster) == (4, "boot-b", POSTMASTER["b"])
    assert proof.sync
    assert host.done(proof, ok=False, text="not flushed").message.grant is None
    assert host.done(proof).message.grant == proof.key


@pytest.mark.parametrize(
    "change", [{"boot_id": "boot-b-2"}, {"postmaster": "201:9"}, {"record": record("a", Mode.PAIR, 3)}], ids=str
)
def test_m10_a_proof_for_another_boot_or_postmaster_is_not_granted(change: dict[str, Any]) -> None:
    host = primary().knows(given=None).told()
    proof = host.must_start(ConfirmGrant)
    moved = host.told(**change).done(proof)
    assert moved.message.grant is None or "record" in change


def test_m10_a_standby_that_does_not_stream_is_not_proven() -> None:
    assert not primary().knows(given=None).database(replica=None).told().started(ConfirmGrant)
    assert not primary().knows(given=None).told(postmaster="").started(ConfirmGrant)
    assert not primary(Mode.SOLO).knows(leaving=True).told().started(ConfirmGrant)


def test_m12_a_role_handed_over_is_not_served_without_the_condition() -> None:
    new = record("b", Mode.SOLO, 6, from_term=4, handover=WalPoint(1, Lsn(HERE + 8)))
    stale = standby().knows(grant=grant("b", 3)).told(record=new).written()
    assert stale.record == new
    assert not stale.started(Promote)
    assert not stale.k.durable.served
    reached = stale.database(point=WalPoint(1, Lsn(HERE + 8))).round().written()
    assert reached.k.durable.served
    assert reached.started(Promote)


def test_m12_a_role_handed_over_is_served_with_the_grant_of_exactly_that_term() -> None:
    new = record("b", Mode.SOLO, 6, from_term=4)
    served = standby().told(record=new).written().written()
    assert served.started(Promote)
    restarted = standby().told(record=new).processes(postmaster="201:9").round().written()
    assert restarted.k.intent.writing is None
    assert not restarted.started(Promote)


# --- m 13: served -------------------------------------------------------------------------------------------


def test_m13_served_is_written_before_the_first_read_write_start() -> None:
    taken = standby().durable(record=SOLO_B, complete=True)
    host = taken.round()
    assert host.must_start(WriteState).durable.served
    assert not host.started(Promote)
    assert host.written(ok=False).started(Promote) is None
    assert host.written().started(Promote)
    down = taken.down().round()
    assert not down.started(StartPostgres)
    assert down.written().started(StartPostgres)


def test_m13_served_is_carried_through_every_record_that_keeps_this_host_primary() -> None:
    fenced = claiming(primary())
    assert fenced.done(attempt(fenced)).must_start(WriteState).durable.served
    assert primary(Mode.SOLO).round().must_start(WriteState).durable.served
    adopted = primary().told(record=record("a", Mode.SOLO, 5))
    assert adopted.must_start(WriteState).durable.served


def test_m13_served_is_cleared_when_the_other_becomes_primary() -> None:
    lost = primary().down().holds().told(record=SOLO_B)
    assert not lost.must_start(WriteState).durable.served
    given = primary().down().holds().round().told(request=role_wish())
    assert not given.must_start(WriteState).durable.served


def test_m13_a_role_that_was_served_is_not_handed_back() -> None:
    new = record("b", Mode.SOLO, 5, from_term=4)
    host = standby(Mode.SOLO, me="b").durable(record=new).hears(record=new).knows(blocked_since_s=900.0)
    offered = host.round()
    assert offered.message.invite == "hand-back"
    back = Request(Want.HANDOVER, 5, "boot-a", POSTMASTER["a"], reason="take-back")
    assert offered.told(request=back).k.consent.giving_up is not None
    served = host.durable(served=True).round()
    assert served.message.invite == ""
    assert served.told(request=back).k.consent.giving_up is None
    dead = host.durable(served=True).down().knows(blocked_since_s=900.0).round()
    assert dead.told(request=back).k.consent.giving_up is None


def test_m13_a_hand_back_names_the_end_of_the_own_history() -> None:
    new = record("b", Mode.SOLO, 5, from_term=4)
    host = standby(Mode.SOLO, me="b").durable(record=new).hears(record=new).knows(blocked_since_s=900.0).round()
    back = Request(Want.HANDOVER, 5, "boot-a", POSTMASTER["a"], reason="take-back")
    host = host.told(request=back)
    assert not host.must_start(StopPostgres).clean or host.k.consent.giving_up is not None
    host = host.down().done(host.must_start(StopPostgres))
    find = next(action for action in host.k.work.running if isinstance(action, FindEnd))
    end = WalPoint(1, Lsn(0xABC))
    written = host.done(find, point=end).must_start(WriteState).durable
    assert written.record is not None
    assert (written.record.primary, written.record.from_term, written.record.handover) == ("a", 5, end)
    assert written.handbacks == 1


# --- salvage ------------------------------------------------------------------------------------------------

THERE = WalPoint(1, Lsn(0x1A0))


def async_loser(**more: Any) -> Host:
    """Its server is dead, every process of it ended, and the winner's request is here; async."""
    pair = record("a", Mode.PAIR, sync=False)
    host = primary(sync=False).durable(record=pair).hears(record=pair).configured(sync=False, **more)
    return host.down().holds().round().told(request=role_wish(), point=WalPoint(1, Lsn(0x180)))


def test_in_async_the_winner_gets_what_it_lacks_before_anything_is_written() -> None:
    host = async_loser()
    salvage = host.must_start(Salvage)
    assert salvage.start == Lsn(0x180)
    assert not host.started(WriteState)
    offered = host.done(salvage, point=THERE)
    assert not offered.started(WriteState)
    assert offered.message.stopped == Stopped(4, THERE)
    for other in (Stopped(4, WalPoint(1, Lsn(0x190))), Stopped(2, THERE), None):
        assert not offered.told(has_checkpoint=other).started(WriteState)
    given = offered.told(has_checkpoint=Stopped(4, THERE)).must_start(WriteState).durable.record
    assert given is not None
    assert (given.primary, given.handover, given.from_term) == ("b", THERE, 4)
    assert not offered.told(has_checkpoint=Stopped(4, THERE), boot_id="boot-b-2").started(WriteState)


def test_a_salvage_ends_with_its_time_or_its_first_failure() -> None:
    host = async_loser()
    for late_s, over in ((4.9, False), (5.0, True)):
        waited = host.at(host.now_s + late_s).told(request=role_wish())
        assert bool(waited.started(WriteState)) is over
    failed = host.done(host.must_start(Salvage), ok=False)
    given = failed.must_start(WriteState).durable.record
    assert given is not None
    assert given.handover is None
    short = async_loser(lag_s_max=8.0)
    assert not short.at(short.now_s + 1.9).told(request=role_wish()).started(WriteState)
    assert short.at(short.now_s + 2.0).told(request=role_wish()).started(WriteState)


def test_a_salvage_that_failed_in_an_earlier_hand_over_is_tried_in_the_next() -> None:
    pair = record("a", Mode.PAIR, sync=False)
    host = primary(sync=False).durable(record=pair).hears(record=pair).configured(sync=False)
    host = host.knows(failures={Salvage: Failures(1, host.now_s + 60, "no space")}).down().holds().round()
    assert host.told(request=role_wish(), point=WalPoint(1, HERE)).must_start(Salvage)


def test_without_a_time_for_it_nothing_is_salvaged() -> None:
    assert async_loser(salvage_s=0.0).must_start(WriteState)


def test_in_sync_the_winner_has_it_all_by_its_grant() -> None:
    assert primary().down().holds().round().told(request=role_wish()).must_start(WriteState)


def test_a_salvage_waits_for_a_winner_that_says_where_it_stands() -> None:
    pair = record("a", Mode.PAIR, sync=False)
    host = primary(sync=False).durable(record=pair).hears(record=pair, point=None).down().holds().round()
    mute = host.told(request=role_wish(), point=None)
    assert not mute.started(Salvage)
    assert not mute.started(WriteState)
    assert mute.told(request=role_wish(), point=WalPoint(1, HERE)).must_start(Salvage)


def test_a_salvage_is_not_complete_while_nothing_is_heard_of_the_winner() -> None:
    host = primary(sync=False).down().knows(heard=None)
    inputs = Inputs(host.seen, wall="2026-01-01T00:00:00+00:00")
    asked = GiveUp("take-over-by-order", Want.HANDOVER, 4, "boot-b", NOW_S)
    assert not wal_tail.complete(Round(copy(host.k), inputs, host.s, NOW_S), asked)


# --- m 14: both addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vip", list(Vip))
def test_m14_consent_to_solo_takes_both_addresses_before_it_is_written(vip: Vip) -> None:
    host = standby().holds(vip).told(request=solo_wish())
    assert host.must_start(DropVip).vip is vip
    assert not host.started(WriteState)
    ordered = host.done(DropVip(vip))
    assert not ordered.started(WriteState), "netlink still lists it"
    assert ordered.holds().round().must_start(WriteState)


@pytest.mark.parametrize("vip", list(Vip))
def test_m14_a_hand_over_takes_both_addresses_before_it_is_written(vip: Vip) -> None:
    offered = primary().down().holds(vip).round()
    host = offered.told(request=role_wish())
    assert not host.started(WriteState)
    assert DropVip(vip) in host.k.work.running
    assert host.holds().done(DropVip(vip)).must_start(WriteState)


@pytest.mark.parametrize("vip", list(Vip))
def test_m14_adopting_another_primary_takes_both_addresses_first(vip: Vip) -> None:
    host = primary().down().holds(vip).told(record=SOLO_B)
    assert not host.started(WriteState)
    assert host.must_start(DropVip).vip is vip
    assert host.holds().done(DropVip(vip)).must_start(WriteState)


def test_m14_addresses_that_were_never_seen_may_be_held() -> None:
    blind = standby().sees(held=failing()).told(request=solo_wish())
    assert not blind.started(WriteState)
    assert blind.holds().round().must_start(WriteState)


# --- m 15: no record ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "confirmed", "adopted"),
    [
        (record("b", Mode.SOLO, 5), True, True),
        (record("b", Mode.PAIR, 5), True, True),
        (record("b", Mode.SOLO, 5), False, False),
        (record("a", Mode.PAIR, 4), True, False),
        (record("a", Mode.SOLO, 6), True, False),
        (None, True, False),
    ],
    ids=str,
)
def test_m15_without_a_record_only_from_a_confirmed_primary(about: object, confirmed: bool, adopted: bool) -> None:
    host = primary().durable(record=None, served=False).down().holds()
    told = host.told(record=about, confirmed=confirmed)
    assert bool(told.started(WriteState)) is adopted


def test_m15_without_a_record_nothing_is_confirmed_started_or_held() -> None:
    host = primary().reboots().durable(record=None)
    for _ in range(10):
        host = host.round(after_s=1.0)
    assert not host.k.confirmed
    assert not host.running(StartPostgres)
    assert "promote --force" in host.warnings()["no-record"]


# --- m 16: the synchronous names ----------------------------------------------------------------------------


def test_m16_the_names_are_cleared_only_after_the_record_says_solo() -> None:
    host = primary().database(replica=None).silence()
    for _ in range(8):
        host = host.round(after_s=1.0)
        assert not any(action == SetSyncNames(on=False) for action in host.k.work.running)
    assert host.k.fencing.claim is not None
    writing = host.done(attempt(host))
    assert writing.k.intent.writing is not None
    assert not any(action == SetSyncNames(on=False) for action in writing.k.work.running)
    solo = writing.written().round(after_s=1.1)
    assert SetSyncNames(on=False) in solo.k.work.running


def test_m16_the_names_are_there_at_every_start_of_a_pair_in_sync() -> None:
    down = primary().down(clean=True).round()
    assert down.must_start(StartPostgres) == StartPostgres(standby=False, sync=True)
    assert primary(sync=False).down(clean=True).round().must_start(StartPostgres).sync is False
    unset = primary().database(sync_names="").round()
    assert unset.must_start(SetSyncNames).on
    assert "sync-names" in unset.warnings()


def test_names_that_are_not_pgvips_are_replaced_by_the_right_ones() -> None:
    """With somebody else's name there, commits are acknowledged that the standby lacks."""
    foreign = primary().database(sync_names="other", foreign_names=True).round()
    assert foreign.must_start(SetSyncNames).on
    assert "sync-names" in foreign.warnings()
    assert "weak-commits" not in foreign.warnings()
    assert "weak-commits" in primary().sees(commits=saw("synchronous_commit=off for app")).round().warnings()
    alone = primary(Mode.SOLO, sync=False).database(sync_names="other", foreign_names=True).round()
    assert not alone.must_start(SetSyncNames).on


# --- consent of a switchover --------------------------------------------------------------------------------


def test_a_clean_hand_over_waits_for_the_winner_to_have_the_checkpoint() -> None:
    host = primary().told(request=role_wish(reason="take-over-by-order"))
    host = host.down(clean=True).holds().done(StopPostgres(clean=True, handover=True))
    stopped = Stopped(4, WalPoint(1, Lsn(HERE + 1)))
    assert host.message.stopped == stopped
    assert not host.started(WriteState)
    other = Stopped(4, WalPoint(1, HERE))
    assert not host.told(has_checkpoint=other).started(WriteState)
    written = host.told(has_checkpoint=stopped).must_start(WriteState).durable.record
    assert written is not None
    assert (written.primary, written.from_term, written.handover) == ("b", 4, stopped.point)


def test_a_hand_over_that_is_not_confirmed_is_called_off_and_the_old_primary_serves_on() -> None:
    host = primary().told(request=role_wish(reason="take-over-by-order"))
    host = host.down(clean=True).holds().done(StopPostgres(clean=True, handover=True))
    assert not host.told(after_s=9.0, request=None).started(StartPostgres)
    off = host.told(after_s=10.5, request=None)
    off = off if off.started(StartPostgres) else off.told(request=None)
    assert off.k.consent.giving_up is None
    assert off.record.term == 4
    assert off.must_start(StartPostgres) == StartPostgres(standby=False, sync=True)


def test_what_is_begun_or_offered_is_called_off_at_the_end_of_its_time_and_with_it_the_order() -> None:
    ordered = primary().knows(switchover=Switchover(NOW_S - 10, NOW_S + 60), row="hand-over-switchover")
    assert ordered.knows(row_since_s=NOW_S - 9.9).round().message.invite == "hand-over-switchover"
    off = ordered.knows(row_since_s=NOW_S - 10).round()
    assert off.message.invite == ""
    assert off.k.orders.switchover is None
    begun = GiveUp("hand-over-switchover", Want.HANDOVER, 4, "boot-b", NOW_S - 12, clean=True)
    stopped = primary().down(clean=True).holds()
    assert stopped.knows(giving_up=replace(begun, stopped_at_s=NOW_S - 9.9)).round().k.consent.giving_up is not None
    assert stopped.knows(giving_up=replace(begun, stopped_at_s=NOW_S - 10)).round().k.consent.giving_up is None


def test_a_give_up_does_not_begin_with_the_end_of_wal_of_another() -> None:
    begun = primary().knows(end=WalPoint(1, HERE)).told(request=role_wish(reason="take-over-by-order"))
    assert begun.k.consent.giving_up is not None
    assert begun.k.consent.end is None


def test_an_offer_that_nobody_takes_is_called_off_once_and_made_again_later() -> None:
    host = primary().configured(override=Override.STANDBY).round()
    assert host.message.invite == "hand-over-override"
    off = host.told(after_s=10.5)
    assert off.message.invite == ""
    assert off.k.consent.called_off_until_s == off.now_s + 30.0
    later = off.told(after_s=1.0)
    assert later.k.consent.called_off_until_s == off.k.consent.called_off_until_s
    assert later.message.invite == ""


def test_while_giving_up_nothing_is_claimed_started_or_granted() -> None:
    host = primary().told(request=role_wish(reason="take-over-by-order"))
    quiet = host.down(clean=True).holds(Vip.PRIMARY).silence().round(after_s=0.1)
    assert quiet.k.consent.giving_up is not None
    assert not quiet.started(Fence)
    assert not quiet.started(StartPostgres)
    assert quiet.message.grant is None
    assert quiet.facts.held != NO_VIPS
