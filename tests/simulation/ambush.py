"""Directed faults, one play for each scenario behind the marks of docs/protocol.md, with times drawn from the seed.

A play lies in wait: it brings the pair to where a rule matters and does there what the rule is against. A run in which
the moment did not come (`Missed`) counts as held. After the play everything is healed, and the pair must come back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from pgvip.core.messages import Message, Order
from pgvip.core.values import Durable
from tests.simulation.faults import heal
from tests.simulation.machine import Host
from tests.simulation.play import Missed, Play
from tests.simulation.run import FAST, Outcome, resolve, start, watched
from tests.simulation.world import World


def parity(play: Play) -> None:
    """1. The stream breaks; consent to solo and a switchover cross on a slow link."""
    world, slow_s = play.world, play.world.span(0.1, 0.5)

    def late(sender: Host, message: Message) -> bool:
        world.after(slow_s, partial(world.arrive, sender.peer, message))
        return False

    world.passes = late
    play.wait(1.0, 2.0)
    world.faults.stop_escalates = 1.0
    play.break_stream()
    play.wait(0.8, 1.6)
    play.order(play.b, Order.SWITCHOVER)
    play.wait(3.0, 5.0)


def answer_is_late(play: Play) -> None:
    """2. A boots and asks; the answer is delayed; A is fenced, boots, gets it."""
    held = play.copies(play.b, lambda message: True, passing=False)
    play.a.power_off("ambush")
    play.on(play.a)
    play.until(lambda: any(message.answer for message in held))
    old = [message for message in held if message.answer][:3]
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.on(play.a)
    play.wait(0.0, 0.5)
    play.again(play.a, old)
    play.wait(2.0, 5.0)


def question_is_late(play: Play) -> None:
    """3. B reboots and asks; A is fenced while that old question is in flight."""
    old = play.copies(play.b, lambda message: bool(message.question))
    play.b.power_off("ambush")
    play.on(play.b)
    play.until(lambda: bool(old) and play.world.healthy(), 40.0)
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.copies(play.b, lambda message: True, passing=False)
    play.on(play.a)
    play.wait(0.0, 0.5)
    play.again(play.a, old[:3])
    play.wait(2.0, 5.0)


def asks_before_the_result(play: Play) -> None:
    """4. An operator forces B, which fences first; A boots again and asks before the result is in."""
    play.world.forced = True
    play.world.faults.fence_answer_s = 12.0
    play.order(play.b, Order.FORCE_PROMOTE)
    play.until(lambda: not play.a.powered)
    play.on(play.a)
    with suppress(Missed):
        play.until(lambda: play.serves(play.a), 6.0)
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(5.0, 9.0)
    play.world.net.cuts.clear()
    play.until(lambda: play.says_solo(play.a, play.b) and bool(play.a.durable.hold))
    play.order(play.a, Order.CLEAR_HOLD)


def first_result_is_late(play: Play) -> None:
    """5. Claim, abandon, claim again; the first result arrives."""
    play.world.faults.fence_answer_s = 15.0
    play.is_cut_off(play.a)
    play.until(lambda: not play.a.powered)
    play.world.net.cuts.clear()
    play.copies(play.b, lambda message: message.request is not None, passing=False)
    play.on(play.a)
    play.until(lambda: play.serves(play.a))
    play.wait(0.2, 1.0)
    play.world.fencing.moods["a"] = "fails"
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(8.0, 14.0)


def lease_ends_before_the_result(play: Play) -> None:
    """6. In async, A is cut off and goes on acknowledging; B's fence takes longer than B's lease."""
    play.world.faults.fence_takes_s = 40.0
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(38.0, 45.0)


def target_asks(play: Play) -> None:
    """7. B claims in silence; A boots and asks before the result is in."""
    play.world.faults.fence_answer_s = 12.0
    play.is_cut_off(play.a)
    play.until(lambda: not play.a.powered)
    play.world.net.cuts.clear()
    play.on(play.a)
    with suppress(Missed):
        play.until(lambda: play.serves(play.a), 6.0)
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(5.0, 9.0)


def old_request(play: Play) -> None:
    """8. A hand-over request is delayed across fence and solo; B's data are being rebuilt when it comes."""
    old = play.copies(play.b, lambda message: message.request is not None, passing=False)
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: len(old) >= 12)
    play.off(play.b)
    play.until(lambda: play.alone(play.a))
    play.copies(play.b, lambda message: True, passing=False)
    play.b.pg.standby_signal = False  # the data are to be rebuilt
    play.world.calm()
    play.on(play.b)
    play.until(lambda: play.b.pg.broken)
    play.copies(play.b, lambda message: True, passing=False)
    play.again(play.a, old)
    play.wait(1.0, 2.0)


def _solo_and_behind(play: Play) -> None:
    """A served alone, acknowledged, and is in a pair again with a B that streams and is far behind."""
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    play.wait(2.0, 6.0)
    play.world.replication.trickle.add("b")
    play.world.net.cuts.clear()
    play.until(play.is_pair)


def old_grant(play: Play) -> None:
    """9. A grant is delayed across consent, solo, pair."""
    old = play.copies(play.a, lambda message: message.grant is not None)
    play.until(lambda: len(old) >= 3)
    old = old[:3]
    play.a.kill_daemon()
    play.wait(0.05, 0.3)
    play.a.start_daemon()
    play.until(play.world.healthy)
    _solo_and_behind(play)
    play.again(play.b, old)
    play.wait(0.3, 1.0)
    play.off(play.a)
    play.wait(4.0, 8.0)


