"""Rules of "Eligibility, and handing the standby VIP over": each with its switch and its play."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest

from pgvip.core import converge, decide, intake, promotion
from pgvip.core.actions import Action, ConfirmGrant
from pgvip.core.conditions import WHOLE
from pgvip.core.knowledge import Decision, Knowledge
from pgvip.core.messages import AddressFree, Message, Order
from pgvip.core.round import Round
from pgvip.core.settings import Inputs, Settings
from pgvip.core.values import Vip
from tests.simulation.acting import Actor
from tests.simulation.cluster import Cluster
from tests.simulation.lost import paused_with_a_lease
from tests.simulation.machine import Host
from tests.simulation.play import Missed, Play
from tests.simulation.rule import Rule, always, sees

Patch = pytest.MonkeyPatch


def address_term(patch: Patch) -> None:
    """"The address is free" counts in whatever term it arrives."""
    whole = intake._message

    def broken(r: Round, message: Message) -> None:
        own = r.k.durable.record
        if message.address_free is not None and own is not None:
            message = replace(message, address_free=AddressFree(own.term, message.address_free.boot_id))
        whole(r, message)

    patch.setattr(intake, "_message", broken)


def old_permission(play: Play) -> None:
    """A permission is delayed across solo and pair; A cannot drop the address, and freezes."""
    old = play.copies(play.a, lambda message: message.address_free is not None)
    play.until(lambda: len(old) >= 8)
    kept = old[-8:]
    play.a.kill_daemon()
    play.wait(0.05, 0.3)
    play.a.start_daemon()
    play.until(play.world.healthy)
    play.world.sticks.add("a")
    play.break_stream()
    play.until(lambda: play.alone(play.a) and len(play.a.held) == 2)
    play.world.net.cuts.clear()
    play.until(play.is_pair)
    play.again(play.b, kept)
    play.a.freeze()
    play.wait(2.0, 4.0)


def names_not_in_force(patch: Patch) -> None:
    """The primary grants whether or not the synchronous names are in force."""
    whole = Actor._ConfirmGrant

    def broken(actor: Actor, action: ConfirmGrant) -> None:
        whole(actor, replace(action, sync=False))

    def end(actor: Actor, action: Action, *, ok: bool, text: str = "", point: object = None) -> None:
        asked = replace(action, sync=True) if isinstance(action, ConfirmGrant) else action
        ended(actor, asked, ok=ok, text=text, point=point)  # type: ignore[arg-type]  # passed on as it came

    ended = Actor._end
    patch.setattr(Actor, "_ConfirmGrant", broken)
    patch.setattr(Actor, "_end", end)


def names_are_slow(play: Play) -> None:
    """Backends see the new names late; the stream breaks, and the primary is lost."""
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    play.until(lambda: not play.a.pg.names_in_force)
    play.a.pg.names_s = 6.0
    play.world.net.cuts.clear()
    with suppress(Missed):
        play.until(lambda: play.eligible(play.b), 4.0)
    play.world.clients.every_s = 0.1
    play.break_stream()
    play.wait(0.3, 0.6)
    play.off(play.a)
    play.wait(4.0, 6.0)


def lease_for_ever(patch: Patch) -> None:
    """In async, `eligible` does not end."""
    _expires(patch, lambda r, message: None)


def lease_from_arrival(patch: Patch) -> None:
    """In async, the lease is counted from the grant's arrival."""
    _expires(patch, lambda r, message: r.now_s + r.s.lag_s_max)


def _expires(patch: Patch, when: Callable[[Round, Message], float | None]) -> None:
    whole = intake._message

    def broken(r: Round, message: Message) -> None:
        if message.grant is not None and message.grant.expires_s is not None:
            message = replace(message, grant=replace(message.grant, expires_s=when(r, message)))
        whole(r, message)

    patch.setattr(intake, "_message", broken)


def cut_off_for_long(play: Play) -> None:
    """In async the primary is cut off and goes on; B's fence device works after a long time."""
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.world.fencing.moods["a"] = "fails"
    play.wait(25.0, 40.0)
    play.world.fencing.moods.clear()
    play.wait(6.0, 9.0)


