"""Rules of "Claiming (fence)" and "Forced by an operator": each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from pgvip.core import fencing, intake, veto
from pgvip.core.actions import Fence
from pgvip.core.changes import Change
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Claim, Why
from pgvip.core.messages import Command, Order
from pgvip.core.round import Round
from pgvip.core.values import Grant
from tests.simulation.ambush import lease_ends_before_the_result
from tests.simulation.engine import Violation
from tests.simulation.fencing import Fencing, Told
from tests.simulation.machine import Host
from tests.simulation.network import PATHS
from tests.simulation.play import Missed, Play
from tests.simulation.rule import Rule, everywhere

Patch = pytest.MonkeyPatch


def claims_afterwards(patch: Patch) -> None:
    """The claim is opened when the fence has worked, not before it is sent."""
    fenced = fencing.fenced
    wanted: dict[str, tuple[str, Why, bool]] = {}

    def no_claim(r: Round, change: str, why: Why, *, takeover: bool, **more: bool) -> None:
        attempt = r.attempt()
        wanted[attempt] = (change, why, takeover)
        r.start(Fence(attempt))

    def at_last(r: Round, attempt: str, *, ok: bool, text: str) -> None:
        if ok and attempt in wanted and r.k.fencing.claim is None:
            change, why, takeover = wanted.pop(attempt)
            r.k.fencing = replace(r.k.fencing, claim=Claim(change, r.facts().term, why, takeover, attempt, r.now_s))
        fenced(r, attempt, ok=ok, text=text)

    patch.setattr(fencing, "open_claim", no_claim)
    patch.setattr(fencing, "fenced", at_last)


def target_is_back_early(play: Play) -> None:
    """B fences in silence, and its answer is slow; A boots, asks, and serves; then they do not hear each other."""
    play.world.faults.fence_answer_s = 15.0
    play.is_cut_off(play.a)
    play.until(lambda: not play.a.powered)
    play.world.net.cuts.clear()
    play.copies(play.b, lambda message: message.request is not None, passing=False)
    play.on(play.a)
    play.until(lambda: play.serves(play.a))
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(8.0, 12.0)


def failure_counts(patch: Patch) -> None:
    """A fence that failed or timed out counts as done."""
    whole = fencing.fenced

    def broken(r: Round, attempt: str, *, ok: bool, text: str) -> None:
        whole(r, attempt, ok=True, text=text)

    patch.setattr(fencing, "fenced", broken)


def unheard_and_unfenced(play: Play) -> None:
    """The hosts do not hear each other; A's fence device does not answer, or does too late what it is asked."""
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.world.fencing.moods["a"] = play.world.rng.choice(("fails", "late"))
    play.wait(3.0, 6.0)


def isolated_is_fenced(patch: Patch) -> None:
    """A fence takes the peer's network, and leaves it its power and memory."""

    def fence(fencing: Fencing, by: Host, told: Told) -> None:
        world, target = fencing.world, by.peer
        if world.net.sends("fence", by):
            world.net.cuts |= {(path, target.name) for path in PATHS}
            by.later(0.1, lambda: told(True, ""))

    patch.setattr(Fencing, "fence", fence)


def unheard(play: Play) -> None:
    """The hosts do not hear each other, and only B can fence."""
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(4.0, 8.0)


def no_delay(patch: Patch) -> None:
    """Whoever fences the primary does not wait."""
    whole = fencing.claim

    def broken(r: Round, row: Change) -> None:
        whole(r, replace(row, delayed=False))

    patch.setattr(fencing, "claim", broken)


def both_unheard(play: Play) -> None:
    """The hosts do not hear each other, and each can fence the other; fences take up to half a second."""
    world = play.world
    world.faults.fence_takes_s = 0.5
    off: set[str] = set()

    def moment(what: str, host: Host) -> None:
        if what == "fenced":
            off.add(host.name)
            if len(off) == 2:
                raise Violation("both hosts have fenced each other")

    world.no_power = {"a", "b"}
    world.moment = moment
    play.apart("link", "db")
    play.wait(6.0, 8.0)


def delay_is_blind(patch: Patch) -> None:
    """Once the delay has begun the fence comes, whatever is heard meanwhile."""
    whole = fencing.claim
    waits: dict[int, tuple[Change, float]] = {}

    def broken(r: Round, row: Change) -> None:
        who = id(r.s)
        if row.delayed and r.k.fencing.claim is None and who not in waits:
            waits[who] = (row, r.now_s)
        free = r.k.fencing.claim is None and not r.k.intent.writing
        if who in waits and r.now_s - waits[who][1] >= r.s.fence_delay_s and free:
            row, _ = waits.pop(who)
            fencing.open_claim(r, row.name, Why.SILENCE, takeover=True)
        whole(r, row)

    patch.setattr(fencing, "claim", broken)


