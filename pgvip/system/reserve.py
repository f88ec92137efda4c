"""Descriptors and tasks that the daemon sets aside when it starts, for what must not fail for want of them.

A fence starts programs and opens pipes; a stop, a promotion and the record open files. When something else has used up
the limit, the reserve is given up for as long as an action or a probe needs it.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

SET_ASIDE = 64
"""A fence agent takes some 10 for a moment, and several actions and probes go on at the same time."""

WANTED = 8
"""Fewer than this left: the reserve is lent."""

PARKED = 16
"""Threads that only wait: where processes and threads are limited (TasksMax=), each is a place for another one."""

TRIES, TRY_S = 20, 0.005
"""A thread that has ended has a place in the kernel for a moment more."""

LIMIT_MAX = 65536
"""Of the soft limit; programs that are started inherit it, and some visit every number below it."""


LACKS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Not EAGAIN: a socket of a server that is too busy says so, too."""
LACKS_IN_WORDS = ("could not create socket: Too many open files", "can't start new thread")
"""How libpq and Python say it (src/interfaces/libpq/fe-connect.c; Modules/_threadmodule.c)."""


def lack_of(failure: BaseException) -> str:
    """What this host itself lacked, where that made something fail; "" where it was another reason.

    >>> lack_of(OSError(errno.EMFILE, "Too many open files"))
    'Too many open files'
    >>> lack_of(ConnectionRefusedError("nobody is there"))
    ''
    """
    link: BaseException | None = failure
    while link is not None:
        if isinstance(link, MemoryError):
            return "Cannot allocate memory"
        if isinstance(link, OSError) and link.errno in LACKS:
            return os.strerror(link.errno)
        said = next((words for words in LACKS_IN_WORDS if words in str(link)), "")
        if said:
            return said
        link = link.__cause__
    return ""


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
                idle = not self._users
                if idle:
                    self._fill()
            if idle:
                TASKS.again()

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


class Tasks:
    """Places for threads and processes that were set aside. Without `keep` there are none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = 0
        self._parked: list[threading.Thread] = []
        self._leave = threading.Event()

    def keep(self, number: int = PARKED) -> None:
        """Park so many threads, or as many as there is room for; called again, those that were given up."""
        with self._lock:
            self._wanted = number
            while len(self._parked) < number:
                thread = threading.Thread(target=self._leave.wait, name="reserve", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return
                self._parked.append(thread)

    def again(self) -> None:
        """Set aside again what was given up."""
        if len(self._parked) < self._wanted:
            self.keep(self._wanted)

    def give_up(self) -> bool:
        """End the parked threads; False when there are none."""
        with self._lock:
            parked, self._parked = self._parked, []
            self._leave.set()
            self._leave = threading.Event()
        for thread in parked:
            thread.join()
        return bool(parked)

    def room_for(self, begin: Callable[[], T]) -> T:
        """Start a thread or a process, if need be in the place of the parked ones. Raises what `begin` raises."""
        try:
            return begin()
        except (BlockingIOError, RuntimeError):
            if not self.give_up():
                raise
        for _ in range(TRIES):
            with suppress(BlockingIOError, RuntimeError):
                return begin()
            time.sleep(TRY_S)
        return begin()


RESERVE = Reserve()
"""The process's one reserve of descriptors."""

TASKS = Tasks()
"""The process's one reserve of threads and processes."""
