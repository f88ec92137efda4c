"""Descriptors that the daemon sets aside when it starts, for what must not fail for want of them.

A fence starts programs and opens pipes; a stop, a promotion and the record open files. When something else has used up
the limit, the reserve is closed for as long as an action or a probe needs it.
"""

from __future__ import annotations

import os
import resource
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SET_ASIDE = 64
"""A fence agent takes some 10 for a moment, and several actions and probes go on at the same time."""

WANTED = 8
"""Fewer than this left: the reserve is lent."""

LIMIT_MAX = 65536
"""Of the soft limit; programs that are started inherit it, and some visit every number below it."""


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one, up to `LIMIT_MAX`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LIMIT_MAX if hard == resource.RLIM_INFINITY else min(hard, LIMIT_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Reserve:
    """The descriptors that were set aside. Without `keep` there are none, and nothing is lent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[int] = []
        self._wanted = 0
        self._users = 0

    def keep(self, number: int = SET_ASIDE) -> None:
        """Set them aside, early, so that they have low numbers: those stay usable when the limit is lowered."""
        with self._lock:
            self._wanted = number
            self._fill()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While this lasts there are descriptors left, if the reserve has any."""
        with self._lock:
            self._users += 1
            if self._wanted and not _left(WANTED):
                self._empty()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._fill()

    def close(self) -> None:
        """Give them back for good."""
        with self._lock:
            self._wanted = 0
            self._empty()

    def _fill(self) -> None:
        while len(self._kept) < self._wanted:
            try:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return  # as many as there are; the next one to end tries again

    def _empty(self) -> None:
        kept, self._kept = self._kept, []
        for descriptor in kept:
            os.close(descriptor)


def _left(number: int) -> bool:
    """Whether so many more can be opened."""
    opened: list[int] = []
    try:
        while len(opened) < number:
            opened.append(os.dup(2))
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


RESERVE = Reserve()
"""The process's one reserve."""
