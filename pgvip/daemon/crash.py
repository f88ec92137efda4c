"""What a fault in one of the daemon's threads does."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import TYPE_CHECKING

from pgvip.errors import Exit
from pgvip.events import event_log
from pgvip.web.http import REQUEST_THREAD

if TYPE_CHECKING:
    from pgvip.journal.event_store import EventStore

WRITE_S = 0.5
"""How long a daemon that crashes lets its last event be written."""


class CrashHandler:
    """Ends the process: a fault in one thread would leave a daemon that looks alive and is not.

    systemd starts it again, which moves no role and stops no PostgreSQL. Not for a fault in an answer to an HTTP
    request: nothing else hangs on that thread, and the same request would end the next daemon too.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store

    def install(self) -> None:
        """From now on, for all threads."""
        threading.excepthook = self.handle
        sys.unraisablehook = _log_cleanup

    def handle(self, failure: threading.ExceptHookArgs) -> None:
        """Log the fault; end the process unless only an answer is lost."""
        text = "".join(traceback.format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback))
        if failure.thread is not None and failure.thread.name == REQUEST_THREAD:
            event_log.log("http-crash", text)
            return
        event_log.log("crash", f"{failure.exc_type.__name__}: {failure.exc_value}; {text}")
        self._store.close(WRITE_S)
        os._exit(Exit.FAILED)


def _log_cleanup(failure: sys.UnraisableHookArgs) -> None:
    """One line for what a finalizer raises; Python would print it with a traceback, as if the daemon had crashed.

    A library's half-made object does so where the descriptors are used up.
    """
    event_log.log("cleanup-failed", f"{failure.exc_type.__name__}: {failure.exc_value}; in {failure.object!r}")
