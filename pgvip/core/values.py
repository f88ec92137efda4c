"""The protocol's own values: positions, the record, and what lies beside it.

Times are seconds on the host's CLOCK_BOOTTIME (`*_s`); wall-clock strings (`at`) are for people only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

NEVER = float("-inf")
"""A time before every other: what has not happened."""

FORCE_STEP = 1_000_000
"""How far above everything heard a forced record's term is (docs/protocol.md, "Forced by an operator")."""


class Lsn(int):
    """A position in the write-ahead log (PostgreSQL manual, 8.20 pg_lsn Type).

    >>> Lsn.parse("16/B374D848")
    Lsn('16/B374D848')
    >>> Lsn.parse("0/10") - Lsn.parse("0/8")
    8
    >>> str(Lsn(0))
    '0/0'
    """

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """Read the `XXX/XXX` form; ValueError names what was not one."""
        high, slash, low = text.strip().partition("/")
        if not slash:
            raise ValueError(f"not a WAL position: {text!r}")
        return cls((int(high, 16) << 32) + int(low, 16))

    def __str__(self) -> str:
        return f"{self >> 32:X}/{self & 0xFFFFFFFF:X}"

    def __repr__(self) -> str:
        return f"Lsn('{self}')"


START = Lsn(0)


class WalPoint(NamedTuple):
    """A position on one history: an LSN means nothing without its timeline."""

    timeline: int
    lsn: Lsn

    def __str__(self) -> str:
        return f"{self.timeline}:{self.lsn}"


class Mode(StrEnum):
    """Whether the host that is not primary may take over."""

    PAIR = "pair"
    SOLO = "solo"


class Role(StrEnum):
    """What users call a host. `NONE`: no right to any address now."""

    PRIMARY = "primary"
    STANDBY = "standby"
    PRIMARY_STANDBY = "primary_standby"
    NONE = "none"


class Vip(StrEnum):
    """The two addresses, by the role that holds them."""

    PRIMARY = "primary"
    STANDBY = "standby"


class Override(StrEnum):
    """The role that the configuration wants for a host (`role` in conf/pgvip.toml)."""

    AUTO = "auto"
    PRIMARY = "primary"
    STANDBY = "standby"
    PRIMARY_STANDBY = "primary_standby"


@dataclass(frozen=True, slots=True)
class Record:
    """Who may serve. One small durable fact for each host; docs/protocol.md, "The record".

    `witness_id`: the witness whose registers count in this term; "" for none.
    """

    pair_id: str
    system_id: str
    term: int
    primary: str
    mode: Mode
    sync: bool
    from_term: int | None = None
    handover: WalPoint | None = None
    cause: str = ""
    at: str = ""
    witness_id: str = ""

    def same_rights(self, other: Record) -> bool:
        """True when both name the same primary, mode, sync and witness (equal terms must)."""
        mine = (self.primary, self.mode, self.sync, self.witness_id)
        return mine == (other.primary, other.mode, other.sync, other.witness_id)


@dataclass(frozen=True, slots=True)
class Pause:
    """Automatic action is suspended by an operator; kept over restarts, on both hosts.

    `serial` orders pauses and resumes between the two hosts: the higher one wins. `until`: the wall-clock time at which
    it ends by itself, in the form of `Inputs.wall`; "" for never. `by`: who ordered it; `host`: on which host.
    """

    serial: int = 0
    active: bool = False
    reason: str = ""
    at: str = ""
    until: str = ""
    by: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Serial:
    """How many claims a witness has granted, as it last said; it never counts backwards [m 18]."""

    witness_id: str = ""
    granted: int = 0


@dataclass(frozen=True, slots=True)
class Durable:
    """All that is written with fsync: the record and the local facts beside it.

    `lacks`: this host's own promotion left out WAL that it had flushed (`hold` says what); nothing is served from these
    data until an operator clears the hold.
    `kept_off`: an operator ordered this host to power its peer off: it is not switched on again before they say so, or
    before it was heard again.
    `claimed_term`: this host has asked the witness for the register of that term. `serial`: the highest count that the
    witness reported.
    `removed`: when an operator removed the peer (`core.removed_peer`); "" where there is one.
    """

    record: Record | None = None
    served: bool = False
    complete: bool = False
    hold: str = ""
    pause: Pause = Pause()
    handbacks: int = 0
    kept_off: bool = False
    lacks: bool = False
    claimed_term: int = -1
    serial: Serial = Serial()
    removed: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """`eligible`: the holder has everything it needs to take over.

    Not valid any more when term, boot or postmaster differ [m 9, 11]. `expires_s` is None in sync; in async a time on
    the holder's own clock.
    """

    term: int
    boot_id: str
    postmaster: str
    echo_s: float = NEVER
    expires_s: float | None = None


class Lease(NamedTuple):
    """The peer has heard, in `term`, what this host sent at `sent_s`: until some time after that it lets go of nothing.

    With a witness the write right and the addresses of a `pair` rest on it (`core.lease`) [m 17]. `lasts_s`: the
    `lease_s` of an earlier process of this boot, where that has sent it: the peer may know no longer one.
    """

    term: int
    sent_s: float
    lasts_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What this host knows of its lease, of the registers, and of the witness."""

    lease: Lease | None = None
    """In a pair with a witness: what its rights rest on."""
    lost_term: int = -1
    """The register of that term is the peer's: only the peer may leave the term without consent."""
    won_term: int = -1
    """The register of that term is this primary's, and its lease has not run since: nobody else can leave the term."""
    free_term: int = -1
    """In that term, solo: the peer is known to hold no address any more."""
    killed: bool = False
    """This host killed its server since its lease was over, and the server has not been seen up since."""
    late: bool = False
    """Its server could write longer after the end of the lease than it takes to give up."""
    learned_s: float = NEVER
    """When this process learned `Durable.serial`: what was asked before says nothing about it."""
    peer_lasts: float = 0.0
    """Seconds: what an earlier process of this boot heard of how long the peer's rights last (`Message.lease_s`)."""
    rolled_back: str = ""
    """The witness reported a lower count than before: it was restored or reset, and nobody claims."""


@dataclass(frozen=True, slots=True)
class BootFacts:
    """What lives only within one kernel boot; kept with the boot id over daemon restarts.

    `address_term`: in this term the peer said that the standby address is free for this host. `doubt_s`: see
    `Knowledge.doubt_s`; here also a fence whose result this process has not used yet. `met`: the peer was heard.
    `revoked_s`: grants that began before this reading of the own clock are invalid.
    `offset_s`: how far the wall clock was ahead of CLOCK_BOOTTIME when these were kept (None: not kept); it shows a
    jump between two processes. `lease`, `free_term`, `won_term`, `peer_lasts`: see `Witnessed`.
    """

    confirmed: bool = False
    confirmed_term: int = 0
    grant: Grant | None = None
    address_term: int = -1
    doubt_s: float = NEVER
    met: bool = False
    offset_s: float | None = None
    revoked_s: float = NEVER
    lease: Lease | None = None
    free_term: int = -1
    won_term: int = -1
    peer_lasts: float = 0.0
