"""Closing packet sockets without waiting for the kernel."""

from __future__ import annotations

import threading
from queue import Full, Queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

CLOSING_MAX = 8
"""Sockets that wait to be closed."""


class Closer:
    """Closes packet sockets in a thread: the kernel waits then until no processor uses them (25 ms; 270 ms if busy).

    What is asked is answered before that; an address that is checked before it is raised does not wait for it.
    """

    def __init__(self) -> None:
        self._queue: Queue[socket.socket] = Queue(maxsize=CLOSING_MAX)
        self._lock = threading.Lock()
        self._began = False

    def close(self, sock: socket.socket) -> None:
        """Close it soon; at once, where no thread can be had or too many wait."""
        try:
            with self._lock:
                if not self._began:
                    threading.Thread(target=self._run, name="packets-close", daemon=True).start()
                    self._began = True
            self._queue.put_nowait(sock)
        except (Full, RuntimeError):
            sock.close()

    def _run(self) -> None:
        while True:
            self._queue.get().close()


CLOSER = Closer()
