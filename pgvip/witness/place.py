"""Where the witness is: its addresses, looked up without making anybody wait longer than for the witness itself.

getaddrinfo(3) has no deadline; a name server that is lost with the network would hold a takeover for many seconds.
"""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pgvip.deadlines import now_s
from pgvip.errors import WitnessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.deadlines import Deadline

ADDRESSES_MAX = 4
"""A name with more is no one server's; each gets its part of the deadline."""

FRESH_S = 60.0
"""As long as many names may be kept."""


def look_up(host: str) -> tuple[str, ...]:
    """The addresses of a name. OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Place:
    """The addresses of one name. The last ones are used at once, and looked up again in the background."""

    def __init__(self, host: str, look: Callable[[str], tuple[str, ...]] = look_up) -> None:
        self._host, self._look = host, look
        self._known: tuple[str, ...] = ()
        self._why = "the name server did not answer in time"
        self._at_s = float("-inf")
        self._lock = threading.Lock()
        self._running: threading.Thread | None = None

    def addresses(self, deadline: Deadline) -> tuple[str, ...]:
        """At least one address. WitnessError when none is known in time."""
        try:
            return (str(ip_address(self._host)),)
        except ValueError:
            pass
        thread = self._begin()
        if not self._known and thread is not None:
            thread.join(deadline.left_s())
        if not self._known:
            raise WitnessError(f"could not find the address of the witness {self._host}", f"{self._why}.")
        return self._known

    def _begin(self) -> threading.Thread | None:
        """One look-up at a time: a hung one is waited for and not doubled."""
        with self._lock:
            if self._running is not None and self._running.is_alive():
                return self._running
            if self._known and now_s() - self._at_s < FRESH_S:
                return None
            self._running = threading.Thread(target=self._run, name="witness-address", daemon=True)
            self._running.start()
            return self._running

    def _run(self) -> None:
        try:
            found = self._look(self._host)
        except (OSError, UnicodeError) as failure:  # a label that is too long is the latter
            self._why = str(failure)
            return
        self._known, self._at_s = found[:ADDRESSES_MAX], now_s()
