"""What a set-up command does with all of root's rights: one thing, fixed before it gives most of them up.

A child that is forked at the start keeps them, and waits: for one byte, which means do it, or for the end of the
command. It reads nothing else. What it does is to make what is root's own, and give PostgreSQL's user its places in
there (docs/security.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pgvip.errors import ActionError, PgvipError
from pgvip.state import codec
from pgvip.system import tasks

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_BYTES_MAX = 1 << 16


class Hands:
    """The child. `work` is done there when `do` is called, once at most."""

    def __init__(self, work: Callable[[], object]) -> None:
        read_order, self._order = os.pipe()
        self._answer, write_answer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._order)
            os.close(self._answer)
            _wait(work, read_order, write_answer)
        os.close(read_order)
        os.close(write_answer)

    def do(self) -> None:
        """Have it done. Raises what the work raises."""
        os.write(self._order, b"g")
        said = b""
        while data := os.read(self._answer, ANSWER_BYTES_MAX):
            said += data
        os.waitpid(self._pid, 0)
        if said != b"done":
            failure = codec.from_json(tasks.Failure, said)
            raise ActionError(failure.message, failure.detail, failure.hint)


def _wait(work: Callable[[], object], order: int, answer: int) -> None:
    """Never returns: whatever happens, nothing of the command is done a second time here."""
    code = 1
    try:
        if os.read(order, 1):
            os.write(answer, _done(work))
        code = 0
    finally:
        os._exit(code)


def _done(work: Callable[[], object]) -> bytes:
    try:
        work()
    except (PgvipError, OSError) as failure:
        return codec.to_json(tasks.failure_of(failure)).encode()
    return b"done"
