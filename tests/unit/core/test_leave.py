"""A host that is shut down in order: it takes nothing, starts nothing, and its peer goes on before it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core.actions import Fence, PowerOn, Promote, Rejoin, SetSyncNames, StartPostgres, StopPostgres
from pgvip.core.knowledge import GiveUp
from pgvip.core.messages import Order, Want
from pgvip.core.values import NEVER, Mode, Pause
from tests.unit.core_world import NOW_S, POSTMASTER, Host, claiming, primary, record, role_wish, saw, standby


def chosen(host: Host) -> str:
    return host.chosen()[0].name


def test_the_order_is_told_to_the_peer_and_to_people_until_it_is_taken_back() -> None:
    host = primary().order(Order.SHUTDOWN)
    assert host.message.leaving
    assert host.warnings()["leaving"] == "if it stays after all: pgvip leave --cancel"
    stays = host.order(Order.STAY)
    assert not stays.message.leaving
    assert "leaving" not in stays.warnings()


def test_a_restart_of_the_daemon_moves_nothing_and_ends_the_leaving() -> None:
    assert not primary().order(Order.SHUTDOWN).daemon_restarts().round().message.leaving


# --- the primary ---------------------------------------------------------------------------------------


def test_a_leaving_primary_offers_its_role_to_an_eligible_standby() -> None:
    assert primary().order(Order.SHUTDOWN).message.invite == "hand-over-leaving"


@pytest.mark.parametrize("order", [Order.SHUTDOWN, Order.STAY])
def test_a_hand_over_called_off_before_does_not_hold_it_up(order: Order) -> None:
    tired = primary().knows(called_off_until_s=NOW_S + 20, leaving=True)
    assert tired.round().message.invite == ""
    assert tired.order(order).k.consent.called_off_until_s == NEVER


@pytest.mark.parametrize("change", [{"eligible": False}, {"leaving": True}, {"database_ok": False}], ids=str)
def test_it_offers_nothing_to_a_standby_that_cannot_take_it(change: dict[str, bool]) -> None:
    assert primary().knows(leaving=True).hears(**change).round().message.invite == ""


def test_nothing_is_offered_in_pause() -> None:
    paused = primary().durable(pause=Pause(1, active=True)).knows(leaving=True)
    assert paused.round().message.invite == ""


def test_a_leaving_primary_fences_nobody() -> None:
    assert chosen(primary().silence()) == "solo-by-fence"
    assert chosen(primary().knows(leaving=True).silence()) == "none"
    cannot = primary().hears(cannot="WriteState: no space", eligible=False)
    assert chosen(cannot) == "solo-by-fence-cannot"
    assert chosen(cannot.knows(leaving=True)) == "none"


@pytest.mark.parametrize("host", [primary, standby])
def test_a_claim_ends_when_the_host_leaves(host: Callable[[], Host]) -> None:
    open_ = claiming(host().silence())
    assert open_.round().k.fencing.claim is not None
    assert open_.order(Order.SHUTDOWN).k.fencing.claim is None


@pytest.mark.parametrize("mode", list(Mode))
def test_a_server_that_ended_is_not_started_again(mode: Mode) -> None:
    down = primary(mode).hears(eligible=False).down(clean=True)
    assert down.round().started(StartPostgres)
    leaving = down.knows(leaving=True).round()
    assert not leaving.started(StartPostgres)
    assert leaving.order(Order.STAY).started(StartPostgres)


def test_orphans_are_ended_all_the_same() -> None:
    orphans = primary(Mode.SOLO).down().processes(left=2).knows(leaving=True)
    assert orphans.round().must_start(StopPostgres) == StopPostgres(clean=False)


def test_after_the_hand_over_nothing_is_started_or_rebuilt() -> None:
    done = standby(Mode.SOLO, me="a", term=5).down(clean=True).processes(standby_signal=False)
    assert done.round().started(Rejoin)
    assert not done.knows(leaving=True).round().started(Rejoin)


def test_a_server_stopped_in_order_by_its_own_unit_hands_over_with_its_checkpoint() -> None:
    stopped = primary(sync=False).knows(leaving=True).down(clean=True).hears(request=role_wish())
    asked = stopped.round()
    assert asked.k.consent.giving_up is not None
    assert asked.k.consent.giving_up.clean
    crashed = primary(sync=False).knows(leaving=True).down().hears(request=role_wish()).round()
    assert crashed.k.consent.giving_up is not None
    assert not crashed.k.consent.giving_up.clean
    here = primary(sync=False).down(clean=True).knows(called_off_until_s=0.0).hears(request=role_wish(), eligible=True)
    taken = here.hears(request=role_wish(reason="take-over-by-order")).round()
    assert taken.k.consent.giving_up is not None
    assert not taken.k.consent.giving_up.clean, "a host that stays goes on as before"


# --- the standby ---------------------------------------------------------------------------------------


def test_the_primary_of_a_leaving_standby_asks_to_serve_alone_at_once() -> None:
    host = primary().hears(leaving=True).round()
    request = host.message.request
    assert request is not None
    assert (request.want, request.reason) == (Want.SOLO, "solo-by-consent")


def test_it_is_a_pair_again_only_when_the_standby_is_back() -> None:
    alone = primary(Mode.SOLO)
    assert chosen(alone) == "pair"
    assert chosen(alone.hears(leaving=True)) == "none"


def test_commits_do_not_wait_for_a_standby_that_leaves() -> None:
    alone = primary(Mode.SOLO).knows(clear_since_s=NOW_S - 5)
    assert not alone.round().started(SetSyncNames)
    assert alone.hears(leaving=True).round().must_start(SetSyncNames) == SetSyncNames(on=False)


def test_a_leaving_standby_consents() -> None:
    wish = replace(role_wish(boot_id="boot-a"), want=Want.SOLO, eligible=False, postmaster=POSTMASTER["a"])
    host = standby().knows(leaving=True).hears(request=wish).round()
    assert isinstance(host.k.consent.giving_up, GiveUp)


def test_a_leaving_standby_takes_no_role() -> None:
    silent = standby().silence().knows(waiting="take-over-by-fence", waiting_since_s=NOW_S - 10)
    assert silent.round().started(Fence)
    assert not silent.knows(leaving=True).round().started(Fence)
    offered = standby().hears(invite="hand-over-switchover", invite_term=4)
    assert offered.round().message.request is not None
    assert offered.knows(leaving=True).round().message.request is None


def test_a_server_that_runs_is_left_to_its_unit() -> None:
    assert not standby().knows(leaving=True).round().started(StopPostgres)
    late = primary(Mode.SOLO, me="a").database(in_recovery=True).knows(leaving=True)
    assert late.round().started(Promote), "what serves, serves until its end"


# --- afterwards ----------------------------------------------------------------------------------------


def test_a_host_that_left_is_not_switched_on_by_its_peer() -> None:
    lost = standby().knows(grant=None).silence().sees(fence=saw("off"))
    assert lost.round().started(PowerOn)
    heard = lost.k.peer.heard
    assert heard is not None
    left = lost.knows(heard=replace(heard, message=replace(heard.message, leaving=True)))
    assert not left.round().started(PowerOn)
    pending = left.knows(power_pending=True)
    assert pending.round().started(PowerOn), "what this host switched off it switches on"


def test_silence_of_a_leaving_primary_is_fenced_as_any_other() -> None:
    """Its hand-over did not come about; its standby may take over, and the fence sees it off."""
    silent = standby().hears(leaving=True).silence().knows(waiting="take-over-by-fence", waiting_since_s=NOW_S - 10)
    assert silent.round().started(Fence)


def test_the_record_is_not_changed_by_the_order() -> None:
    assert primary().order(Order.SHUTDOWN).record == record()
