"""Diverged WAL is kept, counted, listed before anything is rewound or rebuilt (docs/protocol.md, "What must hold")."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.archive.packing import plain_name
from pgvip.core.values import WalPoint
from pgvip.errors import PgvipError, RejoinError
from pgvip.rejoin.lost_commits import FACTS, SavedFacts, Stretch, Tally, read, saved_sets
from pgvip.state import codec, files
from pgvip.system import processes
from pgvip.system.stopped_wal import Piece
from pgvip.system.workers import as_postgres
from pgvip.text.writing import too_little

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgvip.config.model import Config

WAL_FILE = re.compile(r"(?P<timeline>[0-9A-F]{8})(?P<log>[0-9A-F]{8})(?P<seg>[0-9A-F]{8})(\.partial)?$")
HISTORY_FILE = re.compile(r"[0-9A-F]{8}\.history$")
MARGIN_BYTES = 64 * 1024 * 1024
"""Left free beside the saved WAL: this is not the moment to fill a disk."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where this cluster left the history of its source, and where its own WAL ends.

    `pieces`: this cluster's WAL from the fork to the end. `strange`: timelines that the source never had.
    """

    fork: WalPoint
    end: WalPoint
    pieces: tuple[Piece, ...]
    strange: frozenset[int]
    segment_bytes: int

    @property
    def size_bytes(self) -> int:
        return self.end.lsn - self.fork.lsn

    @property
    def diverged(self) -> bool:
        """False when everything here is part of the source's history."""
        return self.end != self.fork

    def holds(self, name: str) -> bool:
        """True when a WAL file belongs to the diverged part: those from the fork to the end (later ones are empty)."""
        file = WAL_FILE.match(name)
        if file is None:
            return HISTORY_FILE.match(name) is not None and int(name[:8], 16) in self.strange
        if int(file["timeline"], 16) not in {piece.timeline for piece in self.pieces}:
            return False
        number = int(file["log"], 16) * ((1 << 32) // self.segment_bytes) + int(file["seg"], 16)
        return self.fork.lsn // self.segment_bytes <= number <= self.end.lsn // self.segment_bytes


def save_diverged(config: Config, divergence: Divergence, heartbeat_files: Sequence[str]) -> tuple[Path, Tally | None]:
    """Copy the diverged WAL to the saved directory, durably, with a list of what is in it.

    Returns the directory and the count, None where it could not be counted. What an earlier attempt saved of
    the same fork, with the same commits, is not saved twice. RejoinError when there is no space: nothing is
    rewound then.
    """
    config.paths.saved.mkdir(mode=0o700, parents=True, exist_ok=True)
    lost: Tally | None
    try:
        lost = read(config, config.postgres.data_directory / "pg_wal", divergence.pieces, heartbeat_files)
    except PgvipError:
        lost = None
    target = _saved_before(config, divergence, lost) or _save(config, divergence, lost, heartbeat_files)
    return target, lost


def _save(config: Config, divergence: Divergence, lost: Tally | None, heartbeat_files: Sequence[str]) -> Path:
    wal = config.postgres.data_directory / "pg_wal"
    diverged = sorted(path for path in wal.iterdir() if divergence.holds(path.name))
    refuse_full_disk(config, diverged)
    target = config.paths.saved / _name(divergence)
    with files.new_directory(target, _partial(target)) as partial:
        for file in diverged:
            files.copy(file, partial / file.name)
        _describe(config, partial, divergence, [file.name for file in diverged], lost, heartbeat_files=heartbeat_files)
    return target


def _saved_before(config: Config, divergence: Divergence, lost: Tally | None) -> Path | None:
    """Where an attempt before this one saved the same commits (its crash recovery has added a record since)."""
    if lost is None:
        return None
    for saved in saved_sets(config.paths.saved)[0]:
        facts = saved.facts
        if (facts.timeline, facts.start, facts.commits) == (divergence.end.timeline, divergence.fork.lsn, lost.commits):
            return saved.directory
    return None


def set_aside_archived(config: Config, divergence: Divergence, target: Path) -> list[str]:
    """Move diverged WAL out of this host's own archive, where its recovery would find and follow it."""
    directory = config.archive.directory
    if not config.archive.enabled or not directory.is_dir():
        return []
    moved = []
    aside = target / "archive"
    for file in sorted(directory.iterdir()):
        if divergence.holds(plain_name(file.name)):
            aside.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.copy(file, aside / file.name)
            files.sync_directory(aside)
            file.unlink()
            moved.append(file.name)
    if moved:
        files.sync_directory(directory)
    return moved


def keep_directory(config: Config, directory: Path, name: str) -> None:
    """Have a whole pg_wal among what is saved, durably, as `name`: moved, or copied from another file system.

    A copy leaves the original in place. Done already when there is one of this name. Raises RejoinError when there is
    no space, and OSError.
    """
    config.paths.saved.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = config.paths.saved / name
    if target.exists():
        return
    if _movable(directory, config.paths.saved):
        files.rename(directory, target)
    else:
        _copy_tree(config, directory, target)


def _movable(directory: Path, to: Path) -> bool:
    return directory.stat().st_dev == to.stat().st_dev and not directory.is_mount()


def _copy_tree(config: Config, directory: Path, target: Path) -> None:
    found = sorted(path for path in directory.rglob("*") if path.is_file())
    refuse_full_disk(config, found)
    with files.new_directory(target, _partial(target)) as partial:
        for file in found:
            copy = partial / file.relative_to(directory)
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.copy(file, copy)


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


@as_postgres()
def prune(config: Config) -> list[Path]:
    """Remove the oldest saved directories beyond `keep_saved`, but only those without a client's commit."""
    if not config.paths.saved.is_dir():
        return []
    removed = []
    for saved in saved_sets(config.paths.saved)[0][config.rejoin.keep_saved :]:
        with suppress(OSError):
            if saved.facts.commits == 0:
                shutil.rmtree(saved.directory)
                removed.append(saved.directory)
    return removed


def _name(divergence: Divergence) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{divergence.end.timeline}-{str(divergence.end.lsn).replace('/', '_')}"


def refuse_full_disk(config: Config, wanted: Iterable[Path]) -> None:
    """RejoinError when these files do not fit where WAL is saved, beside MARGIN_BYTES."""
    needed = sum(file.stat().st_size for file in wanted) + MARGIN_BYTES
    free = processes.disk_space(config.paths.saved).free_bytes
    if free < needed:
        raise RejoinError(
            "no space to save WAL that only this host may have",
            too_little(config.paths.saved, free, needed),
            "Make space there; nothing has been rewound.",
        )


def _describe(
    config: Config,
    directory: Path,
    divergence: Divergence,
    names: Sequence[str],
    lost: Tally | None,
    *,
    heartbeat_files: Sequence[str],
) -> None:
    """Write lost.json for programs, lost.txt for people."""
    facts = SavedFacts(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=config.me.name,
        followed=config.peer.name,
        timeline=divergence.end.timeline,
        start=divergence.fork.lsn,
        end=divergence.end.lsn,
        size_bytes=divergence.size_bytes,
        commits=None if lost is None else lost.commits,
        heartbeats=None if lost is None else lost.heartbeats,
        pieces=tuple(Stretch(*piece) for piece in divergence.pieces),
        heartbeat_files=tuple(heartbeat_files),
        files=tuple(names),
    )
    count = "could not be counted" if lost is None else str(lost.commits)
    text = [
        f"WAL of host {config.me.name} that {config.peer.name} does not have, saved before this host followed it.",
        f"Timeline {divergence.end.timeline}, from {divergence.fork.lsn} to {divergence.end.lsn}.",
        f"Transactions committed in it, without pgvip's own heartbeats: {count}.",
        f"What was in it: pgvip lost-writes {directory.name.removeprefix('.').removesuffix('.partial')}",
        f"To inspect it: pg_waldump -p . -t {divergence.end.timeline} -s {divergence.fork.lsn} -e {divergence.end.lsn}",
        "",
        *(f"transaction {one.xid} at {one.lsn}: COMMIT {one.at}" for one in (lost.transactions if lost else ())),
    ]
    files.write(directory / FACTS, codec.to_text(facts))
    files.write(directory / "lost.txt", "\n".join([*text, ""]))
