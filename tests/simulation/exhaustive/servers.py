"""What happens to the clusters: start, promotion, stop, crash, streaming, commits. World in, world out."""

from __future__ import annotations

from tests.simulation.exhaustive import wal
from tests.simulation.exhaustive.state import LONG, NAMES, PEER, Pg, Receiver, Sender, Violation, World, with_pg

TIMEOUT = 4
"""Ticks after which the end of a stream that hears nothing closes it."""


def spawned(pg: Pg, proc: str, *, standby: bool, sync: bool) -> Pg:
    """The postmaster comes up and recovers."""
    return pg._replace(
        phase="starting", proc=proc, signal=standby, names=sync, force=sync, soon=False, waiting=0, told=False,
        hung=False, moved=LONG,
    )  # fmt: skip


def started(world: World, name: str) -> World:
    """Recovery has come to a consistent state."""
    pg = world.host(name).pg
    pg = pg._replace(flushed=wal.length(pg.wal))
    if pg.signal:
        return with_pg(world, name, pg._replace(phase="standby", control="in archive recovery"))
    return _writer(world, name, pg, wal.timeline(pg.wal))


def promoted(world: World, name: str) -> World:
    pg = world.host(name).pg
    return _writer(world, name, pg._replace(signal=False, rx=None), wal.timeline(pg.wal) + 1)


def _writer(world: World, name: str, pg: Pg, line: int) -> World:
    """1: one writer. 2: it has all that was acknowledged. 3: or, in async, all but a bounded tail."""
    entries = wal.appended(pg.wal, name, line)  # the end-of-recovery record
    end = wal.length(entries)
    pg = pg._replace(phase="primary", control="in production", wal=entries, flushed=end, begun=end, waiting=0)
    world = with_pg(world, name, pg)
    one_writer(world)
    missing = frozenset(entry for entry in world.acked if not wal.holds(entries, entry))
    if missing and world.limit < 0:
        raise Violation(f"2: {name} is read-write without acknowledged commits: {sorted(missing)}")
    if missing and world.host(PEER[name]).pg.alone > world.limit:
        raise Violation(f"3: {name} lost more than {world.limit} ticks of what {PEER[name]} acknowledged")
    return world._replace(acked=world.acked - missing)


def one_writer(world: World) -> None:
    if world.a.on and world.b.on and world.a.pg.writes and world.b.pg.writes:
        raise Violation("1: two writers")


def down(pg: Pg, *, orphans: bool = False) -> Pg:
    """Every process is gone, or only the postmaster."""
    return pg._replace(
        phase="down", proc="", hung=False, rx=None, tx=None, moved=LONG, waiting=pg.waiting if orphans else 0,
        orphans=orphans and pg.phase == "primary", flushed=pg.flushed if orphans else wal.length(pg.wal), told=False,
        names=False, force=pg.force and orphans, soon=False, begun=0,
    )  # fmt: skip


def power_lost(pg: Pg) -> Pg:
    """What was not flushed is gone with everything in memory."""
    return down(pg._replace(wal=wal.cut(pg.wal, pg.flushed)))


def shut_down(world: World, name: str) -> World:
    """The end of a fast shutdown: a primary's checkpoint is its last record, and a standby that streams gets it."""
    pg = world.host(name).pg
    if pg.phase not in ("primary", "stopping"):
        return with_pg(world, name, down(pg._replace(control="shut down in recovery")))
    entries = wal.appended(pg.wal, name, wal.timeline(pg.wal))
    pg = pg._replace(wal=entries, control="shut down", checkpoint=(wal.timeline(entries), wal.length(entries) - 1))
    peer = world.host(PEER[name]).pg
    if streams(world, PEER[name]) and not peer.slow:
        flushed = peer.flushed if peer.stalled else wal.length(entries)
        world = with_pg(world, PEER[name], peer._replace(wal=entries, flushed=flushed))
    return with_pg(world, name, down(pg))


def streams(world: World, standby: str) -> bool:
    """Both ends of the stream to `standby` are open and belong together, and packets pass."""
    s, p = world.host(standby).pg, world.host(PEER[standby]).pg
    return (
        s.rx is not None
        and p.tx is not None
        and s.rx.proc == p.proc != ""
        and p.tx.proc == s.proc != ""
        and s.phase == "standby"
        and p.phase in ("primary", "stopping")
        and not s.hung
        and not p.hung
        and world.open_path("db")
    )


def replicated(world: World, *, late: bool = False) -> World:
    """One tick of streaming, clients and waiting commits. `late`: the standby receives without flushing."""
    for name in NAMES:
        world = _stream(world, name, late=late)
    for name in NAMES:
        world = _clients(world, name)
    return _forget_safe(world)


def _stream(world: World, standby: str, *, late: bool) -> World:
    primary = PEER[standby]
    s, p = world.host(standby).pg, world.host(primary).pg
    if streams(world, standby):
        return _flow(world, standby, late=late or s.stalled or s.slow)
    path = world.open_path("db")
    if s.rx is not None:
        told = path and p.proc != s.rx.proc
        s = _receiver_closed(s) if told or s.rx.age + 1 >= TIMEOUT else s._replace(rx=s.rx._replace(age=s.rx.age + 1))
    if p.tx is not None:
        told = path and (s.proc != p.tx.proc or s.rx is None)
        p = p._replace(tx=None if told or p.tx.age + 1 >= TIMEOUT else p.tx._replace(age=p.tx.age + 1))
    usable = path and s.phase == "standby" and p.phase == "primary" and not s.hung and not p.hung
    if usable and s.rx is None and wal.begins(s.wal, p.wal):
        s, p = s._replace(rx=Receiver(p.proc)), p._replace(tx=Sender(s.proc, 0))
    return with_pg(with_pg(world, standby, _still(s)), primary, _still(p))


