"""A progress bar on a terminal; elsewhere a line for each tenth."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Self

from pgvip.cli.output import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

WIDTH = 40


def bar_text(done_bytes: float, total_bytes: float) -> str:
    """One line of progress.

    >>> bar_text(512 * 1024**2, 1024**3)
    '    [####################--------------------]  50 %   512 of 1024 MB'
    """
    part = min(1.0, done_bytes / total_bytes) if total_bytes > 0 else 0.0
    filled = int(part * WIDTH)
    figures = f"{done_bytes / 1024**2:.0f} of {total_bytes / 1024**2:.0f} MB"
    return f"    [{'#' * filled}{'-' * (WIDTH - filled)}] {part:4.0%}   {figures}".replace("%", " %")


class Bar:
    """Shows how far a copy is. A context manager: the last line stays."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal and self._tenth >= 0:
            put(flush=True)

    def show(self, done_bytes: float, total_bytes: float) -> None:
        """Draw the state of the copy; as often as one likes."""
        tenth = int(10 * done_bytes / total_bytes) if total_bytes > 0 else 0
        if self._terminal:
            sys.stdout.write("\r" + bar_text(done_bytes, total_bytes))
            sys.stdout.flush()
        elif tenth > self._tenth:
            put(bar_text(done_bytes, total_bytes), flush=True)
        self._tenth = max(tenth, self._tenth)


PATIENCE_S = 2.0
"""What takes longer says what it does."""


@contextlib.contextmanager
def patience(what: str) -> Iterator[None]:
    """Say on stderr what is being done, when it lasts."""
    ended = threading.Event()

    def remind() -> None:
        waited_s = 0.0
        while not ended.wait(PATIENCE_S):
            waited_s += PATIENCE_S
            put(f"pgvip: {what} ({waited_s:.0f} s)", file=sys.stderr, flush=True)

    thread = threading.Thread(target=remind, name="patience", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
