"""Actions of a simulated daemon: each takes its time, may fail, and may outlive the daemon that asked for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pgvip.core.actions import (
    Action,
    AddVip,
    AskVeto,
    CheckVip,
    Claimed,
    ClaimTerm,
    ConfirmGrant,
    DropVip,
    Fence,
    FindEnd,
    KillPostgres,
    PowerOn,
    Promote,
    Rejoin,
    Result,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    WriteState,
)
from pgvip.core.values import Durable, Lsn, Vip, WalPoint

if TYPE_CHECKING:
    from tests.simulation.machine import Daemon

LIMIT_S = 15.0
"""How long a start or a promotion is waited for; the server goes on all the same."""


class Actor:
    """Starts what the core wants; a result goes to the daemon that asked, if it still lives."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.host = daemon.host
        self.world = daemon.world
        self._writing: Durable | None = None

    def start(self, action: Action) -> None:
        kind = type(action).__name__
        if kind != "CheckVip":
            self.host.log(f"  -> {kind}{self._words(action)}")
        begin = getattr(self, f"_{kind}", None)
        if begin is None:
            self._later(0.01, 0.05, lambda: self._end(action, ok=True))
        else:
            begin(action)

    @staticmethod
    def _words(action: Action) -> str:
        if isinstance(action, WriteState):
            d = action.durable
            r = d.record
            what = f"{r.term} {r.mode.value}({r.primary}) from={r.from_term} at={r.handover}" if r else "none"
            return f" {what} served={d.served} complete={d.complete} hold={bool(d.hold)} paused={d.pause.active}"
        text = repr(action)
        return text[text.index("(") :]

    def _later(self, low_s: float, high_s: float, event: Callable[[], None]) -> None:
        """What a child process does: it goes on when its daemon dies, mostly."""

        def due() -> None:
            if self.daemon.alive or self.world.chance(0.5):
                event()

        self.host.later(self.world.duration_s(low_s, high_s), due)

    def _end(
        self, action: Action, *, ok: bool, text: str = "", point: WalPoint | None = None, claimed: Claimed | None = None
    ) -> None:
        result = Result(action, ok, self.host.clock_s, text, point, claimed)

        def arrive() -> None:
            if self.daemon.alive:
                self.daemon.ended(result)

        self.host.later(self.world.look_s() / 4, arrive)

    # --- the record --------------------------------------------------------------------------------

    def _WriteState(self, action: WriteState) -> None:  # noqa: N802 - named after the action
        host = self.host

        def due() -> None:
            if not self.daemon.alive:
                return
            if host.state_hangs:
                host.later(0.25, due)
                return
            self._writing = None
            if host.disk_bad and self.world.disk_holds_state:
                self._end(action, ok=False, text="fsync failed")
            elif self.world.chance(self.world.faults.write_fails):
                if self.world.chance(0.3):
                    host.doubtful_write(action.durable)
                else:
                    self._end(action, ok=False, text="no space")
            else:
                self._wrote(action.durable)
                self._end(action, ok=True)

        self._writing = action.durable
        host.later(self.world.duration_s(0.002, 0.02), due)

    def _wrote(self, durable: Durable) -> None:
        host = self.host
        host.past = [*host.past[-5:], host.durable]
        host.durable = durable
        self.world.recorded(host)

    def dies(self) -> None:
        """A write is a thread of the daemon itself: it ends with it, before or after the rename."""
        durable, self._writing = self._writing, None
        if durable is not None and self.world.chance(0.3):
            self._wrote(durable)

    # --- PostgreSQL ------------------------------------------------------------------------------------

    def _StartPostgres(self, action: StartPostgres) -> None:  # noqa: N802 - named after the action
        pg = self.host.pg
        if pg.proc and pg.phase != "stopping":
            self._await_start(pg.proc, action)  # it runs already
            return
        if pg.proc or pg.orphans or pg.broken or self.host.disk_bad:
            self._later(0.01, 0.1, lambda: self._end(action, ok=False, text="cannot start"))
            return
        pg.standby_signal = action.standby
        pg.spawn(sync=action.sync)
        pg.up_s = self.world.now_s + self.world.duration_s(0.1, 0.5) + pg.start_s
        self._await_start(pg.proc, action)

    def _await_start(self, proc: str, action: StartPostgres) -> None:
        pg, deadline_s = self.host.pg, self.world.now_s + 10.0
        takes_s = max(0.01, pg.up_s - self.world.now_s)
        told = takes_s > LIMIT_S

        def up() -> None:
            if pg.proc == proc and pg.phase == "starting":
                if self.world.chance(self.world.faults.start_fails):
                    pg.kill()
                elif pg.hung and self.world.now_s < deadline_s:
                    self.host.later(1.0, up)
                    return
                elif not pg.hung:
                    pg.started()
            if self.daemon.alive and not told:
                good = pg.proc == proc and pg.phase != "starting"
                self._end(action, ok=good, text="" if good else "it ended while starting")

        # The server comes up by itself, whether or not a daemon waits for it.
        self.host.later(takes_s, up)
        if told:
            self.host.later(LIMIT_S, lambda: self._end(action, ok=False, text="it is not up in time"))

    def _StopPostgres(self, action: StopPostgres) -> None:  # noqa: N802 - named after the action
        pg = self.host.pg
        clean = action.clean and pg.phase in ("primary", "standby", "stopping")
        clean = clean and not pg.hung and not self.host.disk_bad
        if clean and not self.world.chance(self.world.faults.stop_escalates):
            self._stop_cleanly(action)
            return

        self._kill(action)

    def _KillPostgres(self, action: KillPostgres) -> None:  # noqa: N802 - named after the action
        self._kill(action)

    def _kill(self, action: Action) -> None:
        pg = self.host.pg

        def done() -> None:
            if pg.stuck and self.host.disk_bad:
                self._end(action, ok=False, text="processes in D state are left")
            else:
                pg.kill()
                self._end(action, ok=True)

        self._later(0.01, 0.05, done)

    def _stop_cleanly(self, action: StopPostgres) -> None:
        """The server was told, and goes on stopping when its daemon dies or waits no longer."""
        pg, proc = self.host.pg, self.host.pg.proc
        if pg.phase != "stopping":
            pg.ends_s = self.world.now_s + self.world.duration_s(0.05, 0.5) + pg.stop_s
        if pg.phase == "primary":
            pg.phase = "stopping"
        takes_s = max(0.01, pg.ends_s - self.world.now_s)
        limit_s = self.host.settings.stop_s

        def stopped() -> None:
            if pg.proc == proc and pg.phase in ("stopping", "standby") and not (pg.hung or self.host.disk_bad):
                pg.shut_down()
            if takes_s <= limit_s:
                self._end(action, ok=pg.proc != proc, text="it did not stop")

        self.host.later(takes_s, stopped)
        if takes_s > limit_s:
            self.host.later(limit_s, lambda: self._end(action, ok=False, text="it did not stop in time"))

    def _Promote(self, action: Promote) -> None:  # noqa: N802 - named after the action
        pg, now_s = self.host.pg, self.world.now_s
        proc = pg.proc
        if pg.phase not in ("standby", "promoting"):
            self._later(0.01, 0.05, lambda: self._promoted(action, proc))
            return
        if pg.phase == "standby":
            pg.promoted_s = now_s + self.world.duration_s(0.05, 0.3) + pg.promote_s
            pg.phase = "promoting"
            pg.drop_inbound()
        takes_s = max(0.01, pg.promoted_s - now_s)
        told = takes_s > LIMIT_S

        def done() -> None:
            if pg.proc == proc and pg.phase == "promoting" and not pg.hung:
                if self.world.chance(self.world.faults.promote_fails):
                    pg.kill()
                else:
                    pg.promoted()
            if self.daemon.alive and not told:
                self._promoted(action, proc)

        self.host.later(takes_s, done)
        if told:
            self.host.later(LIMIT_S, lambda: self._end(action, ok=False, text="not read-write in time"))

    def _promoted(self, action: Promote, proc: str) -> None:
        """What is told at the end of a promotion: where it forked is looked at."""
        pg = self.host.pg
        good = pg.proc == proc and pg.phase == "primary"
        lacks = f"{pg.left_out} entries that had been flushed are missing" if pg.left_out else ""
        self._end(action, ok=good, text=lacks if good else "not read-write yet")

    def _SetSyncNames(self, action: SetSyncNames) -> None:  # noqa: N802 - named after the action
        pg = self.host.pg
        proc = pg.proc

        def forced() -> None:
            if pg.proc == proc and pg.names_shown == action.on and pg.hung != "all":
                pg.set_names_in_force(action.on)

        def shown() -> None:
            good = pg.proc == proc and pg.phase == "primary" and not pg.hung
            if good:
                pg.names_shown = action.on
                self.host.later(self.world.duration_s(0.01, 0.3) + pg.names_s, forced)
            self._end(action, ok=good, text="" if good else "no answer")

        self._later(0.02, 0.1, shown)

    def _ConfirmGrant(self, action: ConfirmGrant) -> None:  # noqa: N802 - named after the action
        """Names in force, a position read after that, and the present stream's flush past it."""
        pg, rounds = self.host.pg, 0
        stream, proc = pg.outbound, pg.proc
        goal = -1

        def fail(text: str) -> None:
            self._end(action, ok=False, text=text)

        def look() -> None:
            nonlocal rounds, goal
            rounds += 1
            usable = pg.proc == proc and pg.phase == "primary" and not pg.hung and stream is not None
            if not usable or stream is None or pg.outbound is not stream or not self.daemon.alive:
                fail("the standby is not connected")
                return
            receiver = stream.receiver_proc
            if receiver != action.key.postmaster:
                fail("another postmaster is connected")
                return
            if goal < 0 and (pg.names_in_force or not action.sync):
                goal = len(pg.wal)
            needed = goal if self.world.rules.grant_needs_flush else -1
            if goal >= 0 and stream.flush_lsn >= needed:
                self._end(action, ok=True)
            elif rounds > 20:
                fail("the standby has not flushed it")
            else:
                self._later(0.05, 0.2, look)

        self._later(0.02, 0.1, look)

    def _FindEnd(self, action: FindEnd) -> None:  # noqa: N802 - named after the action
        pg = self.host.pg

        def done() -> None:
            point = WalPoint(pg.timeline, Lsn(len(pg.wal)))
            self._end(action, ok=not pg.proc, point=point)

        self._later(0.05, 0.2, done)

    def _Salvage(self, action: Salvage) -> None:  # noqa: N802 - named after the action
        """The files are put into the archive; the peer's recovery finds them there once its stream has ended."""
        pg, peer = self.host.pg, self.host.peer
        end = len(pg.wal)

        def found() -> None:
            other = peer.pg
            reads = self.world.net.open("connect", peer, self.host) and not peer.frozen and not peer.disk_bad
            if reads and other.phase == "standby" and other.hung != "all" and other.inbound is None:
                if other.prefix_of(pg) and not pg.proc and len(pg.wal) == end:
                    peer.log(f"restores {end - len(other.wal)} entries of its primary's from the archive")
                    other.wal, other.history, other.flushed = list(pg.wal), list(pg.history), end
            elif self.world.now_s < until_s:
                peer.later(0.2, found)

        def done() -> None:
            if pg.proc or self.host.disk_bad:
                self._end(action, ok=False, text="the server runs, or its disk does not answer")
                return
            self._end(action, ok=True, point=WalPoint(pg.timeline, Lsn(end)))
            if not self.world.chance(self.world.faults.archive_fails):
                peer.later(self.world.duration_s(0.05, 0.3), found)

        until_s = self.world.now_s + 10.0
        self._later(0.05, 0.3, done)

    def _Rejoin(self, action: Rejoin) -> None:  # noqa: N802 - named after the action
        host, peer, pg = self.host, self.host.peer, self.host.pg
        pg.kill()
        pg.broken, pg.standby_signal = True, False
        host.log("data is being rebuilt from the peer")
        self.world.rebuilding(host)

        def done() -> None:
            usable = self.world.net.open("connect", host, peer) and peer.pg.phase == "primary" and not peer.pg.hung
            if not usable or not self.daemon.alive or peer.frozen:
                if self.daemon.alive:
                    self._end(action, ok=False, text="the peer's database is not there")
                return
            pg.wal, pg.history = list(peer.pg.wal), list(peer.pg.history)
            pg.flushed = len(pg.wal)
            pg.standby_signal, pg.broken, pg.left_out = True, False, 0
            pg.control = "in archive recovery"
            self._end(action, ok=True)

        host.later(self.world.duration_s(*self.world.rejoin_s), done)

    # --- addresses ----------------------------------------------------------------------------------

    def _AddVip(self, action: AddVip) -> None:  # noqa: N802 - named after the action
        def done() -> None:
            if self.daemon.alive:
                self.host.held.add(action.vip)
                self.host.log(f"HOLDS the {action.vip.value} VIP")
                self.world.raised(self.host, action.vip)
                self._end(action, ok=True)

        self.host.later(self.world.duration_s(0.005, 0.05), done)

    def _DropVip(self, action: DropVip) -> None:  # noqa: N802 - named after the action
        def done() -> None:
            if not self.daemon.alive:
                return
            sticks = action.vip is Vip.STANDBY and self.host.name in self.world.sticks
            if sticks or self.world.chance(self.world.faults.drop_fails):
                self._end(action, ok=False, text="no answer from netlink")
                return
            self.world.watch.dropped(self.host, action.vip)
            self.host.held.discard(action.vip)
            self.host.log(f"drops the {action.vip.value} VIP")
            self._end(action, ok=True)

        self.host.later(self.world.duration_s(0.005, 0.05), done)

    def _CheckVip(self, action: CheckVip) -> None:  # noqa: N802 - named after the action
        def done() -> None:
            peer = self.host.peer
            answers = self.world.net.open("db", self.host, peer) and not peer.frozen and action.vip in peer.held
            self._end(action, ok=True, text=peer.mac if answers else "")

        self._later(0.1, 0.3, done)

    # --- the peer's power ------------------------------------------------------------------------------

    def _Fence(self, action: Fence) -> None:  # noqa: N802 - named after the action
        self.world.watch.left_alone(self.host, "fences")
        self.world.fencing.fence(self.host, lambda ok, text: self._end(action, ok=ok, text=text))

    def _ClaimTerm(self, action: ClaimTerm) -> None:  # noqa: N802 - named after the action
        def told(claimed: Claimed | None, text: str) -> None:
            if self.daemon.alive:
                self._end(action, ok=claimed is not None, text=text, claimed=claimed)

        self.world.third.claim(self.host, action.term, told)

    def _AskVeto(self, action: AskVeto) -> None:  # noqa: N802 - named after the action
        """The hooks allow it, put it off, fail (which allows it), or never answer."""
        world, how, late_s = self.world, self.host.veto, 0.0
        if how == "random":
            late_s = world.rng.choice((0.0, 0.0, self.host.settings.veto_timeout_s * 2))
            how = world.rng.choice(("allows", "refuses", "refuses", "fails", "hangs"))
        if world.healed and how == "refuses":
            how = "allows"
        if how != "hangs":
            text = "10-storage: a resync is under way" if how == "refuses" else ""
            self._later(late_s + 0.01, late_s + 0.3, lambda: self._end(action, ok=how != "fails", text=text))

    def _PowerOn(self, action: PowerOn) -> None:  # noqa: N802 - named after the action
        self.world.watch.left_alone(self.host, "switches on")
        self.world.fencing.power_on(self.host, lambda ok, text: self._end(action, ok=ok, text=text))

