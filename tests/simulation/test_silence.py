"""Invariant 6, never silent: under faults that last, an outage is a change under way or named on both hosts."""

from __future__ import annotations

from random import Random

import pytest

from pgvip.core import decide, warnings
from pgvip.core.facts import Facts
from pgvip.core.settings import StandingWarning
from tests.simulation import silence
from tests.simulation.engine import Violation
from tests.simulation.silence import LASTING, OF_WITNESS, lasting

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

PAIRS = [names for names in silence.plays() if names[1]]
SAMPLE = Random(6).sample(PAIRS, 60)
"""So many of all pairs of faults; `python -m tests.simulation.silence` plays all."""


@pytest.mark.parametrize("name", LASTING)
def test_one_fault_that_lasts(name: str) -> None:
    lasting(1, name)


@pytest.mark.parametrize("names", SAMPLE, ids=" and ".join)
def test_two_faults_that_last(names: tuple[str, str]) -> None:
    lasting(2, *names)


BESIDE = Random(6).sample([(lost, other) for lost in OF_WITNESS for other in LASTING], 30)
"""So many of a fault of the witness beside another one."""


@pytest.mark.parametrize("name", OF_WITNESS)
def test_one_fault_of_the_witness_that_lasts(name: str) -> None:
    lasting(1, name, witness=True)


@pytest.mark.parametrize("names", BESIDE, ids=" and ".join)
def test_a_fault_beside_one_of_the_witness(names: tuple[str, str]) -> None:
    lasting(2, *names, witness=True)


FOUND = {
    "commits-wait": ("gateway cut", "stream cut from b"),
    "database-unseen": ("stream cut", "database of a not seen"),
    "peer-failing": ("stream cut", "disk of a bad"),
}
"""Warnings without which the simulation finds silence, and the faults that show it."""


@pytest.mark.parametrize("name", FOUND)
def test_silence_is_found_where_a_warning_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(facts: Facts) -> tuple[StandingWarning, ...]:
        return tuple(one for one in warnings.standing(facts) if one.name != name)

    monkeypatch.setattr(decide, "standing", without)
    with pytest.raises(Violation, match=r"6: no commit for .* nothing is said of it"):
        lasting(1, *FOUND[name])


def test_an_outage_lasts_long_enough_to_be_looked_at() -> None:
    """Else the other tests here would prove nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(silence.Silence, "says", staticmethod(lambda _host: []))
        with pytest.raises(Violation):
            lasting(1, "gateway cut", "stream cut from b")
