"""Rules of "The record" and of what lies beside it: each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.core import conditions, consent, converge, decide, intake
from pgvip.core.changes import Change
from pgvip.core.facts import Facts
from pgvip.core.knowledge import Knowledge
from pgvip.core.messages import Order
from pgvip.core.rights import write_right
from pgvip.core.round import Round
from pgvip.core.settings import Identity
from pgvip.core.values import BootFacts, Durable, Mode, Record
from tests.simulation.ambush import older_data_at_adoption
from tests.simulation.lost import both_write_after_a_force
from tests.simulation.machine import Host
from tests.simulation.play import Play
from tests.simulation.rule import Rule, everywhere, given
from tests.simulation.world import World

Patch = pytest.MonkeyPatch


# --- identity -----------------------------------------------------------------------------------------


def foreign_messages(patch: Patch) -> None:
    """Messages of any pair are taken for the peer's."""
    whole = intake.messages

    def broken(r: Round) -> None:
        who = r.k.who
        own = [
            replace(m, pair_id=who.pair_id, system_id=who.system_id, host=r.s.peer) for m in r.inputs.messages
        ]
        r.inputs = replace(r.inputs, messages=tuple(own))
        whole(r)

    patch.setattr(intake, "messages", broken)


def foreign_primary(play: Play) -> None:
    """A message of a host of the same name reaches B: another pair's, whose primary is its host c."""
    kept = play.copies(play.a, lambda message: True)
    play.until(lambda: bool(kept))
    play.world.calm()
    said, record = kept[0], play.b.durable.record
    assert record is not None
    other = replace(record, pair_id="another", term=record.term + 31, primary="c", mode=Mode.SOLO)
    play.again(play.b, [replace(said, pair_id="another", run_id="another", record=other)])
    play.wait(2.0, 4.0)


# --- term, primary, mode, sync --------------------------------------------------------------------------


def sync_in_place(patch: Patch) -> None:
    """A primary of a pair writes another `sync` straight away."""
    whole = consent.own

    def broken(r: Round, row: Change) -> None:
        v = r.facts()
        if v.pair and v.record is not None and v.record.sync != r.s.sync and write_right(v):
            r.write(replace(r.k.durable, record=replace(v.record, term=r.next_term(), sync=r.s.sync)))
        whole(r, row)

    patch.setattr(consent, "own", broken)


def becomes_async_unheard(play: Play) -> None:
    """The configuration becomes async while B hears nothing; then the primary is lost."""
    play.cut(play.a, "link")
    play.break_stream()
    for host in play.world.hosts:
        host.settings = replace(host.settings, sync=False)
    play.until(lambda: play.serves(play.b), 15.0)
    play.wait(1.0, 3.0)


def differ_unnoticed(patch: Patch) -> None:
    """Records of equal terms are taken for the same."""
    patch.setattr(Record, "same_rights", lambda one, other: True)


def each_has_the_role(play: Play) -> None:
    """Both state directories were restored, and make each host the solo primary of the same term."""
    world = play.world
    world.operators = True
    for host in world.hosts:
        play.off(host)
    for host in world.hosts:
        record = host.durable.record
        assert record is not None
        own = replace(record, term=record.term + 2, primary=host.name, mode=Mode.SOLO)
        host.durable = replace(host.durable, record=own, served=True)
    world.no_power.clear()
    play.apart("db")
    for host in world.hosts:
        host.power_on()
    play.wait(6.0, 9.0)


# --- the position of a hand-over ---------------------------------------------------------------------------


def any_history(patch: Patch) -> None:
    """The position of a hand-over is compared without its timeline."""

    def broken(facts: Facts, record: Record) -> bool:
        return facts.point is not None and record.handover is not None and facts.point.lsn >= record.handover.lsn

    patch.setattr(conditions, "reached", broken)


def diverged_data_at_adoption(play: Play) -> None:
    """A switchover; before B has heard of it, its data are replaced by those of a diverged history."""
    world = play.world
    world.operators = True
    play.when("record", play.a, lambda: None)
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.a.pg.phase == "down", 10.0)
    play.copies(play.a, lambda message: play.says_solo(play.a, play.b), passing=False)
    play.until(lambda: play.says_solo(play.a, play.b), 10.0)
    play.b.pg.kill()
    pg = play.b.pg
    pg.becomes_older(world.rng.randint(5, 15))
    pg.history.append((9, len(pg.wal)))
    pg.wal += [world.new_entry() for _ in range(30)]
    pg.flushed = len(pg.wal)
    play.wait(0.2, 1.0)
    world.calm()
    play.wait(5.0, 9.0)


