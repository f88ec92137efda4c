"""Rules of "Changes" and "Consent": each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from pgvip.core import changes, consent, converge, speak
from pgvip.core.actions import StopPostgres
from pgvip.core.changes import Change
from pgvip.core.facts import Facts
from pgvip.core.knowledge import GiveUp
from pgvip.core.messages import Order, Want
from pgvip.core.round import Round
from pgvip.core.values import WalPoint
from tests.simulation.engine import Violation
from tests.simulation.play import Missed, Play
from tests.simulation.rule import Rule, always, everywhere, given, sees

Patch = pytest.MonkeyPatch


# --- giving up before writing ----------------------------------------------------------------------------


def writes_then_stops(patch: Patch) -> None:
    """The loser of a hand-over writes at once, and stops PostgreSQL when it has adopted what it wrote."""

    def broken(r: Round, y: GiveUp) -> None:
        consent._write_change(r, primary=r.s.peer, handover=None, cause=y.change)

    patch.setattr(consent, "_give_up_role", broken)


def switched_over_slowly(play: Play) -> None:
    """A switchover; the loser is slow to stop."""
    play.when("record", play.a, play.a.freeze, 0.005, 0.01)
    play.order(play.b, Order.SWITCHOVER)
    play.wait(3.0, 5.0)


def switched_over(play: Play) -> None:
    """A switchover."""
    play.when("StopPostgres", play.a, lambda: play.no("StartPostgres", "a host that gives up starts", play.a))
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.says_solo(play.a, play.b), 15.0)
    play.anything()
    play.wait(1.0, 2.0)


def gives_way_then_drops(patch: Patch) -> None:
    """The standby that consents to solo writes at once, and drops its address when it has written."""
    whole = consent.give_up

    def broken(r: Round) -> None:
        y = r.k.consent.giving_up
        if y is not None and y.want is Want.SOLO and r.k.intent.writing is None:
            consent._write_change(r, primary=r.s.peer, handover=None, cause=y.change)
        else:
            whole(r)

    patch.setattr(consent, "give_up", broken)


def standby_freezes(play: Play) -> None:
    """The stream breaks; as the standby has consented to solo it freezes."""
    play.break_stream()
    play.when("record", play.b, play.b.freeze, 0.014, 0.018)
    play.wait(4.0, 6.0)


def postmaster_is_enough(patch: Patch) -> None:
    """PostgreSQL counts as stopped when its postmaster is gone, whatever of it is left."""
    sees(patch, "gone", lambda whole: lambda facts: facts.processes is not None and not facts.processes.postmaster)


def backends_outlive_it(play: Play) -> None:
    """The postmaster is killed; a backend waits for a disk that hangs, and goes on committing."""
    play.a.disk_bad = play.a.pg.stuck = True
    play.world.disk_holds_state = False
    play.a.pg.kill(orphans=True)
    play.must(lambda: play.serves(play.b), 60.0, "5: nobody serves, though b has all the data")
    play.wait(1.0, 3.0)


def stop_is_believed(patch: Patch) -> None:
    """A host that must give up writes when it has tried to stop PostgreSQL, whether or not that worked."""
    sees(patch, "gone", lambda whole: lambda facts: StopPostgres in facts.k.work.failures or whole(facts))


def cannot_stop(play: Play) -> None:
    """The primary's disk hangs: its processes do not end."""
    play.a.disk_bad = play.a.pg.stuck = True
    play.world.disk_holds_state = False
    play.must(lambda: play.serves(play.b), 60.0, "5: nobody serves, though b has all the data")
    play.wait(1.0, 3.0)


def cannot_is_not_said(patch: Patch) -> None:
    """A host that cannot give up does not say so."""
    patch.setattr(speak, "cannot", lambda r: "")


# --- hand-over -----------------------------------------------------------------------------------------


def checkpoint_unconfirmed(patch: Patch) -> None:
    """After a clean stop the loser writes whether or not the winner has its shutdown checkpoint."""

    def broken(r: Round, y: GiveUp, checkpoint: WalPoint) -> None:
        end = WalPoint(checkpoint.timeline, type(checkpoint.lsn)(checkpoint.lsn + 1))
        consent._write_change(r, primary=r.s.peer, handover=end, cause=y.change)

    patch.setattr(consent, "_write_after_clean_stop", broken)


def winner_is_behind(play: Play) -> None:
    """The standby falls behind; a switchover is ordered, and the standby is lost for long."""
    play.break_stream()
    play.wait(0.3, 0.6)
    play.order(play.a, Order.SWITCHOVER)
    play.until(lambda: play.a.pg.phase == "down", 5.0)
    play.wait(0.0, 0.2)
    play.off(play.b)
    play.must(lambda: play.serves(play.a), 60.0, "5: nobody serves, though a has all the data")


def not_asked_any_more(patch: Patch) -> None:
    """A hand-over is written although the winner's request does not stand any more."""
    patch.setattr(consent, "_still_wanted", lambda r, y: True)


