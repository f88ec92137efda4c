"""`pgvip leave`: what is said before and after, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.config.model import FenceMethod
from pgvip.core.messages import Command, Heard, Order
from pgvip.core.values import Mode, Pause
from pgvip.orders.leaving import ANYWAY, STOPPED, on_stop
from pgvip.status.snapshot import Snapshot
from tests.unit.core_world import NOW_S, Host, primary, standby, witnessed
from tests.unit.orders.test_order_table import Desk, after, heard_message, refused, snapshot_of

PAUSE = Pause(1, active=True)
FENCE = FenceMethod(agent="fence_a")


def unheard(host: Host) -> Host:
    return host.knows(heard=Heard(heard_message(host), NOW_S - 60))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (primary().hears(eligible=False), "b is not eligible"),
        (primary().hears(eligible=False, guarded=False), "b may not begin to serve without its watchdog"),
        (primary().hears(hold="both wrote"), "the data of b is on hold"),
        (primary().knows(alarm="they differ"), "the two records differ"),
        (primary().hears(database_ok=False), "PostgreSQL on b does not run as a healthy standby"),
        (primary().hears(leaving=True), "b is shutting down"),
        (primary().durable(pause=PAUSE), "paused"),
        (primary(Mode.SOLO), "a serves alone"),
        (unheard(primary()), "b does not answer"),
        (unheard(standby()), "a does not answer"),
        (primary().knows(confirmed=False), "no confirmed record"),
        (primary().durable(record=None), "no confirmed record"),
    ],
    ids=str,
)
def test_where_nobody_takes_over_it_is_refused_unless_it_is_meant(host: Host, words: str) -> None:
    desk = Desk(snapshot_of(host))
    assert words in refused(desk.order(Order.SHUTDOWN))
    assert "--anyway" in desk.replies[-1]["hint"]
    assert desk.commands == []
    said = desk.order(Order.SHUTDOWN, ANYWAY, wait_s=0)
    assert words in said["text"]
    assert desk.commands == [Command(Order.SHUTDOWN, ANYWAY)]


def test_a_dry_run_says_who_goes_on() -> None:
    assert Desk(snapshot_of(primary())).order(Order.SHUTDOWN, dry_run=True)["text"] == (
        "dry run: a stops cleanly, b becomes primary"
    )
    assert "a serves alone" in Desk(snapshot_of(standby())).order(Order.SHUTDOWN, dry_run=True)["text"]


def with_fence(host: Host, *fencing: FenceMethod) -> Snapshot:
    """As one that the other host can power off by these methods."""
    made = snapshot_of(host)
    return replace(made, config=replace(made.config, me=replace(made.config.me, fencing=fencing)))


@pytest.mark.parametrize("host", [primary(), standby()], ids=["primary", "standby"])
def test_a_daemon_that_is_stopped_in_a_pair_names_leave_first(host: Host) -> None:
    """To stop PostgreSQL next is the natural order, and gets the host powered off."""
    said = on_stop(with_fence(host, FENCE))
    assert said.startswith(STOPPED)
    assert "Do not stop PostgreSQL now" in said
    assert "run pgvip leave first" in said


@pytest.mark.parametrize(
    "snapshot",
    [
        None,
        with_fence(primary(Mode.SOLO), FENCE),
        with_fence(standby().durable(pause=PAUSE), FENCE),
        with_fence(standby().durable(record=None), FENCE),
        with_fence(standby()),
    ],
    ids=["just started", "alone", "paused", "no record", "no fence"],
)
def test_where_nobody_powers_it_off_the_stop_says_no_more(snapshot: Snapshot | None) -> None:
    assert on_stop(snapshot) == STOPPED


def test_with_a_witness_the_primary_names_the_time_that_its_lease_leaves() -> None:
    own = witnessed(primary())
    assert "again within lease_s = 4.5 s" in on_stop(with_fence(own))
    assert "Do not stop PostgreSQL now" in on_stop(with_fence(own, FENCE))
    assert on_stop(with_fence(witnessed(standby()))) == STOPPED


def test_a_primary_has_left_when_the_other_writes() -> None:
    moved = standby(Mode.SOLO, me="a", term=5).knows(leaving=True).hears(read_write=False)
    waits = Desk(snapshot_of(primary()), [after(moved)])
    assert "timed out" in refused(waits.order(Order.SHUTDOWN, ANYWAY))
    desk = Desk(snapshot_of(primary()), [after(moved), after(moved.hears(read_write=True))])
    assert desk.order(Order.SHUTDOWN) == {"ok": True, "text": "b is primary (term 5)"}


def test_a_standby_has_left_when_the_primary_knows_that_it_is_alone() -> None:
    alone = standby(Mode.SOLO, term=5).knows(leaving=True)
    assert Desk(snapshot_of(standby()), [after(alone)]).order(Order.SHUTDOWN)["text"] == "a serves alone (term 5)"
    unknown = alone.hears(record=standby().record)
    assert "timed out" in refused(Desk(snapshot_of(standby()), [after(unknown)]).order(Order.SHUTDOWN))


def test_both_leave_and_the_primary_is_the_one_that_comes_back() -> None:
    alone = primary(Mode.SOLO, term=6).knows(leaving=True).hears(leaving=True)
    said = Desk(snapshot_of(primary().hears(leaving=True)), [after(alone)]).order(Order.SHUTDOWN, ANYWAY)
    assert "a leaves as the pair's only primary (term 6)" in said["text"]


def test_a_role_that_is_not_taken_after_all_is_taken_back_unless_it_is_meant() -> None:
    late = snapshot_of(primary().knows(leaving=True).hears(eligible=False), NOW_S + 9)
    late = type(late)(late.config, late.decision, late.seen, NOW_S + 0.5, late.stats)
    assert "timed out" in refused(Desk(snapshot_of(primary()), [late]).order(Order.SHUTDOWN))
    left = primary().at(NOW_S + 9).knows(leaving=True, round_s=NOW_S + 9).hears(eligible=False)
    later = snapshot_of(left, NOW_S + 9)
    desk = Desk(snapshot_of(primary()), [later])
    assert "nothing was handed over: b is not eligible" in refused(desk.order(Order.SHUTDOWN))
    assert desk.commands == [Command(Order.SHUTDOWN), Command(Order.STAY)]
    meant = Desk(snapshot_of(primary()), [later])
    assert "nothing is handed over: b is not eligible" in meant.order(Order.SHUTDOWN, ANYWAY)["text"]
    assert meant.commands == [Command(Order.SHUTDOWN, ANYWAY)]


def test_a_hand_over_that_was_called_off_is_not_waited_for() -> None:
    host = primary().at(NOW_S + 9).knows(leaving=True, round_s=NOW_S + 9, called_off_until_s=NOW_S + 20)
    desk = Desk(snapshot_of(primary()), [snapshot_of(host.hears(), NOW_S + 9)])
    assert "nothing was handed over: the hand-over was called off" in refused(desk.order(Order.SHUTDOWN))
    assert desk.commands[-1] == Command(Order.STAY)


def test_to_stay_is_an_order_for_a_host_that_leaves() -> None:
    assert "not leaving" in refused(Desk(snapshot_of(primary())).order(Order.STAY))
    desk = Desk(snapshot_of(primary().knows(leaving=True)), [after(primary())])
    assert desk.order(Order.STAY)["text"] == "a stays"
