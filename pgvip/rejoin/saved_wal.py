"""Diverged WAL is kept, counted and listed before anything is rewound or rebuilt (PROTOCOL.md, promise 3)."""

from __future__ import annotations

import json
import os
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
from pgvip.rejoin.lost_commits import Tally, read
from pgvip.system import pgconf, processes
from pgvip.system.stopped_wal import Piece

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
    files = sorted(path for path in wal.iterdir() if divergence.holds(path.name))
    refuse_full_disk(config, files)
    target = config.paths.saved / _name(divergence)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    for file in files:
        copy_file(file, partial / file.name)
    _describe(config, partial, divergence, [file.name for file in files], lost, heartbeat_files=heartbeat_files)
    pgconf.sync_directory(partial)
    partial.rename(target)
    pgconf.sync_directory(config.paths.saved)
    return target


def _saved_before(config: Config, divergence: Divergence, lost: Tally | None) -> Path | None:
    """Where an attempt before this one saved the same commits (its crash recovery has added a record since)."""
    if lost is None:
        return None
    for path in sorted(config.paths.saved.iterdir(), reverse=True):
        with suppress(OSError, ValueError):
            facts = json.loads((path / "lost.json").read_text(encoding="utf-8"))
            same = (facts.get("timeline"), facts.get("from"), facts.get("commits"))
            if same == (divergence.end.timeline, str(divergence.fork.lsn), lost.commits):
                return path
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
            copy_file(file, aside / file.name)
            pgconf.sync_directory(aside)
            file.unlink()
            moved.append(file.name)
    if moved:
        pgconf.sync_directory(directory)
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
        directory.rename(target)
    else:
        _copy_tree(config, directory, target)
    pgconf.sync_directory(config.paths.saved)


def _movable(directory: Path, to: Path) -> bool:
    return directory.stat().st_dev == to.stat().st_dev and not directory.is_mount()


def _copy_tree(config: Config, directory: Path, target: Path) -> None:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    refuse_full_disk(config, files)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    for file in files:
        copy = partial / file.relative_to(directory)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_file(file, copy)
    for made in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
        pgconf.sync_directory(made)
    partial.rename(target)


def prune(config: Config) -> list[Path]:
    """Remove the oldest saved directories beyond `keep_saved`, but only those without a client's commit."""
    if not config.paths.saved.is_dir():
        return []
    kept = sorted((path for path in config.paths.saved.iterdir() if (path / "lost.json").is_file()), reverse=True)
    removed = []
    for path in kept[config.rejoin.keep_saved :]:
        with suppress(OSError, ValueError):
            if json.loads((path / "lost.json").read_text(encoding="utf-8")).get("commits") == 0:
                shutil.rmtree(path)
                removed.append(path)
    return removed


def _name(divergence: Divergence) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{divergence.end.timeline}-{str(divergence.end.lsn).replace('/', '_')}"


def refuse_full_disk(config: Config, files: Iterable[Path]) -> None:
    """RejoinError when these files do not fit where WAL is saved, beside MARGIN_BYTES."""
    needed = sum(file.stat().st_size for file in files) + MARGIN_BYTES
    free = processes.disk_space(config.paths.saved).free_bytes
    if free < needed:
        raise RejoinError(
            "no space to save WAL that only this host may have",
            f'"{config.paths.saved}" has {free >> 20} MB free, {needed >> 20} MB are needed.',
            "Make space there; nothing has been rewound.",
        )


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, durably; the caller syncs the directory. Raises OSError."""
    with source.open("rb") as old, target.open("wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())


def _describe(
    config: Config,
    directory: Path,
    divergence: Divergence,
    files: Sequence[str],
    lost: Tally | None,
    *,
    heartbeat_files: Sequence[str],
) -> None:
    """Write lost.json for programs, lost.txt for people."""
    facts = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": config.me.name,
        "followed": config.peer.name,
        "timeline": divergence.end.timeline,
        "from": str(divergence.fork.lsn),
        "to": str(divergence.end.lsn),
        "bytes": divergence.size_bytes,
        "commits": None if lost is None else lost.commits,
        "heartbeats": None if lost is None else lost.heartbeats,
        "pieces": [
            {"timeline": piece.timeline, "from": str(piece.start), "to": str(piece.end)} for piece in divergence.pieces
        ],
        "heartbeat_files": list(heartbeat_files),
        "files": list(files),
    }
    count = "could not be counted" if lost is None else str(lost.commits)
    text = [
        f"WAL of host {config.me.name} that {config.peer.name} does not have, saved before this host followed it.",
        f"Timeline {divergence.end.timeline}, from {divergence.fork.lsn} to {divergence.end.lsn}.",
        f"Transactions committed in it, without pgvip's own heartbeats: {count}.",
        f"What was in it: pgvip lost-writes {directory.name.removeprefix('.').removesuffix('.partial')}",
        f"To look at it: pg_waldump -p . -t {divergence.end.timeline} -s {divergence.fork.lsn} -e {divergence.end.lsn}",
        "",
        *(f"transaction {one.xid} at {one.lsn}: COMMIT {one.at}" for one in (lost.transactions if lost else ())),
    ]
    for name, content in (("lost.json", json.dumps(facts, indent=1)), ("lost.txt", "\n".join(text))):
        path = directory / name
        path.write_text(content + "\n", encoding="utf-8")
        with path.open("rb") as file:
            os.fsync(file.fileno())
