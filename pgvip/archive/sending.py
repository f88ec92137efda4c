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
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pgvip.archive import packing
from pgvip.archive.memory import DIRECTORY, start_of
from pgvip.archive.packing import ArchiveFailed
from pgvip.text.numbers import whole

REASON_BYTES_MAX = 4000
ABANDONING_S = 1.0
"""For a child that is not needed to end by itself."""
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
    """A child at work. `reader`: the end of a pipe that says why it failed. `go`: lets it go on, or -1."""

    destination: Destination
    pid: int
    reader: int
    end_s: float
    go: int = -1


class Sent(NamedTuple):
    """How it ended. `why`: "" when the destination has the file now. `hung`: a process that is left, or 0."""

    destination: Destination
    why: str
    hung: int = 0


def _at_once() -> None:
    """Nothing is waited for."""


def deliver(source: Path, destination: Destination, turn: Callable[[], None] = _at_once) -> bool:
    """Put a file there; False when it was there already with the same content. Raises ArchiveFailed.

    On return what is there is on disk, has been read back from there, and is equal to the file when unpacked; a command
    is trusted for that. `turn` returns when the file may be seen there: those before it are.
    """
    try:
        if destination.directory is None:
            turn()
            packing.run(tuple(filled(word, source.name, source) for word in destination.command))
            return True
        return _store(source, destination.directory, destination.word, turn)
    except OSError as failure:
        raise ArchiveFailed(f'could not archive "{source.name}": {failure}') from failure


def _store(source: Path, directory: Path, word: str, turn: Callable[[], None]) -> bool:
    there = packing.find(directory, source.name)
    if there is not None:
        _same_or_fail(there, source)
        return False
    how = packing.packing_for(source.name, word)
    target = directory / (source.name + how.suffix)
    temporary = _temporary(directory, target.name)
    try:
        packing.pack(source, temporary, how)
        # The peer reads it through a read-only export, as the same numeric user.
        temporary.chmod(0o640)
        packing.forget_cached(temporary)
        if not packing.same(temporary, source):
            raise ArchiveFailed(f'what was written to "{directory}" does not read back as "{source.name}"')
        turn()
        # link(2), unlike rename(2), fails when the name is taken: two archivers cannot overwrite each other.
        os.link(temporary, target)
    except FileExistsError:
        _same_or_fail(target, source)
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


def _same_or_fail(target: Path, source: Path) -> None:
    if not packing.same(target, source):
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


def start(source: Path, destination: Destination, *, hold: bool = False) -> Sending:
    """Begin to deliver in a child process, which leads a group of its own.

    `hold`: it does all but the last step, for which it waits until it is released.
    """
    reader, writer = os.pipe()
    waits, go = os.pipe() if hold else (-1, -1)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            os.close(reader)
            if hold:
                os.close(go)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            code = _child(source, destination, writer, waits)
        finally:
            os._exit(code)
    os.close(writer)
    if hold:
        os.close(waits)
    return Sending(destination, pid, reader, time.monotonic() + destination.timeout_s, go)


def _child(source: Path, destination: Destination, writer: int, waits: int) -> int:
    def turn() -> None:
        if waits >= 0 and not os.read(waits, 1):
            raise ArchiveFailed("a file before it was not archived")

    try:
        deliver(source, destination, turn)
    except ArchiveFailed as failure:
        os.write(writer, str(failure).encode()[:REASON_BYTES_MAX])
        return 1
    return 0


def release(held: Sending) -> Sending:
    """Let a child that was held go on; its time begins now."""
    with suppress(BrokenPipeError):  # it has failed, and says why
        os.write(held.go, b"+")
    os.close(held.go)
    return held._replace(end_s=time.monotonic() + held.destination.timeout_s, go=-1)


def abandon(held: Sending) -> None:
    """End a child that was held: nothing of its file is to be seen. It tidies up by itself, unless it hangs."""
    os.close(held.go)
    finish(held._replace(end_s=time.monotonic() + ABANDONING_S, go=-1))


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