def heard_within_the_delay(play: Play) -> None:
    """Both daemons' messages are lost for a moment longer than makes a host silent."""
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.until(lambda: play.waits(play.b), 5.0)
    play.world.net.cuts.clear()
    play.wait(0.05, 0.1)
    play.no("Fence", "a host that was heard in time is fenced", by=play.b)  # the primary may be trying again
    play.wait(3.0, 5.0)


def not_again(patch: Patch) -> None:
    """A fence that fails is not tried again."""
    whole = fencing.fenced

    def broken(r: Round, attempt: str, *, ok: bool, text: str) -> None:
        whole(r, attempt, ok=ok, text=text)
        if r.k.fencing.claim is not None and not ok:
            r.k.fencing = replace(r.k.fencing, claim=replace(r.k.fencing.claim, retry_at_s=float("inf")))

    patch.setattr(fencing, "fenced", broken)


def device_comes_back(play: Play) -> None:
    """The primary is lost; its fence device answers only some time later."""
    play.world.fencing.moods["a"] = "fails"
    play.off(play.a)
    play.wait(4.0, 9.0)
    play.world.fencing.moods.clear()
    play.must(lambda: play.serves(play.b), 20.0, "5: nobody serves, though the fence would work")


def lease_at_the_beginning(patch: Patch) -> None:
    """The lease has to hold when the claim begins, not when its fence is confirmed."""

    def make(whole: Callable[..., bool]) -> Callable[..., bool]:
        def broken(facts: Facts, grant: Grant | None, term: int) -> bool:
            if grant is not None and facts.k.fencing.claim is not None:
                grant = replace(grant, expires_s=None)
            return whole(facts, grant, term)

        return broken

    everywhere(patch, "grant_holds", make)


def any_parity(patch: Patch) -> None:
    """A forced record's term has whatever parity comes."""
    patch.setattr(fencing, "next_term", lambda above, first: above + 1)


def both_forced(play: Play) -> None:
    """The hosts do not hear each other; two operators force one each."""
    world = play.world
    world.split = world.forced = True
    play.apart("link", "db")
    for host in world.hosts:
        play.order(host, Order.FORCE_PROMOTE, "without-fence")
    play.until(lambda: play.alone(play.a) and play.alone(play.b))
    play.wait(0.5, 2.0)
    world.net.cuts.clear()
    play.until(lambda: play.term(play.a) == play.term(play.b))
    play.wait(1.0, 2.0)
    world.split = False
    for host in world.hosts:
        if host.durable.hold:
            play.order(host, Order.CLEAR_HOLD)


def word_is_kept(patch: Patch) -> None:
    """An operator's word that the peer is off counts for the next claim too."""
    whole, opened = intake._command, fencing.open_claim
    said: set[str] = set()

    def broken(r: Round, command: Command) -> bool:
        if command.order is Order.FENCE_CONFIRMED:
            said.add(r.s.me)
        return whole(r, command)

    def open_claim(r: Round, change: str, why: Why, *, takeover: bool, **more: bool) -> None:
        opened(r, change, why, takeover=takeover, **more)
        if r.s.me in said and r.k.fencing.claim is not None:
            r.k.fencing = replace(r.k.fencing, claim=replace(r.k.fencing.claim, fenced=True))

    patch.setattr(intake, "_command", broken)
    patch.setattr(fencing, "open_claim", open_claim)


def said_to_be_off(play: Play) -> None:
    """An operator says that A is off when nobody asks; later the hosts do not hear each other."""
    play.order(play.b, Order.FENCE_CONFIRMED)
    play.wait(0.5, 2.0)
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.cut(play.b, "fence")
    play.wait(3.0, 6.0)


def force_fences_nobody(patch: Patch) -> None:
    """A forced promotion does not fence."""
    whole = fencing.force

    def broken(r: Round) -> None:
        r.k.orders = replace(r.k.orders, unfenced=True)
        whole(r)

    patch.setattr(fencing, "force", broken)


def forced_beside_a_primary(play: Play) -> None:
    """The hosts do not hear each other; an operator forces B."""
    play.world.forced = True
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.order(play.b, Order.FORCE_PROMOTE)
    play.until(lambda: play.alone(play.b))
    play.wait(1.0, 3.0)
    with suppress(Missed):
        play.world.net.cuts.clear()
        play.until(lambda: bool(play.a.durable.hold), 8.0)
        play.order(play.a, Order.CLEAR_HOLD)


def small_step(patch: Patch) -> None:
    """A forced record's term is the next one."""
    patch.setattr(fencing, "FORCE_STEP", 0)


