"""Promotions that lose something or that nobody ordered: what they left out, recovery targets, servers that stray."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import StopPostgres
from pgvip.core.facts import Facts
from pgvip.core.round import Round
from pgvip.core.values import NEVER

SETTLED_S = 60.0
"""A standby that has streamed for so long is no more suspected to leave recovery by itself."""

RESTARTS_MAX = 3
"""So often a server is restarted for one recovery target that comes back; then `status` names it, and it stays."""

STRAYS_MAX = 3
"""After so many servers in a row that left recovery by themselves, no data are rebuilt for another one."""


def verify(r: Round) -> None:
    """Write down, before anything else, that this host's promotion left out what it had flushed.

    Then nothing is served, and nothing is overwritten: an operator decides which of the two hosts' data shall live.
    """
    k = r.k
    if not k.promotion.lacks:
        return
    if k.durable.lacks:
        k.promotion = replace(k.promotion, lacks="")
    else:
        r.write(replace(k.durable, hold=k.promotion.lacks, lacks=True))


def at_a_target(v: Facts) -> str:
    """The recovery target in force, unless this server was restarted for it too often."""
    target = v.database.recovery_target if v.database is not None else ""
    return "" if v.k.promotion.restarted_for.count(target) >= RESTARTS_MAX else target


def without_target(r: Round) -> None:
    """Restart the server: the start writes settings without a recovery target. Who gives it may do so again.

    Somebody may have started it himself while it was stopped for that.
    """
    target = at_a_target(r.facts())
    if r.start(StopPostgres(clean=True)):
        restarted_for = (*r.k.promotion.restarted_for, target)[-RESTARTS_MAX:]
        r.k.promotion = replace(r.k.promotion, restarted_for=restarted_for)
        r.note("settings", f"its recovery would end at {target}: the server is restarted without it")


def settled(r: Round) -> bool:
    """The server has run for long. One that is seen for the first time has not."""
    return NEVER < r.k.database.postmaster_since_s <= r.now_s - SETTLED_S


def count_stray(r: Round) -> None:
    """Count a standby's server that has left recovery by itself or by hand: it may do so after every rejoin."""
    v, k = r.facts(), r.k
    if v.postmaster == k.promotion.stray:
        return
    target = v.database.recovery_target if v.database is not None else ""
    why = target or "somebody promoted it, or started it without standby.signal"
    strays = 1 if settled(r) else k.promotion.strays + 1
    k.promotion = replace(k.promotion, stray=v.postmaster, strays=strays, stray_why=why)
    r.note("stray", f"PostgreSQL on this standby became read-write, and is stopped: {why}")
