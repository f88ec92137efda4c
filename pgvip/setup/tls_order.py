"""A change of `postgresql.tls` in a pair in service: which step a host takes next, by its own state and the other's.

A host uses one `tls` for its own connections, and its server lets in this one and, during a change, one more. Once both
files say the same, each host

    lets in    the new one as well as the old one, when it has what that needs (keys of both hosts, or passwords)
    uses       the new one, when the other host lets it in, and has shown so
    settles    lets in the new one alone, when the other host uses it

So whatever a host uses is let in by the other one, nothing is interrupted, and a change can be taken back half-way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

RELOAD = "write the same postgresql.tls in the files of both hosts, then reload both: systemctl reload pgvip"
BY_ITSELF = "it goes on by itself"


@dataclass(frozen=True, slots=True)
class Side:
    """Where a host is. `wanted`: what its file says; `uses`, `also`: `PostgresConfig.tls` and `tls_also`."""

    host: str
    wanted: str
    uses: str
    also: str = ""

    @property
    def let_in(self) -> frozenset[str]:
        return frozenset({self.uses, self.also} - {""})


class Step(Enum):
    """What a host does next."""

    LET_IN = "let in"
    USE = "use"
    SETTLE = "settle"
    WAIT = "wait"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Next:
    """`text`, `hint`: why a host waits."""

    step: Step
    text: str = ""
    hint: str = ""


def next_step(own: Side, peer: Side | None) -> Next:
    """What a host does next. `peer`: None where the other host is not heard."""
    if own.wanted not in own.let_in and (refused := _refused(own)):
        return Next(Step.WAIT, *refused)
    if peer is None:
        if own.uses == own.wanted and not own.also:
            return Next(Step.NOTHING)
        return Next(Step.WAIT, "the other host is not heard", f"{BY_ITSELF} when its daemon and its PostgreSQL run")
    if own.uses not in peer.let_in and own.also in peer.let_in:
        return Next(Step.USE)  # the file was changed back while the other host settled
    if peer.wanted != own.wanted:
        return _waiting(own, peer)
    if own.wanted not in own.let_in:
        return Next(Step.LET_IN)
    if own.uses != own.wanted:
        return Next(Step.USE) if own.wanted in peer.let_in else _waiting(own, peer)
    if own.also:
        return Next(Step.SETTLE) if peer.uses == own.wanted else _waiting(own, peer)
    return Next(Step.NOTHING)


def _refused(own: Side) -> tuple[str, str] | None:
    """Why the change is not made at all, and the hint."""
    if own.also:
        words = f'"{own.uses}" or "{own.also}"'
        return "another change has not ended", f"write {words} first, and wait until that has ended"
    if {own.uses, own.wanted} == {"pair", "own"}:
        # A server shows one certificate, and pgvip's connections without any would be open meanwhile.
        return "it is made in two steps only", 'write "off" first, and wait until that has ended'
    return None


def _waiting(own: Side, peer: Side) -> Next:
    if peer.wanted != own.wanted:
        return Next(Step.WAIT, f'the file of {peer.host} says "{peer.wanted}"', RELOAD)
    return Next(Step.WAIT, f"{peer.host} is not ready yet", f"{BY_ITSELF}; see pgvip status there")
