"""What clients and probers were told, as the checker reads it. No more than that: nothing of pgvip is known here.

All times are CLOCK_MONOTONIC seconds, one clock for both hosts and all clients (they share the kernel). A server is
named by its *instance*: the start time of its postmaster, as it says itself to every session. So one knows who
answered, although clients see only the addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a client knows of a transaction in the end."""

    ACK = "ack"
    """The server said that it is committed."""
    REFUSED = "refused"
    """It was never committed: an error while the session went on, or a COMMIT that was never sent."""
    UNKNOWN = "unknown"
    """The connection was lost, or the client's patience ended, while it was being committed."""


class Kind(StrEnum):
    """What a transaction did."""

    INSERT = "insert"
    """One row, in one statement."""
    LONG = "long"
    """Several rows in several statements, over seconds."""
    BULK = "bulk"
    """A COPY of many rows."""
    REGISTER = "register"
    """One added to the register that all clients share, and a row that says so."""


@dataclass(frozen=True, slots=True)
class Write:
    """One transaction of a client, through the primary VIP. `number` is used once in the whole history.

    `rows`: how many rows of its number it makes. `value`: of the register afterwards, 0 for other kinds or when
    it is not known. `detail`: the error, or "".
    """

    client: int
    number: int
    kind: Kind
    rows: int
    sent_s: float
    answered_s: float
    outcome: Outcome
    instance: str
    value: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """What one query saw. `seen`: the newest number of each inserting client; `register`: its value.

    `session` is one for each connection of the whole history. `in_recovery` None: the server was promoted between
    this query and the one before. `ok` is false when there was no answer; then the rest is empty.
    """

    client: int
    vip: str
    session: int
    sent_s: float
    answered_s: float
    ok: bool
    instance: str
    in_recovery: bool | None
    seen: Mapping[int, int]
    register: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A try on a host's own socket whether its PostgreSQL takes writes; `writable` None: no answer."""

    host: str
    sent_s: float
    answered_s: float
    writable: bool | None
    instance: str


@dataclass(frozen=True, slots=True)
class ArpAnswer:
    """Who answered one ARP question for an address."""

    address: str
    at_s: float
    macs: tuple[str, ...]


@dataclass(frozen=True)
class Histories:
    """Everything that clients and probers saw in one run."""

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    arp: list[ArpAnswer] = field(default_factory=list)


Found = Mapping[tuple[int, int], tuple[int, int]]
"""(client, number) → (rows, different parts among them): parts are numbered from 0 within a transaction."""


@dataclass(frozen=True)
class Content:
    """What one host's tables hold in the end."""

    rows: Found
    register: int


@dataclass(frozen=True)
class FinalState:
    """The tables of the last primary and of its standby (None: there is none, or it was not asked)."""

    primary: Content
    standby: Content | None = None


@dataclass(frozen=True)
class FaultWindow:
    """One fault, as the driver did it.

    `target`: the host ("alpha", "beta") or the path that it struck. `healed_s`: when the driver undid it (None:
    there is nothing to undo, or it never did). `healthy_s`: when the pair was seen healthy again (None: not
    before the run, or the next fault, ended it).
    """

    kind: str
    target: str
    began_s: float
    healed_s: float | None
    healthy_s: float | None


@dataclass(frozen=True)
class Promises:
    """What the pair under test promises. `mode`: "sync" or "async". `lag_s_max`: replication.lag_s_max.

    `slack_s`: how long it may take to find that the lag is over its limit, and to give the address up.
    `read_only_s`: how long the primary VIP may lead to a server that takes no writes.
    """

    mode: str = "sync"
    lag_s_max: float = 60.0
    slack_s: float = 3.0
    read_only_s: float = 10.0
