"""restore_command: fetch one WAL file from this host's archive, else from the peer's.

PostgreSQL starts this file as a script, so it imports the standard library alone and nothing of pgvip.
The peer's archive is a network mount that may hang for ever: every directory is read by a child process,
which is left behind when it does not finish. A promotion must never wait for an archive: while the flag
file exists, also when it appears in the middle, nothing is restored (DESIGN.md, "Before a promotion").
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

CHUNK_BYTES = 1 << 20
POLL_S = 0.005
HANGS = ".pgvip-hangs"
"""File in the first (this host's own) archive: another one did not answer at that time."""
HANGS_S = 60.0
"""For so long an archive that hung is not asked again: recovery asks for file after file."""
MISSING = 1
"""Exit code for "not here", and for every failure: above 125, or after a signal, recovery would stop."""


def restore_wal(name: str, target: Path, directories: list[Path], flag: Path, timeout_s: float) -> bool:
    """Fetch file `name` into `target` from the first directory that has it; False when none does.

    Each directory gets an equal part of what is left of the time. `target` is complete or untouched.
    """
    end_s = time.monotonic() + timeout_s
    hangs = directories[0] / HANGS
    for number, directory in enumerate(directories):
        if number and _age_s(hangs) < HANGS_S:
            break
        left_s = (end_s - time.monotonic()) / (len(directories) - number)
        temporary = target.with_name(f"{target.name}.pgvip{number}")
        if _in_child(directory / name, temporary, flag, left_s):
            if flag.exists():
                temporary.unlink(missing_ok=True)
                return False
            temporary.replace(target)
            return True
        if flag.exists():
            return False
        if number and time.monotonic() >= end_s - POLL_S:
            _touch(hangs)
    return False


def _age_s(file: Path) -> float:
    """Seconds since `file` was touched; endless when it was not."""
    try:
        return abs(time.time() - file.stat().st_mtime)
    except OSError:
        return float("inf")


def _touch(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.touch()


def _in_child(source: Path, temporary: Path, flag: Path, timeout_s: float) -> bool:
    """Copy in a child process; False when that failed, took too long, or the flag appeared."""
    child = os.fork()
    if child == 0:
        code = MISSING
        try:
            code = _copy(source, temporary)
        finally:
            os._exit(code)
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s and not flag.exists():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(POLL_S)
    # In D state it does not die now; it is not waited for.
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, os.WNOHANG)
    return False


def _copy(source: Path, temporary: Path) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with source.open("rb") as old, temporary.open("wb") as new:
            while chunk := old.read(CHUNK_BYTES):
                new.write(chunk)
            new.flush()
            os.fsync(new.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        return MISSING
    return 0


def parser() -> argparse.ArgumentParser:
    """What `restore-wal` understands."""
    parser = argparse.ArgumentParser(
        prog="pgvip restore-wal",
        description="Restore one WAL file (restore_command). Example: pgvip restore-wal --directory "
        "/var/lib/pgvip/archive --flag /run/pgvip/no-restore 000000010000000000000001 pg_wal/RECOVERYXLOG",
        epilog="exit codes: 0 restored, 1 not there or not restored, 2 wrong usage",
    )
    parser.add_argument("--directory", type=Path, action="append", required=True, help="an archive; in order")
    parser.add_argument("--flag", type=Path, required=True, help="nothing is restored while this file exists")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for all archives together")
    parser.add_argument("name", help="the file that is wanted (%%f)")
    parser.add_argument("target", type=Path, help="where PostgreSQL wants it (%%p)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Restore one file; exit code 0 when `target` is complete, else 1."""
    given = parser().parse_args(argv)
    try:
        found = restore_wal(given.name, given.target, given.directory, given.flag, given.timeout)
    except OSError as failure:
        sys.stderr.write(f"pgvip: could not restore {given.name}: {failure}\n")
        return MISSING
    return 0 if found else MISSING


if __name__ == "__main__":
    sys.exit(main())
