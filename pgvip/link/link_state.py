"""How the peer link is doing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkState:
    """What `status` shows. Times on CLOCK_BOOTTIME; `connected` means that the peer was heard within `dead_s`."""

    connected: bool = False
    since_s: float = 0.0
    heard_s: float = 0.0
    connections: int = 0
    listening: bool = False
    listen_error: str = ""
    last_error: str = ""
