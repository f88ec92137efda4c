"""The memory of the daemon stays in memory when the host is short of it: no takeover waits for a swapped page."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress

from pgvip.errors import PgvipError
from pgvip.system import capabilities

MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
"""mlockall(2), by include/uapi/asm-generic/mman.h."""

_LIBC = ctypes.CDLL(None, use_errno=True)


def lock() -> None:
    """Have the kernel keep every page that this process has used or uses from now on. PgvipError where it may not.

    What is not used is not brought in (MCL_ONFAULT): of the 8 MB of each thread's stack, most are never touched.
    Programs that are started do not inherit it.
    """
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    # Within a limit the lock might succeed, and the next thread's stack or large answer be refused.
    if limit != resource.RLIM_INFINITY and not capabilities.may(capabilities.IPC_LOCK):
        raise _failed(f"This process may lock {limit // 1024} kB.")
    if _LIBC.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0:
        raise _failed(f"mlockall: {os.strerror(ctypes.get_errno())}.")


def _failed(why: str) -> PgvipError:
    hint = "The unit pgvip.service has LimitMEMLOCK=infinity: see whether it is the installed one, and systemctl edit."
    return PgvipError("the daemon's memory is not locked, and may be swapped out", why, hint)
