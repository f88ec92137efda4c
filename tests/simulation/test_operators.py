"""A lost or restored record, an operator's force, a paused machine: what must hold then, and that it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core import decide
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.settings import Inputs, Settings
from tests.simulation.ambush import ambush
from tests.simulation.lost import ASYNC, LOST_PLAYS, paused_with_a_lease

pytestmark = pytest.mark.simulation

PLAYS = {play.__name__: play for play in LOST_PLAYS}
MODES = [(name, sync) for name in PLAYS for sync in (True, False) if not (sync and PLAYS[name] in ASYNC)]


@pytest.mark.parametrize(("play", "sync"), MODES, ids=str)
def test_what_needs_an_operator_waits_for_one(play: str, sync: bool) -> None:
    outcomes = [ambush(PLAYS[play], seed, sync=sync) for seed in range(1, 7)]
    failed = [(outcome.seed, outcome.failure) for outcome in outcomes if outcome.failure]
    assert not failed


def test_a_lease_that_outlives_a_pause_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump between the clocks that is not looked at: the paused standby takes over with a lease of long ago."""
    whole = decide.decide

    def blind(knowledge: Knowledge, inputs: Inputs, settings: Settings, now_s: float) -> Decision:
        return whole(knowledge, replace(inputs, jumped=False), settings, now_s)

    monkeypatch.setattr(decide, "decide", blind)
    failures = [ambush(paused_with_a_lease, seed, sync=False).failure for seed in range(1, 21)]
    assert any(failure.startswith("3: b lost the last") for failure in failures)
