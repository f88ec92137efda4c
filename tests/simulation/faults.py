"""Random faults in random overlap, and the end of all faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgvip.core.model import Durable, Order
from tests.simulation.network import PATHS

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World


class Faults:
    """What goes wrong, with a weight each; every run draws its own weights, so that runs differ in kind."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.running = True
        self.leaving: set[Host] = set()
        rng = world.rng
        kinds: list[tuple[float, Callable[[Host], None]]] = [
            (3.0, self.power), (1.0, self.both_off), (2.0, self.daemon_killed), (1.0, self.daemon_stopped),
            (1.0, self.frozen), (3.0, self.postmaster_killed), (1.5, self.postgres_hung), (1.0, self.dba_stop),
            (1.0, self.disk), (4.0, self.cut), (1.5, self.cut_off), (1.0, self.gateway), (2.0, self.fence_mood),
            (1.0, self.stall), (2.0, self.switchover), (0.7, self.pause), (1.5, self.weather), (0.7, self.address_gone),
            (1.0, self.leave), (2.0, self.old_message), (0.7, self.paused), (0.7, self.record_lost),
        ]  # fmt: skip
        self.kinds = [kind for _, kind in kinds]
        self.weights = [weight * rng.choice((0.0, 0.3, 1.0, 1.0, 3.0)) for weight, _ in kinds]
        if not any(self.weights):
            self.weights[0] = 1.0
        self.pace_s = rng.choice((0.5, 1.0, 2.0, 5.0, 15.0))
        self.ambush = rng.choice((0.0, 0.03, 0.1, 0.3))
        world.faults.message_kept = self.kept = rng.choice((0.0, 0.02, 0.3))
        world.moment = self._moment

    def begin(self) -> None:
        self.world.after(self.world.rng.expovariate(1.0 / self.pace_s), self._strike)

    def _moment(self, what: str, host: Host) -> None:
        """Something that matters happens: a good time for a fault."""
        world = self.world
        if not (self.running and self.ambush and world.chance(self.ambush)):
            return
        delay_s = world.span(0.0, world.rng.choice((0.001, 0.03, 0.3, 2.0)))
        if world.chance(0.3):
            world.after(delay_s, world.deliver_old)
        else:
            world.after(delay_s, lambda: self._one(host if world.chance(0.5) else host.peer))

    def _one(self, host: Host) -> None:
        if self.running:
            self.world.rng.choices(self.kinds, self.weights)[0](host)

    def _strike(self) -> None:
        if not self.running:
            return
        world = self.world
        self._one(world.a if world.chance(0.5) else world.b)
        if world.chance(0.3):  # things happen together
            world.after(world.span(0.0, 2.0), self._strike)
        else:
            self.begin()

    def _heal_after(self, event: Callable[[], None], low_s: float = 0.5, high_s: float = 25.0) -> None:
        span_s = self.world.span(low_s, high_s) if self.world.chance(0.7) else self.world.span(0.05, 2.0)
        self.world.after(span_s, lambda: event() if self.running else None)

    # --- hosts -------------------------------------------------------------------------------------------

    def power(self, host: Host) -> None:
        if not self.running:
            return
        host.power_off("power cut")
        if self.world.chance(0.4):
            host.power_on()  # a reset
        else:
            self._heal_after(host.power_on)

    def both_off(self, host: Host) -> None:
        self.power(host)
        self.power(host.peer)

    def daemon_killed(self, host: Host) -> None:
        if host.daemon is not None:
            host.kill_daemon()
            longest_s = 1.0 if self.world.chance(0.7) else 20.0
            host.later(self.world.span(0.1, longest_s), host.start_daemon)

    def daemon_stopped(self, host: Host) -> None:
        daemon = host.daemon
        if daemon is not None and not daemon.stopped:
            host.log("daemon STOPPED")
            daemon.stopped = True
            self.world.after(self.world.span(0.2, 15.0), daemon.resume)

    def frozen(self, host: Host) -> None:
        host.freeze()
        self.world.after(self.world.span(0.2, 20.0), host.thaw)

    def paused(self, host: Host) -> None:
        """A virtual machine that stands still, its clock too."""
        host.freeze(clock_too=True)
        self.world.after(self.world.span(0.2, 40.0), host.thaw)

    def record_lost(self, host: Host) -> None:
        """The power goes, and the state directory with it; now and then an operator will be needed."""
        if self.world.operators and host.powered:
            host.power_off("power cut")
            host.durable = Durable()
            host.log("the state directory is EMPTY")
            self._heal_after(host.power_on)

    def leave(self, host: Host) -> None:
        """An orderly shutdown: the daemon is told, and the power goes some time later."""
        if host.daemon is not None and host.powered:
            self.leaving.add(host)
            host.daemon.order(Order.SHUTDOWN)
            host.later(self.world.span(0.5, 30.0), lambda: self.power(host))

    # --- PostgreSQL ----------------------------------------------------------------------------------------

    def postmaster_killed(self, host: Host) -> None:
        if host.powered and host.pg.proc:
            host.log("postmaster KILLED")
            host.pg.kill(orphans=self.world.chance(0.3))

    def postgres_hung(self, host: Host) -> None:
        pg = host.pg
        if not (host.powered and pg.proc and not pg.hung):
            return
        proc = pg.proc
        pg.hung = self.world.rng.choice(("all", "postmaster"))
        host.log(f"postgres HANGS ({pg.hung})")

        def go_on() -> None:
            if pg.proc == proc:
                pg.hung = ""
                host.log("postgres goes on")

        if self.world.chance(0.7):
            self._heal_after(go_on)

    def dba_stop(self, host: Host) -> None:
        if host.powered and host.pg.phase in ("primary", "standby") and not host.pg.hung:
            host.log("a DBA stops postgres")
            host.pg.shut_down()

    def disk(self, host: Host) -> None:
        host.log("the disk FAILS")
        host.disk_bad = True
        host.pg.stuck = self.world.chance(0.3)
        self.world.disk_holds_state = self.world.chance(0.5)

        def heal() -> None:
            host.disk_bad = host.pg.stuck = False
            host.log("the disk is well")

        self._heal_after(heal)

    def stall(self, host: Host) -> None:
        stalled = self.world.replication.stalled
        stalled.add(host.name)
        host.log("as standby, receives without flushing")

        def heal() -> None:
            stalled.discard(host.name)

        self._heal_after(heal)

    def address_gone(self, host: Host) -> None:
        host.held.clear()
        host.log("addresses are removed by hand")

    # --- network and fences -----------------------------------------------------------------------------------

    def _cut(self, cuts: set[tuple[str, str]]) -> None:
        net = self.world.net
        net.cuts |= cuts
        self.world.log("net", f"CUT {sorted(cuts)}")

        def heal() -> None:
            net.cuts -= cuts
            self.world.log("net", f"healed {sorted(cuts)}")

        self._heal_after(heal)

    def cut(self, host: Host) -> None:
        world = self.world
        paths = world.rng.sample(PATHS[:4], world.rng.choice((1, 1, 2, 3)))
        names = (host.name,) if world.chance(0.4) else ("a", "b")
        self._cut({(path, name) for path in paths for name in names})

    def cut_off(self, host: Host) -> None:
        keep = {"fence"} if self.world.chance(0.5) else set()
        self._cut({(path, host.name) for path in PATHS if path not in keep})

    def gateway(self, host: Host) -> None:
        names = (host.name,) if self.world.chance(0.6) else ("a", "b")
        self._cut({("gateway", name) for name in names})

    def fence_mood(self, host: Host) -> None:
        moods = self.world.fencing.moods
        moods[host.name] = self.world.rng.choice(("fails", "late", "late", "lost"))
        self.world.log("net", f"fencing {host.name} is now {moods[host.name]}")

        def heal() -> None:
            moods.pop(host.name, None)

        self._heal_after(heal)

    def weather(self, host: Host) -> None:
        """Everything becomes worse for a while."""
        rng, rates = self.world.rng, self.world.faults
        if rng.random() < 0.5:
            rates.message_lost = rng.choice((0.0, 0.1, 0.5))
            rates.message_twice = rng.choice((0.0, 0.3))
            rates.message_late = rng.choice((0.0, 0.1, 0.5))
            rates.late_s = rng.choice((1.0, 5.0, 30.0))
        if rng.random() < 0.5:
            rates.slow = rng.choice((0.02, 0.1, 0.4))
            rates.fence_answer_s = rng.choice((0.3, 8.0))
        if rng.random() < 0.4:
            rates.write_fails = rng.choice((0.0, 0.2, 0.8))
            rates.start_fails = rng.choice((0.0, 0.3))
            rates.promote_fails = rng.choice((0.0, 0.3))
            rates.stop_escalates = rng.choice((0.0, 0.3))
            rates.drop_fails = rng.choice((0.0, 0.3))
        self._heal_after(self.fine)

    def fine(self) -> None:
        self.world.calm(self.kept if self.running else 0.0)

    def old_message(self, host: Host) -> None:
        self.world.deliver_old()

    # --- operators ---------------------------------------------------------------------------------------------

    def switchover(self, host: Host) -> None:
        if host.daemon is not None and host.powered:
            host.daemon.order(Order.SWITCHOVER)

    def pause(self, host: Host) -> None:
        if host.daemon is not None and host.powered:
            host.daemon.order(Order.PAUSE, "simulated")
            self._heal_after(self.resume)

    def resume(self) -> None:
        for host in self.world.hosts:
            if host.daemon is not None and host.durable.pause.active:
                host.daemon.order(Order.RESUME)
                return

    # --- the end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """No more faults: everything is healed, every machine has power, every daemon runs."""
        self.running = False
        world = self.world
        heal(world, self.leaving)
        world.after(8.0, self._resumed)

    def _resumed(self) -> None:
        if any(host.durable.pause.active for host in self.world.hosts):
            self.resume()
            self.world.after(5.0, self._resumed)


def heal(world: World, leaving: set[Host] | None = None) -> None:
    """Every fault ends, every machine has power and every daemon runs."""
    world.healed = True
    world.log("net", "==== NO MORE FAULTS ====")
    world.net.cuts.clear()
    world.no_power.clear()
    world.sticks.clear()
    world.fencing.moods.clear()
    world.replication.stalled.clear()
    world.replication.trickle.clear()
    world.calm()
    for host in world.hosts:
        host.disk_bad = host.pg.stuck = False
        if leaving and host in leaving:
            host.power_off("the orderly shutdown ends")
        host.power_on()
        host.thaw()
        if host.daemon is not None and host.daemon.stopped:
            host.daemon.resume()
        host.later(6.0, host.start_daemon)
