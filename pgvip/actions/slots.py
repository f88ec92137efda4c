"""Slots of others (a third standby's, a backup tool's, a logical consumer's) outlive every change of role.

PostgreSQL copies no slots: not to a standby, nor by pg_rewind or a base backup, which also empty the target's. So a
standby keeps copies of its primary's physical slots, each as far as its user has come there; and what a data directory
has is set aside before it is rewound or replaced. Logical slots are PostgreSQL's to copy (failover slots, 17).
"""

from __future__ import annotations

import shutil
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pgvip.core.values import Lsn
from pgvip.errors import FormatError, ProbeError
from pgvip.state import codec, files
from pgvip.system import pgconf, pgtools
from pgvip.system.sql import connect_peer
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.system.sql import Session

KEPT = "replication-slots"
"""Directory below the work directory: slots of data that are about to be rewound or replaced."""
FOLLOWED = "followed-slots.json"
"""File in the state directory."""
COPY_MADE = "copy-made"
"""File in the work directory."""

FOLLOWED_BYTES_MAX = 1 << 20

ANSWER_S = 2.0
OWN_PREFIX = "pgvip_"
STATE_BYTES_MAX = 4096
STATE = struct.Struct("=16x64sI12xQ")
"""Name, database and restart_lsn in a slot's file, the same from 14 to 18 (src/backend/replication/slot.c)."""


class Slot(NamedTuple):
    """A slot in a data directory. `database`: 0 for a physical one."""

    name: str
    database: int
    restart_lsn: Lsn

    @property
    def logical(self) -> bool:
        return self.database != 0

    @property
    def snapshot(self) -> str:
        """File in pg_logical/snapshots that its decoding begins with (src/backend/replication/logical/snapbuild.c)."""
        return f"{self.restart_lsn >> 32:X}-{self.restart_lsn & 0xFFFFFFFF:X}.snap"


class Held(NamedTuple):
    """One row of slots_here.sql. `position`: where it holds WAL from, None for nothing."""

    name: str
    active: bool
    position: str | None
    wal_status: str | None


@dataclass(frozen=True, slots=True)
class Followed:
    """Which slots here go with the primary's of the same name; others of that name are somebody's on this host.

    `seen`: those that the primary had, while it was on `timeline`.
    """

    follows: frozenset[str] = frozenset()
    timeline: int = 0
    seen: frozenset[str] = frozenset()


def copy_slot_name(host: str) -> str:
    """Name of the slot that a base backup for a host uses.

    >>> copy_slot_name("Db-1")
    'pgvip_copy_db_1'
    """
    return f"{OWN_PREFIX}copy_{pgconf.slot_name(host).removeprefix(OWN_PREFIX)}"[:63]


@as_postgres()
def copy_made(config: Config) -> None:
    """Remember that the primary keeps WAL for a copy that does not stream yet."""
    config.paths.work.mkdir(mode=0o700, parents=True, exist_ok=True)
    (config.paths.work / COPY_MADE).touch(mode=0o600)


@as_postgres()
def copy_waits(config: Config) -> bool:
    """True while it does."""
    return (config.paths.work / COPY_MADE).exists()


@as_postgres()
def copy_streams(config: Config) -> None:
    """Forget it."""
    (config.paths.work / COPY_MADE).unlink(missing_ok=True)


# --- on servers that run ---------------------------------------------------------------------------------------


def note(config: Config, session: Session) -> None:
    """On a primary: remember its slots, which follow the role when it goes. Raises ProbeError."""
    if session.query("in_recovery", timeout_s=ANSWER_S)[0][0]:
        return
    names = (str(row[0]) for row in session.query("slots_here", timeout_s=ANSWER_S))
    _remember(config, Followed(frozenset(name for name in names if not name.startswith(OWN_PREFIX))))


def follow(config: Config, session: Session) -> None:
    """On a standby: see that each physical slot of the primary has a copy here, and let the copies go on.

    A copy goes when the slot is dropped on the primary. Slots that somebody made here, and those in use here, are left
    alone. Raises ProbeError.
    """
    with connect_peer(config, config.peer.address) as peer:
        hex_timeline, names, positions = peer.query("slots_of_primary", timeout_s=ANSWER_S)[0]
        _drop_copy_slot(config, session, peer)
        if hex_timeline != "0":
            _make_way_for_synced(session, peer)
    timeline = int(hex_timeline, 16)
    if not timeline:
        return
    if len(names) != len(positions):
        raise ProbeError("the peer's database did not give a position for each slot")
    theirs = {name: at for name, at in zip(names, positions, strict=True) if not name.startswith(OWN_PREFIX)}
    before = _followed(config)
    follows = _copy_missing(config, session, theirs, before)
    mine = {one.name: one for row in session.query("slots_here", timeout_s=ANSWER_S) for one in [Held(*row)]}
    for name in sorted(follows & theirs.keys() & mine.keys()):
        _bring_on(session, mine[name], theirs[name])
    dropped = before.seen - theirs.keys() if before.timeline == timeline else frozenset()
    for name in sorted(dropped & follows):
        session.query("slot_drop", (name,), timeout_s=ANSWER_S)
    known = follows & mine.keys()
    _remember(config, Followed(frozenset(known - dropped), timeline, frozenset(known & theirs.keys())))


