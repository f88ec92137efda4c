"""What is costly to make, kept for a moment: many viewers cost no more than one, and nobody waits for what is slow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pgvip.deadlines import now_s
from pgvip.errors import PgvipError

T = TypeVar("T")

MAKING_S = 5.0
"""How long a viewer waits for what is being made for another."""


class Kept(Generic[T]):
    """Keeps what was made for `fresh_s`. One makes it, others wait for it, though not for long: PgvipError then."""

    def __init__(self, make: Callable[[], T], fresh_s: float) -> None:
        self._make, self._fresh_s = make, fresh_s
        self._lock = threading.Lock()
        self._made: tuple[float, T] | None = None

    def get(self) -> T:
        """What was made lately, or is made now."""
        made = self._made
        if made is not None and now_s() - made[0] < self._fresh_s:
            return made[1]
        if not self._lock.acquire(timeout=MAKING_S):
            raise PgvipError("the answer is still being made for another client", hint="Try again.")
        try:
            made = self._made
            if made is None or now_s() - made[0] >= self._fresh_s:
                made = self._made = (now_s(), self._make())
            return made[1]
        finally:
            self._lock.release()


class Background(Generic[T]):
    """Keeps what is made in a thread of its own, for the state of things that `key` names.

    It is made again when it is older than `fresh_s` or the key is another one, and never twice at once. Whoever asks
    waits for that at most `wait_s`, and then gets the newest that fits the key, or `otherwise` where there is none: a
    disk that hangs holds up one thread, and nobody else. `name`: of the thread.
    """

    def __init__(self, make: Callable[[], T], otherwise: T, *, fresh_s: float, wait_s: float, name: str) -> None:
        self._make, self._otherwise, self._name = make, otherwise, name
        self._fresh_s, self._wait_s = fresh_s, wait_s
        self._lock, self._done = threading.Lock(), threading.Event()
        self._made: tuple[float, object, T] | None = None

    def get(self, key: object = None) -> T:
        """The newest there is for `key`."""
        made = self._fitting(key)
        if made is None or now_s() - made[0] >= self._fresh_s:
            if self._lock.acquire(blocking=False):
                self._done.clear()
                try:
                    threading.Thread(target=self._renew, args=(key,), name=self._name, daemon=True).start()
                except RuntimeError:  # the limit of threads: what there was is shown
                    self._lock.release()
                    self._done.set()
            self._done.wait(self._wait_s)
            made = self._fitting(key)
        return self._otherwise if made is None else made[2]

    def _fitting(self, key: object) -> tuple[float, object, T] | None:
        made = self._made
        return made if made is not None and made[1] == key else None

    def _renew(self, key: object) -> None:
        try:
            made = self._make()
            self._made = (now_s(), key, made)
        finally:  # also after a fault of the program, which then ends this thread
            self._lock.release()
            self._done.set()