# --- served, complete, hold -------------------------------------------------------------------------------------


def served_afterwards(patch: Patch) -> None:
    """`served` is written once PostgreSQL is seen read-write."""
    whole = converge._as_primary

    def broken(r: Round, row: Change) -> None:
        before = r.k.durable
        if before.served or r.facts().read_write:
            whole(r, row)
            return
        r.k.durable = replace(before, served=True)
        whole(r, row)
        r.k.durable = before

    patch.setattr(converge, "_as_primary", broken)


def loses_power_as_it_writes(play: Play) -> None:
    """A's database dies with WAL that B has not; B becomes read-write, and loses its power in that very moment."""
    play.break_stream()
    play.wait(0.4, 0.8)
    play.when("writer", play.b, lambda: play.b.power_off("ambush"), 0.0, 0.02)
    play.a.pg.kill()
    play.world.net.cuts.clear()
    play.until(lambda: not play.b.powered, 10.0)
    play.on(play.b)
    play.wait(3.0, 6.0)


def kept_by_the_loser(patch: Patch) -> None:
    """`served` stays when the other host becomes primary."""
    written = Round.write

    def broken(r: Round, durable: Durable) -> bool:
        return written(r, replace(durable, served=durable.served or r.k.durable.served))

    patch.setattr(Round, "write", broken)


def complete_for_ever(patch: Patch) -> None:
    """`complete` stays when the other host becomes primary."""
    written = Round.write

    def broken(r: Round, durable: Durable) -> bool:
        return written(r, replace(durable, complete=durable.complete or r.k.durable.complete))

    patch.setattr(Round, "write", broken)


def handed_over_again(play: Play) -> None:
    """B was primary once, by a switchover; when it gets the role again it is on older data."""
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.serves(play.b) and play.world.healthy(), 60.0)
    play.order(play.a, Order.SWITCHOVER)
    play.until(lambda: play.serves(play.a) and play.world.healthy(), 60.0)
    older_data_at_adoption(play)


def taken_and_handed_over(play: Play) -> None:
    """B was primary once, by a fence; when it gets the role again it is on older data."""
    play.a.power_off("ambush")
    play.until(lambda: play.serves(play.b) and play.world.healthy(), 60.0)
    play.order(play.a, Order.SWITCHOVER)
    play.until(lambda: play.serves(play.a) and play.world.healthy(), 60.0)
    older_data_at_adoption(play)


def incomplete(patch: Patch) -> None:
    """A takeover by fence does not write that this host holds all it needs."""
    written = Round.write
    patch.setattr(Round, "write", lambda r, durable: written(r, replace(durable, complete=False)))


def primary_is_lost(play: Play) -> None:
    """The primary has no power; the standby takes over, and is reset before its first start."""
    play.when("record", play.b, lambda: play.b.power_off("ambush"), 0.0, 0.05)
    play.off(play.a)
    play.until(lambda: not play.b.powered, 20.0)
    play.on(play.b)
    play.must(lambda: play.serves(play.b), 30.0, "5: nobody serves, though b has the role and all the data")


def no_hold(patch: Patch) -> None:
    """Adopting a record that takes the role without consent leaves no mark."""
    everywhere(patch, "takes_from_me", lambda whole: lambda facts, record: False)


def hold_does_not_hold(patch: Patch) -> None:
    """Data are rebuilt in spite of `hold`."""

    def blind(whole: Callable[[Facts], bool]) -> Callable[[Facts], bool]:
        def broken(facts: Facts) -> bool:
            hold = facts.k.durable.hold
            facts.k.durable = replace(facts.k.durable, hold="")
            try:
                return whole(facts)
            finally:
                facts.k.durable = replace(facts.k.durable, hold=hold)

        return broken

    everywhere(patch, "may_rebuild", blind)


# --- facts of one boot ---------------------------------------------------------------------------------------------


def facts_survive(patch: Patch) -> None:
    """What a boot knew is known in the next (a boot id that stays the same)."""

    def keeping(whole: Callable[[Host], None]) -> Callable[[Host], None]:
        def broken(host: Host) -> None:
            facts = host.facts
            whole(host)
            host.facts = facts

        return broken

    given(patch, Host, "power_on", keeping)


def fenced_and_back(play: Play) -> None:
    """A is cut off and fenced; B serves; A is back."""
    play.is_cut_off(play.a)
    play.until(lambda: play.serves(play.b))
    play.wait(0.5, 3.0)
    play.a.power_on()
    play.wait(3.0, 6.0)


