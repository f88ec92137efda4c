"""restore_command: fetch one WAL file from this host's archive, else from the peer's, else from the others.

PostgreSQL starts this file as a script, so it and what it imports use the standard library alone. However a file is
packed it comes back plain. The archives of others are behind the network and may hang for ever: each is read by a child
process, which is left behind when it does not finish. A promotion must never wait for an archive: while the flag
file exists, also when it appears in the middle, nothing is restored.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # as a script, with -I: only the standard library is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pgvip.archive import packing, peer_fetch, peer_wire
from pgvip.archive.memory import DIRECTORY, INDEX
from pgvip.archive.packing import ArchiveFailed
from pgvip.archive.sending import filled

POLL_S = 0.005
SALVAGE = "salvage"
"""Folder in each host's archive for what its dead primary still had (actions/salvage.py); made when first needed."""
HANGS = ".pgvip-hangs"
"""File in the first (this host's own) archive: the second one did not answer at that time. Others add their number."""
HANGS_S = 60.0
"""For so long an archive that hung is not asked again: recovery asks for file after file."""
MISSING = 1
"""Exit code for "not here", and for every failure: above 125, or after a signal, recovery would stop."""
FAILED = 2
"""Of a child: the archive could not be read."""
STOP = 126
"""Exit code with --strict when the file was not found and an archive could not be read: recovery stops, instead of
taking it for the end of WAL."""

SEGMENT = re.compile(r"[0-9A-F]{24}")



class Link:
    """The other host's archive, asked through this host's daemon. `what`: as in peer_wire."""

    def __init__(self, daemon: Path, what: str) -> None:
        self.daemon, self.what = daemon, what


Place = Path | Link | tuple[str, ...]
"""An archive: a directory, the link, or a command with %f for the file and %p for where it is wanted."""


def restore_wal(
    name: str,
    target: Path,
    places: list[Place],
    flag: Path,
    timeout_s: float,
    *,
    peer: Path | None = None,
    without: Path | None = None,
) -> int:
    """Fetch file `name` into `target` from the first archive that has it.

    Returns 0, MISSING when none has it, or FAILED when none of those has it that could be read.

    Each archive gets an equal part of what is left of the time. `target` is complete or untouched. The first one
    is a directory, where it is noted when another hangs. `peer`: the one that can be read only while it has its index;
    `without`: one that is not asked, with all in it, while the others keep their numbers.
    """
    end_s = time.monotonic() + timeout_s
    outcome = MISSING
    for number, place in enumerate(places):
        hangs = _hangs(places[0], number)
        if _within(place, without):
            continue
        if number and _age_s(hangs) < HANGS_S:
            outcome = FAILED
            continue
        if number > 1 and left_behind(name, target.parent):
            continue
        archive_end_s = time.monotonic() + (end_s - time.monotonic()) / (len(places) - number)
        temporary = target.with_name(f"{target.name}.pgvip{number}")
        code = _in_child(place, name, temporary, flag, archive_end_s, peer=peer)
        if flag.exists():
            _remove(place, temporary)
            return MISSING
        if code == 0:
            temporary.replace(target)
            return 0
        if code != MISSING:
            outcome = FAILED
        if number and time.monotonic() >= archive_end_s - POLL_S:
            _touch(hangs)
    return outcome


