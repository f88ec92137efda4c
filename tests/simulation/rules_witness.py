"""The rules of the witness, [m 17] and [m 18] among them: each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from pgvip.core import conditions, decide, fencing, intake, lease, witness
from pgvip.core.changes import GONE, ROWS
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Knowledge, Why
from pgvip.core.messages import Message, Order
from pgvip.core.round import Round
from pgvip.core.settings import Identity
from pgvip.core.values import BootFacts, Durable, Lease
from tests.simulation.machine import Host
from tests.simulation.play import Play
from tests.simulation.rule import Rule, always
from tests.simulation.run import LEASES
from tests.simulation.third import Third

Patch = pytest.MonkeyPatch
ALONE: dict[str, float | bool] = {"fencing": False, **LEASES}
"""A pair that has a witness and cannot fence."""
SLOW: dict[str, float | bool] = {"fencing": False, "lease_s": 12.0, "lease_stop_s": 2.0, "claim_s": 0.3}
"""Leases that are long enough for two clocks to run apart."""


# --- switches ---------------------------------------------------------------------------------------------


def primary_without_lease(patch: Patch) -> None:
    """[m 17] A primary goes on when its lease is over."""
    always(patch, conditions.LEASED, lambda v: v.primary or lease.leased(v))


def address_without_lease(patch: Patch) -> None:
    """[m 17] A standby keeps its address when its lease is over."""
    always(patch, conditions.LEASED, lambda v: v.standby or lease.leased(v))


def boots_with_a_lease(patch: Patch) -> None:
    """[m 17] A host that is confirmed after a boot begins with a lease."""
    whole = intake.confirm

    def broken(r: Round) -> None:
        before = r.k.confirmed
        whole(r)
        if r.k.confirmed and not before:
            r.k.witness = replace(r.k.witness, lease=Lease(r.facts().term, r.now_s))

    patch.setattr(intake, "confirm", broken)


def granted_twice(patch: Patch) -> None:
    """[m 18] The second claim is given the term too."""
    patch.setattr(Third, "once", False)


def rolled_back_unseen(patch: Patch) -> None:
    """A lower count of the witness is no alarm."""
    patch.setattr(witness, "_counted", lambda *_: None)


def no_wait(patch: Patch) -> None:
    """Whoever has won does not wait for the end of the peer's lease."""
    patch.setattr(lease, "waited", lambda _v: True)


def no_margin(patch: Patch) -> None:
    """The wait has no margin for clock rates."""
    whole = lease.wait_end_s

    def broken(v: Facts) -> float:
        sure = v.s
        v.s = replace(sure, clock_margin=0.0)
        try:
            return whole(v)
        finally:
            v.s = sure

    patch.setattr(lease, "wait_end_s", broken)


def from_the_receipt(patch: Patch) -> None:
    """A lease begins when a message comes, whatever it echoes."""
    whole = witness.echoed

    def broken(r: Round, message: Message) -> None:
        whole(r, message if message.claiming else replace(message, echo_boot=r.k.who.boot_id, echo_s=r.now_s))

    patch.setattr(witness, "echoed", broken)


def _unasked(patch: Patch, wanted: Callable[[Why, bool], bool]) -> None:
    """Such claims do not ask for the register."""
    whole = fencing.open_claim

    def broken(r: Round, change: str, why: Why, *, takeover: bool, waits: bool = False) -> None:
        whole(r, change, why, takeover=takeover, waits=waits)
        claim = r.k.fencing.claim
        if claim is not None and wanted(why, takeover):
            r.k.fencing = replace(r.k.fencing, claim=replace(claim, won=True))

    patch.setattr(fencing, "open_claim", broken)


def returns_without_register(patch: Patch) -> None:
    """A primary goes on alone without the register."""
    _unasked(patch, lambda why, _takeover: why is Why.UNHEARD)


def fences_without_register(patch: Patch) -> None:
    """A takeover by fence needs no register."""
    whole = witness.ask

    def broken(r: Round, claim: object) -> object:
        c = r.k.fencing.claim
        if c is not None and c.takeover:
            r.k.fencing = replace(r.k.fencing, claim=replace(c, won=True, waits=False))
            return r.k.fencing.claim
        return whole(r, claim)  # type: ignore[arg-type]  # a claim

    patch.setattr(witness, "ask", broken)


def changes_beside_an_answer(patch: Patch) -> None:
    """A primary that has won changes its record though its peer answers by some path."""
    always(patch, GONE)


def forgets_what_it_won(patch: Patch) -> None:
    """What a primary has won is forgotten with its daemon."""
    whole = decide.boot_facts
    patch.setattr(decide, "boot_facts", lambda k: replace(whole(k), won_term=-1))


def used_term_stays(patch: Patch) -> None:
    """A term whose register is used is not left."""
    always(patch, next(one for one in ROWS["solo-for-register"].when if one.name == "register-used"), lambda _v: False)


def address_at_once(patch: Patch) -> None:
    """A primary that has won takes the standby VIP at once."""
    always(patch, conditions.LET_GO)


