"""WAL that this host finished and never archived: brought into its archive before a rejoin lets go of it.

Nobody else archives it: the peer's WAL receiver marks what it streamed as done. A standby recycles such files, a rewind
removes them, a clone puts them aside; no backup from before could then be recovered past the hole. Only what the peer's
history shares is archived here: what diverged is kept by pgvip.rejoin.saved_wal.
"""

from __future__ import annotations

import filecmp
import time
from typing import TYPE_CHECKING

from pgvip.deadlines import Deadline
from pgvip.errors import CommandError
from pgvip.rejoin.saved_wal import WAL_FILE, refuse_full_disk
from pgvip.state import files
from pgvip.system import pgtools, wal_commands
from pgvip.system.commands import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.rejoin.saved_wal import Divergence

ALL_S = 300.0
"""For all files together: a backlog of some thousand. Nobody waits for a rejoin, and yet it makes the pair whole."""

FAILURES_MAX = 3
"""In a row; after them the archive is taken for dead."""

SLACK_S = 5.0
"""For the archiving program itself, beyond the time that it gives its destinations."""

SEGMENT_NAME_CHARS = 24
KEPT = "unarchived"
"""How the names end of what is saved here."""


def keep_unarchived(config: Config, divergence: Divergence, progress: Callable[[str], None]) -> None:
    """Archive what waits for it and is part of the peer's history; what cannot be archived is saved.

    The server is down. Can be repeated. Raises RejoinError when there is no space to save, and OSError.
    """
    files = waiting(config, divergence)
    if not files:
        return
    progress(f"archiving {_count(files)} that waited for it")
    sure = [file for file in files if not _beyond(divergence, file.name)]
    failed, why = _archive(config, sure)
    left = [file for file in files if file not in sure] + failed
    if left:
        _save(config, left)
        because = why or "they lie beyond the end of valid WAL"
        progress(f'{_count(left)} could not be archived, kept in "{config.paths.saved}": {because}')


def _count(files: Sequence[Path]) -> str:
    return f"{len(files)} WAL file{'s' if len(files) > 1 else ''}"


def waiting(config: Config, divergence: Divergence) -> list[Path]:
    """Files in pg_wal that must still be archived, the diverged ones left out.

    A primary that crashed may have finished files whose mark was not on disk yet: the server does not sync the marks.
    """
    if not config.archive.enabled:
        return []
    wal = config.postgres.data_directory / "pg_wal"
    status = wal / "archive_status"
    marks = {path.name for path in status.iterdir()} if status.is_dir() else set()
    crashed = pgtools.control_data(config).state == "in production"
    return [
        path
        for path in sorted(wal.iterdir())
        if not divergence.holds(path.name[:SEGMENT_NAME_CHARS])
        and (
            f"{path.name}.ready" in marks
            or (crashed and f"{path.name}.done" not in marks and _finished(divergence, path.name))
        )
    ]


def _first_byte(divergence: Divergence, name: str) -> int | None:
    """Where a segment of the newest timeline begins; None for any other file."""
    file = WAL_FILE.match(name)
    if file is None or int(file["timeline"], 16) != divergence.end.timeline:
        return None
    return (int(file["log"], 16) << 32) + int(file["seg"], 16) * divergence.segment_bytes


def _finished(divergence: Divergence, name: str) -> bool:
    begin = _first_byte(divergence, name)
    return begin is not None and begin + divergence.segment_bytes <= divergence.end.lsn


def _beyond(divergence: Divergence, name: str) -> bool:
    """True for a file that was marked as finished, and no valid WAL leads to it: nobody knows what it holds."""
    begin = _first_byte(divergence, name)
    return begin is not None and begin >= divergence.end.lsn


def _archive(config: Config, files: Sequence[Path]) -> tuple[list[Path], str]:
    """As archive_command would; returns the files that are not archived, and why the last of them is not."""
    archive = config.archive
    slowest_s = max([archive.timeout_s, *(one.timeout_s for one in archive.destinations)])
    each_s = archive.timeout_s + slowest_s + SLACK_S
    deadline = Deadline.after(ALL_S)
    failed: list[Path] = []
    why, in_a_row = "", 0
    for file in files:
        if in_a_row >= FAILURES_MAX or deadline.expired:
            failed.append(file)
            why = why or "the time for it was over"
            continue
        command: list[str | Path] = [*wal_commands.archive_argv(config), file]
        try:
            check(command, timeout_s=deadline.sooner_s(each_s), user=config.postgres.user)
        except CommandError as failure:
            failed.append(file)
            why, in_a_row = failure.detail or str(failure), in_a_row + 1
        else:
            in_a_row = 0
            _mark_done(file)
    return failed, why


def _mark_done(file: Path) -> None:
    """As the archiver does (pgarch_archiveDone in src/backend/postmaster/pgarch.c)."""
    status = file.parent / "archive_status"
    ready = status / f"{file.name}.ready"
    if ready.exists():
        files.rename(ready, status / f"{file.name}.done")


def _save(config: Config, wal: Sequence[Path]) -> None:
    """Copy them to the saved directory, durably; what an earlier attempt saved is not saved twice."""
    directory = config.paths.saved
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lacking = [file for file in wal if not _is_saved(directory, file)]
    if not lacking:
        return
    refuse_full_disk(config, lacking)
    target = directory / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{KEPT}"
    with files.new_directory(target, target.with_name(f".{KEPT}.partial")) as partial:
        for file in lacking:
            files.copy(file, partial / file.name)


def _is_saved(directory: Path, file: Path) -> bool:
    return any(filecmp.cmp(path, file, shallow=False) for path in directory.glob(f"*-{KEPT}/{file.name}"))
