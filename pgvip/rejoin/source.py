"""The server that a rejoin or a clone follows: the peer's, proved to be the pair's read-write primary."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.actions import slots
from pgvip.actions.replication import ensure_slot_in
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import FormatError, ProbeError, RejoinError
from pgvip.system import pgconf, pgtools, server_tls
from pgvip.system.sql import DATABASE_ROLE, ServerAnswered, connect_peer
from pgvip.system.wal_files import parse_history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config
    from pgvip.system.sql import Session

INSUFFICIENT_PRIVILEGE = "42501"
"""SQLSTATE of a file that the server's user may not open (manual, Appendix A)."""
ANSWER_S = 15.0
"""For a new session and one question. Nobody waits for a rejoin or clone, and a host that works at its limit, whose
disks are slow to sync a new slot, is no dead one; `tcp_user_timeout` finds those."""
HASH_S = 60.0
"""For reading and hashing 16 MB of WAL, which may no longer be in memory."""
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
        ping = f"ping -M do -s 1472 {config.peer.address}"
        hint = f"See the firewall, and that large packets pass between the hosts: {ping}"
        raise RejoinError("the peer's database does not answer", str(failure), hint) from failure
    if in_recovery:
        raise RejoinError("the peer's database is a standby", "Only a read-write primary can be followed.")
    if flush is None:
        raise RejoinError("the peer's database does not say how far its WAL is flushed")
    if system_id and found != system_id:
        raise RejoinError(
            "the peer has another database cluster",
            f"Its system identifier is {found}, this host's is {system_id}.",
            "Nothing was touched. Find out which of the two is the right one. "
            f"If pg_upgrade has made the peer's: {pgtools.UPGRADE}.",
        )
    point = WalPoint(int(timeline, 16), Lsn.parse(flush))
    try:
        return Source(found, point, parse_history(history), tuple(files))
    except FormatError as failure:
        what = f"did not understand the history of the peer's timeline {point.timeline}"
        raise RejoinError(what, f"{failure}.") from failure


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


@contextmanager
def slot_for_copy(config: Config) -> Iterator[str]:
    """A slot of its own for a base backup, which cannot share the one that this host's WAL receiver uses, or used.

    Whatever fails within, it goes; else it keeps the WAL after the backup until the copy streams (pgvip.actions.slots).
    Raises RejoinError when it cannot be made.
    """
    name = slots.copy_slot_name(config.me.name)
    try:
        with connect_peer(config, config.peer.address) as session:
            session.query("slot_drop", (name,), timeout_s=ANSWER_S)
            ensure_slot_in(session, name, ANSWER_S)
    except ProbeError as failure:
        raise RejoinError(
            f"the peer's database did not make the slot {name} for a base backup",
            str(failure),
            "See that nobody uses it, and that max_replication_slots leaves room for one.",
        ) from failure
    try:
        yield name
        slots.copy_made(config)
    except BaseException:
        with suppress(ProbeError), connect_peer(config, config.peer.address) as session:
            session.query("slot_drop", (name,), timeout_s=ANSWER_S)
        raise


def refuse_unreadable(config: Config) -> None:
    """RejoinError when something at the top of the source's data directory would make a base backup fail.

    It is there that administrators leave files of their own. Nothing is said of what lies deeper.
    """
    unreadable = []
    try:
        with connect_peer(config, config.peer.address) as session:
            for name, is_directory in session.query("data_files", timeout_s=ANSWER_S):
                try:
                    session.query("listable" if is_directory else "readable", (name,), timeout_s=ANSWER_S)
                except ServerAnswered as failure:
                    if failure.sqlstate != INSUFFICIENT_PRIVILEGE:
                        raise
                    unreadable.append(str(name))
    except ProbeError as failure:
        raise RejoinError("could not inspect the files of the peer's data directory", str(failure)) from failure
    if unreadable:
        raise RejoinError(
            "the peer's server may not read all files of its data directory, and a base backup would fail",
            f"On {config.peer.name}: {', '.join(unreadable)}.",
            f'Make them readable for "{config.postgres.user}" there, or move them away.',
        )


def has_segment(config: Config, names: list[str]) -> bool:
    """True when the source still has one of these WAL files in its pg_wal; RejoinError when it does not answer."""
    try:
        with connect_peer(config, config.peer.address) as session:
            return bool(session.query("wal_segment", (names,), timeout_s=ANSWER_S)[0][0])
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure


def wal_hashes(
    config: Config, *, rest: list[str], offsets: list[int], lengths: list[int], timelines: list[str]
) -> list[bytes | None]:
    """SHA-256 of stretches of the source's WAL, None for those it has no longer; see wal_hashes.sql.

    Raises RejoinError when it does not answer.
    """
    try:
        with connect_peer(config, config.peer.address) as session:
            rows = session.query("wal_hashes", (rest, offsets, lengths, timelines), timeout_s=HASH_S)
    except ProbeError as failure:
        raise RejoinError("the peer's database does not answer", str(failure)) from failure
    return [None if row[0] is None else bytes(row[0]) for row in rows]


def wal_bytes(config: Config, names: list[str], offset: int, length: int) -> bytes | None:
    """Bytes of the newest of these WAL files of the source, None when it has none of them."""
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
    version = pgtools.program_version(config)
    words = {
        **server_tls.client_words(config, user, config.peer.address, version, program=True),
        "port": str(config.postgres.port),
        "user": user,
        "dbname": config.postgres.database,
        "application_name": f"{config.application_name}_copy",
        "connect_timeout": "10",
        "gssencmode": "disable",
    }
    return " ".join(f"{key}={pgconf.conninfo_value(value)}" for key, value in words.items())
