"""Rules of "After a boot": each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core import converge, decide, intake, speak
from pgvip.core.changes import TABLE, Change
from pgvip.core.facts import Facts
from pgvip.core.messages import Message, Order
from pgvip.core.rights import takeover_right
from pgvip.core.round import Round
from pgvip.core.values import BootFacts, Durable
from tests.simulation.play import Play
from tests.simulation.rule import Rule, everywhere, given, sees

Patch = pytest.MonkeyPatch
Test = Callable[[Facts], bool]
Chosen = tuple[Change, tuple[tuple[str, str], ...]]


# --- being confirmed --------------------------------------------------------------------------------------


def _confirms(r: Round, alone: Callable[[Round], bool]) -> None:
    v, k = r.facts(), r.k
    if k.confirmed or v.record is None or k.peer.alarm or k.intent.writing is not None or v.higher is not None:
        return
    if alone(r):
        k.confirmed = True


def solo_asks_nobody(patch: Patch) -> None:
    """A solo primary that boots is confirmed at once."""
    given(patch, intake, "confirm", _or(lambda r: r.facts().primary and r.facts().solo))


def solo_does_not_probe(patch: Patch) -> None:
    """A solo primary that boots waits for an answer, and does not ask by ARP who holds the address."""

    def alone(r: Round) -> bool:
        v, k = r.facts(), r.k
        return v.primary and v.solo and k.peer.heard is None and r.now_s - k.who.started_s >= r.s.solo_boot_wait_s

    given(patch, intake, "confirm", _or(alone))


def silence_confirms(patch: Patch) -> None:
    """The primary of a pair that boots is confirmed by silence."""

    def alone(r: Round) -> bool:
        v, k = r.facts(), r.k
        return v.primary and k.peer.heard is None and r.now_s - k.who.started_s >= r.s.solo_boot_wait_s

    given(patch, intake, "confirm", _or(alone))


def _or(alone: Callable[[Round], bool]) -> Callable[[Callable[[Round], None]], Callable[[Round], None]]:
    def make(whole: Callable[[Round], None]) -> Callable[[Round], None]:
        def broken(r: Round) -> None:
            whole(r)
            _confirms(r, alone)

        return broken

    return make


def _forced_meanwhile(play: Play) -> None:
    """A serves alone and is lost; an operator forces B."""
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    play.off(play.a)
    play.world.net.cuts.clear()
    play.world.fencing.moods["a"] = "fails"
    play.world.forced = True
    play.order(play.b, Order.FORCE_PROMOTE, "without-fence")
    play.until(lambda: play.alone(play.b) and len(play.b.held) == 2)


def solo_back_after_a_force(play: Play) -> None:
    """A serves alone and is lost; an operator forces B; A boots, and the link is slow."""
    _forced_meanwhile(play)
    play.slow_link(0.5, 1.0)
    play.on(play.a)
    play.wait(2.0, 4.0)
    play.until(lambda: bool(play.a.durable.hold) or play.a.pg.phase == "standby")
    play.order(play.a, Order.CLEAR_HOLD)


def solo_back_unheard_after_a_force(play: Play) -> None:
    """The same, and A cannot hear B's daemon."""
    _forced_meanwhile(play)
    play.apart("link")
    play.on(play.a)
    play.wait(5.0, 7.0)
    play.world.net.cuts.clear()
    play.until(lambda: play.says_solo(play.a, play.b))
    play.order(play.a, Order.CLEAR_HOLD)


def pair_back_unheard(play: Play) -> None:
    """A is fenced; B serves; A boots, and hears nothing for long."""
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.apart("link", "db")
    play.on(play.a)
    play.wait(5.0, 8.0)


def only_confirmed_answer(patch: Patch) -> None:
    """A host that is not confirmed itself does not answer."""
    whole = speak.message

    def broken(r: Round, row: Change) -> Message:
        said = whole(r, row)
        return said if said.confirmed else replace(said, answer="")

    patch.setattr(speak, "message", broken)


