"""What a rejoin would do now, and why; reads both clusters and changes neither."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import PgvipError, ProbeError, RejoinError
from pgvip.rejoin import follow, source
from pgvip.rejoin.lost_commits import read
from pgvip.rejoin.rewind import why_no_rewind
from pgvip.system import processes
from pgvip.system.sql import connect_local
from pgvip.system.stopped_wal import local_history
from pgvip.system.workers import LONG_S, as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.rejoin.source import Source


class Way(StrEnum):
    """How this host's data would be made to follow."""

    NOTHING = "nothing"
    """It follows already."""
    START = "start"
    """Nothing has diverged: the server is started as a standby."""
    REWIND = "rewind"
    CLONE = "clone"


@dataclass(frozen=True, slots=True)
class Plan:
    """`reason`: why this way. `fork`, `end`: where the histories part, and where this host's own WAL ends.

    `commits`: transactions of clients in the diverged WAL, None where they cannot be counted. `copy_bytes`: size of the
    databases that a clone would copy. `waits`: why it would not be done now, "" when it would. `exact`: the server is
    down, so that all of its WAL could be read.
    """

    way: Way
    reason: str
    fork: WalPoint | None = None
    end: WalPoint | None = None
    commits: int | None = None
    copy_bytes: int | None = None
    waits: str = ""
    exact: bool = True

    @property
    def diverged_bytes(self) -> int:
        """How much WAL would be saved and undone."""
        if self.fork is None or self.end is None:
            return 0
        return max(0, self.end.lsn - self.fork.lsn)


ANSWER_S = 5.0


@as_postgres(LONG_S)
def plan(config: Config, *, clone: bool = False, system_id: str = "") -> Plan:
    """What `rejoin` with these arguments would do. RejoinError where it would refuse; nothing is changed."""
    found = source.prove_source(config, follow.own_system_id(config) or system_id)
    running = processes.postmaster(config.postgres.data_directory) is not None
    decided = _running(config, found) if running else _down(config, found)
    if clone:
        decided = replace(decided, way=Way.CLONE, reason="an operator asked for it")
    if decided.way is not Way.CLONE:
        return decided
    with_size = _sized(config, decided)
    try:
        follow.refuse_clone_now(config, decided.reason, by_operator=clone)
    except RejoinError as refusal:
        return replace(with_size, waits=str(refusal))
    return with_size


def _running(config: Config, found: Source) -> Plan:
    """By what the running standby says: it is stopped first, and its WAL then read for certain."""
    try:
        with connect_local(config) as session:
            in_recovery, position, timeline, streaming = session.query("rejoin_plan", timeout_s=ANSWER_S)[0]
    except ProbeError as failure:
        words = ("the local server runs and does not answer", str(failure), "Stop it, then ask again.")
        raise RejoinError(*words) from failure
    if not in_recovery:
        raise RejoinError(
            "the database on this host is read-write",
            "A rejoin would destroy what its clients write.",
            "Stop it first, if the peer is the rightful primary.",
        )
    if position is None or timeline is None:
        raise RejoinError("the standby on this host has neither received nor replayed any WAL", hint="Wait, ask again.")
    end = WalPoint(timeline, Lsn(position))
    fork, strange = follow.fork_from(config, [*local_history(config, end.timeline), end], found)
    if streaming:
        return Plan(Way.NOTHING, f"it streams from {config.peer.name}", fork, fork, exact=False)
    if fork == end:
        return Plan(Way.START, "nothing has diverged", fork, end, exact=False)
    why = why_no_rewind(config, end, found, strange)
    way, reason = (Way.CLONE, why) if why else (Way.REWIND, "its WAL has diverged")
    return Plan(way, reason, fork, end, exact=False)


def _down(config: Config, found: Source) -> Plan:
    """By the files of a server that is down."""
    reason = follow.unusable(config)
    if reason:
        return Plan(Way.CLONE, reason)
    if (config.postgres.data_directory / "backup_label").exists():
        return Plan(Way.START, "the data is a copy that has not been started yet")
    divergence = follow.divergence_from(config, found)
    if divergence.diverged:
        commits = None
        with suppress(PgvipError):
            wal = config.postgres.data_directory / "pg_wal"
            commits = read(config, wal, divergence.pieces, found.heartbeat_files).commits
        why = why_no_rewind(config, divergence.end, found, divergence.strange)
        way, reason = (Way.CLONE, why) if why else (Way.REWIND, "its WAL has diverged")
        return Plan(way, reason, divergence.fork, divergence.end, commits)
    missing = follow.missing_wal(config, divergence, found)
    if missing:
        return Plan(Way.CLONE, missing, divergence.fork, divergence.end, 0)
    return Plan(Way.START, "nothing has diverged", divergence.fork, divergence.end, 0)


def _sized(config: Config, decided: Plan) -> Plan:
    with suppress(RejoinError):
        return replace(decided, copy_bytes=source.size_bytes(config)[0])
    return decided
