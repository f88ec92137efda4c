"""A peer that an operator removed: this host stays alone, touches nobody, and the peer that is back serves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import Fence, MountArchive, PowerOn, SetSyncNames, UnmountArchive, WriteState
from pgvip.core.knowledge import FenceOrder
from pgvip.core.messages import Order
from pgvip.core.removed_peer import UNHEEDED, since
from pgvip.core.values import Mode, Pause, Role
from pgvip.core.warnings import TABLE
from tests.unit.core_world import NOW_S, Host, failing, primary, record, saw, settings, standby

AT = "2026-01-01T00:00:00+00:00"


def alone() -> Host:
    """A host that serves alone, beside a peer that is off."""
    return primary(Mode.SOLO).silence().database(sync_names="", replica=None)


def removed(host: Host | None = None) -> Host:
    return (host or alone()).durable(removed=AT)


def back(host: Host | None = None) -> Host:
    """The removed peer is there again, and follows as well as one can."""
    return (host or primary(Mode.SOLO)).durable(removed=AT)


def wrote(host: Host) -> str:
    return host.must_start(WriteState).durable.removed


# --- the order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [alone(), alone().hears(leaving=True), alone().hears(postmaster="", vips=(), read_write=False)],
    ids=["silent", "left", "its server is down"],
)
def test_a_host_that_serves_alone_writes_that_its_peer_is_removed(host: Host) -> None:
    done = host.order(Order.REMOVE_PEER)
    assert wrote(done) == AT
    assert done.written().k.durable == replace(host.k.durable, removed=AT)


@pytest.mark.parametrize(
    "host",
    [
        primary().silence(), primary().hears(leaving=True), standby(Mode.SOLO).silence(), primary(Mode.SOLO),
        alone().knows(confirmed=False), alone().down(), primary(Mode.SOLO).silence(0.5),
    ],
    ids=["pair", "pair, leaving", "standby", "the peer follows", "unconfirmed", "does not serve", "silent just now"],
)  # fmt: skip
def test_no_other_host_does(host: Host) -> None:
    done = host.order(Order.REMOVE_PEER)
    writing = done.started(WriteState)
    assert writing is None or not writing.durable.removed
    assert done.last is not None
    assert "remove-dropped" in {note.event for note in done.last.notes}


def test_it_is_judged_again_when_a_write_has_ended_before_it() -> None:
    busy = alone().knows(writing=replace(alone().k.durable, record=record("a", Mode.PAIR, 6)))
    waits = busy.order(Order.REMOVE_PEER)
    assert waits.k.orders.deferred
    pair = primary(term=6).knows(deferred=waits.k.orders.deferred).round()
    assert not pair.started(WriteState)
    assert not pair.k.orders.deferred


def test_both_orders_can_be_repeated() -> None:
    assert not removed().order(Order.REMOVE_PEER).started(WriteState)
    assert not alone().order(Order.ADD_PEER).started(WriteState)
    assert wrote(removed().order(Order.ADD_PEER)) == ""


def test_what_was_ordered_of_the_peer_s_power_goes_with_it() -> None:
    host = alone().knows(fence_order=FenceOrder(NOW_S + 60, off=True), power_order_until_s=NOW_S + 60)
    done = host.durable(kept_off=True).order(Order.REMOVE_PEER)
    assert done.k.orders.fence_order is None
    assert not done.written().round(after_s=1.0).running(PowerOn)


# --- what it takes away -------------------------------------------------------------------------------------------


def test_a_peer_that_follows_does_not_become_a_standby_again() -> None:
    assert primary(Mode.SOLO).chosen()[0].name == "pair"
    row, blockers = back().chosen()
    assert row.name == "none"
    assert dict(blockers)["pair"] == "b is removed"


def test_no_role_is_handed_back_to_it() -> None:
    lacks = standby(Mode.SOLO, me="a", term=5).durable(record=record("a", Mode.SOLO, 6, from_term=5))
    about = record("a", Mode.SOLO, 6, from_term=5)
    lacks = lacks.hears(record=about).knows(blocked_since_s=NOW_S - 60)
    assert lacks.round().message.invite == "hand-back"
    assert lacks.durable(removed=AT).round().message.invite == ""


def test_commits_do_not_begin_to_wait_for_it() -> None:
    near = primary(Mode.SOLO).database(sync_names="")
    assert near.round().must_start(SetSyncNames).on
    assert not near.durable(removed=AT).round().started(SetSyncNames)
    assert not back().round().must_start(SetSyncNames).on, "names that were set in preparation are cleared"


def test_nobody_is_fenced_or_switched_on() -> None:
    ordered = removed().knows(fence_order=FenceOrder(NOW_S + 60, off=True)).durable(kept_off=True)
    assert not ordered.round().started(Fence)
    pending = alone().knows(power_pending=True)
    assert pending.round().running(PowerOn)
    assert not removed(pending).round().running(PowerOn)
    needed = alone().reboots().sees(fence=saw("off", NOW_S + 30), peer_own=failing()).knows(confirmed=True)
    assert needed.round(after_s=20.0).running(PowerOn)
    assert not removed(needed).round(after_s=20.0).running(PowerOn)


def test_a_forced_promotion_fences_nobody_either() -> None:
    forced = removed().order(Order.FORCE_PROMOTE)
    assert not forced.started(Fence)
    assert not forced.started(WriteState)
    assert not forced.k.orders.force
    meant = removed().order(Order.FORCE_PROMOTE, "without-fence")
    assert meant.must_start(WriteState).durable.removed == AT


def test_its_archive_is_unmounted_and_not_mounted_again() -> None:
    host = primary(Mode.SOLO).configured(archive=True)
    assert host.sees(archive=saw(value=False)).round().started(MountArchive)
    assert not back(host).sees(archive=saw(value=False)).round().started(MountArchive)
    assert not host.round().started(UnmountArchive)
    assert back(host).round().started(UnmountArchive)


def test_its_pause_is_not_this_host_s() -> None:
    pause = Pause(5, active=True)
    assert primary(Mode.SOLO).told(pause=pause).must_start(WriteState).durable.pause == pause
    told = back().told(pause=pause)
    assert not told.started(WriteState)


# --- what it never gives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.PAIR, Mode.SOLO])
def test_the_flag_means_nothing_where_the_record_is_another(mode: Mode) -> None:
    """It gives no right: a host whose record is not "alone, by my own" decides as if it were not there."""
    hosts = [standby(mode), standby(mode).silence(), standby(mode).reboots()]
    hosts += [primary(), primary().silence(), primary().reboots()] if mode is Mode.PAIR else []
    for host in hosts:
        with_flag = host.durable(removed=AT)
        assert with_flag.round().actions == host.round().actions
        assert with_flag.round().message == host.round().message
        assert not since(with_flag.k.durable, host.me)


def test_a_higher_record_of_the_removed_peer_is_adopted_and_ends_it() -> None:
    told = back().told(record=record("b", Mode.SOLO, 5), confirmed=True)
    assert not told.started(WriteState), "it gives up first"
    gave_up = told.down().holds().knows(running=()).round()
    durable = gave_up.must_start(WriteState).durable
    assert durable.record is not None
    assert (durable.record.primary, durable.removed) == ("b", "")


def test_it_is_answered_so_that_it_knows_that_it_does_not_serve() -> None:
    asked = back().told(question="boot-b-2/run-b-2", record=record("a", Mode.PAIR, 3), confirmed=False)
    assert asked.message.answer == "boot-b-2/run-b-2"
    assert asked.message.record == asked.record


def test_a_removed_peer_that_boots_alone_serves_nothing() -> None:
    """Its record is that of a standby, of this term or of an older one; nothing but an answer confirms it."""
    for mode in Mode:
        host = standby(mode).reboots().sees(arp_primary=saw("", NOW_S)).knows(heard=None)
        for _ in range(40):
            host = host.sees(peer_own=failing(), peer_vip=failing()).round(after_s=5.0)
            assert not host.k.confirmed
            assert not host.running(Fence)
            assert host.k.durable.record == standby(mode).record


# --- this host's own boot, and what is said --------------------------------------------------------------------------


def test_after_its_own_boot_it_serves_again_by_silence_as_any_solo_primary() -> None:
    host = removed().reboots()
    assert not host.round(after_s=1.0).k.confirmed
    sure = host.round(after_s=settings().solo_boot_wait_s + 0.1)
    assert sure.k.confirmed
    assert sure.k.role is Role.PRIMARY_STANDBY
    taken = removed().reboots().sees(arp_primary=saw("02:00:00:00:00:99", NOW_S))
    assert not taken.round(after_s=settings().solo_boot_wait_s + 0.1).k.confirmed


def test_there_is_no_warning_while_it_is_silent_and_one_when_it_answers() -> None:
    bare = alone().sees(fence=failing(), archive=failing(), stranger=saw("refused")).durable(kept_off=True)
    bare = bare.configured(fencing=False, archive_mounted=False)
    assert "peer-silent" in bare.round().warnings()
    assert removed(bare).round().warnings() == {}
    told = back().told(digest="x", version="0", hold="both", cannot="x", failing="y", database_ok=False)
    assert list(told.warnings()) == ["removed-peer"]
    assert "pgvip add-peer" in told.warnings()["removed-peer"]


def test_every_warning_that_is_not_heeded_is_one() -> None:
    assert {row.name for row in TABLE} >= UNHEEDED
