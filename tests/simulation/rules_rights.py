"""Rules of "Rights": each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core import adoption, consent, converge
from pgvip.core.actions import Action, StartPostgres
from pgvip.core.facts import Facts
from pgvip.core.messages import Order
from pgvip.core.round import Round
from tests.simulation.ambush import streams_but_behind
from tests.simulation.engine import Violation
from tests.simulation.play import Play
from tests.simulation.rule import Rule, everywhere, given

Patch = pytest.MonkeyPatch
Test = Callable[[Facts], bool]


def blind(*unseen: str) -> Callable[[Test], Test]:
    """A predicate that sees these facts of the round as true."""

    def make(whole: Test) -> Test:
        def broken(facts: Facts) -> bool:
            kept = {name: getattr(facts, name) for name in unseen}
            facts.__dict__.update(dict.fromkeys(unseen, True))
            try:
                return whole(facts)
            finally:
                facts.__dict__.update(kept)

        return broken

    return make


# --- the write right ------------------------------------------------------------------------------------


def unconfirmed(patch: Patch) -> None:
    """The write right does not ask whether this host is confirmed."""

    def make(whole: Test) -> Test:
        def broken(facts: Facts) -> bool:
            known, facts.k.confirmed = facts.k.confirmed, True
            try:
                return whole(facts)
            finally:
                facts.k.confirmed = known

        return broken

    everywhere(patch, "entitled", make)


def back_before_the_peer_is_heard(play: Play) -> None:
    """A is fenced; B serves; A boots and cannot hear B."""
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.apart("link")
    play.on(play.a)
    play.wait(2.0, 4.0)


def higher_term_waits(patch: Patch) -> None:
    """A higher term that was heard takes no right before it is written."""

    def make(whole: Callable[..., None]) -> Callable[..., None]:
        def broken(r: Round, *words: object) -> None:
            known = r.k.peer.heard_record
            r.k.peer = replace(r.k.peer, heard_record=None)
            whole(r, *words)
            r.k.peer = replace(r.k.peer, heard_record=known)

        return broken

    for name in ("postgres", "sync_names", "grants", "addresses"):
        given(patch, converge, name, make)


def cannot_write_what_it_heard(play: Play) -> None:
    """B is forced while A serves on, unseen; A hears of it, cannot write its record, and its daemon dies."""
    world = play.world
    world.split = world.forced = True
    world.fencing.moods["a"] = "fails"
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.order(play.b, Order.FORCE_PROMOTE, "without-fence")
    play.until(lambda: play.alone(play.b))
    world.faults.write_fails = 1.0

    def starts_once_more() -> None:
        world.split = False
        world.after(world.span(0.001, 0.01), play.a.kill_daemon)

    play.when("StartPostgres", play.a, starts_once_more)
    world.net.cuts.clear()
    play.until(lambda: not play.a.pg.writes and not play.a.held)
    world.split = False
    play.wait(2.0, 4.0)
    world.calm()
    play.until(lambda: bool(play.a.durable.hold))
    play.order(play.a, Order.CLEAR_HOLD)


def adopts_first(patch: Patch) -> None:
    """A higher term is written first, and what it takes is given up afterwards."""

    def make(whole: Callable[[Round], None]) -> Callable[[Round], None]:
        def broken(r: Round) -> None:
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(consent, "give_up_writing", lambda r, clean: True)
                inner.setattr(consent, "give_up_addresses", lambda r, vips: True)
                whole(r)

        return broken

    given(patch, adoption, "adopt", make)


def hears_of_a_force(play: Play) -> None:
    """B is forced while A serves on, unseen; then A hears of it."""
    world = play.world
    world.split = world.forced = True
    world.fencing.moods["a"] = "fails"
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.order(play.b, Order.FORCE_PROMOTE, "without-fence")
    play.until(lambda: play.alone(play.b))

    def given_up() -> None:
        if play.a.pg.writes or play.a.held:
            raise Violation("1: two writers: a has written that b is primary, and is read-write")

    play.when("record", play.a, given_up)
    world.net.cuts.clear()
    play.until(lambda: play.says_solo(play.a, play.b))
    world.split = False
    play.wait(1.0, 2.0)
    play.order(play.a, Order.CLEAR_HOLD)


def names_afterwards(patch: Patch) -> None:
    """A server of a sync pair is started without the synchronous names."""
    started = Round.start

    def broken(r: Round, action: Action) -> bool:
        return started(r, replace(action, sync=False) if isinstance(action, StartPostgres) else action)

    patch.setattr(Round, "start", broken)


def restarted_in_place(play: Play) -> None:
    """A DBA stops the primary while the stream is broken; it is started again where it was; then it is lost."""
    play.world.clients.every_s = 0.1
    play.break_stream()
    play.a.pg.shut_down()
    play.apart("link")  # else the standby would be told as soon as the names are seen
    play.until(lambda: play.a.pg.phase == "primary", 4.0)
    play.wait(0.1, 0.6)
    play.off(play.a)
    play.wait(4.0, 6.0)


def address_at_once(patch: Patch) -> None:
    """After a restart clients come back before the standby has flushed the recovered end."""
    patch.setattr(converge, "_caught_up", lambda r: True)
    patch.setattr(converge, "_restarted", lambda v: False)


def clients_see_what_nobody_has(play: Play) -> None:
    """The stream breaks, commits wait; the primary restarts in place, is read by clients, and is lost."""
    play.break_stream()
    play.wait(0.3, 0.7)
    play.a.pg.shut_down()
    play.until(lambda: play.a.pg.phase == "primary", 4.0)
    play.wait(0.3, 1.0)
    play.off(play.a)
    play.wait(4.0, 6.0)


# --- the right to fence -------------------------------------------------------------------------------------


def solo_unconfirmed(patch: Patch) -> None:
    """A primary may make the pair solo whether or not it is confirmed and serves."""
    everywhere(patch, "solo_right", lambda whole: lambda facts: facts.pair and facts.gateway and not facts.paused)


def back_and_cut_off(play: Play) -> None:
    """A is fenced; B serves; A boots, hears nothing, and its fence device works."""
    play.off(play.a)
    play.until(lambda: play.serves(play.b))
    play.wait(0.5, 3.0)
    play.apart("link", "db")
    play.cut(play.b, "fence")
    play.on(play.a)
    play.wait(4.0, 8.0)


def solo_sick(patch: Patch) -> None:
    """A primary may make the pair solo although its own database does not work."""
    everywhere(patch, "solo_right", blind("read_write", "database_healthy"))


def primary_database_is_lost(play: Play) -> None:
    """A's database dies for good while the hosts do not hear each other."""
    play.apart("link", "db")
    play.a.pg.kill()
    play.a.pg.broken = True
    play.must(lambda: play.serves(play.b), 60.0, "5: nobody serves, though b has all the data")


