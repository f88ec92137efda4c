"""One WAL file into one destination: a directory or a command. Standard library alone.

Each destination is served by a child process with a time limit, all at the same time: a dead server delays the
others by nothing, and hangs a process of its own only.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

from pgvip.archive import packing
from pgvip.archive.memory import DIRECTORY, start_of
from pgvip.archive.packing import ArchiveFailed
from pgvip.text.numbers import whole

REASON_BYTES_MAX = 4000
DYING_S = 0.2
"""For a child that was killed to be gone; one in D state is left to itself."""

NEW = "new"
"""In the directory's `.pgvip`: what is being written there, by names that say by which process."""
ABANDONED_S = 3600.0
"""So old a file of another host, or from before a reboot, is nobody's any more: no attempt takes that long."""


class Destination(NamedTuple):
    """Where WAL files go. `directory` or `command` (words with %p and %f); `word`: of packing.PACKINGS.

    `required`: PostgreSQL keeps the file until it is there. `timeout_s`: for one file.
    """

    name: str
    directory: Path | None = None
    command: tuple[str, ...] = ()
    word: str = "none"
    required: bool = True
    timeout_s: float = 10.0


class Sending(NamedTuple):
    """A child at work. `reader`: the end of a pipe that says why it failed."""

    destination: Destination
    pid: int
    reader: int
    end_s: float


class Sent(NamedTuple):
    """How it ended. `why`: "" when the destination has the file now. `hung`: a process that is left, or 0."""

    destination: Destination
    why: str
    hung: int = 0


def deliver(source: Path, digest: str, destination: Destination) -> bool:
    """Put a file there; False when it was there already with the same content. Raises ArchiveFailed.

    `digest`: SHA-256 of the file. On return what is there is on disk, has been read back from there, and gives the
    same digest when unpacked; a command is trusted for that.
    """
    try:
        if destination.directory is None:
            packing.run(tuple(filled(word, source.name, source) for word in destination.command))
            return True
        return _store(source, digest, destination.directory, destination.word)
    except OSError as failure:
        raise ArchiveFailed(f'could not archive "{source.name}": {failure}') from failure


def _store(source: Path, digest: str, directory: Path, word: str) -> bool:
    there = packing.find(directory, source.name)
    if there is not None:
        _same_or_fail(there, digest)
        return False
    how = packing.packing_for(source.name, word)
    target = directory / (source.name + how.suffix)
    temporary = _temporary(directory, target.name)
    try:
        packing.pack(source, temporary, how)
        # The peer reads it through a read-only export, as the same numeric user.
        temporary.chmod(0o640)
        packing.forget_cached(temporary)
        if packing.digest(temporary) != digest:
            raise ArchiveFailed(f'what was written to "{directory}" does not read back as "{source.name}"')
        # link(2), unlike rename(2), fails when the name is taken: two archivers cannot overwrite each other.
        os.link(temporary, target)
    except FileExistsError:
        _same_or_fail(target, digest)
        return False
    finally:
        temporary.unlink(missing_ok=True)
    packing.sync(directory)
    return True


def _temporary(directory: Path, name: str) -> Path:
    """A name for what is being written that no other process uses: what is linked is what was read back.

    What others left there that were killed is removed.
    """
    folder = directory / DIRECTORY / NEW
    for part in (folder.parent, folder):
        part.mkdir(mode=0o750, exist_ok=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    for other in folder.iterdir():
        if _left_over(other, boot):
            other.unlink(missing_ok=True)
    return folder / f"{boot}.{os.getpid()}.{start_of(os.getpid())}.{name}"


def _left_over(file: Path, boot: str) -> bool:
    """True when its writer is dead. A wrong guess (a host in a container) costs that writer one attempt."""
    made_in, pid, start, *_ = (file.name + "...").split(".")
    number = whole(pid)
    if made_in == boot and number is not None:
        return not start or start_of(number) != start
    try:
        return abs(time.time() - file.stat().st_mtime) > ABANDONED_S
    except FileNotFoundError:
        return False


def _same_or_fail(target: Path, digest: str) -> None:
    if packing.digest(target) != digest:
        raise ArchiveFailed(
            f'"{target}" is already there with another content: two clusters share this archive, '
            "or it was copied incompletely by something else; it is not overwritten"
        )
    # An earlier attempt may have ended between the link and the fsync.
    packing.sync(target)
    packing.sync(target.parent)


def filled(word: str, name: str, path: Path) -> str:
    """A word of a command, with %f and %p as in archive_command and restore_command (manual, 20.5.3).

    >>> filled("s3://wal/%f", "00000002.history", Path("pg_wal/00000002.history")), filled("100%%", "", Path())
    ('s3://wal/00000002.history', '100%')
    """
    return "%".join(part.replace("%p", str(path)).replace("%f", name) for part in word.split("%%"))


# --- children --------------------------------------------------------------------------------------------


def start(source: Path, digest: str, destination: Destination) -> Sending:
    """Begin to deliver in a child process, which leads a group of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            os.close(reader)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            code = _child(source, digest, destination, writer)
        finally:
            os._exit(code)
    os.close(writer)
    return Sending(destination, pid, reader, time.monotonic() + destination.timeout_s)


def _child(source: Path, digest: str, destination: Destination, writer: int) -> int:
    try:
        deliver(source, digest, destination)
    except ArchiveFailed as failure:
        os.write(writer, str(failure).encode()[:REASON_BYTES_MAX])
        return 1
    return 0


def finish(sending: Sending) -> Sent:
    """Wait for a child, at most until its time is over; it is killed with all its programs then."""
    try:
        why = _reason(sending)
        if why is None:
            return _kill(sending)
        code = os.waitstatus_to_exitcode(os.waitpid(sending.pid, 0)[1])
        return Sent(sending.destination, why or ("" if code == 0 else f"its process ended with {code}"))
    finally:
        os.close(sending.reader)


def _reason(sending: Sending) -> str | None:
    """What a child says until it ends; None when it does not in time. Its end is the end of the pipe."""
    said = b""
    while (left_s := sending.end_s - time.monotonic()) > 0:
        if not select.select([sending.reader], [], [], left_s)[0]:
            break
        chunk = os.read(sending.reader, REASON_BYTES_MAX)
        if not chunk:
            return said.decode(errors="replace")
        said += chunk
    return None


def _kill(sending: Sending) -> Sent:
    why = f"did not finish within {sending.destination.timeout_s:g} s"
    try:
        os.killpg(sending.pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(sending.pid, signal.SIGKILL)  # it has not become the leader of its group yet
    end_s = time.monotonic() + DYING_S
    while time.monotonic() < end_s:
        if os.waitpid(sending.pid, os.WNOHANG)[0]:
            return Sent(sending.destination, why)
        time.sleep(0.005)
    return Sent(sending.destination, why, hung=sending.pid)


def complain(text: str) -> None:
    """Say it where PostgreSQL's log is."""
    sys.stderr.write(f"pgvip: {text}\n")
