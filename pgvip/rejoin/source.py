"""The server that a rejoin or a clone follows: the peer's, proved to be the pair's read-write primary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.actions.replication import ensure_slot_in
from pgvip.core.values import Lsn, WalPoint
from pgvip.deadlines import wait_until
from pgvip.errors import ActionError, ProbeError, RejoinError
from pgvip.system import pgconf
from pgvip.system.sql import DATABASE_ROLE, connect_peer
from pgvip.system.wal_files import parse_history, segment_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgvip.config.model import Config
    from pgvip.system.pgtools import ControlData
    from pgvip.system.sql import Session

ANSWER_S = 15.0
"""For a new session and one question. Nobody waits for a rejoin or clone, and a host that works at its limit, whose
disks are slow to sync a new slot, is no dead one; `tcp_user_timeout` finds those."""
SLOT_FREE_S = 75.0
"""For the sender to this host's former self to give up: `wal_sender_timeout`, which pgvip sets to 10 s, or the
standard's 60 s on a primary that has not read pgvip.conf yet."""

SLOT_POLL_S = 0.2
CHECKPOINT_S = 600.0
"""A checkpoint of a busy server with all its dirty pages; pg_rewind and a base backup wait for one anyway."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the peer's server said. `history`: its former timelines, and its present one with `flush` as end."""

    system_id: str
    flush: WalPoint
    history: tuple[WalPoint, ...]
    heartbeat_files: tuple[str, ...]


def prove_source(config: Config, system_id: str) -> Source:
    """Ask the server at the peer's own address; RejoinError unless it is this pair's read-write primary.

    `system_id`: of this host's cluster or the pair's record; "" when this host has neither.
    """
    try:
        with connect_peer(config, config.peer.address) as session:
            in_recovery, found, timeline, flush, history, files = session.query("source", timeout_s=ANSWER_S)[0]
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure
    if in_recovery:
        raise RejoinError("the peer's database is a standby", "Only a read-write primary can be followed.")
    if system_id and found != system_id:
        raise RejoinError(
            "the peer has another database cluster",
            f"Its system identifier is {found}, this host's is {system_id}.",
            "Nothing was touched. Find out which of the two is the right one.",
        )
    point = WalPoint(int(timeline, 16), Lsn.parse(flush))
    return Source(found, point, parse_history(history), tuple(files))


def prepare_source(config: Config) -> None:
    """Let the source make a checkpoint on its present timeline, and keep WAL for this host from now on.

    Without the checkpoint pg_rewind would read the timeline before the promotion (manual, pg_rewind,
    Notes). Raises RejoinError.
    """
    try:
        with connect_peer(config, config.peer.address, CHECKPOINT_S) as session:
            _keep_wal(config, session)
            session.query("checkpoint", timeout_s=CHECKPOINT_S)
    except ProbeError as failure:
        raise RejoinError("the peer's database did not make a checkpoint", str(failure)) from failure


def _keep_wal(config: Config, session: Session) -> None:
    name = pgconf.slot_name(config.me.name)
    try:
        ensure_slot_in(session, name, ANSWER_S)
    except ProbeError as failure:
        raise RejoinError(f"the peer's database did not make sure of the slot {name}", str(failure)) from failure


def await_free_slot(config: Config, progress: Callable[[str], None]) -> None:
    """Wait until nobody uses this host's slot on the source: a base backup cannot share it.

    After a power loss the source serves this host's former WAL receiver until its `wal_sender_timeout`. It is
    not ended by force: a live copy that somebody makes with this slot would look the same. RejoinError when
    the slot stays in use, which names its user.
    """
    name = pgconf.slot_name(config.me.name)
    pid = 0
    user = ""

    def free() -> bool:
        nonlocal pid, user
        for found, address, called in session.query("slot_user", (name,), timeout_s=ANSWER_S):
            user = f"process {found}, which serves {called or 'somebody'} at {address}"
            if found != pid:
                progress(f"waiting for slot {name} on {config.peer.name}: it is in use by {user}")
            pid = found
            return False
        return True

    try:
        with connect_peer(config, config.peer.address) as session:
            wait_until(free, SLOT_FREE_S, every_s=SLOT_POLL_S, what=f"end of the former use of slot {name}")
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure
    except ActionError as failure:
        raise RejoinError(
            f"slot {name} on {config.peer.name} stays in use",
            f"It is used by {user}.",
            f"See what that is; to end it there: SELECT pg_terminate_backend({pid});",
        ) from failure


def has_segment(config: Config, names: list[str]) -> bool:
    """True when the source still has one of these WAL files in its pg_wal; RejoinError when it does not answer."""
    try:
        with connect_peer(config, config.peer.address) as session:
            return bool(session.query("wal_segment", (names,), timeout_s=ANSWER_S)[0][0])
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure


def same_wal(config: Config, control: ControlData, fork: WalPoint, theirs: Sequence[WalPoint]) -> bool:
    """Compare the last page or two before `fork` with the source's; True also where either has them no longer.

    A record has the position of the one before it, its transaction and a checksum, and many have a time of day.
    `theirs`: the source's timelines. Raises RejoinError when it does not answer.
    """
    page, segment = control.page_bytes, control.segment_bytes
    last = Lsn(fork.lsn - 1)
    start = max(last - last % segment, last - last % page - page)
    later = [point.timeline for point in theirs if point.timeline >= fork.timeline]
    names = [segment_name(timeline, last, segment) for timeline in later]
    own = config.postgres.data_directory / "pg_wal" / segment_name(fork.timeline, last, segment)
    try:
        with own.open("rb") as file:
            file.seek(start % segment)
            here = file.read(fork.lsn - start)
    except FileNotFoundError:
        return True
    there = _wal_bytes(config, names, start % segment, fork.lsn - start)
    return there is None or here == there


def _wal_bytes(config: Config, names: list[str], offset: int, length: int) -> bytes | None:
    """Bytes of one of these WAL files of the source, None when it has none of them."""
    try:
        with connect_peer(config, config.peer.address) as session:
            rows = session.query("wal_bytes", (offset, length, names), timeout_s=ANSWER_S)
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure
    return bytes(rows[0][0]) if rows and rows[0][0] is not None else None


def size_bytes(config: Config) -> tuple[int, int]:
    """Size of the source's databases and of its WAL; RejoinError when it does not answer."""
    try:
        with connect_peer(config, config.peer.address) as session:
            databases, wal = session.query("cluster_bytes", timeout_s=60.0)[0]
    except ProbeError as failure:
        raise RejoinError("could not ask the peer for the size of its database", str(failure)) from failure
    return databases, wal


def tablespaces(config: Config) -> list[tuple[int, str]]:
    """Number and place of each of the source's tablespaces; RejoinError when it does not answer."""
    try:
        with connect_peer(config, config.peer.address) as session:
            return [(oid, place) for oid, place in session.query("tablespaces", timeout_s=ANSWER_S)]
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure


def conninfo(config: Config, user: str = DATABASE_ROLE) -> str:
    """Connection string for PostgreSQL's programs, which run as its system user."""
    words = {
        "host": config.peer.address,
        "port": str(config.postgres.port),
        "user": user,
        "dbname": config.postgres.database,
        "passfile": str(config.paths.passwords),
        "application_name": f"{config.application_name}_copy",
        "connect_timeout": "10",
        "gssencmode": "disable",
    }
    return " ".join(f"{key}={pgconf.conninfo_value(value)}" for key, value in words.items())
