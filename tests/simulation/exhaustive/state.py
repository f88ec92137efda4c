"""The state of the small world: nested tuples of values, so that a change copies little and a state can be hashed.

Knowledge, observations, messages, actions and what is durable stand in it as numbers of a `Pool`.
"""

from __future__ import annotations

from typing import NamedTuple

from pgvip.core.values import Vip
from tests.simulation.exhaustive.wal import FIRST, Entry, Wal

NAMES = ("a", "b")
PEER = {"a": "b", "b": "a"}
BIT = {"a": 1, "b": 2}
LONG = 9
"""Ticks after which the age of a sight stands still; longer than every threshold that reads one."""

Held = tuple[Vip, ...]


class Violation(Exception):
    """Something that must hold (docs/protocol.md, "What must hold") did not."""


class Sender(NamedTuple):
    """A primary's end of a stream: `proc` of the standby, how far it flushed, ticks since it was heard."""

    proc: str
    flush: int
    age: int = 0


class Receiver(NamedTuple):
    """A standby's end of a stream."""

    proc: str
    age: int = 0


class Pg(NamedTuple):
    """A cluster and its processes.

    `names`: the synchronous names as shown; `force`: as backends obey them, from the tick after next (`soon`).
    `begun`: where it became read-write. `waiting`: position of a commit that waits for the standby. `told`: what was
    recovered has been seen by clients. `moved`: ticks since WAL last arrived at, or was flushed by, the standby.
    `alone`: in async, ticks in which commits were acknowledged since then.
    """

    phase: str = "down"  # down, starting, standby, promoting, primary, stopping
    proc: str = ""
    wal: Wal = FIRST
    flushed: int = 2
    signal: bool = False
    control: str = "shut down"
    checkpoint: tuple[int, int] | None = None
    names: bool = False
    force: bool = False
    soon: bool = False
    hung: bool = False
    stalled: bool = False
    slow: bool = False
    orphans: bool = False
    broken: bool = False
    begun: int = 0
    waiting: int = 0
    told: bool = False
    rx: Receiver | None = None
    tx: Sender | None = None
    moved: int = LONG
    alone: int = 0

    @property
    def writes(self) -> bool:
        """Something here can commit: a read-write server, or what a killed one left behind."""
        return self.phase in ("primary", "stopping") or self.orphans

    @property
    def answers(self) -> bool:
        return self.phase in ("standby", "promoting", "primary") and not self.hung


class Act(NamedTuple):
    """An action under way. `left`: ticks until it may end. `outcome`: it has ended, and the result is yet to come."""

    action: int
    left: int = 1
    outcome: int = 0  # number of the Result; 0: it has not ended


class Host(NamedTuple):
    """One machine. `known`: of its daemon, 0 for none. `boots`: ticks until its daemon starts, -1: it does not.

    `idle`: with a witness, ticks since a round of its daemon has fed the watchdog and renewed the addresses.
    """

    on: bool
    boot: str
    durable: int
    known: int = 0
    seen: int = 0
    facts: int = 0
    boots: int = -1
    held: Held = ()
    pg: Pg = Pg()
    acts: tuple[Act, ...] = ()
    inbox: tuple[int, ...] = ()
    stopped: bool = False
    orders: tuple[str, ...] = ()
    idle: int = 0


class Kept(NamedTuple):
    """A message that may come at any later time. `stale`: the receiver has heard a newer one of the same daemon."""

    to: str
    message: int
    stale: bool = False


class World(NamedTuple):
    """Everything. `due`: daemons that have not stepped in this tick. `active`: faults that last, and what they cut.

    `late`: hosts whose fence was given up and may still strike. `acked`: commits that somebody could lose; `open`:
    those that nobody was told of. `faults`, `delays`, `copies`: how many of each are left. `limit`:
    in async, ticks of acknowledged commits that a takeover may lose. `registers`: terms and who has them; `asked`:
    claims that were given up and may still be carried out.
    """

    a: Host
    b: Host
    due: int = 0
    active: tuple[str, ...] = ()
    cuts: frozenset[str] = frozenset()
    kept: tuple[Kept, ...] = ()
    late: tuple[str, ...] = ()
    acked: frozenset[Entry] = frozenset()
    open: frozenset[Entry] = frozenset()
    faults: int = 0
    delays: int = 0
    copies: int = 0
    limit: int = -1
    registers: tuple[tuple[int, str], ...] = ()
    asked: tuple[tuple[int, str], ...] = ()

    def host(self, name: str) -> Host:
        return self.a if name == "a" else self.b

    def put(self, name: str, host: Host) -> World:
        """`_replace` of one host, three times as fast: most of a search is this."""
        rest = (host, *self[1:]) if name == "a" else (self[0], host, *self[2:])
        return tuple.__new__(World, rest)

    def awake(self) -> int:
        """The daemons that do their rounds, as `due` has them."""
        a, b = self.a, self.b
        return (1 if a.known and not a.stopped else 0) + (2 if b.known and not b.stopped else 0)

    def sends(self, path: str, name: str) -> bool:
        """What host `name` sends on `path` arrives."""
        return f"{path} {name}" not in self.cuts

    def open_path(self, path: str) -> bool:
        """Both hosts have power, and packets go both ways."""
        return self.a.on and self.b.on and self.sends(path, "a") and self.sends(path, "b")


class Move(NamedTuple):
    """One next state, or what was violated on the way to it."""

    label: str
    world: World
    violation: str = ""


_PG = Host._fields.index("pg")


def with_pg(world: World, name: str, pg: Pg) -> World:
    """The same with another server on host `name`."""
    host = world.host(name)
    if pg is host.pg:
        return world
    return world.put(name, tuple.__new__(Host, (*host[:_PG], pg, *host[_PG + 1 :])))
