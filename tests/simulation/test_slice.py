"""A slice of the random runs: every seed must hold what docs/protocol.md says must hold.

`scripts/simulate --seconds S` runs more of them; it is part of `scripts/test`.
"""

from __future__ import annotations

import pytest

from tests.simulation.run import run

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize("first", range(0, 100, 20))
@pytest.mark.timeout(120)
def test_seeds_hold(first: int) -> None:
    outcomes = [run(seed, 1000) for seed in range(first, first + 20)]
    failed = [(outcome.seed, outcome.failure) for outcome in outcomes if outcome.failure]
    assert not failed, f"replay with scripts/simulate --events 1000 --trace --seed: {failed}"