def _receiver_closed(s: Pg) -> Pg:
    """A receiver that ends flushes what it has."""
    return s._replace(rx=None, flushed=s.flushed if s.stalled or s.hung else wal.length(s.wal))


def _still(pg: Pg) -> Pg:
    return pg if pg.moved == LONG else pg._replace(moved=pg.moved + 1)


def _flow(world: World, standby: str, *, late: bool) -> World:
    """WAL arrives, or nothing but the sign that the primary is there.

    While commits do not wait, the standby stays one behind: the newest was acknowledged before it came. That is
    the state after any number of commits; a commit in a tick in which the standby flushes too leaves no trace.
    """
    primary = PEER[standby]
    s, p = world.host(standby).pg, world.host(primary).pg
    if late:
        p = _commits(world, primary)
        world = _with_commit(world, primary, p)
    assert p.tx is not None
    assert s.rx is not None
    entries, first = p.wal, p.tx.flush == 0
    if not p.force and wal.last(entries) in world.acked and not wal.holds(s.wal, wal.last(entries)):
        entries = wal.cut(entries, wal.length(entries) - 1)
    if s.slow:
        entries = s.wal
    s = s._replace(wal=entries, flushed=s.flushed if late else wal.length(entries), rx=Receiver(s.rx.proc))
    moved = _moved(s, p, late=late, first=first)
    p = p._replace(tx=Sender(p.tx.proc, s.flushed), moved=moved, alone=p.alone if late else 0)
    world = with_pg(with_pg(world, standby, s._replace(moved=moved)), primary, p)
    if p.waiting and p.waiting <= s.flushed:
        world = _acknowledged(world, primary)
    return world


def _moved(s: Pg, p: Pg, *, late: bool, first: bool) -> int:
    return _still(s).moved if late or first else 0


def _commits(world: World, name: str) -> Pg:
    """A client commits, unless the newest entry is a commit of the same kind already."""
    pg = world.host(name).pg
    newest = wal.last(pg.wal)
    if pg.waiting or (not pg.force and newest in world.acked):
        return pg
    entries = wal.appended(pg.wal, name, wal.timeline(pg.wal))
    end = wal.length(entries)
    return pg._replace(wal=entries, flushed=end, waiting=end if pg.force else 0)


def _with_commit(world: World, name: str, pg: Pg) -> World:
    if pg == world.host(name).pg:
        return world
    entry = wal.last(pg.wal)
    world = with_pg(world, name, pg)
    if pg.force:
        return world._replace(open=world.open | {entry})
    return world._replace(acked=world.acked | {entry})


def _acknowledged(world: World, name: str) -> World:
    """The client that waits is told that its commit is safe."""
    pg = world.host(name).pg
    entry = wal.Run(name, wal.timeline(wal.cut(pg.wal, pg.waiting)), pg.waiting)
    world = with_pg(world, name, pg._replace(waiting=0))
    return world._replace(acked=world.acked | {entry}, open=world.open - {entry})


def _clients(world: World, name: str) -> World:
    """Clients of a writer: somebody writes wherever it can, and reads through the primary address."""
    host = world.host(name)
    pg = host.pg
    if not host.on or pg.hung or not (pg.phase == "primary" or pg.orphans):
        return world
    if pg.waiting and not pg.force:
        return _acknowledged(world, name)
    if pg.phase == "primary" and "primary" in host.held and not pg.told:
        # All that was recovered is visible to whoever comes through the address, and counts as told.
        seen = frozenset(entry for entry in world.open if wal.holds(pg.wal, entry) and entry.end != pg.waiting)
        world = world._replace(acked=world.acked | seen, open=world.open - seen)
        world = with_pg(world, name, pg._replace(told=True))
    standby = world.host(PEER[name]).pg
    flowing = pg.phase == "primary" and streams(world, PEER[name]) and not standby.stalled and not standby.slow
    if pg.force and flowing:
        return world  # it commits, the standby flushes it: the same as before
    if world.limit >= 0 and not flowing:
        world = with_pg(world, name, world.host(name).pg._replace(alone=min(pg.alone, world.limit) + 1))
    return _with_commit(world, name, _commits(world, name))


def _forget_safe(world: World) -> World:
    """What both hosts have flushed can no longer be lost; what neither has is lost already, or was never told."""
    if not world.acked and not world.open:
        return world
    a, b = (wal.cut(world.host(name).pg.wal, max(world.host(name).pg.flushed, 1)) for name in NAMES)
    acked = frozenset(e for e in world.acked if not (wal.holds(a, e) and wal.holds(b, e)))
    held = frozenset(e for e in world.open if wal.holds(world.a.pg.wal, e) or wal.holds(world.b.pg.wal, e))
    return world._replace(acked=acked, open=held)


def names_settle(pg: Pg) -> Pg:
    """Backends obey new names a little later than they are shown: not in the tick of the change, but in the next."""
    if pg.names == pg.force or pg.phase != "primary":
        return pg._replace(soon=False) if pg.soon else pg
    return pg._replace(force=pg.names, soon=False) if pg.soon else pg._replace(soon=True)


def rebuilding(world: World, name: str) -> None:
    """Data that alone holds acknowledged commits is never overwritten."""
    mine, other = world.host(name).pg.wal, world.host(PEER[name]).pg.wal
    only = [e for e in world.acked if wal.holds(mine, e) and not wal.holds(other, e)]
    if only:
        raise Violation(f"2: {name} rebuilds data that alone has acknowledged commits: {only}")


