"""One round seen by the core: knowledge, observations, settings and `now`, with the facts drawn from them.

Here, and only here, it is judged how old an observation may be and what "unknown" permits. A fact that
cannot be seen is the careful one of its two values, and the name says which that is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from pgvip.core.actions import Action, AddVip, Promote, Rejoin, StartPostgres, Subject
from pgvip.core.knowledge import Knowledge
from pgvip.core.messages import Message
from pgvip.core.observations import Database, Observation, Observations, PeerDatabase, Processes
from pgvip.core.settings import Settings
from pgvip.core.values import NEVER, Mode, Override, Record, Vip, WalPoint

STARVED = 4
"""So many times `hung_after_s` may new connections wait beside a kept one that is answered."""

T = TypeVar("T")

if TYPE_CHECKING:
    from functools import cached_property as fact
else:

    class fact(Generic[T]):  # noqa: N801 - used like `property`
        """A fact of the round, computed at most once; without the lock that `cached_property` takes before 3.12."""

        def __init__(self, compute: Callable[[Facts], T]) -> None:
            self.compute = compute
            self.name = compute.__name__
            self.__doc__ = compute.__doc__

        def __get__(self, facts: Facts | None, owner: type[Facts]) -> T | fact[T]:
            if facts is None:
                return self
            value = facts.__dict__[self.name] = self.compute(facts)
            return value


class Facts:
    """Facts of one round. Each is computed at most once; `Round.facts` draws them again after a change of knowledge."""

    def __init__(self, knowledge: Knowledge, seen: Observations, settings: Settings, now_s: float) -> None:
        self.k = knowledge
        self.seen = seen
        self.s = settings
        self.now_s = now_s

    # --- the record --------------------------------------------------------------------------------

    @fact
    def record(self) -> Record | None:
        return self.k.durable.record

    @fact
    def term(self) -> int:
        return self.record.term if self.record else -1

    @fact
    def primary(self) -> bool:
        """The record names this host primary."""
        return self.record is not None and self.record.primary == self.s.me

    @fact
    def standby(self) -> bool:
        """The record names the peer primary."""
        return self.record is not None and self.record.primary != self.s.me

    @fact
    def pair(self) -> bool:
        return self.record is not None and self.record.mode is Mode.PAIR

    @fact
    def solo(self) -> bool:
        return self.record is not None and self.record.mode is Mode.SOLO

    @fact
    def sync_term(self) -> bool:
        """In this term a commit waits for the standby."""
        return self.record is not None and self.record.sync and self.pair

    @fact
    def higher(self) -> Record | None:
        """A record heard whose term is above the own one."""
        heard = self.k.peer.heard_record
        return heard if heard is not None and heard.term > self.term else None

    @fact
    def paused(self) -> bool:
        return self.k.durable.pause.active

    @fact
    def guarded(self) -> bool:
        """A watchdog stands ready, or none is required. Unknown counts as no: it only keeps from beginning to serve."""
        watch = self.seen.watchdog
        return not self.s.watchdog_required or (watch.ok() and bool(watch.value))

    # --- the local database --------------------------------------------------------------------------

    def stale(self, observation: Observation[T], subject: Subject | Vip) -> bool:
        """The look began before the last action on `subject` ended: it says nothing."""
        return observation.at_s < self.k.work.ended.get(subject, NEVER)

    @fact
    def processes(self) -> Processes | None:
        """The cluster's processes as seen since the last action on them ended; None while unknown."""
        return None if self.stale(self.seen.processes, Subject.POSTGRES) else self.seen.processes.value

    @fact
    def postmaster(self) -> str:
        """The live postmaster, or ""; there is none as soon as the data begin to be overwritten, whatever was seen."""
        return self.processes.postmaster if self.processes and not self.is_running(Rejoin) else ""

    @fact
    def installed(self) -> bool:
        return self.processes is not None and self.processes.installed

    @fact
    def gone(self) -> bool:
        """Seen: no process of the cluster is left, and nothing that could start one is under way."""
        if self.processes is None or self.processes.postmaster or self.processes.left:
            return False
        return not self.is_running(StartPostgres, Promote, Rejoin)

    @fact
    def database(self) -> Database | None:
        """What the present postmaster last said of itself; None while it has not."""
        value = None if self.stale(self.seen.database, Subject.POSTGRES) else self.seen.database.value
        return value if value is not None and value.postmaster == self.postmaster else None

    @fact
    def responding(self) -> bool:
        """The database answered lately, over the kept connection."""
        return self.database is not None and self.seen.database.fresh(self.now_s, self.s.hung_after_s)

    @fact
    def read_write(self) -> bool:
        """Seen: PostgreSQL is read-write."""
        return self.database is not None and not self.database.in_recovery

    @fact
    def recovering(self) -> bool:
        """Seen: PostgreSQL runs as a standby."""
        return self.database is not None and self.database.in_recovery

    @fact
    def may_write(self) -> bool:
        """PostgreSQL is read-write, or could be for all that was seen."""
        opening = any(isinstance(action, StartPostgres) and not action.standby for action in self.k.work.running)
        if self.processes is None or opening or self.is_running(Promote):
            return True
        if not self.postmaster:
            return self.processes.left > 0
        if self.primary and self.k.durable.served:
            return True  # a promotion that an earlier daemon asked for may still be under way
        if self.database is not None:
            return not self.database.in_recovery
        return not self.processes.standby_signal

    @fact
    def verified(self) -> bool:
        """Seen: the last promotion here kept all that had been flushed. Unknown counts as no: nothing is served."""
        promotion, durable = self.k.promotion, self.k.durable
        return not (promotion.unverified or promotion.lacks or durable.lacks or self.is_running(Promote))

    @fact
    def dead(self) -> bool:
        """Seen: there is no postmaster."""
        return self.processes is not None and not self.postmaster

    @fact
    def crash_ages_s(self) -> dict[str, tuple[float, ...]]:
        """How long ago servers crashed while their host was primary, by host."""
        theirs = self.k.peer.heard.message.crashes if self.k.peer.heard else ()
        mine = tuple(self.now_s - at_s for at_s in self.k.database.crashes)
        return {self.s.me: mine, self.s.peer: tuple(age_s + self.heard_age_s for age_s in theirs)}

    @fact
    def hung(self) -> bool:
        """The postmaster lives, and neither new connections nor the kept one, or no disk, have answered for too long.

        New connections alone wait where a CPU is short: that is a failure only after STARVED times as long.
        """
        if not self.postmaster or self.is_running(StartPostgres):
            return False
        limit_s = self.s.hung_after_s * (STARVED if self.responding else 1)
        return self.disks_bad or self.unconnected_s >= limit_s

    @fact
    def unconnected_s(self) -> float:
        """For how long the present server has not answered a new connection; 0: it does, or failed only once."""
        watch = self.seen.connection
        if watch.failures < 2:
            return 0.0
        unanswered_s = min(watch.tried_s, watch.failing_since_s - self.s.interval_s)
        return self.now_s - max(watch.at_s, unanswered_s, self.k.database.postmaster_since_s)

    @fact
    def disks_bad(self) -> bool:
        """Nothing could be written and synced for `disk_hung_after_s`: a disk may be slow for longer than a server."""
        watch = self.seen.disks
        since_s = max(watch.at_s, watch.failing_since_s - self.s.interval_s)
        return self.stalled or (watch.failures >= 2 and self.now_s - since_s >= self.s.disk_hung_after_s)

    @fact
    def stalled(self) -> bool:
        """This primary has committed nothing for `disk_hung_after_s`, whatever else answers. A refusal is an answer."""
        return self.uncommitted_s >= self.s.disk_hung_after_s + self.s.interval_s

    @fact
    def uncommitted_s(self) -> float:
        """For how long the heartbeat row has neither been written nor refused, on a primary; 0.0 elsewhere."""
        watch, k = self.seen.heartbeat, self.k
        if not self.read_write or max(watch.at_s, watch.failing_since_s) == NEVER:
            return 0.0
        asked_s = max(watch.at_s, watch.lacked_at_s)
        return self.now_s - max(asked_s, k.who.started_s, k.clock.awake_s, k.database.postmaster_since_s)

    @fact
    def database_healthy(self) -> bool:
        """The database answers and its disks take writes."""
        connection, disks = self.seen.connection, self.seen.disks
        return (
            self.database is not None
            and not self.hung
            and connection.fresh(self.now_s, self.s.hung_after_s + self.s.interval_s)
            and (disks.ok() or disks.fresh(self.now_s, self.s.disk_hung_after_s + self.s.interval_s))
        )

    @fact
    def held(self) -> frozenset[Vip]:
        """The addresses that this host may carry: seen, being raised, or not observed since they were touched."""
        return frozenset(vip for vip in Vip if self.unsure(vip)) | (self.seen.held.value or frozenset())

    def unsure(self, vip: Vip) -> bool:
        """Whether this host carries `vip` is not known now: nothing new is begun with it."""
        watch = self.seen.held
        return watch.value is None or self.stale(watch, vip) or AddVip(vip) in self.k.work.running

    @fact
    def gateway(self) -> bool:
        """A gateway answered just now. Unknown counts as no."""
        watch = self.seen.gateway
        return watch.ok() and watch.fresh(self.now_s, 1.6 * self.s.interval_s)

    @fact
    def gateway_lost(self) -> bool:
        """The gateways have been silent as long as would make a peer silent. Unknown counts as no."""
        watch = self.seen.gateway
        return watch.failures >= 2 and self.now_s - watch.at_s >= self.s.dead_after_s

    # --- the peer ------------------------------------------------------------------------------------

    @fact
    def heard_age_s(self) -> float:
        return self.now_s - (self.k.peer.heard.at_s if self.k.peer.heard else NEVER)

    @fact
    def message(self) -> Message | None:
        """The peer's newest message, while it is fresh."""
        fresh_s = max(3 * self.s.heartbeat_s, self.s.dead_after_s / 2)
        return self.k.peer.heard.message if self.k.peer.heard and self.heard_age_s <= fresh_s else None

    @fact
    def peer(self) -> Message | None:
        """The peer's fresh message, if its record is of this host's own term."""
        message = self.message
        return message if message and message.record and message.record.term == self.term else None

    @fact
    def stream_at_s(self) -> float:
        """When new WAL last went between the two databases, as this host's own database says."""
        return self.database.moved_at_s if self.database else NEVER

    @fact
    def heard_life_s(self) -> float:
        """When the peer last gave a sign of life that counts: message, query or new WAL.

        A query counts when the answer is the pair's own: anybody on the network can answer at a dead host's address.
        """
        seen = self.seen
        heard_s = self.k.peer.heard.at_s if self.k.peer.heard else NEVER
        asked_s = (watch.at_s for watch in (seen.peer_own, seen.peer_vip) if self._proven(watch))
        return max(heard_s, self.stream_at_s, *asked_s)

    def _proven(self, watch: Observation[PeerDatabase]) -> bool:
        """What answered has the pair's system identifier."""
        return watch.value is not None and watch.value.system_id == self.k.who.system_id

    @fact
    def peer_silent(self) -> bool:
        """By no path an answer for `dead_after_s`, and the database was really asked meanwhile.

        At a start nothing was heard yet: then silence counts from the start of this daemon; after a time without
        rounds it counts from their return, since a process that was stopped has not listened.
        """
        last_s = max(self.heard_life_s, self.k.who.started_s, self.k.clock.awake_s)
        if self.now_s - last_s < self.s.dead_after_s:
            return False
        own = self.seen.peer_own
        asked_s = own.failed_at_s if own.failures or self._proven(own) else own.at_s  # a stranger's answer is none
        return asked_s >= last_s

    @fact
    def peer_database(self) -> PeerDatabase | None:
        """The peer's database as a new connection to its own address saw it lately."""
        watch = self.seen.peer_own
        lately = watch.ok() and watch.fresh(self.now_s, 12 * self.s.interval_s)
        return watch.value if lately and self._proven(watch) else None

    @fact
    def peer_serves(self) -> bool:
        """Seen: the peer, primary by its own confirmed record, is read-write."""
        message = self.peer
        return bool(message and message.read_write and message.confirmed and self.standby)

    @fact
    def streams(self) -> bool:
        """This standby receives WAL now."""
        return self.recovering and self.database is not None and self.database.streaming and self.responding

    @fact
    def replica_streams(self) -> bool:
        """The peer's WAL receiver is connected to this primary."""
        replica = self.database.replica if self.database else None
        return replica is not None and replica.streaming and self.read_write

    @fact
    def replica_behind(self) -> bool:
        """The peer streams and has not flushed all that this primary has."""
        database = self.database
        if not self.replica_streams or database is None or database.replica is None:
            return False
        return database.replica.flush_lsn < database.point.lsn

    @fact
    def replica_stalled(self) -> bool:
        """The peer streams but has not flushed for `sync_stall_s` although there is something to flush."""
        since_s = self.k.database.behind_since_s
        return since_s > NEVER and self.now_s - max(since_s, self.stream_at_s) >= self.s.sync_stall_s

    @fact
    def unwaited(self) -> bool:
        """Seen: commits of this sync pair do not wait for the peer, by the names in force just now."""
        database = self.database
        if database is None or not (self.read_write and self.sync_term):
            return False
        wrong = not database.sync_names or database.foreign_names
        return wrong and not self.stale(self.seen.database, Subject.NAMES)

    @fact
    def replica_lag_bytes(self) -> int:
        database = self.database
        if database is None or database.replica is None:
            return 1 << 62
        return max(0, database.point.lsn - database.replica.flush_lsn)

    @fact
    def point(self) -> WalPoint | None:
        return self.database.point if self.database else None

    @fact
    def unfit(self) -> str:
        """Why a promotion here may drop what was flushed, or this server may not take over otherwise.

        Not for a replay that waits for higher settings: the promotion ends the server, and its next start has them.
        """
        database = self.database
        if database is None or not database.in_recovery:
            return ""
        if database.recovery_target:
            return f"its recovery ends at {database.recovery_target}"
        if database.replay_paused and not database.settings_low:
            return "its replay is paused"
        return database.unfit

    @fact
    def fit(self) -> bool:
        """Seen: nothing keeps this server from taking over with all that it flushed. Unknown counts as no."""
        return self.database is not None and not self.unfit

    @fact
    def lagging(self) -> bool:
        """Reads here would be older than the limit, by the peer's own position as far as it is known."""
        database = self.database
        if database is None or database.replay_paused:
            return True
        message = self.peer
        behind = message.point.lsn - database.replay_lsn if message and message.point else 0
        return database.replay_lag_s > self.s.lag_s_max or (behind > self.s.lag_bytes_max > 0)

    def override_of(self, host: str) -> Override:
        return self.s.override if host == self.s.me else self.s.peer_override

    def is_running(self, *kinds: type[Action]) -> bool:
        """An action of one of these kinds was started and has not ended."""
        return any(isinstance(action, kinds) for action in self.k.work.running)