def both_lose_power(play: Play) -> None:
    """Both hosts lose their power, and boot."""
    for host in play.world.hosts:
        play.off(host)
    for host in play.world.hosts:
        play.on(host)
    play.must(play.world.healthy, 60.0, "5: it does not come back: both wait for the other")


def adopting_confirms(patch: Patch) -> None:
    """Whoever adopts a higher record is confirmed by it."""
    whole = intake._written

    def broken(r: Round, durable: Durable, *, ok: bool) -> None:
        before = r.k.durable.record
        whole(r, durable, ok=ok)
        after = r.k.durable.record
        if before is not None and after is not None and after.term > before.term:
            r.k.confirmed = True

    patch.setattr(intake, "_written", broken)


def old_announcement(play: Play) -> None:
    """A boots with a record of long ago; an announcement that was delayed names it primary, in a later term."""
    old = play.a.durable
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    kept = play.copies(play.b, lambda message: play.says_solo(play.b, play.a) and not message.question)
    play.until(lambda: len(kept) > 2)
    play.world.net.cuts.clear()
    play.until(play.world.healthy, 60.0)
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.a.durable = old
    play.copies(play.b, lambda message: True, passing=False)
    play.on(play.a)
    play.wait(0.0, 0.5)
    play.again(play.a, kept[:3])
    play.wait(2.0, 4.0)


# --- power, rebuilding ---------------------------------------------------------------------------------------------


def powers_on_in_pause(patch: Patch) -> None:
    """A host that was switched off is switched on again in a pause too."""

    def make(whole: Callable[[Round], None]) -> Callable[[Round], None]:
        def broken(r: Round) -> None:
            kept, r.facts().__dict__["paused"] = r.facts().paused, False
            whole(r)
            r.facts().__dict__["paused"] = kept

        return broken

    given(patch, converge, "power_on", make)


def fenced_and_paused(play: Play) -> None:
    """A host is fenced; before it is on again an operator pauses the pair and opens its case."""
    play.is_cut_off(play.a)
    play.until(lambda: not play.a.powered)
    play.world.no_power.add("a")
    play.order(play.b, Order.PAUSE)
    play.until(lambda: play.b.durable.pause.active)
    play.no("PowerOn", "a host is switched on in a pause")
    play.wait(3.0, 6.0)
    play.anything()
    play.on(play.a)
    play.order(play.b, Order.RESUME)
    play.until(lambda: not any(host.durable.pause.active for host in play.world.hosts))


def rebuilds_unconfirmed(patch: Patch) -> None:
    """Data are rebuilt by a host that is not confirmed."""

    def make(whole: Test) -> Test:
        def broken(facts: Facts) -> bool:
            known, facts.k.confirmed = facts.k.confirmed, True
            try:
                return whole(facts)
            finally:
                facts.k.confirmed = known

        return broken

    everywhere(patch, "may_rebuild", make)


def restored_and_told_of_old(play: Play) -> None:
    """B took over and serves; it crashes, its record is restored, and A's message of that time comes late."""
    old = play.b.durable
    kept = play.copies(play.a, lambda message: message.read_write and message.confirmed)
    play.until(lambda: len(kept) > 3)
    play.off(play.a)
    play.until(lambda: play.alone(play.b))
    play.wait(1.0, 3.0)
    newer = play.b.durable
    play.off(play.b)
    play.b.durable = old
    play.on(play.b)
    play.wait(0.0, 0.3)
    play.again(play.b, kept[-3:])
    play.wait(1.0, 2.0)
    play.off(play.b)
    play.b.durable = newer  # an operator finds the right one


def rebuilds_from_nobody(patch: Patch) -> None:
    """Data are rebuilt before the record's primary is seen read-write."""
    sees(patch, "peer_serves", lambda whole: lambda facts: facts.peer is not None and facts.peer.confirmed)


def winner_has_older_data(play: Play) -> None:
    """A's database dies; before B has heard that the role is its own, its data are those of an older backup."""
    play.copies(play.a, lambda message: play.says_solo(play.a, play.b), passing=False)
    play.a.pg.kill()
    play.until(lambda: play.says_solo(play.a, play.b), 5.0)
    play.b.pg.kill()
    play.b.pg.becomes_older(play.world.rng.randint(5, 15))
    play.wait(0.3, 1.0)
    play.world.calm()
    play.wait(5.0, 9.0)