def winner_is_gone(play: Play) -> None:
    """The primary's database dies; the standby asks for the role, and is lost before it is written."""
    play.world.faults.drop_fails = 1.0
    play.a.pg.kill()
    play.until(lambda: play.gives_up(play.a), 5.0)
    play.off(play.b)
    play.wait(0.9, 1.2)
    play.world.calm()
    play.must(lambda: play.serves(play.a), 60.0, "5: nobody serves, though a has all the data")


def starts_meanwhile(patch: Patch) -> None:
    """A host that gives up goes on converging as if it did not."""

    def make(whole: Callable[[Round, Change], None]) -> Callable[[Round, Change], None]:
        def broken(r: Round, row: Change) -> None:
            y = r.k.consent.giving_up
            r.k.consent = replace(r.k.consent, giving_up=None)
            whole(r, row)
            r.k.consent = replace(r.k.consent, giving_up=y)

        return broken

    given(patch, converge, "postgres", make)


def handed_back_for_ever(patch: Patch) -> None:
    """Hand-backs are not bounded."""

    def broken(facts: Facts) -> bool:
        since_s = facts.k.database.blocked_since_s
        return since_s > 0 and facts.now_s - since_s >= facts.s.standby_down_s and facts.recovering and facts.responding

    always(patch, changes.BLOCKED, broken)


def neither_has_it(play: Play) -> None:
    """A switchover; both hosts' data are replaced by those of older backups of diverged histories."""
    world = play.world
    world.operators = True
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.a.pg.phase == "down", 10.0)
    play.copies(play.a, lambda message: play.says_solo(play.a, play.b), passing=False)
    play.until(lambda: play.says_solo(play.a, play.b), 10.0)
    play.b.pg.kill()
    kept = list(play.a.pg.wal), list(play.a.pg.history)
    for host, timeline in ((play.a, 8), (play.b, 9)):
        host.pg.kill()
        host.pg.becomes_older(10)
        host.pg.history.append((timeline, len(host.pg.wal)))
        host.pg.wal.append(world.new_entry())
        host.pg.flushed = len(host.pg.wal)
    play.wait(0.3, 1.0)
    world.calm()
    play.never(lambda: play.term(play.a) > 12, 40.0, "the role is handed back and forth without an end")
    play.off(play.a)
    play.off(play.b)
    play.a.pg.wal, play.a.pg.history = kept  # from another backup
    play.a.pg.flushed = len(play.a.pg.wal)


def no_hold_off(patch: Patch) -> None:
    """A hand-over for a lost gateway may follow another at once."""
    always(patch, changes.NO_HOLDOFF)


def gateways_come_and_go(play: Play) -> None:
    """The gateway is lost now by one host, now by the other."""
    first = play.term(play.a)
    for _ in range(6):
        lost = play.a if play.serves(play.a) else play.b
        play.world.net.cuts = {("gateway", lost.name)}
        play.wait(2.0, 2.5)
    play.world.net.cuts.clear()
    if play.term(play.a) - first > 6:
        raise Violation(f"the role moves to and fro: term {first} to {play.term(play.a)} in 15 s")


def any_gateway(patch: Patch) -> None:
    """A gateway that answered the peer at any time counts."""
    always(patch, changes.PEER_HAS_GATEWAY, lambda facts: facts.peer is not None and facts.peer.gateway_ok)


def gateways_fail_together(play: Play) -> None:
    """Both hosts lose their gateways, and have them back, again and again."""
    term, cuts = play.term(play.a), {("gateway", "a"), ("gateway", "b")}
    for _ in range(6):
        play.world.net.cuts |= cuts
        play.never(lambda: play.term(play.a) != term, 2.0, "the role moves though both lost their gateways")
        play.world.net.cuts -= cuts
        play.never(lambda: play.term(play.a) != term, 2.0, "the role moves though both lost their gateways")


def primary_stays(patch: Patch) -> None:
    """A standby that cannot give up is not fenced."""
    everywhere(patch, "solo_right", lambda whole: lambda facts: facts.peer is None and whole(facts))


def standby_cannot_write(play: Play) -> None:
    """The standby's database is lost and its record cannot be written; its daemon answers."""
    world = play.world
    world.disk_holds_state = True
    play.b.pg.kill()
    play.b.pg.broken = play.b.disk_bad = True
    count = len(world.acknowledged)
    play.must(lambda: len(world.acknowledged) > count + 3, 40.0, "5: commits wait for a standby that is lost")
    world.no_power.add("b")
    play.b.power_off("ambush")
    play.b.pg.broken = play.b.disk_bad = False  # repaired


# --- from solo to pair -----------------------------------------------------------------------------------


def pairs_unfollowed(patch: Patch) -> None:
    """A solo primary makes a pair with a standby that does not follow."""
    always(patch, changes.FOLLOWS)
    always(patch, changes.SYNC_READY)