def without_gateway(patch: Patch) -> None:
    """Whoever fences need not have a gateway of its own."""
    for name in ("solo_right", "takeover_right"):
        everywhere(patch, name, blind("gateway"))


def one_is_cut_off(play: Play) -> None:
    """One host has neither gateway nor peer, though its fence device works."""
    lonely = play.a if play.world.chance(0.5) else play.b
    play.apart("link", "db")
    play.cut(lonely, "gateway")
    play.wait(0.4, 0.5)
    play.no("Fence", "a host without a gateway fences the one that has it", lonely)
    play.wait(4.0, 8.0)


def takeover_sick(patch: Patch) -> None:
    """A standby takes over although its own database does not work."""
    everywhere(patch, "takeover_right", blind("database_healthy"))


def standby_hangs(play: Play) -> None:
    """The standby's postmaster hangs; a moment later the hosts do not hear each other."""
    play.b.pg.hung = "postmaster"
    play.wait(0.0, 0.3)
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.no("Fence", "a standby whose database hangs fences the primary", play.b)
    play.until(lambda: not play.b.pg.hung, 4.0)
    play.anything()
    play.wait(2.0, 4.0)


def in_pause(patch: Patch) -> None:
    """A pause stops neither solo nor takeover."""

    def make(whole: Test) -> Test:
        def broken(facts: Facts) -> bool:
            kept, facts.__dict__["paused"] = facts.paused, False
            try:
                return whole(facts)
            finally:
                facts.__dict__["paused"] = kept

        return broken

    for name in ("solo_right", "takeover_right"):
        everywhere(patch, name, make)


