"""Plays in which a record is lost or rolled back, an operator forces, or a virtual machine is paused.

Each says what must hold then; what needs an operator is recognised, and nothing is written or rebuilt before one acts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from pgvip.core.messages import Command, Order
from pgvip.core.values import Durable
from tests.simulation.engine import Violation
from tests.simulation.machine import Host
from tests.simulation.operators import Operator
from tests.simulation.play import Missed, Play


def _demands(host: Host, warning: str) -> None:
    said = Operator(host.world).warnings(host)
    if warning not in said:
        raise Violation(f"{host.name} does not say {warning}, but {sorted(said)}")


def _quiet(play: Play, for_s: float) -> None:
    """Nobody becomes read-write, and nobody's data are rebuilt."""
    end_s = play.world.now_s + for_s
    before = [(host.pg.phase == "primary", host.pg.broken) for host in play.world.hosts]
    while play.world.now_s < end_s:
        play.world.step()
        for host, (wrote, broken) in zip(play.world.hosts, before, strict=True):
            if (play.serves(host) and not wrote) or (host.pg.broken and not broken):
                raise Violation(f"{host.name} went on without an operator")


def standby_loses_its_record(play: Play) -> None:
    """It gets the record from the confirmed primary, and no operator is needed."""
    play.off(play.b)
    play.b.durable = Durable()
    play.wait(0.0, 8.0)
    play.on(play.b)
    play.until(play.is_pair, 60.0)


def primary_loses_its_record(play: Play) -> None:
    """In a pair nobody knows who may go on: both wait, and say so."""
    play.a.power_off("ambush")
    play.a.durable = Durable()
    play.on(play.a)
    play.wait(1.0, 3.0)
    _quiet(play, 20.0)
    _demands(play.a, "no-record")
    play.order(play.b if play.world.chance(0.5) else play.a, Order.FORCE_PROMOTE)
    play.wait(2.0, 8.0)


def solo_primary_loses_its_record(play: Play) -> None:
    """What A alone has stays untouched until an operator makes A primary again."""
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    play.wait(1.0, 5.0)
    play.a.power_off("ambush")
    play.a.durable = Durable()
    play.world.net.cuts.clear()
    play.on(play.a)
    play.wait(1.0, 3.0)
    _quiet(play, 20.0)
    _demands(play.a, "no-record")
    play.order(play.a, Order.FORCE_PROMOTE)
    play.wait(2.0, 8.0)


def both_lose_their_records(play: Play) -> None:
    """Neither serves until an operator forces one."""
    for host in (play.a, play.b):
        play.off(host)
        host.durable = Durable()
    for host in (play.a, play.b):
        play.on(host)
    _quiet(play, 20.0)
    _demands(play.a, "no-record")
    _demands(play.b, "no-record")
    play.order(play.a if play.world.chance(0.5) else play.b, Order.FORCE_PROMOTE)
    play.wait(2.0, 8.0)


def rolled_back_before_it_lost(play: Play) -> None:
    """A comes back with the record under which it was primary; B has taken over since, and its answer is adopted."""
    old = play.a.durable
    play.off(play.a)
    play.until(lambda: play.alone(play.b))
    play.a.durable = old
    play.wait(0.0, 3.0)
    play.on(play.a)
    play.wait(1.0, 5.0)


def rolled_back_to_an_older_term(play: Play) -> None:
    """The primary of a pair comes back with an older record of its own; the peer has the newer one."""
    old = play.a.durable
    play.b.power_off("ambush")
    play.on(play.b)
    play.until(lambda: play.is_pair() and play.a.durable.record != old.record and play.world.healthy(), 60.0)
    play.a.power_off("ambush")
    play.a.durable = old
    play.on(play.a)
    play.wait(1.0, 5.0)


def forced_while_the_primary_is_off(play: Play) -> None:
    """Nobody can be fenced, and an operator who saw the primary dead forces the standby."""
    play.world.fencing.moods["a"] = "fails"
    play.off(play.a)
    play.wait(0.5, 12.0)
    assert play.b.daemon is not None
    play.b.daemon.commands.append(Command(Order.FORCE_PROMOTE, "without-fence"))
    play.until(lambda: play.alone(play.b))
    play.wait(1.0, 4.0)
    play.world.fencing.moods.clear()
    play.on(play.a)
    play.until(lambda: bool(play.a.durable.hold))
    _quiet(play, 10.0)
    _demands(play.a, "hold")
    play.order(play.a, Order.CLEAR_HOLD)


def both_write_after_a_force(play: Play) -> None:
    """B is forced without a fence while A serves on, unseen: the records converge by term, and A keeps its data."""
    play.world.split = play.world.forced = True
    play.world.fencing.moods["a"] = "fails"
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(0.5, 4.0)
    assert play.b.daemon is not None
    play.b.daemon.commands.append(Command(Order.FORCE_PROMOTE, "without-fence"))
    play.until(lambda: play.alone(play.b))
    play.wait(1.0, 6.0)
    if not play.serves(play.a):
        raise Missed
    kept = list(play.a.pg.wal)
    play.world.net.cuts.clear()
    play.cut(play.a, "fence")  # a retry that is under way just then is no matter of this play
    play.until(lambda: play.says_solo(play.a, play.b))
    _quiet(play, 15.0)
    _demands(play.a, "hold")
    if play.a.pg.wal[: len(kept)] != kept:
        raise Violation("the diverged data were touched before an operator looked at them")
    play.world.split = False
    play.order(play.a, Order.CLEAR_HOLD)


def paused_with_a_lease(play: Play) -> None:
    """In async: the standby's machine is paused longer than its lease while the primary is cut off and serves on."""
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.b.freeze(clock_too=True)
    play.wait(25.0, 60.0)
    play.b.thaw()
    play.wait(3.0, 8.0)


def paused_primary(play: Play) -> None:
    """The primary's machine stands still; it is fenced, or goes on before that."""
    play.a.freeze(clock_too=True)
    with suppress(Missed):
        play.until(lambda: play.alone(play.b), play.world.span(0.5, 6.0))
    play.a.thaw()
    play.wait(1.0, 4.0)


LOST_PLAYS: tuple[Callable[[Play], None], ...] = (
    standby_loses_its_record, primary_loses_its_record, solo_primary_loses_its_record, both_lose_their_records,
    rolled_back_before_it_lost, rolled_back_to_an_older_term, forced_while_the_primary_is_off,
    both_write_after_a_force, paused_with_a_lease, paused_primary,
)  # fmt: skip
ASYNC = {paused_with_a_lease}