def forced_while_it_moves_on(play: Play) -> None:
    """B is forced without a fence while A, unseen, goes on to later terms."""
    world = play.world
    world.split = world.forced = world.operators = True
    world.fencing.moods["a"] = "fails"
    play.cut(play.b, "link")
    play.break_stream()
    play.until(lambda: not play.b.pg.inbound)
    play.wait(0.2, 0.4)
    play.order(play.b, Order.FORCE_PROMOTE, "without-fence")
    play.copies(play.a, lambda message: True, passing=False)
    play.until(lambda: play.alone(play.b))
    play.wait(1.0, 2.0)
    world.calm()
    world.net.cuts.clear()
    play.must(lambda: play.says_solo(play.a, play.b), 15.0, "the operator's force does not prevail")
    world.split = False
    play.order(play.a, Order.CLEAR_HOLD)


def veto_is_not_heeded(patch: Patch) -> None:
    """A takeover goes on whatever a veto hook says."""
    whole = veto.answered

    def broken(r: Round, attempt: str, refused: str) -> None:
        whole(r, attempt, "")

    patch.setattr(veto, "answered", broken)


def takeover_is_vetoed(play: Play) -> None:
    """B's veto hook is against a takeover; the primary is lost; later the hook has nothing against it."""
    play.b.veto = "refuses"
    play.wait(1.0, 2.0)
    play.off(play.a)
    play.no("Fence", "a host is fenced against a veto", play.b)
    play.wait(8.0, 12.0)
    play.anything()
    play.b.veto = "allows"
    play.must(lambda: play.serves(play.b), 20.0, "5: nobody serves, though nobody is against it any more")


def veto_is_awaited(patch: Patch) -> None:
    """The veto hooks are waited for as long as it takes."""
    whole = veto.permitted

    def broken(r: Round, row: Change) -> bool:
        patient = Round(r.k, r.inputs, replace(r.s, veto_timeout_s=1e9), r.now_s)
        patient.start = r.start  # type: ignore[method-assign]  # what it starts is the round's own
        return whole(patient, row)

    patch.setattr(veto, "permitted", broken)


def veto_hook_hangs(play: Play) -> None:
    """B's veto hook hangs; the primary is lost."""
    play.b.veto = "hangs"
    play.wait(1.0, 2.0)
    play.off(play.a)
    play.must(lambda: play.serves(play.b), 20.0, "5: nobody serves, for a hook that hangs")


RULES = (
    Rule("veto-heeded", "A veto hook puts a takeover by fence for silence off; it is asked again", veto_is_not_heeded,
         takeover_is_vetoed, "a host is fenced against a veto", "a power cut, a hook that vetoes"),
    Rule("veto-bounded", "a veto hook that does not answer in time, or fails, prevents nothing", veto_is_awaited,
         veto_hook_hangs, "5: nobody serves", "a power cut, a hook that hangs"),
    Rule("claim-first", "A claim begins (after `fence_delay`, where it applies) before the fence command is sent.",
         claims_afterwards, target_is_back_early, "1: two writers",
         "a host cut off, a fence whose answer is slow, the target back before it"),
    Rule("time-out-is-failure", "A time-out is a failure.", failure_counts, unheard_and_unfenced, "1: two writers",
         "link and replication cut, fences that fail or come late"),
    Rule("isolated-is-not-fenced", "Isolating the peer's network alone does not count: its memory, and `eligible` in"
         " it, survives.", isolated_is_fenced, unheard, "1: two writers", "link and replication cut"),
    Rule("fence-delay", "The primary fences at once; whoever fences the current primary waits `fence_delay` first",
         no_delay, both_unheard, "both hosts have fenced each other", "link and replication cut",
         settings={"fence_delay_s": 1.5}),
    Rule("reasons-again", "waits `fence_delay` first and checks its reasons again", delay_is_blind,
         heard_within_the_delay, "a host that was heard in time is fenced", "link and replication cut for a moment",
         settings={"fence_delay_s": 1.5}),
    Rule("fence-again", "A fence that fails is tried again, by the next method or later", not_again, device_comes_back,
         "5: nobody serves", "a power cut, a fence device that does not answer for long"),
    Rule("lease-at-result", "The fence must be *confirmed* before the lease ends, else the claim is given up",
         lease_at_the_beginning, lease_ends_before_the_result, "3: b lost the last",
         "link and replication cut, a fence that is slow", sync=False),
    Rule("force-parity", "writes a term of the forcing host's own parity", any_parity, both_forced, "records of term",
         "link and replication cut, a forced promotion on either host"),
    Rule("operators-word", "An operator who has seen the host dead can say so; that counts as the result of an open"
         " claim.", word_is_kept, said_to_be_off, "1: two writers",
         "an operator's word, then link and replication cut"),
    Rule("force-fences", "A forced promotion fences first, or says that it did not", force_fences_nobody,
         forced_beside_a_primary, "1: two writers", "link and replication cut, a forced promotion"),
    Rule("force-step", "writes a term of the forcing host's own parity a large step above everything it has heard",
         small_step, forced_while_it_moves_on, "the operator's force does not prevail",
         "a forced promotion without a fence beside a primary that changes its record"),
)  # fmt: skip
