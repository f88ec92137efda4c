"""A slice of the simulation for mutants: few seeds of each play and of the random runs, each a test of its own.

Unbroken rules only: what a mutant breaks must be found by what must hold, as with a rule that is broken on purpose.
"""

from __future__ import annotations

import pytest

from tests.simulation.ambush import PLAYS, ambush
from tests.simulation.lost import ASYNC, LOST_PLAYS
from tests.simulation.run import run

LOST = {play.__name__: play for play in LOST_PLAYS}
MODES = [(name, sync) for name in LOST for sync in (True, False) if not (sync and LOST[name] in ASYNC)]
EVENTS = 2000


@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.parametrize("number", [number for number in PLAYS if number != 15])
def test_play(number: int, seed: int) -> None:
    assert not ambush(PLAYS[number], seed).failure


@pytest.mark.parametrize("seed", range(1, 2))
@pytest.mark.parametrize(("play", "sync"), MODES, ids=str)
def test_lost(play: str, sync: bool, seed: int) -> None:
    assert not ambush(LOST[play], seed, sync=sync).failure


@pytest.mark.parametrize("seed", range(1, 13))
def test_seed(seed: int) -> None:
    assert not run(seed, EVENTS).failure
