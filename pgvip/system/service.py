"""Talking to the service manager: readiness and the watchdog (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from functools import cache

from pgvip.events import event_log


def under_systemd() -> bool:
    """True when systemd started this process as a service (systemd.exec(5), $INVOCATION_ID)."""
    return bool(os.environ.get("INVOCATION_ID") and os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Notify systemd of `state` (READY=1, WATCHDOG=1, STATUS=…); nothing happens without systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        _channel().sendto(state.encode(), address)
    except OSError as failure:
        event_log.log("notify-failed", str(failure))


@cache
def _channel() -> socket.socket:
    """One for the life of the process: the loop reports each round, also when no descriptor is left. OSError."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