def not_mute(patch: Patch) -> None:
    """A claimer echoes what it hears as ever, and the peer heeds it."""
    echo, echoed = witness.echo, witness.echoed

    def says(r: Round) -> tuple[str, float]:
        heard = r.k.peer.heard
        return (heard.message.boot_id, heard.message.sent_s) if heard is not None else echo(r)

    patch.setattr(witness, "echo", says)
    patch.setattr(witness, "echoed", lambda r, message: echoed(r, replace(message, claiming=False)))


def begins_anew(patch: Patch) -> None:
    """A daemon that starts begins with a lease."""
    whole = decide.begin

    def broken(who: Identity, durable: Durable, facts: BootFacts) -> Knowledge:
        k = whole(who, durable, facts)
        if durable.record is not None and k.confirmed:
            k.witness = replace(k.witness, lease=Lease(durable.record.term, who.started_s))
        return k

    patch.setattr(decide, "begin", broken)


# --- plays ------------------------------------------------------------------------------------------------


def _alone(play: Play, host: Host) -> None:
    """Nothing of `host` comes anywhere, and nothing comes to it."""
    play.apart("link", "db")
    play.cut(host, "gateway", "witness")


def primary_cut_off(play: Play) -> None:
    """17. The primary hears neither its peer nor the witness."""
    _alone(play, play.a)
    play.wait(6.0, 9.0)


def standby_cut_off(play: Play) -> None:
    """17. The standby hears neither its peer nor the witness."""
    _alone(play, play.b)
    play.wait(6.0, 9.0)


def answer_before_the_claim(play: Play) -> None:
    """17. A boots and asks; the answer is under way while B claims, waits, and serves."""
    held = play.copies(play.b, lambda message: True, passing=False)
    play.a.power_off("ambush")
    play.on(play.a)
    play.until(lambda: any(message.answer for message in held))
    answers = [message for message in held if message.answer][-2:]
    _alone(play, play.a)
    play.until(lambda: play.says_solo(play.b, play.b))
    play.again(play.a, answers)
    play.wait(1.0, 3.0)


def both_ask(play: Play) -> None:
    """18. The hosts do not hear each other, and both reach the witness."""
    play.apart("link", "db")
    play.wait(6.0, 9.0)


def old_backup(play: Play) -> None:
    """The witness forgets the newest claim, and is asked by the one who would have lost it."""
    third = play.world.third
    third.moods["b"] = "refused"
    play.apart("link", "db")
    play.until(lambda: play.alone(play.a))
    play.wait(1.0, 2.0)
    third.restored(1)
    play.wait(1.0, 2.0)
    third.moods.clear()
    play.wait(6.0, 9.0)


def stops_late(play: Play) -> None:
    """A's clock is slow, B's is fast; A is cut off, its daemon hangs just before the end of its lease."""
    play.a.rate, play.b.rate = 1.0 / 1.047, 1.047
    play.wait(1.0, 2.0)
    _alone(play, play.a)
    play.wait(11.8, 12.5)
    if play.a.daemon is not None:
        play.a.daemon.stopped = True
    play.wait(4.0, 6.0)


def late_messages(play: Play) -> None:
    """What B said before it fell silent comes late, one message after the other."""
    held = play.copies(play.b, lambda message: True, passing=False)
    play.wait(0.8, 1.2)
    _alone(play, play.a)
    play.again(play.a, held, 0.5)
    play.wait(5.0, 6.0)


def boots_beside_the_winner(play: Play) -> None:
    """A boots; B has taken over, and does not hear it."""
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.apart("link", "db")
    play.on(play.a)
    play.wait(5.0, 8.0)


def boots_after_a_fence(play: Play) -> None:
    """B fences A and takes over; A boots, hears nothing of B, and asks the witness."""
    play.world.fencing.switches_on = "never"
    play.apart("link", "db")
    play.cut(play.a, "witness", "fence", "gateway")
    play.until(lambda: not play.a.powered)
    play.until(lambda: play.serves(play.b))
    play.world.net.cuts -= {("witness", "a"), ("gateway", "a")}
    play.on(play.a)
    play.wait(5.0, 8.0)


def asked_for_nothing(play: Play) -> None:
    """B asks for the term in a short silence; later its host is off for good."""
    play.world.third.moods["a"] = "refused"
    play.apart("link", "db")
    play.until(lambda: play.world.third.registers.get(play.term(play.b)) == "b")
    play.world.net.cuts.clear()
    play.wait(8.0, 12.0)
    play.world.third.moods.clear()
    play.until(lambda: not play.world.unhealthy(), 60.0)
    play.off(play.b)
    play.must(lambda: play.alone(play.a), 20.0, "a primary does not go on beside a standby that is off")


def daemon_returns_late(play: Play) -> None:
    """A's daemon is away for longer than its lease, while B takes over."""
    assert play.a.keeper is not None
    play.a.keeper.watchdog = False
    _alone(play, play.a)
    play.a.kill_daemon()
    play.until(lambda: play.world.third.registers.get(play.term(play.b)) == "b")
    play.wait(0.4, 0.6)
    play.a.start_daemon()
    play.wait(4.0, 5.0)