def grants_are_late(play: Play) -> None:
    """In async the primary's messages take most of a lease; it is cut off, goes on, and is fenced late."""

    def late(sender: Host, message: Message) -> bool:
        if sender is play.a:
            play.world.after(14.0, partial(play.world.arrive, sender.peer, message))
        return sender is not play.a

    play.world.passes = late
    play.wait(15.0, 17.0)
    play.world.fencing.moods["a"] = "fails"
    play.apart("link", "db")
    play.cut(play.a, "fence")
    play.wait(22.0, 28.0)
    play.world.fencing.moods.clear()
    play.wait(6.0, 9.0)


def position_of_long_ago(patch: Patch) -> None:
    """The primary grants for a position that it read fifteen seconds before."""
    whole, append = Actor._ConfirmGrant, Cluster.append
    was: dict[Cluster, list[tuple[float, int]]] = {}

    def noting(pg: Cluster) -> int:
        entry = append(pg)
        was.setdefault(pg, []).append((pg.world.now_s, len(pg.wal)))
        return entry

    def broken(actor: Actor, action: ConfirmGrant) -> None:
        pg = actor.host.pg
        old = [count for at_s, count in was.get(pg, ()) if at_s < actor.world.now_s - 15.0]
        stream = pg.outbound
        if stream is not None and old and old[-1] <= stream.flush_lsn < len(pg.wal):
            actor._end(action, ok=True)
        else:
            whole(actor, action)

    patch.setattr(Cluster, "append", noting)
    patch.setattr(Actor, "_ConfirmGrant", broken)


def behind_and_fenced_late(play: Play) -> None:
    """In async B is far behind; the primary is cut off, goes on, and is fenced at the end of the lease."""
    world = play.world
    play.break_stream()
    play.until(lambda: play.alone(play.a))
    play.wait(10.0, 12.0)
    world.replication.trickle.add("b")
    world.net.cuts.clear()
    play.until(play.is_pair)
    with suppress(Missed):
        play.until(lambda: play.eligible(play.b), 8.0)
    play.is_cut_off(play.a)
    world.fencing.moods["a"] = "fails"
    play.wait(10.0, 12.0)
    world.fencing.moods.clear()
    play.wait(8.0, 10.0)


def jump_unseen(patch: Patch) -> None:
    """A jump between the clocks is not checked."""
    whole = decide.decide

    def broken(knowledge: Knowledge, inputs: Inputs, settings: Settings, now_s: float) -> Decision:
        return whole(knowledge, replace(inputs, jumped=False), settings, now_s)

    patch.setattr(decide, "decide", broken)


def another_postmaster(patch: Patch) -> None:
    """The primary grants to the postmaster that is named, whichever one is connected."""
    whole = Actor._ConfirmGrant

    def broken(actor: Actor, action: ConfirmGrant) -> None:
        stream = actor.host.pg.outbound
        if stream is None:
            whole(actor, action)
            return
        kept, stream.receiver_proc = stream.receiver_proc, action.key.postmaster
        whole(actor, action)
        assert kept

    patch.setattr(Actor, "_ConfirmGrant", broken)


def restarts_unconnected(play: Play) -> None:
    """The standby restarts on older data, and cannot connect; the primary has not noticed, and is lost."""
    world = play.world
    world.clients.every_s = 30.0
    world.disk_holds_state = False
    play.a.disk_bad = True  # and so it writes no WAL for a moment
    play.wait(0.3, 0.6)
    play.apart("stream")
    play.b.pg.kill()
    play.b.pg.becomes_older(world.rng.randint(5, 15))
    play.until(lambda: play.b.pg.phase == "standby", 3.0)
    play.wait(0.3, 0.6)
    play.off(play.a)
    play.wait(4.0, 6.0)


def flushed_is_enough(patch: Patch) -> None:
    """A standby is eligible whatever its replay can do."""
    sees(patch, "unfit", lambda _whole: lambda _view: "")
    sees(patch, "fit", lambda _whole: lambda view: view.database is not None)


