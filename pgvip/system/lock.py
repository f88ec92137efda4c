"""One pgvip at a time on a host: its daemon, or a command that sets the host up.

A lock of the kernel's: it ends with its process, however that ends, and holds while the process is stopped.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.errors import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "lock"

_held: dict[str, int] = {}
"""By path: the descriptor that holds the lock. Closed by nobody but the end of this process; no child inherits it."""


def take(run: Path) -> None:
    """Hold the lock in the run directory until this process ends; holding it already is no error.

    RefusedError when another process has it.
    """
    path = str(run / NAME)
    if path in _held:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise RefusedError(
            "another pgvip is at work on this host",
            f"The process {owner or 'that is unknown'} holds {path}.",
            "If it is the daemon: systemctl stop pgvip; that moves no role.",
        ) from None
    with suppress(OSError):  # for people only; a full tmpfs is no reason to stay away
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    _held[path] = descriptor