def paused_and_lost(play: Play) -> None:
    """An operator pauses the pair and works on one host."""
    play.order(play.a, Order.PAUSE)
    play.until(lambda: all(host.durable.pause.active for host in play.world.hosts))
    play.no("Fence", "a host is fenced in a pause")
    host = play.a if play.world.chance(0.5) else play.b
    play.off(host)
    play.wait(4.0, 8.0)
    play.on(host)
    play.order(play.a, Order.RESUME)
    play.until(lambda: not any(one.durable.pause.active for one in play.world.hosts))


def ineligible(patch: Patch) -> None:
    """A standby takes over without a report that it holds everything."""
    everywhere(patch, "eligible", lambda whole: lambda facts: facts.standby and facts.pair)


RULES = (
    Rule("write-confirmed", "(PostgreSQL read-write, primary VIP): `primary == me`, `confirmed`", unconfirmed,
         back_before_the_peer_is_heard, "1: two writers", "power cut, a fence, a link cut at the boot"),
    Rule("write-higher-term", "A host that has heard a higher term and cannot adopt it yet has no right from that"
         " instant.", higher_term_waits, cannot_write_what_it_heard, "1: two writers",
         "a forced promotion without a fence, writes of the record that fail, a daemon killed"),
    Rule("given-up-before-adopting", "A higher term is adopted from any message, after this host has given up what"
         " it takes", adopts_first, hears_of_a_force, "1: two writers", "a forced promotion without a fence"),
    Rule("names-before-start", "In `pair` with `sync` the synchronous names are set before any read-write start",
         names_afterwards, restarted_in_place, "2: b is read-write without",
         "hosts cut from one another, a server stopped by hand, a power cut"),
    Rule("flushed-before-address", "after a restart there, no VIP until the standby has flushed the recovered end",
         address_at_once, clients_see_what_nobody_has, "2: b is read-write without",
         "a broken stream, a server stopped by hand, a power cut; clients that read what was not acknowledged to them"),
    Rule("fence-confirmed", "Neither fence nor serve before being confirmed in this boot", solo_unconfirmed,
         back_and_cut_off, "2: a is read-write without", "a fence, then link and replication cut at the boot"),
    Rule("solo-healthy", "`pair`, `primary == me`, confirmed, read-write, healthy", solo_sick,
         primary_database_is_lost, "5: nobody serves", "a database lost for good, link and replication cut"),
    Rule("own-gateway", "A host whose own gateway fails does not fence.", without_gateway, one_is_cut_off,
         "a host without a gateway", "a host cut off from everything but its fence device"),
    Rule("takeover-healthy", "own gateway and database healthy", takeover_sick, standby_hangs,
         "a standby whose database hangs", "a hung postmaster, link and replication cut"),
    Rule("no-fence-in-pause", "own gateway and database healthy, no pause", in_pause, paused_and_lost,
         "a host is fenced in a pause", "a pause, a power cut"),
    Rule("takeover-eligible", "`pair`, `primary == peer`, confirmed, eligible", ineligible, streams_but_behind,
         "2: b is read-write without", "a broken stream, a slow standby, a power cut"),
)  # fmt: skip
