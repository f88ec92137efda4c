"""Power, boots and daemons. What was under way when something ends is done by then, or never: both are explored."""

from __future__ import annotations

from tests.simulation.exhaustive import servers
from tests.simulation.exhaustive.deciding import Core
from tests.simulation.exhaustive.state import Act, Host, World

RESTART = 1
"""Ticks in which a daemon that was killed is started again."""


def remembered(core: Core, world: World) -> set[str]:
    """Every name of a boot, a daemon or a postmaster that somebody remembers or uses."""
    names: set[str] = set()
    for host in (world.a, world.b):
        names |= core.names.of("known", host.known, core.known) | core.names.of("seen", host.seen, core.seen)
        names |= core.names.of("facts", host.facts, core.facts)
        names.add(host.boot)
        names.add(host.pg.proc)
        names |= {end.proc for end in (host.pg.rx, host.pg.tx) if end is not None}
        for message in host.inbox:
            names |= core.names.of("message", message, core.messages)
        for act in host.acts:
            names |= core.names.of("action", act.action, core.actions)
    for kept in world.kept:
        names |= core.names.of("message", kept.message, core.messages)
    return names


def new_name(core: Core, world: World, kind: str, name: str) -> str:
    """The first name that nobody remembers: as good as one that never was."""
    taken = remembered(core, world)
    return next(text for text in (f"{kind}-{name}{n}" for n in range(1, 100)) if text not in taken)


def power_off(world: World, name: str) -> World:
    """All that lives in memory is gone. A fence command that this host sent goes its way: see `ends`."""
    host = world.host(name)
    if not host.on:
        return world
    gone = host._replace(
        on=False, boot="", known=0, seen=0, facts=0, boots=-1, held=(), acts=(), inbox=(), stopped=False, orders=(),
        idle=0, pg=servers.power_lost(host.pg),
    )  # fmt: skip
    return world.put(name, gone)


def power_on(core: Core, world: World, name: str) -> World:
    host = world.host(name)
    if host.on:
        return world
    boot = new_name(core, world, "boot", name)
    booting = host._replace(on=True, boot=boot, boots=core.boots, seen=core.nothing_seen, facts=core.no_facts)
    return world.put(name, booting)


def start_daemon(core: Core, world: World, name: str) -> World:
    host = world.host(name)
    run = new_name(core, world, "run", name)
    known = core.begin(host.boot, run, host.durable, host.facts)
    return world.put(name, host._replace(known=known, seen=core.nothing_seen, facts=core.no_facts, boots=-1))


def daemon_ends(core: Core, world: World, name: str, boots: int) -> World:
    """Killed; what its children do to the server goes on (`abandoned`), a new one starts in `boots` ticks."""
    host = world.host(name)
    gone = host._replace(
        known=0, seen=0, facts=core.keep(host.known), acts=(), inbox=(), stopped=False, orders=(), boots=boots
    )
    return world.put(name, gone)


def abandoned(world: World, name: str) -> World:
    """A server that comes up, is promoted or stops does so also when nobody waits for it."""
    host = world.host(name)
    if not host.on or host.acts or host.pg.hung:
        return world
    phase = host.pg.phase
    if phase == "starting":
        return servers.started(world, name)
    if phase == "promoting":
        return servers.promoted(world, name)
    return servers.shut_down(world, name) if phase == "stopping" else world


def open_acts(host: Host) -> tuple[Act, ...]:
    """Actions that have not ended."""
    return tuple(act for act in host.acts if not act.outcome)


def unattended(core: Core, world: World, name: str) -> World:
    """With a witness: what nobody renews ends by itself, addresses by the kernel, a server by the watchdog's reset."""
    host = world.host(name)
    if not host.on or not (host.held or host.pg.writes):
        return world.put(name, host._replace(idle=0)) if host.idle else world
    if host.idle <= core.settings[name].lease_stop_s:
        return world.put(name, host._replace(idle=host.idle + 1))
    if host.pg.writes:
        return power_on(core, power_off(world, name), name)
    return world.put(name, host._replace(held=(), idle=0))
