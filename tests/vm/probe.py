"""Who takes writes: a try on each machine's own socket about once a second, through the operator's shell."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tests.lab.nodes import LabError, end_process
from tests.vm.lab import Host

EVERY_S = 1.0
ANSWER_S = 20.0
"""A server that has not answered by then may be gone with its machine: a new session is tried."""
AGAIN_S = 3.0
"""After a session that ended or could not be had: each is four forks of a machine that forks slowly."""
PSQL = "cd / && PGOPTIONS='-c log_min_messages=panic' exec runuser -u postgres -- psql -XAtq"
"""Without a line in the server's log for each try that a standby refuses."""
DONE = "done"
TRY = (
    "begin; insert into lab_rows (n) values (-1);"
    " select substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8); rollback;\n"
    f"\\echo {DONE}\n"
)
"""Rolled back, so that it waits for no standby and leaves nothing: it is taken by whoever is read-write."""


@dataclass(frozen=True)
class Write:
    """One write that a server took, on this timeline. Times are CLOCK_MONOTONIC seconds of this machine."""

    sent_s: float
    answered_s: float
    timeline: int


def second_writers(one: Iterable[Write], other: Iterable[Write]) -> list[tuple[Write, Write]]:
    """Proofs that both took writes at one time; the earlier timeline first.

    Each promotion makes a timeline above every one before it. So no two hosts take writes on the same one, and none on
    an earlier one after a later one has.
    """
    found = []
    for pair in itertools.product(one, other):
        early, late = sorted(pair, key=lambda write: write.timeline)
        if early.timeline == late.timeline or early.sent_s > late.answered_s:
            found.append((early, late))
    return found


class WriteProbe:
    """Tries writes on one machine all through a scene, with a session that is made anew whenever it has ended."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.writes: list[Write] = []
        self.ended = threading.Event()
        self.session: subprocess.Popen[str] | None = None
        self.thread = threading.Thread(target=self._run, name=f"probe-{host.name}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End it; no write is added any more."""
        self.ended.set()
        self.thread.join(2 * ANSWER_S)
        if self.thread.is_alive():
            raise LabError(f"the probe of {self.host.name} does not end")

    def _run(self) -> None:
        while not self.ended.is_set():
            self.session = self.host.lab.operator.popen(
                self.host.ssh(PSQL), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            with contextlib.suppress(OSError):  # of a session that has ended
                while self._try(self.session) and not self.ended.wait(EVERY_S):
                    pass
            end_process(self.session)
            self.host.lab.operator.programs.remove(self.session)
            self.ended.wait(AGAIN_S)

    def _try(self, session: subprocess.Popen[str]) -> bool:
        """One try; False when the session has ended or does not answer."""
        assert session.stdin is not None
        sent_s = time.monotonic()
        session.stdin.write(TRY)
        session.stdin.flush()
        for line in self._answers(session, sent_s + ANSWER_S):
            if line == DONE:
                return True
            self.writes.append(Write(sent_s, time.monotonic(), int(line, 16)))
        return False

    def _answers(self, session: subprocess.Popen[str], end_s: float) -> Iterable[str]:
        """Lines until the end of the session, or of the patience."""
        assert session.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(session.stdout, selectors.EVENT_READ)
            rest = b""
            while not self.ended.is_set() and (left_s := end_s - time.monotonic()) > 0:
                if not selector.select(min(left_s, EVERY_S)):
                    continue
                data = session.stdout.buffer.raw.read(4096)  # type: ignore[attr-defined]  # past the buffer, which select does not see
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from (line.decode() for line in lines)
