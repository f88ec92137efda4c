"""How the peer link is doing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_REFUSED_HERE = re.compile(r"certificate verify failed|is not the peer's")
_REFUSED_THERE = re.compile(r"alert (unknown ca|bad certificate|certificate unknown|decrypt error)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LinkState:
    """What `status` shows. Times on CLOCK_BOOTTIME; `connected` means that the peer was heard within `dead_s`.

    `refused`: while not connected, whose certificate was not the expected one at the peer's address: "peer" or "own".
    """

    connected: bool = False
    since_s: float = 0.0
    heard_s: float = 0.0
    connections: int = 0
    listening: bool = False
    listen_error: str = ""
    last_error: str = ""
    refused: str = ""

    def now(
        self, now_s: float, *, live: int, listening: bool, listen_error: str, error: str = "", heard_s: float = 0.0
    ) -> LinkState:
        """The state with so many connections on which the peer was heard."""
        return replace(
            self,
            connected=live > 0,
            since_s=self.since_s if self.connected == (live > 0) else now_s,
            heard_s=heard_s or self.heard_s,
            connections=live,
            listening=listening,
            listen_error="" if listening else listen_error,
            last_error=error or self.last_error,
            refused="" if live else self.refused,
        )


def refused_by(why: str) -> str:
    """Whose certificate is not the expected one, by the failure of a connection: "peer", "own" or ""."""
    if _REFUSED_HERE.search(why):
        return "peer"
    return "own" if _REFUSED_THERE.search(why) else ""
