"""`pgvip remove-peer` and `add-peer`: what is refused with what is to be done first, and what can be repeated."""

from __future__ import annotations

from typing import Any

import pytest

from pgvip.core.messages import Command, Order
from pgvip.core.values import Mode
from tests.unit.core_world import NOW_S, Host, primary, standby
from tests.unit.orders.test_order_table import Desk, refused, snapshot_of

AT = "2026-01-01T00:00:00+00:00"


def alone() -> Host:
    return primary(Mode.SOLO).silence().database(sync_names="", replica=None)


def asked(desk: Desk, command: str = "remove-peer", **more: Any) -> dict[str, Any]:
    return desk.ask(command=command, **{"wait_s": 0.5, **more})


@pytest.mark.parametrize(
    ("host", "why", "hint"),
    [
        (primary(), "the pair is whole", ""),
        (standby(Mode.SOLO), "b is not the primary", ""),
        (primary(Mode.SOLO), "b answers, and its PostgreSQL runs", "pgvip leave"),
        (primary(Mode.SOLO).silence(0.5).knows(heard=None), "its database answers", "power it off"),
        (alone().down(), "is not read-write", ""),
    ],
    ids=["pair", "standby", "runs", "database", "down"],
)
def test_it_is_refused_with_what_is_to_be_done_first(host: Host, why: str, hint: str) -> None:
    desk = Desk(snapshot_of(host))
    for more in ({"dry_run": True}, {"word": "b"}):
        said = refused(asked(desk, **more))
        assert why in said + str(desk.replies[-1].get("detail"))
        assert hint in desk.replies[-1]["hint"] + str(desk.replies[-1].get("detail"))
    assert desk.commands == []


def test_it_says_what_it_means_and_wants_the_name() -> None:
    desk = Desk(snapshot_of(alone()))
    plan = asked(desk, dry_run=True)
    assert plan["confirm"] == "b"
    assert "nobody takes over" in plan["warning"]
    assert "needs the name" in refused(asked(desk, word="a"))
    assert desk.commands == []


def test_it_is_ordered_and_waited_for_and_can_be_repeated() -> None:
    done = snapshot_of(alone().durable(removed=AT), NOW_S + 0.2)
    desk = Desk(snapshot_of(alone()), [snapshot_of(alone()), done])
    assert "b is removed since 2026-01-01" in asked(desk, word="b")["text"]
    assert desk.commands == [Command(Order.REMOVE_PEER)]
    assert "removed already" in asked(desk)["text"]
    assert desk.commands == [Command(Order.REMOVE_PEER)]


def test_an_order_that_was_dropped_is_said_to_be() -> None:
    desk = Desk(snapshot_of(alone()), [snapshot_of(primary(term=6), NOW_S + 2)] * 3)
    assert "b is not removed" in refused(asked(desk, word="b"))


def test_the_peer_is_waited_for_again() -> None:
    desk = Desk(snapshot_of(alone()))
    assert "nothing is to be done" in asked(desk, "add-peer")["text"]
    assert desk.commands == []
    desk = Desk(snapshot_of(alone().durable(removed=AT)), [snapshot_of(alone())])
    assert "dry run" in asked(desk, "add-peer", dry_run=True)["text"]
    assert "waits for b again" in asked(desk, "add-peer")["text"]
    assert desk.commands == [Command(Order.ADD_PEER)]


@pytest.mark.parametrize("what", ["fence off", "fence on", "promote"])
def test_a_removed_peer_is_neither_fenced_nor_switched_on(what: str) -> None:
    desk = Desk(snapshot_of(alone().durable(removed=AT)))
    assert "b is removed" in refused(desk.want(what))
    assert desk.commands == []