def other_daemon_is_off(play: Play) -> None:
    """B's daemon is away; its database follows."""
    term = play.term(play.a)
    play.b.kill_daemon()
    play.never(lambda: play.term(play.a) != term, 12.0, "7: a daemon's absence makes a pair solo")
    play.b.start_daemon()


def both_daemons_restart(play: Play) -> None:
    """B's daemon is away for long; A's is restarted meanwhile."""
    before = play.a.pg.proc
    play.b.kill_daemon()
    play.until(lambda: play.world.third.registers.get(play.term(play.a)) == "a")
    play.wait(5.0, 6.0)
    play.a.kill_daemon()
    play.world.after(play.world.span(0.1, 0.2), play.a.start_daemon)  # in time, though nothing else goes on meanwhile
    play.never(lambda: play.a.pg.proc != before, 6.0, "7: a daemon's restart stops PostgreSQL")
    play.b.start_daemon()


def forced_beside_a_primary(play: Play) -> None:
    """An operator promotes B without a fence, while A is well and is heard; then A does not hear of the end of it."""
    play.world.forced = True
    play.order(play.b, Order.FORCE_PROMOTE, "without-fence")
    play.until(lambda: play.world.third.registers.get(play.term(play.b)) == "b")
    play.wait(1.8, 2.1)
    play.cut(play.b, "link")
    play.must(lambda: play.says_solo(play.b, play.b), 20.0, "a forced promotion does not come about")
    play.wait(1.0, 2.0)
    play.world.net.cuts.clear()
    play.until(lambda: play.says_solo(play.a, play.b) and bool(play.a.durable.hold))
    play.order(play.a, Order.CLEAR_HOLD)


_rule = partial(Rule, settings=ALONE, witness=True)
RULES = (
    _rule("m 17", "Without a lease a host gives up, verified, within `lease_stop_s`", primary_without_lease,
          primary_cut_off, "1: two writers", "a primary cut off from peer, gateway and witness"),
    _rule("m-17-address", "and drops its addresses", address_without_lease, standby_cut_off,
          "4: both hosts hold the standby VIP", "a standby cut off from peer, gateway and witness"),
    _rule("m-17-boot", "a boot begins without one [m 17]", boots_with_a_lease, answer_before_the_claim,
          "1: two writers", "a power cut, a message delayed over a claim, a host cut off"),
    _rule("m 18", "the first host that asks has the term for ever", granted_twice, both_ask, "1: two writers",
          "link and replication cut"),
    _rule("witness-serial", "a lower one is an alarm, and nobody claims", rolled_back_unseen, old_backup,
          "1: two writers", "link and replication cut, a witness restored from an old backup"),
    _rule("witness-wait", "A standby that has won waits until the peer's lease is over", no_wait, primary_cut_off,
          "1: two writers", "a primary cut off from peer, gateway and witness"),
    _rule("witness-wait-address", "and so does a primary before it takes the standby VIP", address_at_once,
          standby_cut_off, "4: both hosts hold the standby VIP", "a standby cut off from peer, gateway and witness"),
    _rule("witness-margin", "and with a margin for clock rates", no_margin, stops_late, "1: two writers",
          "clocks that run apart, a primary cut off, a daemon that hangs", settings=SLOW),
    _rule("witness-echo", "so a late message prolongs nothing", from_the_receipt, late_messages, "1: two writers",
          "late messages, a primary cut off"),
    _rule("witness-register", "every change that is not by consent needs the register of the term it starts from",
          returns_without_register, boots_beside_the_winner, "1: two writers",
          "a power cut, link and replication cut"),
    _rule("witness-fence", "otherwise a host that boots could claim a term that its peer has left by a fence",
          fences_without_register, boots_after_a_fence, "1: two writers",
          "a host cut off, a fence, a boot with link and replication cut", settings={**LEASES}),
    _rule("witness-used", "A term whose register is used while the pair is together again is left by consent",
          used_term_stays, asked_for_nothing, "a primary does not go on",
          "link and replication cut for a moment, a power cut"),
    _rule("witness-path", "the record is written once the peer answers by no path", changes_beside_an_answer,
          other_daemon_is_off, "7: a daemon's absence", "a daemon killed"),
    _rule("witness-kept", "The register then takes the place of the lease until that runs again, over restarts of the",
          forgets_what_it_won, both_daemons_restart, "7: a daemon's restart", "two daemons killed"),
    _rule("witness-mute", "and what it sends prolongs no lease", not_mute, forced_beside_a_primary, "1: two writers",
          "a promotion forced without a fence, then a link cut one way"),
    _rule("witness-daemon", "the write right and the addresses in `pair` last until `lease_s` after this host *sent*",
          begins_anew, daemon_returns_late, "1: two writers", "a primary cut off, its daemon killed"),
)  # fmt: skip
