"""All that is known of the archives of the pair at one time, with whatever prevents removing anything.

Bounded in time: each archive is read by a child process, the local server by queries with a deadline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.archive import backups, listing, peer_fetch, retention
from pgvip.archive.catalog import Holdings, holdings
from pgvip.archive.listing import Stored, Survey
from pgvip.archive.packing import plain_name
from pgvip.archive.retention import Doubt, Need
from pgvip.core.removed_peer import since
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import ArchiveError, CommandError, FormatError, PgvipError, ProbeError, RecordError, RefusedError
from pgvip.state import codec, files
from pgvip.state.record import RecordStore
from pgvip.system import mounts, pgconf, pgtools, wal_commands
from pgvip.system.commands import run
from pgvip.system.sql import connect_local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.archive.backups import Backup, Index
    from pgvip.config.model import Config

PEER_INDEX = "peer-index.json"
ANSWER_S = 5.0
LINE_BYTES_MAX = 2 * backups.BYTES_MAX
"""Of a line of a listing: an index is a text in there, with a backslash before each of its quotes."""
GRACE_S = 5.0
"""For the interpreter to start on a busy host, on top of the archive's own time limit."""


@dataclass(slots=True)
class Server:
    """What the local server says of its WAL. `redo`: of its last checkpoint; `why`: what keeps it from answering."""

    role: str = ""
    redo: WalPoint | None = None
    needs: list[Need] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


@dataclass(slots=True)
class Picture:
    """`peer` None: it could not be checked, and `peer_why` says why. `backups`: of both hosts.

    `index`: what the peer reports now; `last`: the same, or else what it reported last. `removed`: an operator removed
    the peer, and nothing is kept for it.
    """

    at: float
    segment_bytes: int
    own: Survey
    peer: Survey | None
    peer_why: str
    index: Index | None
    last: Index | None
    backups: list[Backup]
    server: Server
    peer_name: str
    removed: bool = False

    @property
    def holdings(self) -> Holdings:
        """The WAL of both archives together."""
        both = [self.own, *([self.peer] if self.peer else [])]
        histories = {name: text for one in both for name, text in one.histories.items()}
        return holdings([file for one in both for file in one.files], histories, self.segment_bytes)

    @property
    def reachable(self) -> list[Backup]:
        """The backups that can be restored from now: what a host that is not there reported does not count."""
        return [one for one in self.backups if self.index is not None or one.host != self.peer_name]

    @property
    def needs(self) -> list[Need]:
        """Everybody who is known to need WAL."""
        needs = [*self.server.needs, *retention.needs_of(self.backups)]
        if self.last and self.last.need:
            needs.append(Need(f"the last checkpoint of {self.peer_name}", self.last.need.lsn))
        return needs

    def doubts(self, config: Config, *, without_peer: bool = False) -> list[Doubt]:
        """Why nothing may be removed now; empty when it may. `without_peer`: the operator does without its word."""
        found = list(self.server.doubts)
        if self.removed:
            return [*found, *retention.backup_doubts(self.reachable, config.backup.keep)]
        if self.index is None and not without_peer:
            cause = f"{config.peer.name} exports its archive and that it is mounted"
            if config.archive.by_link:
                cause = "pgvip runs on both hosts (pgvip check --only archive-peer)"
            hint = f"See that {cause}; or use --without-peer."
            found.append(Doubt(f"the archive of {config.peer.name} cannot be read: {self.peer_why}", hint))
        elif self.index is not None and self.index.need is None:
            found.append(Doubt(f"{config.peer.name} does not know itself what WAL it needs", "Start its database."))
        return [*found, *retention.backup_doubts(self.reachable, config.backup.keep)]


def take(config: Config) -> Picture:
    """Read everything. ArchiveError when this host's own archive or backups cannot be read."""
    own = look(config, config.archive.directory)
    gone, peer, index, why, last = _peer(config)
    segment_bytes = pgtools.control_data(config).segment_bytes
    known = [*backups.own(config), *(last.backups if last else ())]
    server = ask_server(config, removed=gone)
    return Picture(time.time(), segment_bytes, own, peer, why, index, last, known, server, config.peer.name, gone)


def _peer(config: Config) -> tuple[bool, Survey | None, Index | None, str, Index | None]:
    """Whether the peer is removed; what is seen of it now, with why not; what it reported last."""
    if _removed(config):
        return True, None, None, "it is removed", None
    peer, index, why = _look_at_peer(config)
    return False, peer, index, why, index or _last_heard(config)


def _removed(config: Config) -> bool:
    """An operator removed the peer: what it needed is needed no more. A record that cannot be read says nothing."""
    try:
        durable = RecordStore(config.paths.record).load()
    except RecordError:
        return False
    return durable is not None and bool(since(durable, config.me.name))


def remember(config: Config, picture: Picture) -> None:
    """Keep what the peer reported last, for the day on which it is not there. ArchiveError when that fails."""
    if picture.index is not None and picture.peer is not None:
        config.paths.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        backups.write(config.paths.work / PEER_INDEX, picture.peer.index, config)


def _last_heard(config: Config) -> Index | None:
    """What the peer reported last; None when it never did."""
    try:
        text = files.read(config.paths.work / PEER_INDEX, backups.BYTES_MAX)
        return backups.read_index(codec.parse_object(text, max_bytes=backups.BYTES_MAX), config.peer.name)
    except (OSError, FormatError, ArchiveError):
        return None