def forgets_with_its_daemon(patch: Patch) -> None:
    """A daemon that starts knows nothing of what the one before knew."""
    whole = decide.begin
    patch.setattr(decide, "begin", lambda who, durable, facts: whole(who, durable, BootFacts()))


def daemon_restarts_unheard(play: Play) -> None:
    """The link is cut; a daemon is killed and starts again."""
    play.apart("link")
    before = play.a.pg.proc
    play.a.kill_daemon()
    play.wait(0.2, 0.6)
    play.a.start_daemon()
    play.never(lambda: play.a.pg.proc != before, 6.0, "7: a daemon's restart stops PostgreSQL")


def solo_is_pair(patch: Patch) -> None:
    """A standby may take over in `solo` too."""

    def make(whole: Test) -> Test:
        return lambda facts: (facts.standby and facts.solo) or whole(facts)

    everywhere(patch, "eligible", make)
    def choosing(whole: Callable[[Facts], Chosen]) -> Callable[[Facts], Chosen]:
        def broken(facts: Facts) -> Chosen:
            if facts.standby and facts.solo and facts.peer_silent and takeover_right(facts):
                return next(row for row in TABLE if row.name == "take-over-by-fence"), ()
            return whole(facts)

        return broken

    given(patch, decide, "choose", choosing)


def solo_is_lost(play: Play) -> None:
    """A serves alone, acknowledges, and is lost; B is on."""
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    play.wait(1.0, 3.0)
    play.off(play.a)
    play.wait(4.0, 8.0)


RULES = (
    Rule("facts-kept", "kept with the boot id, so that a daemon restart keeps them", forgets_with_its_daemon,
         daemon_restarts_unheard, "7: a daemon's restart", "a link cut, a daemon killed"),
    Rule("solo-stays", "`solo`: it may not, the primary serves alone", solo_is_pair, solo_is_lost,
         "2: b is read-write without", "a broken stream, a power cut"),
    Rule("solo-boot-asks", "ask the peer and probe the VIP by ARP for a few seconds all the same. A higher term wins",
         solo_asks_nobody, solo_back_after_a_force, "1: two writers",
         "a forced promotion while the primary is off, a slow link"),
    Rule("solo-boot-probes", "Something else answering for the VIP: an operator.", solo_does_not_probe,
         solo_back_unheard_after_a_force, "1: two writers",
         "a forced promotion while the primary is off, a link cut at the boot"),
    Rule("asks-as-long-as-it-takes", "Otherwise ask the peer, as long as it takes.", silence_confirms,
         pair_back_unheard, "1: two writers", "a fence, link and replication cut at the boot"),
    Rule("unconfirmed-answer", "Any host with a readable record that is not claiming answers questions, confirmed or"
         " not (else both wait for ever)", only_confirmed_answer, both_lose_power,
         "5: it does not come back", "power cut on both hosts"),
    Rule("adopting-keeps-confirmed", "adopting keeps `confirmed` as it was", adopting_confirms, old_announcement,
         "1: two writers", "a record rolled back, a message delayed over a fence and a boot"),
    Rule("no-power-on-in-pause", "Any host may power its peer *on*, but not while a fence attempt of its own is open,"
         " nor in pause.", powers_on_in_pause, fenced_and_paused, "a host is switched on in a pause",
         "a fence, a pause"),
    Rule("rebuild-confirmed", "Rewind or rebuild only when confirmed", rebuilds_unconfirmed, restored_and_told_of_old,
         "2: b rebuilds data that alone has", "a record rolled back, a message delayed over a fence and a boot"),
    Rule("rebuild-primary-seen", "when the record's primary is seen read-write", rebuilds_from_nobody,
         winner_has_older_data, "2: a rebuilds data that alone has",
         "a postmaster killed, a standby's data replaced by an older backup"),
)  # fmt: skip
