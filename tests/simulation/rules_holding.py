"""Rules of what a host holds: addresses, and PostgreSQL without a right; each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgvip.core import converge, rights, speak
from pgvip.core.facts import Facts
from pgvip.core.round import Round
from pgvip.core.values import Vip
from tests.simulation.play import Play
from tests.simulation.rule import Rule, everywhere, given, sees

Patch = pytest.MonkeyPatch


def without_right(patch: Patch) -> None:
    """A server that may be read-write without the right to it goes on."""
    patch.setattr(converge, "_without_right", lambda r: False)


def keeps_its_addresses(patch: Patch) -> None:
    """The primary address stays without the right to it."""
    whole = converge._surely
    patch.setattr(converge, "_surely", lambda r, vip: vip is not Vip.PRIMARY and whole(r, vip))


def _restored(play: Play) -> None:
    """B took over and serves; its state directory is restored, and its daemon restarts."""
    play.world.forced = True  # what B has committed may be lost by such a mistake
    old = play.b.durable
    play.off(play.a)
    play.until(lambda: play.alone(play.b))
    play.wait(0.5, 2.0)
    play.b.kill_daemon()
    play.b.durable = old
    play.b.start_daemon()


def restored_beside_a_server(play: Play) -> None:
    """B took over and serves; its state directory is restored, its daemon restarts; A boots."""
    _restored(play)
    play.wait(0.2, 0.4)
    play.on(play.a)
    play.wait(3.0, 6.0)


def restored_while_alone(play: Play) -> None:
    """B took over and serves; its state directory is restored, its daemon restarts; A stays off for long."""
    _restored(play)
    play.wait(5.0, 8.0)


def lags(play: Play) -> None:
    """The standby receives, and neither flushes nor replays."""
    play.world.replication.stalled.add("b")
    play.world.clients.every_s = 0.05
    held_s = play.world.now_s

    def stale() -> bool:
        nonlocal held_s
        behind = len(play.a.pg.wal) - play.b.pg.flushed > 2 * play.b.settings.lag_bytes_max
        if not (behind and play.holds(play.b, Vip.STANDBY)):
            held_s = play.world.now_s
        return play.world.now_s - held_s > 1.0

    play.never(stale, 8.0, "reads through the standby VIP are older than the limit")
    play.world.clients.every_s = 0.5


def restarts_without_a_stream(play: Play) -> None:
    """The standby restarts and cannot connect; without gateways nothing changes hands."""
    for host in play.world.hosts:
        play.cut(host, "gateway")
    play.wait(1.0, 1.5)
    play.apart("db")
    play.b.pg.kill()
    play.until(lambda: play.b.pg.phase == "standby" and not play.b.held, 10.0)
    play.never(lambda: play.holds(play.b, Vip.STANDBY), 4.0, "the standby VIP is on a standby that does not stream")


def untold(patch: Patch) -> None:
    """The standby raises its address without a report that it is free."""

    def broken(facts: Facts) -> bool:
        if facts.primary:
            return facts.solo and rights.write_right(facts)
        return facts.k.confirmed and facts.pair and facts.higher is None and facts.k.consent.giving_up is None

    everywhere(patch, "standby_address", lambda whole: broken)


def freezes_as_the_pair_is_made(play: Play) -> None:
    """A serves alone with both addresses; it writes `pair`, and freezes before it has dropped one."""
    play.off(play.b)
    play.until(lambda: play.alone(play.a) and len(play.a.held) == 2)
    play.world.sticks.add("a")
    play.on(play.b)
    play.until(play.is_pair, 30.0)
    play.wait(0.0, 0.1)
    play.a.freeze()
    play.wait(2.0, 4.0)


def told_unverified(patch: Patch) -> None:
    """The primary reports that the standby address is free without having seen it dropped."""

    def make(whole: Callable[[Round], object]) -> Callable[[Round], object]:
        def broken(r: Round) -> object:
            kept, r.facts().__dict__["held"] = r.facts().held, frozenset[Vip]()
            told = whole(r)
            r.facts().__dict__["held"] = kept
            return told

        return broken

    given(patch, speak, "_address_free", make)


def stale_reads(patch: Patch) -> None:
    """The standby address does not mind how far the standby lags."""
    sees(patch, "lagging", lambda whole: lambda facts: False)


def standby_of_nobody(patch: Patch) -> None:
    """The standby address is raised on a standby that does not stream."""
    sees(patch, "streams", lambda whole: lambda facts: facts.recovering)


RULES = (
    Rule("no-right-no-writes", "A host with no right runs PostgreSQL as a standby, or not at all", without_right,
         restored_beside_a_server, "1: two writers", "a record rolled back while the daemon is down"),
    Rule("no-right-no-address", "and holds no VIP", keeps_its_addresses, restored_while_alone,
         "4: b has had the primary VIP", "a record rolled back while the daemon is down"),
    Rule("address-streams", "in `pair`, the standby, once confirmed, streaming", standby_of_nobody,
         restarts_without_a_stream, "the standby VIP is on", "gateways lost, replication cut, a postmaster killed"),
    Rule("address-told", "once the primary has reported that the address is free", untold, freezes_as_the_pair_is_made,
         "4: both hosts hold the standby VIP", "a drop that fails, a frozen host"),
    Rule("address-verified", "the primary verifies that it dropped the address, then reports it", told_unverified,
         freezes_as_the_pair_is_made, "4: both hosts hold the standby VIP", "a drop that fails, a frozen host"),
    Rule("lag-limit", "confirmed, streaming, within the lag limit", stale_reads, lags, "reads through the standby VIP",
         "a standby that receives without flushing", settings={"lag_bytes_max": 3}),
)  # fmt: skip
