"""A simulated PostgreSQL cluster: WAL as a list of entries with timelines, processes, synchronous waits.

An entry is a number that is made once, on top of one prefix; two histories with the same entry at the same
place are therefore the same up to there. A position (LSN) is a count of entries.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint

if TYPE_CHECKING:
    from tests.simulation.machine import Host


class Stream:
    """One connection of a standby's WAL receiver to a primary's WAL sender."""

    def __init__(self, sender: Host, receiver: Host, at_s: float) -> None:
        self.sender = sender
        self.receiver = receiver
        self.sender_proc = sender.pg.proc
        self.receiver_proc = receiver.pg.proc
        self.sender_open = True
        self.receiver_open = True
        self.flush_lsn = 0
        self.heard_s = at_s
        self.replied_s = at_s
        self.unanswered = 0
        self.moving = False


class Cluster:
    """The data directory and the processes that run on it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.world = host.world
        self.wal: list[int] = []
        self.flushed = 0
        self.history: list[tuple[int, int]] = [(1, 0)]
        self.standby_signal = False
        self.control = "shut down"
        self.checkpoint = WalPoint(1, Lsn(0))
        self.broken = False
        self.proc = ""
        self.phase = "down"  # down, starting, standby, promoting, primary, stopping
        self.orphans = False
        self.hung = ""  # "", all, postmaster
        self.stuck = False  # processes in D state: SIGKILL does not end them
        self.names_shown = False
        self.names_in_force = False
        self.waiting: list[tuple[int, int]] = []
        self.recovered_end = 0
        self.forks_early = 0  # entries that the next promotion leaves out, though they were flushed
        self.left_out = 0  # what the last one left out
        self.target = ""  # a recovery target that is in force: replay ends at `replay_end`
        self.given_target = ""  # one that comes back with every start
        self.replay_end = 0
        self.paused = False  # replay, by hand; a promotion ends the pause
        self.promotes_itself = False  # soon after each start as a standby
        self.by_hand = False  # it became read-write without pgvip
        self.revealed = ""
        self.inbound: Stream | None = None  # this standby's stream
        self.outbound: Stream | None = None  # the peer's, as this primary's pg_stat_replication has it
        self.starts = 0
        self.up_s = self.promoted_s = self.ends_s = 0.0
        self.quick()
        self.wrote_s = float("-inf")
        """When it was last known to be read-write: until then it may have acknowledged."""

    def quick(self) -> None:
        """Starting, stopping, promoting and heeding new names take their usual time."""
        self.start_s = self.stop_s = self.promote_s = self.names_s = 0.0

    # --- what can be seen ---------------------------------------------------------------------------

    @property
    def timeline(self) -> int:
        return self.history[-1][0]

    @property
    def writes(self) -> bool:
        """Something here can commit: a read-write server, or what a killed one left behind."""
        return self.phase in ("primary", "stopping") or self.orphans

    @property
    def answers(self) -> bool:
        """The server answers queries on a new connection."""
        return self.phase in ("standby", "promoting", "primary") and not self.hung and not self.host.frozen

    @property
    def keeps_answering(self) -> bool:
        """The server answers on a connection that was open before."""
        return self.phase in ("standby", "promoting", "primary") and self.hung != "all"

    def ancestors(self) -> tuple[WalPoint, ...]:
        pairs = zip(self.history, self.history[1:], strict=False)
        return tuple(WalPoint(old[0], Lsn(new[1])) for old, new in pairs)

    def prefix_of(self, other: Cluster) -> bool:
        """The other's history goes on where this one ends."""
        count = len(self.wal)
        return count <= len(other.wal) and (count == 0 or other.wal[count - 1] == self.wal[count - 1])

    # --- WAL --------------------------------------------------------------------------------------------

    def append(self) -> int:
        entry = self.world.new_entry()
        self.wal.append(entry)
        self.flushed = len(self.wal)
        if self.outbound is not None:
            self.world.replication.push(self.outbound)
        return entry

    def commit(self) -> int:
        """A client commits; acknowledged now, or when the standby has flushed it."""
        entry = self.append()
        self.world.commits.add(entry)
        if self.names_in_force:
            self.waiting.append((len(self.wal), entry))
        else:
            self.world.acknowledge(self.host, entry)
        return entry

    def flushed_by_peer(self, lsn: int) -> None:
        """The standby's answer: release who waited for it."""
        if not self.waiting or self.hung == "all":
            return
        left = []
        for end, entry in self.waiting:
            if end <= lsn:
                self.world.acknowledge(self.host, entry)
            else:
                left.append((end, entry))
        self.waiting = left

    def set_names_in_force(self, on: bool) -> None:
        self.names_in_force = on
        if not on:
            waiting, self.waiting = self.waiting, []
            for _, entry in waiting:
                self.world.acknowledge(self.host, entry)

    # --- processes -----------------------------------------------------------------------------------

    def spawn(self, *, sync: bool) -> None:
        """The postmaster comes up and recovers."""
        self.starts += 1
        self.proc = f"{self.world.new_entry()}:{self.host.name}"
        self.phase = "starting"
        self.hung, self.target, self.replay_end = "", self.given_target if self.standby_signal else "", len(self.wal)
        self.paused = False
        self.names_shown = self.names_in_force = sync
        self.waiting = []
        self.host.log(f"postgres {self.proc} starts{' as standby' if self.standby_signal else ''}")

    def started(self) -> None:
        """Recovery has come to a consistent state: a standby serves reads, a primary is read-write."""
        self.flushed = len(self.wal)
        if self.standby_signal:
            self.phase, self.control = "standby", "in archive recovery"
            self.host.log("postgres is up as standby")
            if self.promotes_itself:
                self.host.later(2.8, partial(self.promoted_by_hand, self.proc))
            self.world.replication.seek(self.host)
        else:
            self.become_writer()

    def become_writer(self) -> None:
        self.phase, self.control = "primary", "in production"
        self.recovered_end = len(self.wal)
        self.append()  # the end-of-recovery record
        self.host.log(f"postgres is READ-WRITE, timeline {self.timeline}, {len(self.wal)} entries")
        self.world.became_writer(self.host)

    def promoted_by_hand(self, proc: str) -> None:
        """An administrator promotes it, or a setting does."""
        if self.proc == proc and self.phase == "standby" and not self.hung:
            self.host.log("postgres is promoted without pgvip")
            self.by_hand = True
            self.promoted()

    def promoted(self) -> None:
        self.drop_inbound()
        kept = len(self.wal) - self.forks_early
        if self.target:
            kept = min(kept, self.replay_end)
        self.left_out, self.forks_early, self.target = len(self.wal) - max(1, kept), 0, ""
        if self.left_out > 0:
            self.host.log(f"the promotion leaves out {self.left_out} entries")
            del self.wal[max(1, kept) :]
            self.history = [start for start in self.history if start[1] <= len(self.wal)]
        self.history.append((self.timeline + 1, len(self.wal)))
        self.standby_signal = False
        self.flushed = len(self.wal)
        self.become_writer()

    def kill(self, *, orphans: bool = False) -> None:
        """SIGKILL: of everything, or of the postmaster alone, which may leave a backend committing."""
        if self.phase == "down" and not self.orphans:
            return
        self._mark()
        if not orphans:
            self.waiting = []
        self.orphans = orphans and self.phase == "primary"
        self._gone()

    def _mark(self) -> None:
        if self.writes:
            self.wrote_s = self.world.now_s

    def shut_down(self) -> None:
        """The end of a fast shutdown: the checkpoint record is the last one of a primary."""
        self._mark()
        if self.phase in ("primary", "stopping"):
            self.waiting = []
            self.append()
            self.control = "shut down"
            self.checkpoint = WalPoint(self.timeline, Lsn(len(self.wal) - 1))
            if self.outbound is not None:
                self.world.replication.last_words(self.outbound)
        elif self.phase in ("standby", "promoting"):
            self.control = "shut down in recovery"
        self._gone()

    def _gone(self) -> None:
        if self.phase != "down":
            self.world.watch.stopped(self.host)
            self.host.log(f"postgres {self.proc} is gone ({self.control}{', orphans' if self.orphans else ''})")
        self.phase, self.proc, self.hung = "down", "", ""
        self.by_hand = self.by_hand and self.orphans  # what they go on committing is no more the pair's than before
        self.drop_inbound()
        self.world.replication.sender_gone(self)
        self.host.postmaster_died()

    def drop_inbound(self) -> None:
        if self.inbound is not None:
            self.world.replication.receiver_gone(self.inbound)
            self.inbound = None

    def becomes_older(self, entries: int) -> None:
        """A stopped standby's files are replaced by those of an older backup."""
        assert self.phase == "down"
        del self.wal[max(1, len(self.wal) - entries) :]
        self.history = [start for start in self.history if start[1] <= len(self.wal)]
        self.flushed = len(self.wal)
        self.host.log(f"the data are those of an older backup now: {self.flushed} entries")

    def power_lost(self) -> None:
        """What was not flushed is gone with everything in memory."""
        self._mark()
        if self.phase not in ("primary", "stopping") and not self.orphans:
            keep = self.world.rng.randint(self.flushed, len(self.wal)) if self.flushed < len(self.wal) else self.flushed
            del self.wal[keep:]
            while len(self.history) > 1 and self.history[-1][1] >= len(self.wal) and self.standby_signal:
                if self.history[-1][1] == len(self.wal):
                    break
                self.history.pop()
        self.flushed = len(self.wal)
        self.phase, self.proc, self.hung, self.orphans, self.stuck = "down", "", "", False, False
        self.by_hand = False
        self.waiting = []
        if self.inbound is not None:
            self.inbound.receiver_open = False
        if self.outbound is not None:
            self.outbound.sender_open = False
        self.inbound = None
        self.outbound = None
