"""archive_command and restore_command, with everything in them that they need, so that they read no configuration.

PostgreSQL's user runs the two scripts by their paths: they are named here, and not imported.
"""

from __future__ import annotations

import json
import shlex
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgvip.config.model import ArchiveDestination, Config

ARCHIVE_WAL = Path(__file__).resolve().parents[1] / "archive" / "archive_wal.py"
RESTORE_WAL = ARCHIVE_WAL.with_name("restore_wal.py")
AHEAD = "--ahead"
"""For PostgreSQL's own archiver alone: nobody else may archive what `archive_status` says is ready."""
SALVAGE = "salvage"
"""The folder of an archive that `restore-wal` looks in last, and which need not be there."""


def archive_command(config: Config) -> str:
    """Return archive_command: the script itself, with everything it needs, so that no configuration is read."""
    return f'{shell_command([*archive_argv(config), AHEAD])} "%p"'


def is_ours(command: str) -> bool:
    """True for an archive_command of pgvip's, whatever its options and wherever it was installed."""
    return f"pgvip/archive/{ARCHIVE_WAL.name}" in command


def archive_argv(config: Config) -> list[str]:
    """Return the program and its options that archive a WAL file; its path is to follow."""
    archive = config.archive
    words = [
        *_script(ARCHIVE_WAL),
        *("--timeout", f"{archive.timeout_s:g}"),
        *("--directory", str(archive.directory)),
    ]
    if archive.compress != "none":
        words += ["--compress", archive.compress]
    for one in archive.destinations:
        words += ["--destination", json.dumps(_destination(one), ensure_ascii=False)]
    return words


def _destination(one: ArchiveDestination) -> dict[str, object]:
    """What archive_wal.read_destination understands."""
    found: dict[str, object] = {"name": one.name, "required": one.required, "timeout_s": one.timeout_s}
    if one.directory is None:
        return found | {"command": list(one.command)}
    return found | {"directory": str(one.directory), "compress": one.compress}


def restore_command(config: Config) -> str:
    """Return restore_command; the shell itself checks the flag first.

    A promotion asks several times for history files that are not there: starting an interpreter for each
    costs more than the promotion. And an interpreter that an upgrade is exchanging is a file that is not there just
    now (1), not a shell's 127, by which PostgreSQL ends (manual, 20.5.5).
    """
    flag, argv = shell_command([str(config.paths.no_restore)]), restore_argv(config)
    return f'[ ! -e {flag} ] && [ -x {shell_command(argv[:1])} ] && exec {shell_command(argv)} "%f" "%p"'


def salvage_argv(config: Config, directory: Path) -> list[str]:
    """Return the program and its options that put a WAL file into `directory` alone; the file's path is to follow."""
    return [
        *_script(ARCHIVE_WAL),
        *("--timeout", f"{config.archive.timeout_s:g}"),
        *("--directory", str(directory)),
    ]


def restore_argv(config: Config, flag: Path | None = None) -> list[str]:
    """Return the program and its options that fetch a WAL file; its name and the target are to follow.

    `flag`: of a server that is not the pair's: a promotion of the pair's must not end its recovery.
    """
    others = config.archive.destinations
    return [
        *_script(RESTORE_WAL),
        *("--timeout", f"{config.archive.timeout_s:g}"),
        *("--flag", str(flag or config.paths.no_restore)),
        *("--directory", str(config.archive.directory)),
        *_peer_words(config),
        *(word for one in others if one.directory for word in ("--directory", str(one.directory))),
        *(word for one in others if one.restore for word in ("--command", json.dumps(one.restore))),
    ]


def _peer_words(config: Config) -> list[str]:
    """The second archive, and what its host may have salvaged."""
    if config.archive.by_link:
        return ["--peer-link", str(config.paths.archive_socket)]
    mount = config.archive.peer_mount
    return ["--directory", str(mount), "--directory", str(mount / SALVAGE)]


def strict_words(config: Config, *, without_peer: bool) -> list[str]:
    """Options of `restore-wal` for a server that must not take an archive that cannot be read for the end of WAL."""
    if config.archive.by_link:
        return ["--strict", *(["--without", str(config.paths.archive_socket)] if without_peer else [])]
    return ["--strict", "--without" if without_peer else "--peer", str(config.archive.peer_mount)]


def _script(file: Path) -> list[str]:
    """How PostgreSQL's user runs one of our scripts: they need the standard library alone (-I -S: a fast start)."""
    return [interpreter(), "-I", "-S", str(file)]


def interpreter() -> str:
    """Path of a Python that every user may run: this one, unless it is inside somebody's home directory."""
    own = Path(sys.executable).resolve()
    if all(directory.stat().st_mode & stat.S_IXOTH for directory in [own, *own.parents]):
        return str(own)
    return shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or str(own)


def shell_command(argv: list[str]) -> str:
    """Arguments for the shell, with the per cent signs that PostgreSQL would read as placeholders doubled."""
    return shlex.join(argv).replace("%", "%%")