def left_behind(name: str, wal: Path) -> bool:
    """True when the history in pg_wal left this timeline in this segment or before it.

    What an archive has of it from there on may be of a primary that lost its role: it is not this server's past. This
    host's own archive is cleared of such files before a rewind (rejoin/saved_wal.py), those of others are not.
    """
    if not SEGMENT.fullmatch(name):
        return False
    histories = sorted(path.name for path in wal.glob("*.history"))
    sizes = {path.stat().st_size for path in wal.iterdir() if SEGMENT.fullmatch(path.name)} - {0}
    if not histories or not sizes:
        return False
    timeline, log, number = (int(name[at : at + 8], 16) for at in (0, 8, 16))
    for line in (wal / histories[-1]).read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split("#")[0].split()
        if len(words) >= 2 and words[0] == str(timeline):
            high, _, low = words[1].partition("/")
            try:
                return (log, number) >= (int(high, 16), int(low, 16) // max(sizes))
            except ValueError:
                return True  # a damaged history: rather ask the primary for the WAL
    return False


def _hangs(first: Place, number: int) -> Path:
    assert isinstance(first, Path)  # parsed so
    return first / (HANGS if number <= 1 else f"{HANGS}-{number}")


def _age_s(file: Path) -> float:
    """Seconds since `file` was touched; endless when it was not."""
    try:
        return abs(time.time() - file.stat().st_mtime)
    except OSError:
        return float("inf")


def _touch(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.touch()


def _in_child(place: Place, name: str, temporary: Path, flag: Path, end_s: float, *, peer: Path | None) -> int:
    """Fetch in a child process; its exit code, FAILED when it took too long or the flag appeared."""
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            os.setpgid(0, 0)
            code = _fetch(place, name, temporary, peer, max(0.001, end_s - time.monotonic()))
        finally:
            os._exit(code)
    while time.monotonic() < end_s and not flag.exists():
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
    # In D state it does not die now; it is not waited for.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, os.WNOHANG)
    _remove(place, temporary)
    return FAILED


def _remove(place: Place, temporary: Path) -> None:
    temporary.unlink(missing_ok=True)
    if isinstance(place, Link):
        peer_fetch.forget(temporary)


def _within(place: Place, directory: Path | None) -> bool:
    if isinstance(place, Link):
        return place.daemon == directory
    return isinstance(place, Path) and directory is not None and directory in (place, *place.parents)


def _missing(place: Path, peer: Path | None) -> int:
    """MISSING; ArchiveFailed in the peer's archive unless it is that: an empty mount point is no archive.

    Its index proves it, which the peer's daemon writes at its start and nobody removes. Raises OSError.
    """
    if peer is not None and _within(place, peer):
        try:
            (peer / DIRECTORY / INDEX).stat()
        except FileNotFoundError:
            raise ArchiveFailed(f"there is no {DIRECTORY}/{INDEX} in {peer}; is anything mounted there?") from None
    return MISSING


def _fetch(place: Place, name: str, temporary: Path, peer: Path | None, timeout_s: float) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        if isinstance(place, Link):
            if not peer_wire.NAME.fullmatch(name):
                return MISSING
            ask = peer_wire.Ask(place.what, name)
            return 0 if peer_fetch.fetch(place.daemon, ask, temporary, timeout_s) else MISSING
        if isinstance(place, tuple):
            packing.run(tuple(filled(word, name, temporary) for word in place))
            packing.sync(temporary)
            return 0
        if place.name == SALVAGE and not place.exists():
            return _missing(place, peer)
        stored = packing.find(place, name)
        if stored is None:
            return _missing(place, peer)
        packing.unpack(stored, temporary)
    except (OSError, ArchiveFailed) as failure:
        if not isinstance(failure, FileNotFoundError):
            where = "the other host's archive" if isinstance(place, Link) else place
            sys.stderr.write(f"pgvip: could not restore {name} from {where}: {failure}\n")
        temporary.unlink(missing_ok=True)
        # What a command does when there is no such file, nobody can tell.
        return MISSING if isinstance(place, tuple) else FAILED
    return 0


def parser() -> argparse.ArgumentParser:
    """What `restore-wal` understands."""
    parser = argparse.ArgumentParser(
        prog="pgvip restore-wal",
        description="Restore one WAL file (restore_command). Example: pgvip restore-wal --directory "
        "/var/lib/pgvip/archive --flag /run/pgvip/no-restore 000000010000000000000001 pg_wal/RECOVERYXLOG",
        epilog="exit codes: 0 restored, 1 no archive has it or none answered in time, 2 wrong usage, "
        "126 with --strict when an archive could not be read",
    )
    parser.add_argument("--directory", type=Path, action="append", required=True, help="an archive; in order")
    parser.add_argument("--peer-link", type=Path, help="the daemon's socket for the peer's archive, the second one")
    parser.add_argument("--command", action="append", default=[], help="a command that fetches, as a JSON list")
    parser.add_argument("--flag", type=Path, required=True, help="nothing is restored while this file exists")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for all archives together")
    parser.add_argument("--strict", action="store_true", help="exit code 126 when an archive could not be read")
    parser.add_argument("--peer", type=Path, help="that of the directories which cannot be read without its index")
    parser.add_argument("--without", type=Path, help="the directory or --peer-link that is not asked, with all in it")
    parser.add_argument("name", help="the file that is wanted (%%f)")
    parser.add_argument("target", type=Path, help="where PostgreSQL wants it (%%p)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Restore one file; exit code 0 when `target` is complete, else 1 (--strict: 126 when that is in doubt)."""
    given = parser().parse_args(argv)
    try:
        places: list[Place] = [*given.directory, *map(read_command, given.command)]
        if given.peer_link:
            places[1:1] = [Link(given.peer_link, what) for what in (peer_wire.GET, peer_wire.SALVAGED)]
        code = restore_wal(
            given.name, given.target, places, given.flag, given.timeout, peer=given.peer, without=given.without
        )
    except (OSError, ValueError) as failure:
        sys.stderr.write(f"pgvip: could not restore {given.name}: {failure}\n")
        code = FAILED
    if code == 0:
        return 0
    return STOP if given.strict and code == FAILED else MISSING


def read_command(text: str) -> tuple[str, ...]:
    """Words of a command from JSON; ValueError when it is something else."""
    import json  # noqa: PLC0415 - few pairs fetch by a command; the others start faster without

    words = json.loads(text)
    if not isinstance(words, list) or not words:
        raise ValueError(f"--command {text}: is not a list of words")
    return tuple(map(str, words))


if __name__ == "__main__":
    sys.exit(main())
