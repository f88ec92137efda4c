"""Faults of pgvip itself in probes and actions: logged with where they arose, and a warning while they last.

A probe or an action that fails in a way that nobody foresaw is a failed observation like any other: a database that
could be looked after for years must not be left alone because one answer had an odd form.
"""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING

from pgvip.core.warning_row import WarningRow, warned

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.core.settings import StandingWarning

TEXT_MAX = 500
"""Characters of one fault's text: whoever sent odd input decides what is in it."""
WARNINGS: tuple[WarningRow[list[str]], ...] = (
    WarningRow("internal-error", "; ".join, "{it}",
               "this is a fault of pgvip: please report it with the event work-crash of pgvip events"),
)  # fmt: skip


class InternalErrors:
    """Which probes and actions last ended by a fault. From any thread."""

    def __init__(self, log: Callable[[str, str], None] = lambda _event, _text: None) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._standing: dict[str, str] = {}

    def failed(self, what: str, fault: Exception) -> str:
        """`what` ("probe database") ended by a fault: the text for its observation.

        The log has where it arose, once for each new text: a probe looks many times a second.
        """
        text = f"internal error in {what}: {describe(fault)}"
        with self._lock:
            known, self._standing[what] = self._standing.get(what), text
        if known != text:
            where = "".join(traceback.format_exception(fault))[-4 * TEXT_MAX :]
            self._log("work-crash", f"{text}; {where}")
        return text

    def ended(self, what: str) -> None:
        """`what` ended in a way that is foreseen, well or not: its warning is over."""
        if what in self._standing:
            with self._lock:
                self._standing.pop(what, None)

    def warnings(self) -> tuple[StandingWarning, ...]:
        """One warning that names all that stand."""
        with self._lock:
            texts = [self._standing[what] for what in sorted(self._standing)]
        return warned(WARNINGS, texts)


def describe(fault: Exception) -> str:
    """Type and text of a fault, on one line.

    >>> describe(IndexError("list index out of range"))
    'IndexError: list index out of range'
    >>> describe(AssertionError())
    'AssertionError'
    """
    words = " ".join(str(fault).split())[:TEXT_MAX]
    return f"{type(fault).__name__}: {words}" if words else type(fault).__name__
