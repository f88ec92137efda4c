"""Removing from this host's own archive what nobody needs any more; refusing while that is in doubt."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgvip.archive import backups, inventory, retention
from pgvip.archive.retention import Rules, Verdict
from pgvip.errors import ArchiveError
from pgvip.state import files

if TYPE_CHECKING:
    from pgvip.archive.backups import Backup
    from pgvip.archive.inventory import Picture
    from pgvip.config.model import Config


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go. `interrupted`: backups that never became whole."""

    backups: tuple[Backup, ...]
    interrupted: tuple[Backup, ...]
    wal: Verdict


def plan(config: Config, seen: Picture, *, without_peer: bool = False) -> Plan:
    """Decide what may go; RefusedError, with every reason, while it is in doubt.

    What a peer reported last that is not there holds WAL, and replaces no backup of this host: it may be lost.
    """
    doubts = seen.doubts(config, without_peer=without_peer)
    if doubts:
        raise inventory.refused(config, doubts)
    rule, now = config.backup, time.time()
    going = retention.superfluous(seen.reachable, config.me.name, max(rule.keep, 1), rule.keep_days, now)
    interrupted = [one for one in seen.backups if one.state == "incomplete" and one.host == config.me.name]
    needs = replace(seen, backups=[one for one in seen.backups if one not in going]).needs
    # what is pending for a destination that is no longer configured, nobody will send
    pending = {name for one in config.archive.destinations for name in seen.own.pending.get(one.name, ())}
    rules = Rules(seen.segment_bytes, config.archive.keep_days, config.archive.keep_max_mb)
    verdict = retention.judge(seen.own.files, needs, pending, rules, now)
    return Plan(tuple(going), tuple(interrupted), verdict)


def carry_out(config: Config, decided: Plan, seen: Picture) -> Plan:
    """Remove it: backups first, then the report to the peer, then their WAL; returns what is gone.

    A backup that became whole since it was checked stays, and all WAL with it: the plan knew nothing of its need.
    ArchiveError when something cannot be removed; RefusedError while a backup is made or restored from.
    """
    if decided.backups or decided.interrupted:
        with backups.held(config, exclusive=True):
            halves = tuple(one for one in decided.interrupted if not backups.is_done(config, one))
            if halves != decided.interrupted:
                decided = replace(decided, interrupted=halves, wal=replace(decided.wal, files=(), over_mb=0))
            for backup in (*decided.backups, *decided.interrupted):
                remove_backup(config, backup)
        backups.write_index(config, backups.own(config), seen.server.redo)
    directory = config.archive.directory
    try:
        for file in decided.wal.files:
            (directory / file.file).unlink(missing_ok=True)
        if decided.wal.files:
            files.sync_directory(directory)
    except OSError as failure:
        raise ArchiveError(f"could not remove WAL from {directory}", f"{failure}.") from failure
    return decided


def remove_backup(config: Config, backup: Backup) -> None:
    """Remove one backup of this host: its facts last, so that an interruption leaves what is known to be incomplete."""
    path = config.backup.directory / backup.name
    try:
        if (path / backups.DONE).exists():
            files.rename(path / backups.DONE, path / backups.RUNNING)
        for part in (backups.DATA, backups.TABLESPACES):
            if (path / part).exists():
                shutil.rmtree(path / part)
        shutil.rmtree(path)
        files.sync_directory(path.parent)
    except OSError as failure:
        raise ArchiveError(f"could not remove backup {path}", f"{failure}.") from failure
