"""In which order the servers of both hosts are restarted (`pgvip restart`). Pure.

The steps are planned from what the hosts are now, so that an interrupted restart goes on where it ended: a host whose
postmaster is another one than at the beginning has been restarted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pgvip.errors import RefusedError
from pgvip.state.record import Restarting
from pgvip.system.pgconf import STANDBY_KEYS
from pgvip.text.numbers import whole


class Do(StrEnum):
    """What one step does."""

    CYCLE = "cycle"
    """A standby is stopped and started."""
    IN_PLACE = "in-place"
    """The primary is stopped and started, and stays primary."""
    SWITCHOVER = "switchover"
    """The primary is stopped, the other host takes over, and the old primary starts as its standby."""
    DOWN = "down"
    """This standby is stopped, and stays so."""
    COMMAND = "command"
    """The operator's command runs on this host."""
    UP = "up"
    """This standby is started."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A setting that waits for a restart: the value in force, and the one in the files ("": its default)."""

    name: str
    now: str
    configured: str


@dataclass(frozen=True, slots=True)
class Look:
    """One host. `postmaster`: "" while it is down. `running`, `installed`: versions of the server and of the programs.

    `leaving`: its PostgreSQL is kept down. `doing`: the step that it is in; `failure`, with detail and hint: why the
    last one failed. `unknown`: why its server could not be asked.
    """

    host: str
    primary: str = ""
    postmaster: str = ""
    leaving: bool = False
    running: str = ""
    installed: str = ""
    pending: tuple[Pending, ...] = ()
    doing: str = ""
    failure: str = ""
    detail: str = ""
    hint: str = ""
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step on one host; `notice`: what clients notice of it."""

    host: str
    do: Do
    title: str
    notice: str


def lowered(look: Look) -> tuple[str, ...]:
    """The limits that wait to become lower on this host: a standby's may not be lower than its primary's."""
    found = []
    for one in look.pending:
        now, configured = whole(one.now), whole(one.configured)
        if one.name in STANDBY_KEYS and now is not None and configured is not None and configured < now:
            found.append(one.name)
    return tuple(found)


def begin(looks: Sequence[Look], me: str, *, rolling: bool, pending: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """The hosts to be restarted with their postmasters, and the limits that are to become lower.

    RefusedError where a host cannot be restarted, or `pending` finds nothing.
    """
    for look in looks:
        if look.unknown or not look.postmaster:
            why = look.unknown or "PostgreSQL does not run"
            raise RefusedError(f"{look.host} cannot be restarted now: {why}", hint="See: pgvip status")
    wanted = [look for look in looks if rolling or look.host == me]
    falling = tuple(name for look in wanted if look.host == look.primary for name in lowered(look)) if rolling else ()
    if pending and not falling:
        wanted = [look for look in wanted if look.pending]
    if not wanted:
        hosts = "both hosts" if rolling else me
        raise RefusedError(
            f"no setting waits for a restart on {hosts}",
            "pg_settings.pending_restart is true for none.",
            "After a change of postgresql.conf, reload it first: SELECT pg_reload_conf().",
        )
    return {look.host: look.postmaster for look in wanted}, falling


def steps(kept: Restarting, looks: Mapping[str, Look], me: str) -> list[Step]:
    """What is left to be done, in this order."""
    primary = next((look.primary for look in looks.values() if look.primary), kept.primary)
    standby = next(name for name in looks if name != primary)
    left = [name for name, postmaster in kept.before.items() if looks[name].postmaster == postmaster]
    found = list[Step]()
    if kept.command:
        found += _with_command(kept, looks[me], primary, standby)
    elif kept.lowered:
        found += [_in_place(primary)] if primary in left else []
        found += [_cycle(standby, primary)] if standby in left else []
    else:
        found += [_cycle(standby, primary)] if standby in left else []
        found += [_switchover(primary, standby)] if primary in left else []
    for step in found:
        if step.do is Do.SWITCHOVER:
            primary, standby = standby, primary
    if kept.back and primary != kept.primary:
        found.append(_switchover(primary, kept.primary))
    return found


def _with_command(kept: Restarting, mine: Look, primary: str, standby: str) -> list[Step]:
    me = mine.host
    other = standby if me == primary else primary
    none = "nothing"
    up = Step(me, Do.UP, f"{me}: start PostgreSQL, which follows {other}", none)
    if kept.ran:
        return [up] if mine.leaving else []
    serves = f"clients of the standby address are disconnected; {other} serves both addresses, writes go on"
    return [
        *([_switchover(primary, standby)] if me == primary else []),
        Step(me, Do.DOWN, f"{me}: hand its address over, stop PostgreSQL", serves),
        Step(me, Do.COMMAND, f"{me}: run {kept.command}", none),
        up,
    ]


def _cycle(host: str, primary: str) -> Step:
    serves = f"clients of the standby address are disconnected; {primary} serves both addresses, writes go on"
    return Step(host, Do.CYCLE, f"{host}: restart PostgreSQL, the standby", serves)


def _in_place(host: str) -> Step:
    ends = "every session ends, and nothing can be written until PostgreSQL has started again"
    return Step(host, Do.IN_PLACE, f"{host}: restart PostgreSQL, which stays the primary", ends)


def _switchover(old: str, new: str) -> Step:
    ends = "every session ends; writes are interrupted as in every switchover"
    title = f"switchover from {old} to {new}; PostgreSQL on {old} restarts as the standby"
    return Step(old, Do.SWITCHOVER, title, ends)