def look(config: Config, directory: Path | None) -> Survey:
    """What is in an archive, None: in the peer's, over the link. ArchiveError when it does not answer in time."""
    if directory is None:
        script = [peer_fetch.__file__, config.paths.archive_socket, f"{config.archive.timeout_s:g}"]
    else:
        script = [listing.__file__, directory]
    words = [wal_commands.interpreter(), "-I", "-S", *map(str, script)]
    where = str(directory or f"of {config.peer.name}")
    found = Survey()

    def line(text: str) -> None:
        if text.startswith("{"):  # else it is an error, which comes with the exit code
            _take_line(found, text)

    try:
        done = run(words, timeout_s=config.archive.timeout_s + GRACE_S, on_line=line)
    except CommandError as failure:
        raise ArchiveError(f"the archive {where} does not answer", failure.message) from failure
    except FormatError as failure:
        raise ArchiveError(f"did not understand what lies in the archive {where}", f"{failure}.") from failure
    if done.returncode != 0 or not found.complete:
        raise ArchiveError(f"could not read the archive {where}", done.said)
    return found


@dataclass(frozen=True, slots=True)
class _Line:
    """One line that `archive.listing` prints as a script; which fields it has depends on what it describes."""

    what: str = field(metadata=codec.key("is"))
    file: str = ""
    size: int = 0
    at: float = 0.0
    text: str = ""
    name: str = ""
    why: str = ""
    files: tuple[str, ...] = ()
    free: int = 0


def _take_line(found: Survey, text: str) -> None:
    """Understand one line; FormatError when it is something else."""
    line = codec.from_json(_Line, text, max_bytes=LINE_BYTES_MAX)
    match line.what:
        case "file":
            found.files.append(Stored(plain_name(line.file), line.file, line.size, line.at))
        case "history":
            found.histories[line.file] = line.text
        case "failed":
            found.failed[line.name] = (line.why, line.at)
        case "pending":
            found.pending[line.name] = list(line.files)
        case "index":
            found.index = codec.parse_object(line.text, max_bytes=LINE_BYTES_MAX)
        case "end":
            found.free_bytes, found.complete = line.free, True


def _look_at_peer(config: Config) -> tuple[Survey | None, Index | None, str]:
    mount = config.archive.peer_mount
    by_link = config.archive.by_link
    if not by_link and config.archive.mount_type and mounts.mounted(mount) is None:
        return None, None, f"nothing is mounted on {mount}"
    peer = None
    try:
        peer = look(config, None if by_link else mount)
        return peer, backups.read_index(peer.index, config.peer.name), ""
    except ArchiveError as failure:
        return peer, None, " ".join(filter(None, (failure.message, failure.detail)))


def ask_server(config: Config, *, removed: bool = False) -> Server:
    """Who needs WAL, as the local server knows it; every unknown position is a doubt, but that of a removed peer."""
    try:
        with connect_local(config) as session:
            rows = session.query("wal_needs", timeout_s=ANSWER_S)
    except ProbeError as failure:
        text = str(failure).replace("\n", "; ")
        return Server(doubts=[Doubt(f"the local database does not say what WAL is needed: {text}", "Start it.")])
    return understand(config, [(kind, name, position, state) for kind, name, position, state in rows], removed=removed)


def understand(
    config: Config, rows: Sequence[tuple[str, str, str | None, str]], *, removed: bool = False
) -> Server:
    """Understand the rows of wal_needs.sql."""
    server, slot = Server(), pgconf.slot_name(config.peer.name)
    for kind, name, position, state in rows:
        if not (removed and name == slot):
            _take_row(server, kind, name, position, state)
    if removed:
        return server
    if not any(kind == "slot" and name == slot and position for kind, name, position, _ in rows):
        what = f"the position of {config.peer.name} is unknown: replication slot {slot} is not there or lost its WAL"
        server.doubts.append(Doubt(what, f"See that {config.peer.name} is back: pgvip status."))
    return server


def _take_row(server: Server, kind: str, name: str, position: str | None, state: str) -> None:
    if kind == "role":
        server.role = name
    elif kind == "checkpoint" and position:
        server.redo = WalPoint(int(name), Lsn.parse(position))
        server.needs.append(Need("the last checkpoint of this host", server.redo.lsn))
    elif position:
        server.needs.append(Need(f"{kind} {name}", Lsn.parse(position)))
    elif kind == "standby":
        server.doubts.append(Doubt(f"the position of {name} is unknown (it is in state {state})", "Wait for its end."))
    elif state == "lost":
        hint = "Let its standby rejoin, or drop the slot if nobody uses it any more."
        server.doubts.append(Doubt(f"replication slot {name} lost WAL that its standby needs", hint))


def refused(config: Config, doubts: list[Doubt]) -> PgvipError:
    """All doubts as one error."""
    listed = "".join(f"\n- {doubt.what}" + (f" ({doubt.hint})" if doubt.hint else "") for doubt in doubts)
    what = f"nothing is removed from the archive of {config.me.name}: it is in doubt what is needed"
    return RefusedError(what, listed)
