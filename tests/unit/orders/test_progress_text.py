"""The step that a change of role has come to, from either host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import AddVip, DropVip, StartPostgres, StopPostgres
from pgvip.core.knowledge import Claim, FenceOrder, GiveUp, Switchover, Why
from pgvip.core.messages import Stopped, Want
from pgvip.core.values import Mode, Vip, WalPoint
from pgvip.orders.progress_text import follows, step
from tests.unit.core_world import HERE, NOW_S, Host, primary, record, standby
from tests.unit.orders.test_order_table import snapshot_of

OLD = record()
ORDERED = Switchover(NOW_S, NOW_S + 60)
GIVING_UP = GiveUp("hand-over-switchover", Want.HANDOVER, 4, "boot-b", NOW_S, clean=True)
DONE = Stopped(4, WalPoint(1, HERE))
CLAIM = Claim("take-over-by-fence-ordered", 4, Why.OPERATOR, takeover=True, attempt="x", since_s=NOW_S)
BOTH = ("primary", "standby")


CASES: list[tuple[Host, str]] = [
    (primary(), ""),
    (primary().knows(switchover=ORDERED), "a offers its role to b"),
    (primary().knows(giving_up=GIVING_UP, running=(StopPostgres(clean=True),)), "a stops PostgreSQL"),
    (primary().knows(giving_up=GIVING_UP, running=(DropVip(Vip.PRIMARY),)), "a drops its addresses"),
    (primary().knows(giving_up=replace(GIVING_UP, stopped=DONE)), "shutdown checkpoint (0/1000)"),
    (primary().knows(giving_up=GIVING_UP), "a gives up its role"),
    (standby().knows(switchover=ORDERED), "b asks a for its role"),
    (standby().knows(switchover=ORDERED).hears(read_write=False), "a stops PostgreSQL"),
    (standby().hears(read_write=False, stopped=DONE), "b has the shutdown checkpoint"),
    (standby().knows(fence_order=FenceOrder(NOW_S + 60, off=False)), "b waits for its fence of a"),
    (standby().knows(claim=CLAIM), "b has a powered off"),
    (standby().knows(claim=replace(CLAIM, fenced=True)), "b writes that it is primary"),
    (standby().knows(heard=None), ""),
    (standby().durable(record=None), ""),
    (standby(Mode.SOLO, me="b", term=5).durable(record=record("b", Mode.SOLO, 5)), "b is being promoted"),
    (primary(Mode.SOLO, me="b", term=5).knows(running=(AddVip(Vip.PRIMARY),)), "b raises the addresses"),
    (primary(Mode.SOLO, me="b", term=5), ""),
    (standby(Mode.SOLO, me="a", term=5).hears(read_write=False), "b is being promoted"),
    (standby(Mode.SOLO, me="a", term=5).hears(vips=()), "b raises the addresses"),
    (standby(Mode.SOLO, me="a", term=5).hears(vips=BOTH), ""),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_step_has_its_sentence(number: int) -> None:
    host, text = CASES[number]
    snapshot = snapshot_of(host)
    told = step(OLD, replace(snapshot, decision=replace(snapshot.decision, knowledge=host.k)))
    assert text in told if text else told == ""


NEW = record("b", Mode.SOLO, 5)


@pytest.mark.parametrize("number", range(7))
def test_until_the_old_primary_follows(number: int) -> None:
    host, text = FOLLOWING[number]
    snapshot = snapshot_of(host)
    told = follows(replace(snapshot, decision=replace(snapshot.decision, knowledge=host.k)), NEW)
    assert text in told if text else told == ""


FOLLOWING: list[tuple[Host, str]] = [
    (primary(Mode.SOLO, me="b", term=5), "a is made to follow b"),
    (standby(Mode.SOLO, me="a", term=5), "a is made to follow b"),
    (standby(Mode.SOLO, me="a", term=5).knows(running=(StartPostgres(standby=True, sync=False),)), "a is started"),
    (primary(me="b", term=7).hears(eligible=False), "it is being made eligible"),
    (primary(me="b", term=7).hears(eligible=True, vips=()), "it is being made eligible"),
    (primary(me="b", term=7).hears(eligible=True, vips=("standby",)), ""),
    (standby(me="a", term=7), ""),
]