def _make_way_for_synced(session: Session, peer: Session) -> None:
    """Let PostgreSQL copy failover slots that this host had itself as primary: it copies none over a slot that is here.

    Only where it does copy them, and the primary's slot of that name has come as far: nothing is lost then.
    """
    mine = [row for row in session.query("failover_slots", timeout_s=ANSWER_S) if not row[1] and not row[2]]
    if not mine or session.query("setting", ("sync_replication_slots",), timeout_s=ANSWER_S)[0][0] != "on":
        return
    theirs = {row[0]: Lsn.parse(row[3]) for row in peer.query("failover_slots", timeout_s=ANSWER_S)}
    for name, *_, position in mine:
        if name in theirs and theirs[name] >= Lsn.parse(position):
            session.query("slot_drop", (name,), timeout_s=ANSWER_S)


def _drop_copy_slot(config: Config, session: Session, peer: Session) -> None:
    """The copy streams by its own slot: that of the base backup has done its work."""
    if copy_waits(config) and session.query("rejoin_plan", timeout_s=ANSWER_S)[0][3]:
        peer.query("slot_drop", (copy_slot_name(config.me.name),), timeout_s=ANSWER_S)
        copy_streams(config)


def _copy_missing(config: Config, session: Session, theirs: Mapping[str, str], before: Followed) -> frozenset[str]:
    """Make the copies that are missing, known to be copies before they exist; returns all slots that follow."""
    here = {str(row[0]) for row in session.query("slots_here", timeout_s=ANSWER_S)}
    missing = theirs.keys() - here
    follows = frozenset(before.follows | missing)
    if missing - before.follows:
        _remember(config, Followed(follows, before.timeline, before.seen))
    for name in sorted(missing):
        session.query("slot_copy", (name, bool(theirs[name]), name), timeout_s=ANSWER_S)
    return follows


def _bring_on(session: Session, copy: Held, wanted: str) -> None:
    if copy.active or not wanted:
        return
    if copy.position is None or copy.wal_status == "lost":  # it holds nothing, so nothing is lost with it
        session.query("slot_drop", (copy.name,), timeout_s=ANSWER_S)
        session.query("slot_copy", (copy.name, True, copy.name), timeout_s=ANSWER_S)
    session.query("slot_follow", (wanted, copy.name), timeout_s=ANSWER_S)


def remake(config: Config, session: Session) -> None:
    """Make the physical slots again that a clone could not take along. Raises ProbeError."""
    for slot in kept(config):
        if not slot.logical:
            session.query("slot_copy", (slot.name, True, slot.name), timeout_s=ANSWER_S)
    forget(config)


def copies(config: Config) -> frozenset[str]:
    """Names of the slots that were made here as copies of the primary's, on a standby."""
    return _followed(config).follows


def _followed(config: Config) -> Followed:
    with suppress(OSError, FormatError):
        return codec.from_file(Followed, config.paths.state / FOLLOWED, max_bytes=FOLLOWED_BYTES_MAX)
    return Followed()  # as good as on a new host: what is not known to be a copy is left alone


def _remember(config: Config, known: Followed) -> None:
    """Without a sync: a file that a power loss takes only leaves slots alone."""
    if known == _followed(config):
        return
    path = config.paths.state / FOLLOWED
    files.write(path, codec.to_text(known), mode=0o644, durable=False)


# --- in data directories -----------------------------------------------------------------------------------


def in_directory(directory: Path) -> list[Slot]:
    """Slots by their files, each in a directory of its name; what cannot be read is none (the server ignores it)."""
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        with suppress(OSError, struct.error):
            name, database, position = STATE.unpack_from(files.read(path / "state", STATE_BYTES_MAX))
            if name.rstrip(b"\0") == path.name.encode():  # not one that is half made
                found.append(Slot(path.name, database, Lsn(position)))
    return found


@as_postgres()
def kept(config: Config) -> list[Slot]:
    """What `set_aside` kept, and nobody has given back yet."""
    return in_directory(config.paths.work / KEPT)


@as_postgres()
def set_aside(config: Config) -> list[Slot]:
    """Copy the slots of the data directory, durably; returns them. The server is down. Can be repeated. Raises OSError.

    What an earlier attempt kept, and the data directory has no longer, stays kept.
    """
    data, store = config.postgres.data_directory, config.paths.work / KEPT
    found = in_directory(data / "pg_replslot")
    if not found:
        return []
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    for slot in found:
        shutil.rmtree(store / slot.name, ignore_errors=True)
        with files.new_directory(store / slot.name, store / f".{slot.name}.new") as fresh:
            files.copy(data / "pg_replslot" / slot.name / "state", fresh / "state")
            snapshot = data / "pg_logical" / "snapshots" / slot.snapshot
            if slot.logical and snapshot.exists():
                files.copy(snapshot, fresh / slot.snapshot)
    return found


@as_postgres()
def give_back(config: Config, fork: Lsn) -> None:
    """Put the slots back into data that were rewound to `fork`; those that it has are left alone. Raises OSError."""
    data, store = config.postgres.data_directory, config.paths.work / KEPT
    for slot in kept(config):
        target = data / "pg_replslot" / slot.name
        if not target.exists():
            # A name that the server removes when it starts (src/backend/replication/slot.c).
            with files.new_directory(target, target.with_name(f"{slot.name}.tmp")) as fresh:
                files.copy(store / slot.name / "state", fresh / "state")
                pgtools.give(config, fresh, fresh / "state")
        snapshot = store / slot.name / slot.snapshot
        if snapshot.exists() and slot.restart_lsn <= fork:
            copy = data / "pg_logical" / "snapshots" / slot.snapshot
            files.copy(snapshot, copy)
            pgtools.give(config, copy)
            files.sync_directory(copy.parent)


@as_postgres()
def forget(config: Config) -> None:
    """The data directory, or the server, has them again."""
    shutil.rmtree(config.paths.work / KEPT, ignore_errors=True)


def names(found: Sequence[Slot]) -> str:
    """Names for a message."""
    return ", ".join(slot.name for slot in found)
