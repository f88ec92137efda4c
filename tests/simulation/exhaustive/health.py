"""The state in which a search begins, the healthy one, and whether states come back to it once nothing is wrong."""

from __future__ import annotations

from pgvip.core.values import BootFacts, Durable, Mode, Record, Vip
from tests.simulation.exhaustive import machines
from tests.simulation.exhaustive.deciding import PAIR_ID, SYSTEM_ID, Core
from tests.simulation.exhaustive.moves import Moves
from tests.simulation.exhaustive.state import PEER, Host, Violation, World

RECOVERS = 500
"""Steps (a tick is two) in which a healed pair must be healthy."""


def first(core: Core) -> World:
    """As after `pgvip init` on the first host and `clone` on the second; both have just got power."""
    record = Record(PAIR_ID, SYSTEM_ID, 0, "a", Mode.SOLO, core.sync, witness_id=core.witness_id)
    durable = Durable(record=record, served=True)
    a = Host(on=False, boot="", durable=core.durables.number(durable))
    b = Host(on=False, boot="", durable=core.durables.number(Durable()))
    b = b._replace(pg=b.pg._replace(signal=True, control="in archive recovery"))
    world = World(a, b, limit=-1 if core.sync else int(core.settings["a"].lag_s_max))
    for name in ("a", "b"):
        world = machines.power_on(core, world, name)
    facts = core.facts.number(BootFacts(confirmed=True, confirmed_term=0))
    return world.put("a", world.a._replace(facts=facts))


def unhealthy(core: Core, world: World) -> str:
    """What is missing to the healthy state, or ""."""
    if not (world.a.known and world.b.known):
        return "a daemon is down"
    mine, theirs = core.durables[world.a.durable].record, core.durables[world.b.durable].record
    if mine is None or theirs is None or mine.term != theirs.term:
        return "the records differ"
    if mine.mode is not Mode.PAIR:
        return f"solo({mine.primary})"
    primary, standby = world.host(mine.primary), world.host(PEER[mine.primary])
    knows = core.known[standby.known]
    grant = knows.grants.grant
    eligible = grant is not None and grant.term == mine.term and grant.postmaster == standby.pg.proc
    wanted = (
        (primary.pg.phase == "primary", "the primary is not read-write"),
        (standby.pg.phase == "standby", "the standby is not up"),
        (primary.held == (Vip.PRIMARY,), f"the primary holds {primary.held}"),
        (standby.held == (Vip.STANDBY,), f"the standby holds {standby.held}"),
        (knows.confirmed and core.known[primary.known].confirmed, "unconfirmed"),
        (eligible, "not eligible"),
        (not world.acked or not core.sync, "acknowledged commits are on one host alone"),
    )
    return next((text for good, text in wanted if not good), "")


class Recovery:
    """5: it comes back. What was once seen to come back is not followed again."""

    def __init__(self, core: Core, moves: Moves) -> None:
        self.core = core
        self.moves = moves
        self.longest = 0
        self._far: dict[int, int] = {}  # how many steps to health

    def to_health(self, world: World) -> World:
        """The first healthy state on the prompt way from `world`, or one that is known to lead there."""
        passed: list[int] = []
        while (far := self._steps(world)) is None:
            if len(passed) > RECOVERS:
                raise Violation(f"5: it does not come back: {unhealthy(self.core, world)}")
            passed.append(hash(world))
            world = self.moves.default(world)
        self._far.update({mark: far + count for count, mark in enumerate(reversed(passed), 1)})
        self.longest = max(self.longest, far + len(passed))
        return world

    def _steps(self, world: World) -> int | None:
        return 0 if not unhealthy(self.core, world) else self._far.get(hash(world))

    def check(self, world: World) -> None:
        """All faults end now, nothing else goes wrong, and the pair must be healthy in time."""
        self.to_health(self.moves.faults.healed(world))
