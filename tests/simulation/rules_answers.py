"""Rules of who "answers by no path": each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgvip.core.facts import Facts
from tests.simulation.play import Play
from tests.simulation.rule import Rule, sees

Patch = pytest.MonkeyPatch


def _long_unheard(facts: Facts) -> bool:
    return facts.now_s - max(facts.heard_life_s, facts.k.who.started_s, facts.k.clock.awake_s) >= facts.s.dead_after_s


def deaf(path: str) -> Callable[[Patch], None]:
    """A peer that answers by this one path counts as silent."""

    def switch(patch: Patch) -> None:
        def make(whole: Callable[[Facts], float]) -> Callable[[Facts], float]:
            def broken(facts: Facts) -> float:
                seen, never = facts.seen, float("-inf")
                heard_s = facts.k.peer.heard.at_s if facts.k.peer.heard and path != "link" else never
                stream_s = facts.stream_at_s if path != "stream" else never
                asked_s = max(seen.peer_own.at_s, seen.peer_vip.at_s) if path != "query" else never
                return max(heard_s, stream_s, asked_s)

            return broken

        sees(patch, "heard_life_s", make)
        if path == "query":  # nor does it matter that the database was asked and has answered
            sees(patch, "peer_silent", lambda whole: _long_unheard)

    switch.__doc__ = f"A peer that answers by {path} alone counts as silent."
    return switch


link_is_nothing, stream_is_nothing, query_is_nothing = deaf("link"), deaf("stream"), deaf("query")
FENCED = "a host that answers is fenced"


def only_the_link(play: Play) -> None:
    """The databases do not reach each other; the daemons do."""
    play.break_stream()
    play.no("Fence", FENCED)
    play.wait(4.0, 8.0)


def only_the_stream(play: Play) -> None:
    """The link is cut and one postmaster takes no new connections; the stream goes on."""
    play.apart("link")
    hung = play.a if play.world.chance(0.5) else play.b
    hung.pg.hung = "postmaster"
    play.cut(hung, "fence")
    play.no("Fence", FENCED, hung.peer)
    play.until(lambda: not hung.pg.hung, 5.0)
    play.anything()


def only_the_query(play: Play) -> None:
    """The link is cut and the standby does not flush, for less than `unfollowed_s`; the database answers."""
    play.apart("link")
    play.world.replication.stalled.add("b")
    play.no("Fence", FENCED)
    play.wait(3.0, play.a.settings.unfollowed_s - 0.5)


def stopped_daemon_is_dead(patch: Patch) -> None:
    """A host counts as silent when its daemon is."""

    def make(whole: Callable[[Facts], bool]) -> Callable[[Facts], bool]:
        return lambda facts: facts.k.peer.heard is not None and facts.heard_age_s >= facts.s.dead_after_s

    sees(patch, "peer_silent", make)


def daemon_stands_still(play: Play) -> None:
    """A daemon is stopped for long (SIGSTOP); its database works."""
    daemon = (play.a if play.world.chance(0.5) else play.b).daemon
    assert daemon is not None
    daemon.stopped = True
    play.no("Fence", "a host whose database works is fenced")
    play.wait(4.0, 10.0)
    daemon.resume()


def connection_is_life(patch: Patch) -> None:
    """The stream counts while its connection is open."""

    def make(whole: Callable[[Facts], float]) -> Callable[[Facts], float]:
        def broken(facts: Facts) -> float:
            database = facts.database
            inbound = database is not None and database.in_recovery and database.streaming
            outbound = database is not None and database.replica is not None
            return facts.now_s if inbound or outbound else whole(facts)

        return broken

    sees(patch, "stream_at_s", make)


def standby_stands_still(play: Play) -> None:
    """The standby's machine freezes; its kernel's connections stay open."""
    play.b.freeze()
    play.must(lambda: play.alone(play.a), 15.0, "5: nobody serves: the primary waits for a frozen standby")
    play.wait(0.5, 2.0)


def arp_is_life(patch: Patch) -> None:
    """A host that answers ARP for an address counts as alive."""

    def make(whole: Callable[[Facts], float]) -> Callable[[Facts], float]:
        def broken(facts: Facts) -> float:
            seen = facts.seen
            answered = [watch.at_s for watch in (seen.arp_primary, seen.arp_standby) if watch.value]
            return max(whole(facts), *answered) if answered else whole(facts)

        return broken

    sees(patch, "heard_life_s", make)


def everything_but_the_kernel(play: Play) -> None:
    """A host's daemon and PostgreSQL stand still; its kernel answers ARP."""
    host = play.a
    assert host.daemon is not None
    host.daemon.stopped, host.pg.hung = True, "all"
    play.must(lambda: play.serves(play.b), 15.0, "5: nobody serves: the standby waits for a primary that hangs")


def strangers_count(patch: Patch) -> None:
    """Whatever answers at the peer's address is a sign of life."""
    patch.setattr(Facts, "_proven", lambda _facts, watch: watch.value is not None)


def somebody_has_the_address(play: Play) -> None:
    """The primary loses its power, and somebody's server answers at its address."""
    play.a.stranger = "other"
    play.a.power_off("test")
    play.must(lambda: play.serves(play.b), 15.0, "5: nobody serves: a stranger's server counts as the primary")


RULES = (
    Rule("link-answers", "the daemon link, the database (a new connection and a query, through VIP and own address)"
         " and the replication stream are all silent", link_is_nothing, only_the_link, FENCED, "replication cut"),
    Rule("stream-answers", "the daemon link, the database (a new connection and a query, through VIP and own address)"
         " and the replication stream are all silent", stream_is_nothing, only_the_stream, FENCED,
         "a link cut, a hung postmaster"),
    Rule("query-answers", "the daemon link, the database (a new connection and a query, through VIP and own address)"
         " and the replication stream are all silent", query_is_nothing, only_the_query, FENCED,
         "a link cut, a standby that receives without flushing"),
    Rule("stopped-daemon", "A stopped daemon beside a database that follows is no reason to fence.",
         stopped_daemon_is_dead,
         daemon_stands_still, "a host whose database works is fenced", "a stopped daemon"),
    Rule("stream-moves", "The stream counts only while new WAL arrives", connection_is_life, standby_stands_still,
         "5: nobody serves", "a frozen host"),
    Rule("arp-is-no-answer", "an open connection, an ARP reply, a ping", arp_is_life, everything_but_the_kernel,
         "5: nobody serves", "a stopped daemon, a hung database"),
    Rule("own-words", "An answer counts only from the pair's own", strangers_count, somebody_has_the_address,
         "5: nobody serves", "a power cut, a stranger's server"),
)  # fmt: skip
