"""Invariant 6, never silent: faults that last, and whether an outage is a change under way or named on both hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from pgvip.core.values import Vip
from tests.simulation.engine import Violation
from tests.simulation.machine import Host
from tests.simulation.world import World

if TYPE_CHECKING:
    from pgvip.core.settings import StandingWarning

DETECTION_S = 18.0
"""Longer than any detection of the default settings takes (stalls: 10 s), with the change that follows it."""
CHANGE_S = 30.0
"""A change that is under way for longer is no answer any more."""
LASTS_S = 75.0
NO_CAUSE = frozenset({"no-fencing", "configuration-differs", "version-differs", "leaving", "kept-off"})
"""Warnings that say nothing of why commits wait."""

Strike = Callable[[World], None]


class Silence:
    """Looks again and again: for how long no client has committed through the primary VIP, and what is said of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.since_s = self.change_s = world.now_s
        self._count = len(world.acknowledged)
        self.longest_s = 0.0

    def begin(self) -> None:
        self.world.after(0.5, self._again)

    def _again(self) -> None:
        self.look()
        self.world.after(0.5, self._again)

    def look(self) -> None:
        """6: an outage longer than detection takes is a change under way, or every daemon that runs says why."""
        world = self.world
        count, self._count = self._count, len(world.acknowledged)
        serves = any(Vip.PRIMARY in host.held and host.pg.phase == "primary" for host in world.hosts)
        if self._count > count and serves:
            self.since_s = world.now_s
        if not self._changing():
            self.change_s = world.now_s
        silent_s = world.now_s - self.since_s
        self.longest_s = max(self.longest_s, silent_s)
        if silent_s < DETECTION_S or 0.0 < world.now_s - self.change_s < CHANGE_S:
            return
        mute = [host.name for host in world.hosts if self._runs(host) and not self.says(host)]
        if mute:
            raise Violation(f"6: no commit for {silent_s:.0f} s, and nothing is said of it on {', '.join(mute)}")

    def _changing(self) -> bool:
        return any(host.daemon.knowledge.busy for host in self.world.hosts if host.daemon and self._runs(host))

    @staticmethod
    def _runs(host: Host) -> bool:
        daemon = host.daemon
        if daemon is None or daemon.stopped or daemon.last is None:
            return False
        return host.powered and not host.frozen

    @staticmethod
    def says(host: Host) -> list[StandingWarning]:
        """The warnings of a host that name a cause, and what to do."""
        last = host.daemon.last if host.daemon else None
        return [one for one in last.warnings if one.hint and one.name not in NO_CAUSE] if last else []


def cut(*paths: str, hosts: str = "ab") -> Strike:
    def strike(world: World) -> None:
        world.net.cuts |= {(path, host) for path in paths for host in hosts}
        world.replication.breaks()

    return strike


def both(one: Strike, other: Strike) -> Strike:
    def strike(world: World) -> None:
        one(world)
        other(world)

    return strike


def on(host: str, act: Callable[[Host], None]) -> Strike:
    return lambda world: act(world.a if host == "a" else world.b)


def _stop_daemon(host: Host) -> None:
    if host.daemon is not None:
        host.daemon.stopped = True


def _hang(how: str) -> Callable[[Host], None]:
    def act(host: Host) -> None:
        host.pg.hung = how

    return act


def _off(host: Host) -> None:
    host.world.no_power.add(host.name)
    host.power_off("it stays off")


def _disk(host: Host) -> None:
    host.disk_bad = True


def _state(host: Host) -> None:
    host.state_hangs = True


def _broken(host: Host) -> None:
    host.pg.kill()
    host.pg.broken = True


def _target(host: Host) -> None:
    host.pg.given_target = "recovery_target_name = 'old'"
    host.pg.kill()


def _paused(host: Host) -> None:
    host.pg.paused = True


def _early(host: Host) -> None:
    host.pg.forks_early = 2


def _itself(host: Host) -> None:
    host.pg.promotes_itself = True
    host.pg.kill()


def _stalls(host: Host) -> None:
    host.world.replication.stalled.add(host.name)


def _blind(*names: str) -> Callable[[Host], None]:
    def act(host: Host) -> None:
        host.blind |= dict.fromkeys(names, "fails")

    return act


def _device(host: Host) -> None:
    host.world.fencing.moods[host.name] = "fails"


LASTING: dict[str, Strike] = {
    **{f"{path} cut": cut(path) for path in ("link", "db", "stream", "connect", "gateway", "fence")},
    **{f"{path} cut from {host}": cut(path, hosts=host)
       for path in ("link", "db", "stream", "gateway", "fence") for host in "ab"},
    "link and stream cut": cut("link", "stream"),
    "link and db cut": cut("link", "db"),
    **{f"{host} cut off": cut("link", "db", "gateway", hosts=host) for host in "ab"},
    **{f"daemon of {host} stopped": on(host, _stop_daemon) for host in "ab"},
    **{f"daemon of {host} killed": on(host, Host.kill_daemon) for host in "ab"},
    **{f"server of {host} hung": on(host, _hang("all")) for host in "ab"},
    **{f"postmaster of {host} hung": on(host, _hang("postmaster")) for host in "ab"},
    **{f"{host} off for good": on(host, _off) for host in "ab"},
    **{f"{host} frozen": on(host, Host.freeze) for host in "ab"},
    **{f"disk of {host} bad": on(host, _disk) for host in "ab"},
    **{f"state directory of {host} hangs": on(host, _state) for host in "ab"},
    **{f"data of {host} broken": on(host, _broken) for host in "ab"},
    **{f"database of {host} not seen": on(host, _blind("database", "connection")) for host in "ab"},
    **{f"fence device of {host} fails": on(host, _device) for host in "ab"},
    "standby stalls": on("b", _stalls),
    "replay paused": on("b", _paused),
    "recovery target": on("b", _target),
    "standby promotes itself": on("b", _itself),
    "promotion forks early": on("b", _early),
}  # fmt: skip
"""Faults of one part that last, on a pair whose primary is a."""
OF_WITNESS: dict[str, Strike] = {
    "witness off": lambda world: setattr(world.third, "up", False),
    **{f"witness cut from {host}": cut("witness", hosts=host) for host in "ab"},
    **{f"{host} alone": both(cut("link", "db"), cut("witness", hosts=host)) for host in "ab"},
}
"""The same with a witness."""
ALL = {**LASTING, **OF_WITNESS}


def plays() -> Iterator[tuple[str, str]]:
    """Each fault alone, and each with each."""
    for name in LASTING:
        yield name, ""
    yield from combinations(LASTING, 2)


def lasting(
    seed: int, first: str, second: str = "", *, sync: bool = True, trace: bool = False, witness: bool = False
) -> World:
    """A healthy pair, one or two faults that last, and what is said meanwhile; Violation when nothing is.

    `witness`: it has one, and cannot fence.
    """
    world = World(seed, sync=sync, trace=trace, witness=witness, fencing=not witness)
    world.init_boots()
    world.clients.begin()
    while world.unhealthy():
        world.step()
    watch = Silence(world)
    watch.begin()
    world.after(world.span(0.5, 2.0), lambda: ALL[first](world))
    if second:
        world.after(world.span(0.5, 6.0), lambda: ALL[second](world))
    end_s = world.now_s + LASTS_S
    while world.now_s < end_s:
        world.step()
    return world


def main() -> int:
    """Play all, and print what is silent."""
    bad = 0
    for first, second in plays():
        try:
            lasting(3, first, second)
        except Violation as violation:
            bad += 1
            print(f"{first} and {second}: {violation}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
