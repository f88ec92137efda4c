"""Whether every file system under the cluster still takes writes: a small process writes and fsyncs for real.

A page cache answers reads for a dead disk, and a heartbeat row reaches no data file before a checkpoint.
"""

from __future__ import annotations

import os
import pwd
import select
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.deadlines import Deadline, now_s
from pgvip.errors import ProbeError
from pgvip.probes import disk_writer

if TYPE_CHECKING:
    from collections.abc import Sequence

END_S = 0.5
"""How long the child may take to end with its input."""

SCRIPT = Path(disk_writer.__file__)


def cluster_directories(data_directory: Path) -> list[Path]:
    """The data directory, and WAL and tablespaces on file systems of their own. Touches the disk."""
    return [Path(path) for path in disk_writer.cluster_directories(str(data_directory))]


class DiskProbe:
    """Asks one long-lived child. A child that hangs on a dead disk stays the only one, and is asked no more."""

    def __init__(self, data_directories: Sequence[Path], user: str) -> None:
        self._directories, self._user = [str(path) for path in data_directories], user
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._asked, self._answered = 0, 0
        self._asked_at_s = 0.0
        self._buffer = b""

    def probe(self, timeout_s: float) -> bool:
        """True when a file was written and fsynced on each file system; started from this moment on.

        ProbeError says what failed, or that the writer hangs.
        """
        deadline = Deadline.after(timeout_s)
        with self._lock:
            child = self._running()
            if self._asked > self._answered and self._answer(child, deadline) is None:
                hung_s = now_s() - self._asked_at_s
                raise ProbeError("a disk does not answer", f"Writing has hung for {hung_s:.1f} s.")
            self._asked += 1
            self._asked_at_s = now_s()
            self._tell(child, b"%d\n" % self._asked)
            reason = self._answer(child, deadline)
        if reason is None:
            raise ProbeError("a disk does not answer", f"Nothing was written and synced within {timeout_s:g} s.")
        if reason:
            raise ProbeError("a disk cannot be written to", f"{reason}.")
        return True

    def close(self) -> None:
        """End the child; one that hangs ends by itself when its disk is back."""
        with self._lock:
            if self._child is not None:
                self._forget(self._child)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self._forget(self._child)
        if self._child is None:
            self._child = self._start()
            self._asked = self._answered = 0
            self._buffer = b""
        return self._child

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            account = pwd.getpwnam(self._user)
        except KeyError:
            raise ProbeError(f'system user "{self._user}" does not exist') from None
        words = [sys.executable, "-I", "-S", "-E", str(SCRIPT), str(account.pw_uid), str(account.pw_gid)]
        try:
            return subprocess.Popen(
                [*words, *self._directories],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                start_new_session=True,
                env={"PATH": "/usr/bin:/bin"},
            )
        except OSError as failure:
            raise ProbeError("could not start the disk writer", f"{failure}.") from failure

    def _forget(self, child: subprocess.Popen[bytes]) -> None:
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            child.wait(END_S)
        self._child = None

    def _tell(self, child: subprocess.Popen[bytes], line: bytes) -> None:
        assert child.stdin is not None  # a pipe, see _start
        try:
            os.write(child.stdin.fileno(), line)
        except BrokenPipeError as failure:
            self._forget(child)
            raise ProbeError("the disk writer ended", "It is started again.") from failure

    def _answer(self, child: subprocess.Popen[bytes], deadline: Deadline) -> str | None:
        """The reason in the answer to the last question ("" when all is well); None when the time is over."""
        assert child.stdout is not None  # a pipe, see _start
        poll = select.poll()
        poll.register(child.stdout, select.POLLIN)
        while poll.poll(deadline.left_s() * 1000):
            data = os.read(child.stdout.fileno(), 4096)
            if not data:
                self._forget(child)
                raise ProbeError("the disk writer ended", "It is started again.")
            self._buffer += data
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                number, _, reason = line.partition(b"\t")
                self._answered = int(number)
                if self._answered == self._asked:
                    return reason.decode(errors="replace")
        return None