def alone_in_a_pair(play: Play) -> None:
    """The databases do not reach each other; the primary serves alone; both hosts lose their power, and B stays off."""
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    with suppress(Missed):
        play.until(play.is_pair, 2.0)
    play.off(play.b)
    play.off(play.a)
    play.on(play.a)
    play.must(lambda: play.serves(play.a), 30.0, "5: nobody serves, though a served alone")


def standby_stalls(play: Play) -> None:
    """The standby receives without flushing; it goes on and on."""
    world = play.world
    world.replication.stalled.add("b")
    play.until(lambda: play.says_solo(play.a, play.a))
    count, term = len(world.acknowledged), play.term(play.a)
    play.never(lambda: play.term(play.a) > term + 4, 15.0, "the pair is made and unmade without an end")
    if len(world.acknowledged) == count:
        raise Violation("5: commits wait for a standby that does not flush")


def stalled_is_following(patch: Patch) -> None:
    """A standby that does not flush follows."""

    def make(whole: Callable[[Facts], bool]) -> Callable[[Facts], bool]:
        def broken(facts: Facts) -> bool:
            kept, facts.__dict__["replica_stalled"] = facts.replica_stalled, False
            holds = whole(facts)
            facts.__dict__["replica_stalled"] = kept
            return holds

        return broken

    always(patch, changes.FOLLOWS, make(changes.FOLLOWS.test))


def unfollowed_is_answering(patch: Patch) -> None:
    """A standby whose database answers is never fenced, though its daemon is silent and it does not follow."""
    always(patch, changes.UNFOLLOWED, lambda _view: False)


def daemon_stopped_and_stream_broken(play: Play) -> None:
    """The daemon of the standby is stopped, for an upgrade, and replication breaks; its database answers."""
    world = play.world
    play.b.kill_daemon()
    play.apart("stream")
    if world.chance(0.5):
        world.replication.breaks()
    play.must(lambda: play.alone(play.a), 25.0, "commits wait without an end")
    count = len(world.acknowledged)
    play.must(lambda: len(world.acknowledged) > count, 5.0, "commits wait without an end")


RULES = (
    Rule("unfollowed", "B's daemon is silent and B has flushed nothing new for `unfollowed_s`", unfollowed_is_answering,
         daemon_stopped_and_stream_broken, "commits wait without", "a daemon stopped, a stream cut"),
    Rule("stop-before-writing", "The host that loses by a change gives up first, verifies it, and writes the record",
         writes_then_stops, switched_over_slowly, "1: two writers", "a switchover, a frozen host"),
    Rule("drop-before-writing", "the loser, and what it gives up first", gives_way_then_drops,
         standby_freezes, "4: both hosts hold the standby VIP", "a broken stream, a frozen host"),
    Rule("stop-verified", "A: PostgreSQL stopped (verified)", postmaster_is_enough, backends_outlive_it,
         "1: two writers", "a postmaster killed whose backends live on, a disk that hangs"),
    Rule("cannot-give-up", "A host that must give up but cannot (a postmaster in D state, a dead disk) does"
         " not adopt", stop_is_believed, cannot_stop, "1: two writers", "a disk that hangs"),
    Rule("cannot-is-said", "it resets itself, or says so and is fenced", cannot_is_not_said, cannot_stop,
         "5: nobody serves", "a disk that hangs"),
    Rule("checkpoint-confirmed", "after the loser's clean stop whose checkpoint the winner confirmed",
         checkpoint_unconfirmed, winner_is_behind, "5: nobody serves", "a broken stream, a switchover, a power cut"),
    Rule("own-request", "A hand-over is written only on the winner's own request (naming its boot and eligibility)",
         not_asked_any_more, winner_is_gone, "5: nobody serves",
         "a postmaster killed, a slow drop, a power cut on the winner"),
    Rule("starts-nothing", "meanwhile this host neither claims nor starts anything", starts_meanwhile,
         switched_over, "a host that gives up starts", "a switchover"),
    Rule("hand-backs-bounded", "Hand-backs are bounded; then an operator is called.", handed_back_for_ever,
         neither_has_it, "the role is handed back", "both hosts' data replaced by diverged ones, a switchover"),
    Rule("gateway-fresh", "A has lost its gateway and B freshly answers that it has one", any_gateway,
         gateways_fail_together, "the role moves", "gateways lost by both hosts"),
    Rule("standby-cannot", "or answers that it cannot write its record in time; A has the solo right", primary_stays,
         standby_cannot_write, "5: commits wait", "a database lost for good, a disk that fails"),
    Rule("hold-off", "Hand-overs for a lost gateway have a hold-off, so that they do not ping-pong.", no_hold_off,
         gateways_come_and_go, "the role moves to and fro", "gateways lost in turn"),
    Rule("pair-follows", "B follows A, within the limits, and with `sync` is seen to be the synchronous standby",
         pairs_unfollowed, alone_in_a_pair, "5: nobody serves", "a broken stream, power cut on both hosts"),
    Rule("stalled-is-not-following", "B's database is down, does not stream, or streams without flushing",
         stalled_is_following, standby_stalls, "the pair is made and unmade",
         "a standby that receives without flushing"),
)  # fmt: skip
