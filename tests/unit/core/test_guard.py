"""What a round says to the watchdog, and what a host without the watchdog that it must have does not begin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import Fence, Guard, Promote, StartPostgres, StopPostgres
from pgvip.core.knowledge import Failures
from pgvip.core.messages import Order, Want
from pgvip.core.observations import Observation
from pgvip.core.rights import eligible
from pgvip.core.values import Mode, Vip
from tests.unit.core_world import NOW_S, SOLO_B, Host, failing, heard_from, primary, record, role_wish, saw, standby

FAILED = Failures(3, NOW_S + 60, "D state")


def guard(host: Host) -> Guard:
    assert host.last is not None
    return host.last.guard


# --- what the watchdog is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [primary(), primary(Mode.SOLO), primary().down(), primary().silence()], ids=str)
def test_it_guards_a_host_with_the_write_right(host: Host) -> None:
    assert guard(host.round()) is Guard.FEED


@pytest.mark.parametrize("host", [standby(), standby(Mode.SOLO), standby().down(clean=True)], ids=str)
def test_it_leaves_a_standby_alone(host: Host) -> None:
    assert guard(host.round()) is Guard.FREE


def test_a_host_that_has_just_booted_has_nothing_to_guard() -> None:
    assert guard(primary().reboots().round()) is Guard.FREE


def test_a_restart_of_the_daemon_goes_on_guarding_at_once() -> None:
    assert guard(primary().daemon_restarts().round()) is Guard.FEED


def giving_up(host: Host) -> Host:
    """The primary while it hands its role over, its server stopping."""
    giving = host.order(Order.SWITCHOVER).hears(request=role_wish()).round()
    assert giving.running(StopPostgres)
    return giving


def test_a_hand_over_is_guarded_until_it_is_given_up_in_deed() -> None:
    giving = giving_up(primary())
    assert guard(giving) is Guard.GIVE
    stopped = giving.down(clean=True).done(StopPostgres(clean=True, handover=True))
    assert guard(stopped) is Guard.GIVE, "the address is still here"
    assert guard(stopped.holds().round(after_s=0.1)) is Guard.FREE


def test_a_hand_over_that_cannot_come_about_in_deed_is_not() -> None:
    giving = giving_up(primary())
    assert guard(giving.knows(failures={StopPostgres: FAILED}).round()) is Guard.LOST
    y = giving.k.consent.giving_up
    assert y is not None
    assert y.want is Want.HANDOVER
    late = giving.knows(giving_up=replace(y, since_s=NOW_S - giving.s.stop_s - giving.s.consent_s - 1))
    assert guard(late.round()) is Guard.LOST


def test_a_role_taken_by_a_higher_term_is_lost_until_it_is_given_up_in_deed() -> None:
    taken = primary().round(messages=[heard_from("b", SOLO_B, seq=9)])
    assert guard(taken) is Guard.LOST
    stopped = taken.down().holds().knows(running=()).round(after_s=0.1)
    assert guard(stopped) is Guard.FREE


def test_a_term_that_keeps_the_role_here_takes_nothing() -> None:
    alone = record("a", Mode.SOLO, 5)
    assert guard(primary().round(messages=[heard_from("b", alone, seq=9)])) is Guard.FEED


def test_an_address_that_stays_is_enough_to_be_lost() -> None:
    taken = primary().down().holds(Vip.PRIMARY).round(messages=[heard_from("b", SOLO_B, seq=9)])
    assert guard(taken) is Guard.LOST


def test_isolation_takes_its_time_unless_it_fails() -> None:
    alone = primary().configured(isolation_demote_s=20.0).silence(60.0).sees(gateway=failing("x", NOW_S - 60)).round()
    assert guard(alone) is Guard.GIVE
    failed = alone.done(StopPostgres(clean=True), ok=False, text="timed out")
    assert guard(failed) is Guard.LOST
    assert guard(alone.down(clean=True).holds().knows(running=()).round(after_s=0.1)) is Guard.FREE


# --- a watchdog that must be there ---------------------------------------------------------------------------------


def required(host: Host, watch: Observation[bool] | None = None) -> Host:
    return host.configured(watchdog_required=True).sees(watchdog=watch or Observation())


READY: Observation[bool] = saw(value=True)
UNREADY: list[Observation[bool]] = [Observation(), saw(value=False), failing(value=True)]


@pytest.mark.parametrize("watch", UNREADY, ids=["not looked", "none", "failing"])
def test_without_it_no_server_is_started_read_write(watch: Observation[bool]) -> None:
    down = primary(Mode.SOLO).down(clean=True)
    assert required(down, READY).round().must_start(StartPostgres) == StartPostgres(standby=False, sync=False)
    assert not required(down, watch).round().started(StartPostgres)


@pytest.mark.parametrize("watch", UNREADY, ids=["not looked", "none", "failing"])
def test_without_it_nothing_is_promoted(watch: Observation[bool]) -> None:
    winner = standby(Mode.SOLO, me="b").durable(record=record("b", Mode.SOLO, 5), complete=True)
    assert required(winner, READY).round().k.intent.writing is not None, "served is written first"
    assert required(winner, watch).round().k.intent.writing is None, "and it can be handed back"
    promoting = winner.durable(served=True)
    assert required(promoting, READY).round().started(Promote)
    assert not required(promoting, watch).round().started(Promote)


@pytest.mark.parametrize("watch", UNREADY, ids=["not looked", "none", "failing"])
def test_without_it_no_role_is_taken(watch: Observation[bool]) -> None:
    silent = standby().silence().knows(waiting="take-over-by-fence", waiting_since_s=NOW_S - 10)
    assert required(silent, READY).round().started(Fence)
    assert not required(silent, watch).round().started(Fence)
    offered = standby().hears(invite="hand-over-switchover", invite_term=4)
    assert required(offered, READY).round().message.request is not None
    without = required(offered, watch).round()
    assert without.message.request is None
    assert not without.message.eligible
    assert not eligible(without.facts)


def test_a_primary_that_serves_goes_on_without_it() -> None:
    serving = required(primary(), failing(value=True)).round()
    assert not serving.started(StopPostgres)
    assert serving.message.read_write
    assert "watchdog-required" in serving.warnings()
    assert guard(serving) is Guard.FEED


def test_one_that_need_not_be_is_only_told_of() -> None:
    without = primary(Mode.SOLO).down(clean=True).sees(watchdog=failing(value=True)).round()
    assert without.started(StartPostgres)
    assert "watchdog-unusable" in without.warnings()
    assert "watchdog-required" not in without.warnings()
    assert not {"watchdog", "watchdog-required"} & set(primary().round().warnings())
