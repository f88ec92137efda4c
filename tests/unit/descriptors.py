"""A process that has used up its limit of descriptors."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from pgvip.system.reserve import RESERVE


@contextmanager
def none_left(set_aside: int = 0) -> Iterator[None]:
    """While this lasts nothing can be opened, but for what is in the process's reserve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if set_aside:
        RESERVE.keep(set_aside)
    lowest_free = os.dup(2)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if set_aside:
            RESERVE.close()