def streams_but_behind(play: Play) -> None:
    """10. Solo commits, the standby is back and streaming but behind, the primary is fenced."""
    _solo_and_behind(play)
    play.wait(0.3, 2.0)
    play.off(play.a)
    play.wait(4.0, 8.0)


def restarts_on_older_data(play: Play) -> None:
    """11. The standby restarts on older data while the primary is away."""
    play.off(play.a)
    play.wait(0.0, 1.0)
    if play.b.pg.phase != "standby":
        raise Missed
    play.b.pg.kill()
    play.b.pg.becomes_older(play.world.rng.randint(5, 15))
    play.wait(5.0, 9.0)


def older_data_at_adoption(play: Play) -> None:
    """12. The same between request and adoption."""

    play.copies(play.a, lambda message: play.says_solo(play.a, play.b), passing=False)
    play.a.pg.kill()
    play.until(lambda: play.says_solo(play.a, play.b), 5.0)
    play.b.pg.kill()
    play.b.pg.becomes_older(play.world.rng.randint(5, 15))
    play.wait(0.2, 1.0)
    play.world.calm()
    play.wait(5.0, 9.0)


def handed_back_after_serving(play: Play) -> None:
    """13. The winner of a switchover serves, its database dies, and handing back would be at hand."""
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.alone(play.b))
    play.wait(0.0, 2.0)
    play.b.pg.kill()
    play.wait(3.0, 6.0)


def keeps_both_addresses(play: Play) -> None:
    """14. A switchover while the loser still holds the standby VIP too; then the loser freezes."""
    play.world.sticks.add("a")
    play.a.kill_daemon()
    play.b.power_off("ambush")
    play.a.start_daemon()
    play.until(lambda: play.alone(play.a) and len(play.a.held) == 2)
    play.on(play.b)
    play.until(lambda: play.eligible(play.b), 30.0)

    boot_id = play.a.boot_id

    def moment(what: str, host: Host) -> None:
        # Not after a boot: where its drop fails for long it is fenced, and has no address any more.
        if what == "record" and host is play.a and play.says_solo(host, play.b) and host.boot_id == boot_id:
            play.world.after(play.world.span(0.01, 0.1), play.a.freeze)

    play.world.moment = moment
    play.order(play.a, Order.SWITCHOVER)
    play.wait(3.0, 6.0)


def loses_its_record(play: Play) -> None:
    """15. A hand-back is written, the loser crashes and loses its record, and asks a winner that has not heard."""
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.a.pg.phase == "down", 10.0)
    play.copies(play.a, lambda message: play.says_solo(play.a, play.b), passing=False)
    play.until(lambda: play.says_solo(play.a, play.b), 10.0)
    play.b.pg.kill()
    play.b.pg.becomes_older(play.world.rng.randint(5, 15))
    play.wait(0.2, 0.6)
    play.world.calm()
    told = play.copies(play.b, lambda message: play.says_solo(play.b, play.a), passing=False)
    play.until(lambda: bool(told), 10.0)
    play.b.power_off("ambush")
    play.b.durable = Durable()
    play.world.operators = True  # where it lost the record of its own role, nobody else can decide
    asks = play.copies(play.b, lambda message: True, passing=False)
    play.on(play.b)
    play.until(lambda: bool(asks))
    play.again(play.a, asks[:1])
    with suppress(Missed):
        play.until(lambda: play.says_solo(play.b, play.b), 2.0)
    play.apart("link")
    play.again(play.a, told[:1])
    play.wait(4.0, 8.0)


def cleared_too_early(play: Play) -> None:
    """16. The stream breaks; before the pair is solo the primary is fenced."""
    play.break_stream()
    play.wait(0.3, 1.2)
    play.off(play.a)
    play.wait(4.0, 8.0)


PLAYS: dict[int, Callable[[Play], None]] = {
    1: parity, 2: answer_is_late, 3: question_is_late, 4: asks_before_the_result, 5: first_result_is_late,
    6: lease_ends_before_the_result, 7: target_asks, 8: old_request, 9: old_grant, 10: streams_but_behind,
    11: restarts_on_older_data, 12: older_data_at_adoption, 13: handed_back_after_serving, 14: keeps_both_addresses,
    15: loses_its_record, 16: cleared_too_early,
}  # fmt: skip
ASYNC = {lease_ends_before_the_result}


def ambush(
    script: Callable[[Play], None],
    seed: int,
    *,
    sync: bool | None = None,
    trace: bool = False,
    witness: bool = False,
    **settings: float | bool,
) -> Outcome:
    """One run of a play; what the pair must hold is watched as in the random runs."""
    sync = script not in ASYNC if sync is None else sync
    world = World(seed, sync=sync, trace=trace, witness=witness, **(FAST | {"consent_s": 2.0} | settings))
    world.boot_s, world.rejoin_s = (0.05, 0.5), (1.0, 4.0)
    return watched(world, lambda _world: _act(Play(world), script))


def _act(play: Play, script: Callable[[Play], None]) -> None:
    world = play.world
    start(world)
    play.wait(0.5, 3.0)
    try:
        script(play)
    except Missed:
        world.log("---", "the moment did not come")
    world.moment = lambda _what, _host: None
    heal(world)
    resolve(world)
