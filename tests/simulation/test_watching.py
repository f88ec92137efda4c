"""What is watched over time is seen when it breaks: an address without a database, a role that a daemon moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core import converge, decide
from pgvip.core.knowledge import Knowledge
from pgvip.core.round import Round
from pgvip.core.settings import Identity
from pgvip.core.values import BootFacts, Durable, Vip
from tests.simulation.engine import Violation
from tests.simulation.plan import Plan
from tests.simulation.run import play
from tests.simulation.scenario import pair, run

pytestmark = pytest.mark.simulation
ONLY_DAEMONS = list(range(13, 13 * 9, 13))


def _dead_for_good() -> None:
    world = pair(1)
    world.a.pg.broken = world.b.pg.broken = True  # neither starts again
    world.b.pg.kill()
    run(world, 10.0)  # a serves alone: there is nobody to hand over to
    world.a.pg.kill()
    run(world, 30.0)


def test_the_primary_vip_goes_with_its_database() -> None:
    _dead_for_good()


def test_a_primary_vip_without_a_database_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = converge.addresses

    def broken(r: Round) -> None:
        if Vip.PRIMARY not in r.facts().held or r.facts().read_write:
            whole(r)

    monkeypatch.setattr(converge, "addresses", broken)
    with pytest.raises(Violation, match=r"^4: a has had the primary VIP for"):
        _dead_for_good()


def test_runs_in_which_only_daemons_fail_have_faults_and_hold() -> None:
    outcomes = [play(Plan.of(seed, 600)) for seed in ONLY_DAEMONS]
    assert not [outcome.failure for outcome in outcomes if outcome.failure]
    struck = [fault.kind for outcome in outcomes if outcome.plan for fault in outcome.plan.faults or ()]
    assert set(struck) == {"daemon_killed", "daemon_stopped"}
    assert len(struck) > 2 * len(outcomes)


def test_a_daemon_that_forgets_with_its_process_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = decide.begin

    def broken(who: Identity, durable: Durable, facts: BootFacts) -> Knowledge:
        return whole(who, durable, replace(facts, confirmed=False))

    monkeypatch.setattr(decide, "begin", broken)
    failures = [play(Plan.of(seed, 600)).failure for seed in ONLY_DAEMONS]
    assert any(failure.startswith("7: ") for failure in failures), failures
