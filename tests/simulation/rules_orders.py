"""Rules of an operator's order to power the peer off: each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from pgvip.core import fencing
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Claim, Why
from pgvip.core.messages import Order
from pgvip.core.round import Round
from tests.simulation.play import Missed, Play
from tests.simulation.rule import Rule, everywhere, given

Patch = pytest.MonkeyPatch


def order_is_right(patch: Patch) -> None:
    """An order to power the peer off is the right to take its role."""

    def make(whole: Callable[[Facts], bool]) -> Callable[[Facts], bool]:
        def broken(facts: Facts) -> bool:
            claim = facts.k.fencing.claim
            ordered = facts.k.orders.fence_order is not None or (claim is not None and claim.why is Why.OPERATOR)
            return whole(facts) or (ordered and facts.recovering)

        return broken

    everywhere(patch, "takeover_right", make)


def ordered_after_the_lease(play: Play) -> None:
    """In async: B hears nothing of A, which serves, and cannot fence it until its lease is over; then it is ordered."""
    play.cut(play.b, "fence")
    play.cut(play.a, "fence")
    play.apart("link")
    play.break_stream()
    play.wait(22.0, 26.0)
    play.world.net.cuts.discard(("fence", "b"))
    play.order(play.b, Order.FAILOVER)
    play.wait(3.0, 6.0)
    play.world.net.cuts.clear()


def word_of_a_living_peer(patch: Patch) -> None:
    """An operator's word ends the claim that they ordered also while the peer answers."""

    def make(whole: Callable[[Round, Claim], None]) -> Callable[[Round, Claim], None]:
        def broken(r: Round, c: Claim) -> None:
            if c.why is Why.OPERATOR and c.by_word:
                c = replace(c, by_word=False)
                r.k.fencing = replace(r.k.fencing, claim=c)
            whole(r, c)

        return broken

    given(patch, fencing, "_carry_on", make)


def ordered_and_said(play: Play) -> None:
    """A failover is ordered whose fence fails, and an operator says that A is off, which serves behind a cut link."""
    play.world.fencing.moods["a"] = "fails"
    play.order(play.b, Order.FAILOVER)
    with suppress(Missed):
        play.until(lambda: bool(play.b.daemon and play.b.daemon.knowledge.fencing.claim), 3.0)
    play.apart("link", "db")
    play.order(play.b, Order.FENCE_CONFIRMED)
    play.wait(3.0, 6.0)


RULES = (
    Rule("order-is-no-right", "An operator may order the claim; that gives no right to it", order_is_right,
         ordered_after_the_lease, "3: b lost the last", "link and replication cut, a failover ordered",
         sync=False, settings={"lag_s_max": 10.0}),
    Rule("order-and-word", "and an operator's word that the peer is off counts only while it answers by no path",
         word_of_a_living_peer, ordered_and_said, "1: two writers",
         "a failover ordered, a fence that fails, then link and replication cut"),
)  # fmt: skip