def lost_beside_a_target(play: Play) -> None:
    """The standby has a recovery target after every start, whoever starts it; the primary is lost."""
    pg = play.b.pg
    pg.given_target = "recovery_target_name = 'old'"
    pg.kill()
    play.until(lambda: pg.phase == "standby")
    play.wait(5.0, 9.0)
    play.off(play.a)
    play.never(lambda: pg.left_out > 0, 8.0, "2: b was promoted and left out what it had flushed")
    pg.given_target = ""
    pg.kill()


def fork_unseen(patch: Patch) -> None:
    """A promotion is served from wherever its timeline forks."""
    patch.setattr(promotion, "verify", lambda _r: None)
    always(patch, WHOLE)
    sees(patch, "verified", lambda _whole: lambda _view: True)


def forks_early(play: Play) -> None:
    """The standby's promotion leaves out what it had flushed, for a reason that nobody saw before."""
    play.b.pg.forks_early = play.world.rng.randint(1, 4)
    if play.world.chance(0.5):
        play.off(play.a)
    else:
        play.order(play.b, Order.SWITCHOVER)
    play.until(lambda: play.b.pg.left_out > 0)
    if play.world.chance(0.5):
        play.b.kill_daemon()
        play.wait(0.05, 0.3)
        play.b.start_daemon()
    play.never(lambda: Vip.PRIMARY in play.b.held, 4.0, "2: b serves without what its promotion left out")
    play.world.operators = True


def never_withdrawn(patch: Patch) -> None:
    """Names that somebody clears are set again, and what was granted before stays."""
    patch.setattr(converge, "revoke", lambda _r: None)


def names_cleared_by_hand(play: Play) -> None:
    """Replication is cut; somebody clears the names, so that commits go on; then the primary is lost."""
    pg = play.a.pg
    play.apart("stream")
    play.world.clients.every_s = 0.1
    pg.names_shown = False
    pg.set_names_in_force(False)
    play.wait(1.2, 2.2)
    play.off(play.a)
    play.wait(4.0, 6.0)


RULES = (
    Rule("names-now", "The grant is withdrawn as soon as the names are seen wrong", never_withdrawn,
         names_cleared_by_hand, "2: b is read-write without", "names cleared by hand, a stream cut, a power cut"),
    Rule("fit", "flushed is not replayable", flushed_is_enough, lost_beside_a_target, "2: b was promoted",
         "a standby restarted by hand with a recovery target, a power cut"),
    Rule("fork", "A promotion is verified by where its new timeline forks", fork_unseen, forks_early, "2: b serves",
         "a promotion that forks early, a power cut or a switchover, a daemon killed"),
    Rule("address-term", '`eligible` and "the address is free" carry term', address_term, old_permission,
         "4: both hosts hold the standby VIP",
         "a message delayed over solo and pair, a drop that fails, a frozen host"),
    Rule("names-in-force", "in sync the names are set **and in force**", names_not_in_force, names_are_slow,
         "2: b is read-write without", "names that are slow to come into force, a broken stream, a power cut"),
    Rule("present-postmaster", "B's present postmaster is connected", another_postmaster, restarts_unconnected,
         "2: b is read-write without",
         "a disk that hangs for a moment, a standby's data replaced by an older backup, a stream cut"),
    Rule("lease", "Async: `eligible` is a lease in seconds", lease_for_ever, cut_off_for_long, "3: b lost the last",
         "link and replication cut, a fence device that does not answer for long", sync=False),
    Rule("lease-echo", "counted from B's own monotonic reading, which the grant echoes", lease_from_arrival,
         grants_are_late, "3: b lost the last",
         "a slow link, link and replication cut, a fence device that does not answer for long", sync=False),
    Rule("position-after-echo", "(A reads L after receiving it)", position_of_long_ago, behind_and_fenced_late,
         "2: b is read-write without",
         "a slow standby, a host cut off, a fence device that does not answer for long", sync=False),
    Rule("clock-jump", "A jump between monotonic and wall clock (a paused VM) drops it.", jump_unseen,
         paused_with_a_lease, "3: b lost the last", "a virtual machine paused, link and replication cut", sync=False),
)  # fmt: skip
