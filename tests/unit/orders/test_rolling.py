"""In which order servers are restarted, and where an interrupted restart goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.errors import RefusedError
from pgvip.orders.rolling import Do, Look, Pending, begin, lowered, steps
from pgvip.state.record import Restarting

ALPHA = Look("alpha", "alpha", "a1", running="15.14", installed="15.14")
BETA = Look("beta", "alpha", "b1", running="15.14", installed="15.14")
RAISED = (Pending("max_connections", "100", "200"),)
LOWERED = (Pending("max_connections", "100", "50"), Pending("shared_buffers", "16384", "128MB"))
KEPT = Restarting("2026-01-31T14:30:00+00:00", "postgres", "alpha", {"alpha": "a1", "beta": "b1"})


def plan(kept: Restarting = KEPT, *, me: str = "alpha", alpha: Look = ALPHA, beta: Look = BETA) -> list[tuple[str, Do]]:
    return [(step.host, step.do) for step in steps(kept, {"alpha": alpha, "beta": beta}, me)]


def moved(look: Look, primary: str, postmaster: str = "") -> Look:
    return replace(look, primary=primary, postmaster=postmaster or look.postmaster)


def test_the_standby_comes_first_and_then_one_switchover() -> None:
    assert plan() == [("beta", Do.CYCLE), ("alpha", Do.SWITCHOVER)]
    assert plan(replace(KEPT, back=True)) == [
        ("beta", Do.CYCLE), ("alpha", Do.SWITCHOVER), ("beta", Do.SWITCHOVER),
    ]  # fmt: skip
    assert all(step.notice for step in steps(KEPT, {"alpha": ALPHA, "beta": BETA}, "alpha"))


def test_only_hosts_that_are_to_be_restarted_are() -> None:
    assert plan(replace(KEPT, before={"beta": "b1"})) == [("beta", Do.CYCLE)]
    assert plan(replace(KEPT, before={"alpha": "a1"})) == [("alpha", Do.SWITCHOVER)]


def test_an_interrupted_one_goes_on_where_it_ended() -> None:
    assert plan(beta=moved(BETA, "alpha", "b2")) == [("alpha", Do.SWITCHOVER)]
    back = replace(KEPT, back=True)
    alpha, beta = moved(ALPHA, "beta", "a2"), moved(BETA, "beta", "b2")
    assert plan(alpha=alpha, beta=beta) == []
    assert plan(back, alpha=alpha, beta=beta) == [("beta", Do.SWITCHOVER)]
    # A takeover came between: who was not restarted is a primary or a standby by what the record says now.
    assert plan(alpha=moved(ALPHA, "beta", "a2"), beta=moved(BETA, "beta")) == [("beta", Do.SWITCHOVER)]


def test_a_limit_becomes_lower_on_the_primary_first() -> None:
    assert lowered(replace(ALPHA, pending=LOWERED)) == ("max_connections",)
    assert lowered(replace(ALPHA, pending=RAISED)) == ()
    assert lowered(replace(ALPHA, pending=(Pending("shared_buffers", "16384", "100"),))) == ()
    kept = replace(KEPT, lowered=("max_connections",))
    assert plan(kept) == [("alpha", Do.IN_PLACE), ("beta", Do.CYCLE)]
    assert plan(kept, alpha=moved(ALPHA, "alpha", "a2")) == [("beta", Do.CYCLE)]


def test_a_command_runs_on_a_standby_that_is_down() -> None:
    beta = replace(KEPT, before={"beta": "b1"}, command="apt-get upgrade")
    assert plan(beta, me="beta") == [("beta", Do.DOWN), ("beta", Do.COMMAND), ("beta", Do.UP)]
    alpha = replace(KEPT, before={"alpha": "a1"}, command="apt-get upgrade", back=True)
    assert plan(alpha) == [
        ("alpha", Do.SWITCHOVER), ("alpha", Do.DOWN), ("alpha", Do.COMMAND), ("alpha", Do.UP), ("beta", Do.SWITCHOVER),
    ]  # fmt: skip
    ran = replace(beta, ran=True)
    assert plan(ran, me="beta") == []
    assert plan(ran, me="beta", beta=replace(BETA, leaving=True, postmaster="")) == [("beta", Do.UP)]


def test_where_a_restart_begins() -> None:
    waits = replace(BETA, pending=RAISED)
    assert begin([ALPHA, BETA], "alpha", rolling=False, pending=False) == ({"alpha": "a1"}, ())
    assert begin([ALPHA, BETA], "alpha", rolling=True, pending=False) == ({"alpha": "a1", "beta": "b1"}, ())
    assert begin([ALPHA, waits], "alpha", rolling=True, pending=True) == ({"beta": "b1"}, ())
    falls = replace(ALPHA, pending=LOWERED)
    both = {"alpha": "a1", "beta": "b1"}
    assert begin([falls, BETA], "alpha", rolling=True, pending=True) == (both, ("max_connections",))


@pytest.mark.parametrize(
    ("looks", "pending", "named"),
    [
        ([ALPHA, BETA], True, "no setting waits for a restart on both hosts"),
        ([ALPHA, replace(BETA, unknown="no answer")], False, "beta cannot be restarted now: no answer"),
        ([replace(ALPHA, postmaster=""), BETA], False, "alpha cannot be restarted now: PostgreSQL does not run"),
    ],
)
def test_what_cannot_begin(looks: list[Look], pending: bool, named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        begin(looks, "alpha", rolling=True, pending=pending)
