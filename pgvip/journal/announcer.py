"""Turns what the loop sees after each round into events: servers that end and run, roles in effect, warnings.

A role is in effect when it is real, not when it is decided: a primary's is when PostgreSQL is read-write and the
primary VIP is held (Patroni's callback comes after `pg_ctl promote`, too early for whoever connects then).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.core.settings import StandingWarning
from pgvip.core.values import Role, Vip
from pgvip.core.warnings import distinct
from pgvip.system.processes import ProcessRef

if TYPE_CHECKING:
    from pgvip.core.observations import Processes
    from pgvip.status.snapshot import Snapshot

Log = Callable[[str, str, tuple[tuple[str, str], ...]], None]

STANDS_S = 5.0
"""A warning is an event when it has lasted this long, and has ended when it was away for as long."""
NO_ROLE_S = 5.0
"""Without a role for this long it is a change of role; a daemon that starts knows its own a moment later."""
PRIMARIES = (Role.PRIMARY, Role.PRIMARY_STANDBY)


@dataclass(slots=True)
class _Standing:
    """A warning: since when it is there or away, and whether that was reported."""

    since_s: float
    there: bool = True
    told: bool = False


class Announcer:
    """Called by the loop for every round, and by nothing else. `role`: in effect as last reported in this boot."""

    def __init__(self, log: Log, boot_id: str, role: Role = Role.NONE) -> None:
        self._log, self._boot_id = log, boot_id
        self.role = role
        self._demoted = role not in PRIMARIES
        self._roleless_s: float | None = None
        self._standing: dict[str, _Standing] = {}
        self._postmaster: str | None = None

    def look(self, snapshot: Snapshot, warnings: tuple[StandingWarning, ...] = ()) -> None:
        """Report what is new after a round. `warnings`: those in addition to the core's."""
        self._look_at_server(snapshot.seen.processes.value)
        self._look_at_role(snapshot)
        self._look_at_warnings(distinct((*snapshot.decision.warnings, *warnings)), snapshot.at_s)

    # --- the server --------------------------------------------------------------------------------------

    def _look_at_server(self, seen: Processes | None) -> None:
        """A postmaster that is gone, or another one than before. What is not seen, or seen first, is nothing new."""
        if seen is None or seen.postmaster == self._postmaster:
            return
        before, self._postmaster = self._postmaster, seen.postmaster
        if before is None:
            return
        if seen.postmaster:
            self._log("postgresql", f"PostgreSQL runs: postmaster {ProcessRef.parse(seen.postmaster).pid}", ())
        elif seen.in_order:
            self._log("postgresql", f"PostgreSQL was stopped: {seen.control_state}", ())
        else:
            left = f", {seen.left} of its processes are left" if seen.left else ""
            self._log("postgresql", f"PostgreSQL died: postmaster {ProcessRef.parse(before).pid} is gone{left}", ())

    # --- roles -----------------------------------------------------------------------------------------

    def _look_at_role(self, snapshot: Snapshot) -> None:
        wanted = snapshot.decision.knowledge.role
        if wanted is not Role.NONE:
            self._roleless_s = None
        elif self._roleless_s is None:
            self._roleless_s = snapshot.at_s
        held = snapshot.seen.held.value
        serves = snapshot.decision.message.read_write or held is None or Vip.PRIMARY in held
        if not self._demoted and wanted not in PRIMARIES and not serves and self._lasts(wanted, snapshot.at_s):
            self._demoted = True
            said = f"{snapshot.config.me.name} is primary no more: {_cause(snapshot)}"
            self._log("demoted", said, _words(snapshot, self.role, wanted))
        if wanted is not self.role and self._in_effect(wanted, snapshot):
            old, self.role = self.role, wanted
            self._demoted = wanted not in PRIMARIES
            words = (*_words(snapshot, old, wanted), ("boot", self._boot_id))
            self._log("role-change", f"{old.value}->{wanted.value} in effect: {_cause(snapshot)}", words)

    def _lasts(self, wanted: Role, at_s: float) -> bool:
        """Having no role is nothing new before it has lasted."""
        return wanted is not Role.NONE or (self._roleless_s is not None and at_s - self._roleless_s >= NO_ROLE_S)

    def _in_effect(self, role: Role, snapshot: Snapshot) -> bool:
        said = snapshot.decision.message
        if role in PRIMARIES:
            return said.read_write and Vip.PRIMARY in (snapshot.seen.held.value or ())
        if role is Role.STANDBY:
            return said.in_recovery and self._demoted
        return self._lasts(role, snapshot.at_s)

    # --- warnings --------------------------------------------------------------------------------------

    def _look_at_warnings(self, warnings: tuple[StandingWarning, ...], at_s: float) -> None:
        if not warnings and not self._standing:
            return
        now = {warning.name: warning for warning in reversed(warnings)}
        for name in now:
            self._standing.setdefault(name, _Standing(at_s))
        for name, standing in list(self._standing.items()):
            there = name in now
            if there is not standing.there:
                standing.there, standing.since_s = there, at_s
            if at_s - standing.since_s < STANDS_S:
                continue
            if there and not standing.told:
                standing.told = True
                self._log(name, now[name].text, (("hint", now[name].hint),) if now[name].hint else ())
            elif not there:
                del self._standing[name]
                if standing.told:
                    self._log("cleared", name, (("warning", name),))


def _cause(snapshot: Snapshot) -> str:
    record = snapshot.decision.knowledge.durable.record
    return record.cause if record else "no record"


def _words(snapshot: Snapshot, old: Role, new: Role) -> tuple[tuple[str, str], ...]:
    return (("old", old.value), ("new", new.value), ("cause", _cause(snapshot)))
