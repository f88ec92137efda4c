"""Faults strike and end; and the end of all faults. What strikes, and when, comes from a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pgvip.core.messages import Order
from pgvip.core.values import Durable, Mode
from tests.simulation.plan import Drawn, Fault, Fixed

if TYPE_CHECKING:
    from tests.simulation.machine import Host
    from tests.simulation.world import World


class Faults:
    """Strikes what its source gives: each kind of fault is a method of the same name."""

    def __init__(self, world: World, source: Drawn | Fixed) -> None:
        self.world = world
        self.source = source
        self.running = True
        self.leaving: set[Host] = set()
        self.struck: list[Fault] = []
        self.base_s = world.now_s
        self.stopped_s = 0.0
        self._times: Counter[tuple[str, str]] = Counter()
        self._locked: set[str] = set()
        world.moment = self._moment

    def begin(self) -> None:
        """Wait for the next fault at a time."""
        fault = self.source.next()
        if fault is not None:
            self.world.after(max(0.0, self.base_s + fault.at_s - self.world.now_s), lambda: self._due(fault))

    def _due(self, fault: Fault) -> None:
        if self.running:
            self._strike(fault)
            self.begin()

    def _moment(self, what: str, host: Host) -> None:
        """Something that matters happens: a good time for a fault."""
        if not self.running:
            return
        self._times[what, host.name] += 1
        fault = self.source.at_moment(what, host.name, self._times[what, host.name])
        if fault is not None:
            self.world.after(fault.at_s, lambda: self._strike(fault))

    def _strike(self, fault: Fault) -> None:
        if not self.running:
            return
        self.struck.append(fault)
        self.world.log("***", f"fault: {fault.kind} {fault.host} {' '.join(str(word) for word in fault.how)}")
        strike: Callable[[Host, Fault], None] = getattr(self, fault.kind)
        strike(self.world.a if fault.host == "a" else self.world.b, fault)

    def _ends(self, fault: Fault, event: Callable[[], None]) -> None:
        """The fault is over after its time, or with all the others."""
        self.world.after(fault.lasts_s, lambda: event() if self.running else None)

    # --- hosts -------------------------------------------------------------------------------------------

    def power(self, host: Host, fault: Fault) -> None:
        self._off(host, fault, lasts_s=0.0 if "reset" in fault.how else fault.lasts_s)

    def both_off(self, host: Host, fault: Fault) -> None:
        self.power(host, fault)
        self._off(host.peer, fault, lasts_s=float(fault.how[0]))

    def _off(self, host: Host, fault: Fault, *, lasts_s: float, why: str = "power cut") -> None:
        host.power_off(why)
        if lasts_s > 0.0:
            self.world.after(lasts_s, lambda: self._on(host) if self.running else None)
        else:
            self._on(host)

    def _on(self, host: Host) -> None:
        if host.name not in self._locked:
            host.power_on()

    def daemon_killed(self, host: Host, fault: Fault) -> None:
        if host.daemon is not None:
            host.kill_daemon()
            host.later(fault.lasts_s, host.start_daemon)

    def daemon_stopped(self, host: Host, fault: Fault) -> None:
        daemon = host.daemon
        if daemon is not None and not daemon.stopped:
            host.log("daemon STOPPED")
            daemon.stopped = True
            self.world.after(fault.lasts_s, daemon.resume)

    def frozen(self, host: Host, fault: Fault) -> None:
        host.freeze()
        self.world.after(fault.lasts_s, host.thaw)

    def paused(self, host: Host, fault: Fault) -> None:
        """A virtual machine that stands still, its clock too."""
        host.freeze(clock_too=True)
        self.world.after(fault.lasts_s, host.thaw)

    def clock_jump(self, host: Host, _fault: Fault) -> None:
        """The wall clock is set."""
        host.offset_s += 5.0

    def record_lost(self, host: Host, fault: Fault) -> None:
        """The power goes, and the state directory with it; now and then an operator will be needed."""
        if host.powered:
            self._off(host, fault, lasts_s=fault.lasts_s)
            host.durable = Durable()
            host.log("the state directory is EMPTY")

    def record_back(self, host: Host, fault: Fault) -> None:
        """The power goes, and the state directory is restored to what it was some writes ago.

        A solo primary's record is confirmed by silence (docs/protocol.md, "After a boot"), with a witness a pair's
        record by the register of a term that nobody has asked for, and nobody
        can know of a term whose only record is gone: what is restored here is neither of the two.
        """
        past = host.past[-int(fault.how[0]) - 1 :][:1]
        record, mine, theirs = past[0].record if past else None, host.durable.record, host.peer.durable.record
        known = mine is not None and theirs is not None and theirs.term >= mine.term
        silent = record is not None and record.primary == host.name
        careful = record is not None and not (silent and (record.mode is Mode.SOLO or self.world.witnessed))
        if host.powered and record is not None and careful and known:
            self._off(host, fault, lasts_s=fault.lasts_s)
            self.world.restored = True
            host.durable = past[0]
            host.log(f"the state directory is that of term {record.term} again")

    def leave(self, host: Host, fault: Fault) -> None:
        """An orderly shutdown: the daemon is told, and the power goes some time later."""
        if host.daemon is not None and host.powered:
            self.leaving.add(host)
            host.daemon.order(Order.SHUTDOWN)
            host.later(fault.lasts_s, lambda: self._off(host, fault, lasts_s=fault.lasts_s) if self.running else None)

    # --- PostgreSQL ----------------------------------------------------------------------------------------

    def postmaster_killed(self, host: Host, fault: Fault) -> None:
        if host.powered and host.pg.proc:
            host.log("postmaster KILLED")
            host.pg.kill(orphans="orphans" in fault.how)

    def postgres_hung(self, host: Host, fault: Fault) -> None:
        pg = host.pg
        if not (host.powered and pg.proc and not pg.hung):
            return
        proc = pg.proc
        pg.hung = str(fault.how[0])
        host.log(f"postgres HANGS ({pg.hung})")

        def go_on() -> None:
            if pg.proc == proc:
                pg.hung = ""
                host.log("postgres goes on")

        if "for ever" not in fault.how:
            self._ends(fault, go_on)

    def slow_server(self, host: Host, fault: Fault) -> None:
        """PostgreSQL takes long to start, to stop, to promote and to heed new names: past its time limits, too."""
        pg = host.pg
        pg.start_s, pg.stop_s, pg.promote_s, pg.names_s = (float(each) for each in fault.how)
        self._ends(fault, pg.quick)

    def dba_stop(self, host: Host, _fault: Fault) -> None:
        if host.powered and host.pg.phase in ("primary", "standby") and not host.pg.hung:
            host.log("a DBA stops postgres")
            host.pg.shut_down()

    def recovery_target(self, host: Host, _fault: Fault) -> None:
        """A DBA starts the standby by hand, with a recovery target: it flushes all, and would replay no more."""
        pg = host.pg
        if not host.powered or pg.phase != "standby" or pg.hung or host.disk_bad:
            return
        host.log("a DBA restarts postgres with a recovery target")
        pg.shut_down()
        pg.spawn(sync=False)
        pg.target, pg.replay_end, proc = "recovery_target_name = 'old'", len(pg.wal), pg.proc

        def up() -> None:
            if pg.proc == proc and pg.phase == "starting":
                pg.started()

        host.later(0.3, up)

    def dba_promotes(self, host: Host, _fault: Fault) -> None:
        """Somebody opens the standby: two write, until pgvip has stopped it."""
        host.pg.promoted_by_hand(host.pg.proc)

    def replay_paused(self, host: Host, fault: Fault) -> None:
        pg, proc = host.pg, host.pg.proc
        pg.paused = pg.phase == "standby"

        def resume() -> None:
            pg.paused = pg.paused and pg.proc != proc

        self._ends(fault, resume)

    def forks_early(self, host: Host, fault: Fault) -> None:
        """For a reason that nobody sees, its next promotion will not replay all that was flushed."""
        host.pg.forks_early = int(fault.how[0])

        def heal() -> None:
            host.pg.forks_early = 0

        self._ends(fault, heal)

    def disk(self, host: Host, fault: Fault) -> None:
        host.log("the disk FAILS")
        host.disk_bad = True
        host.pg.stuck = "stuck" in fault.how
        self.world.disk_holds_state = "state" in fault.how

        def heal() -> None:
            host.disk_bad = host.pg.stuck = False
            host.log("the disk is well")

        self._ends(fault, heal)

    def state_hangs(self, host: Host, fault: Fault) -> None:
        """Writes of the state directory do not return for a while."""
        host.state_hangs = True

        def heal() -> None:
            host.state_hangs = False
            host.log("the state directory takes writes again")

        self._ends(fault, heal)

    def probes_hang(self, host: Host, fault: Fault) -> None:
        """Some looks do not come back, or fail at their time limit."""
        names = {str(name): str(fault.how[-1]) for name in fault.how[:-1]}
        host.blind |= names

        def heal() -> None:
            for name in names:
                host.blind.pop(name, None)

        self._ends(fault, heal)

    def stall(self, host: Host, fault: Fault) -> None:
        """As a standby it receives without flushing."""
        self._among(self.world.replication.stalled, host, fault)

    def trickle(self, host: Host, fault: Fault) -> None:
        """As a standby it receives hardly faster than is written."""
        self._among(self.world.replication.trickle, host, fault)

    def _among(self, names: set[str], host: Host, fault: Fault) -> None:
        names.add(host.name)
        self._ends(fault, lambda: names.discard(host.name))

    def stream_breaks(self, _host: Host, _fault: Fault) -> None:
        self.world.replication.breaks()

    def address_gone(self, host: Host, _fault: Fault) -> None:
        host.held.clear()
        host.log("addresses are removed by hand")

    def address_sticks(self, host: Host, fault: Fault) -> None:
        """The standby VIP cannot be dropped."""
        self._among(self.world.sticks, host, fault)

    # --- network and fences -----------------------------------------------------------------------------------

    def cut(self, _host: Host, fault: Fault) -> None:
        net = self.world.net
        cuts = {(str(word).split(":")[0], str(word).split(":")[1]) for word in fault.how}
        net.cuts |= cuts

        def heal() -> None:
            net.cuts -= cuts
            self.world.log("net", f"healed {sorted(cuts)}")

        self._ends(fault, heal)

    def stranger(self, host: Host, fault: Fault) -> None:
        """Somebody's server answers at this host's address whenever it does not itself."""
        host.stranger = str(fault.how[0])

        def gone() -> None:
            host.stranger = ""

        self._ends(fault, gone)

    cut_off = isolated = apart = gateway = cut

    def fence_mood(self, host: Host, fault: Fault) -> None:
        moods = self.world.fencing.moods
        moods[host.name] = str(fault.how[0])

        def heal() -> None:
            moods.pop(host.name, None)

        self._ends(fault, heal)

    def weather(self, _host: Host, fault: Fault) -> None:
        """Single steps fail or are slow for a while."""
        for name, value in zip(fault.how[::2], fault.how[1::2], strict=True):
            setattr(self.world.faults, str(name), value)
        self._ends(fault, self._fine)

    def _fine(self) -> None:
        self.world.calm(self.world.faults.message_kept)

    def old_message(self, _host: Host, _fault: Fault) -> None:
        self.world.deliver_old()

    # --- the witness ------------------------------------------------------------------------------------------

    def witness_off(self, _host: Host, fault: Fault) -> None:
        """It is down, and comes back with all that it wrote."""
        third = self.world.third
        third.up = False

        def back() -> None:
            third.up = True

        self._ends(fault, back)

    def witness_cut(self, _host: Host, fault: Fault) -> None:
        """Some host does not reach it."""
        cuts = {("witness", name) for name in str(fault.how[0])}
        self.world.net.cuts |= cuts

        def heal() -> None:
            self.world.net.cuts -= cuts

        self._ends(fault, heal)

    def witness_mood(self, host: Host, fault: Fault) -> None:
        """Claims of this host are refused, carried out late, or their answers are lost."""
        moods = self.world.third.moods
        moods[host.name] = str(fault.how[0])

        def heal() -> None:
            moods.pop(host.name, None)

        self._ends(fault, heal)

    # --- operators ---------------------------------------------------------------------------------------------

    def switchover(self, host: Host, fault: Fault) -> None:
        self._order(host, Order.SWITCHOVER)
        if "called off" in fault.how:
            self._ends(fault, lambda: self._order(host, Order.CANCEL_SWITCHOVER))

    def pause(self, host: Host, fault: Fault) -> None:
        if host.daemon is not None and host.powered:
            host.daemon.order(Order.PAUSE, "simulated")
            self._ends(fault, self.resume)

    def resume(self) -> None:
        for host in self.world.hosts:
            if host.daemon is not None and host.durable.pause.active:
                host.daemon.order(Order.RESUME)
                return

    def failover(self, host: Host, _fault: Fault) -> None:
        """An operator wants the standby to take over now, whether or not it may."""
        self._order(host, Order.FAILOVER)

    def fence_off(self, host: Host, fault: Fault) -> None:
        """An operator powers the other host off, and switches it on again later."""
        self._order(host, Order.FENCE_OFF)
        self._ends(fault, lambda: self._order(host, Order.POWER_ON))

    def remove_peer(self, host: Host, fault: Fault) -> None:
        """An operator goes back to one host as soon as that may be, and has a second one again later."""
        until_s = self.world.now_s + fault.lasts_s

        def ask() -> None:
            if not self.running:
                return
            self._order(host, Order.REMOVE_PEER if self.world.now_s < until_s else Order.ADD_PEER)
            if self.world.now_s < until_s:
                self.world.after(0.5, ask)

        ask()

    def rejoin(self, host: Host, _fault: Fault) -> None:
        self._order(host, Order.REJOIN, "clone")

    def mode(self, host: Host, fault: Fault) -> None:
        """The configuration changes between sync and async, on one host first."""
        sync = not host.settings.sync
        host.settings = replace(host.settings, sync=sync)

        def follow() -> None:
            host.peer.settings = replace(host.peer.settings, sync=sync)

        self._ends(fault, follow)

    def seen_dead(self, host: Host, _fault: Fault) -> None:
        """An operator stands before the peer, sees that it is off, and says so; it stays off until that was heard."""
        if not host.peer.powered:
            self._order_while_off(host, Order.FENCE_CONFIRMED, "")

    def force(self, host: Host, _fault: Fault) -> None:
        """An operator wants this host as primary, whatever is lost; without a fence only when the peer is seen off.

        Without fencing the command is refused otherwise (`orders.refusals.promotion`).
        """
        if not host.peer.powered:
            self._order_while_off(host, Order.FORCE_PROMOTE, "without-fence")
        elif host.settings.fencing:
            self._order(host, Order.FORCE_PROMOTE)

    def _order(self, host: Host, order: Order, text: str = "") -> None:
        if host.daemon is not None and host.powered:
            host.daemon.order(order, text)

    def _order_while_off(self, host: Host, order: Order, text: str) -> None:
        """The peer gets no power before the daemon has obeyed, or cannot any more."""
        daemon, peer = host.daemon, host.peer
        if daemon is None or not host.powered or peer.name in self._locked:
            return
        self._locked.add(peer.name)
        self.world.no_power.add(peer.name)
        daemon.order(order, text)

        def look() -> None:
            known = daemon.knowledge
            busy = daemon.commands or known.orders.deferred or known.orders.force
            if self.running and daemon.alive and busy:
                self.world.after(0.2, look)
                return
            self._locked.discard(peer.name)
            self.world.no_power.discard(peer.name)
            self._on(peer)

        self.world.after(0.2, look)

    # --- the end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """No more faults: everything is healed, every machine has power, every daemon runs."""
        self.running = False
        world = self.world
        self.stopped_s = world.now_s
        heal(world, self.leaving)
        world.after(2.0, self._resumed)

    def _resumed(self) -> None:
        """Operators end what they began: pauses, that a host is to stay off, and that one is removed."""
        hosts = self.world.hosts
        keeping = [
            host for host in hosts
            if host.durable.kept_off or (host.daemon and host.daemon.knowledge.orders.fence_order)
        ]
        for host in keeping:
            self._order(host, Order.POWER_ON)
        removing = [host for host in hosts if host.durable.removed]
        for host in removing:
            self._order(host, Order.ADD_PEER)
        paused = any(host.durable.pause.active for host in hosts)
        if paused:
            self.resume()
        if paused or keeping or removing:
            self.world.after(5.0, self._resumed)


def heal(world: World, leaving: set[Host] | None = None) -> None:
    """Every fault ends, every machine has power and every daemon runs."""
    world.healed = True
    world.log("net", "==== NO MORE FAULTS ====")
    world.net.cuts.clear()
    world.no_power.clear()
    world.sticks.clear()
    world.fencing.heal()
    world.third.up = True
    world.third.moods.clear()
    world.replication.stalled.clear()
    world.replication.trickle.clear()
    world.calm()
    for host in world.hosts:
        host.settings = replace(host.settings, sync=world.a.settings.sync)
        host.disk_bad = host.pg.stuck = host.state_hangs = False
        host.blind.clear()
        host.stranger = ""
        host.pg.quick()
        host.pg.forks_early, host.pg.paused, host.pg.promotes_itself = 0, False, False
        if leaving and host in leaving:
            host.power_off("the orderly shutdown ends")
        host.power_on()
        host.thaw()
        if host.daemon is not None and host.daemon.stopped:
            host.daemon.resume()
        host.later(1.0, host.start_daemon)