def rolled_back_believed(patch: Patch) -> None:
    """A daemon that starts is confirmed in whatever record it finds."""
    whole = decide.begin

    def broken(who: Identity, durable: Durable, facts: BootFacts) -> Knowledge:
        return whole(who, durable, replace(facts, confirmed_term=-1))

    patch.setattr(decide, "begin", broken)


def restored_beside_a_daemon(play: Play) -> None:
    """A has handed over; its state directory is restored from a backup, and its daemon restarts."""
    old = play.a.durable
    play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.alone(play.b))
    play.a.kill_daemon()
    play.a.durable = old
    play.apart("link")
    play.a.start_daemon()
    play.wait(2.0, 4.0)


def not_synced(patch: Patch) -> None:
    """A record that was written a short time ago is not on the disk yet."""
    whole = World.recorded
    last: dict[Host, Durable] = {}

    def broken(world: World, host: Host) -> None:
        before, now = last.get(host), host.durable
        if before is not None and before.record != now.record:
            host.before = before
        last[host] = now
        whole(world, host)

    patch.setattr(World, "recorded", broken)


def resets_after_it_took_over(play: Play) -> None:
    """B took over and serves; its power fails, and both hosts boot."""
    play.wait(0.0, 4.0)
    play.off(play.a)
    play.until(lambda: play.alone(play.b))
    play.wait(1.0, 3.0)
    play.off(play.b)
    play.on(play.a)
    play.on(play.b)
    play.wait(5.0, 9.0)


RULES = (
    Rule("pair-id", "`pair_id`, `system_id` | identity of the pair and of the database cluster; also in every message;"
         " a mismatch is an alarm and nothing is acted on", foreign_messages, foreign_primary,
         "5: it does not come back", "a message of another pair"),
    Rule("sync-by-solo", "in this term a commit waits for the standby; changes only by way of `solo`", sync_in_place,
         becomes_async_unheard, "2: ",
         "a link cut one way, a broken stream, a change of configuration, a fence"),
    Rule("same-history", "the LSN is satisfied only on the same history", any_history, diverged_data_at_adoption,
         "2: b is read-write without", "a standby's data replaced by diverged ones, a switchover"),
    Rule("served-first", "Written before the first read-write start", served_afterwards, loses_power_as_it_writes,
         "5: it does not come back",
         "a broken stream, a postmaster killed, a power cut as the standby becomes read-write"),
    Rule("served-cleared", "cleared only when the other becomes primary **[m 13]**", kept_by_the_loser,
         handed_over_again, "2: b is read-write without", "switchovers, a standby's data replaced by an older backup"),
    Rule("complete", "this host was eligible when it gained the role by fence or force (it holds all it needs, even if"
         " it crashes before its first start)", incomplete, primary_is_lost, "5: nobody serves",
         "power cut on the primary, a reset of the standby after its write"),
    Rule("complete-cleared", "this host was eligible when it gained the role by fence or force", complete_for_ever,
         taken_and_handed_over, "2: b is read-write without",
         "a fence, a switchover, a standby's data replaced by an older backup"),
    Rule("hold-written", "Written together with the adoption.", no_hold, both_write_after_a_force,
         "a went on without an operator", "a forced promotion without a fence"),
    Rule("hold", "Nothing is rewound or rebuilt until an operator clears it.", hold_does_not_hold,
         both_write_after_a_force, "a went on without an operator", "a forced promotion without a fence"),
    Rule("equal-terms", "Equal terms with different `primary`, `mode`, `sync` or `witness_id`: alarm, nobody is"
         " confirmed, an"
         " operator decides.", differ_unnoticed, each_has_the_role, "1: two writers", "both records restored"),
    Rule("boot-facts", "Two facts live only within one kernel boot (kept with the boot id, so that a daemon restart"
         " keeps them and a fence or a reboot drops them", facts_survive, fenced_and_back, "1: two writers",
         "a primary cut off, a fence, a boot"),
    Rule("confirmed-record", "`confirmed`: this host knows that its record is the pair's current one.",
         rolled_back_believed, restored_beside_a_daemon, "1: two writers",
         "a record rolled back while the daemon is down, a link cut"),
    Rule("record-synced", "One small durable record per host (temporary file, fsync, rename, fsync of the directory)",
         not_synced, resets_after_it_took_over, "2: a is read-write without", "power cuts"),
)  # fmt: skip
