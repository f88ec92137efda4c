"""Talking to the service manager: readiness and the watchdog (sd_notify(3)), and one log line per event."""

from __future__ import annotations

import os
import socket
import sys
import threading
from datetime import datetime

_lock = threading.Lock()


def under_systemd() -> bool:
    """True when systemd started this process as a service (systemd.exec(5), $INVOCATION_ID)."""
    return bool(os.environ.get("INVOCATION_ID") and os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Tell systemd `state` (READY=1, WATCHDOG=1, STATUS=…); nothing happens without systemd."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.setblocking(False)
        try:
            channel.sendto(state.encode(), address)
        except OSError as failure:
            log("notify-failed", str(failure))


def log(event: str, text: str) -> None:
    """Write one event on standard error: the journal adds its own time, other places get ours."""
    stamp = "" if "JOURNAL_STREAM" in os.environ else datetime.now().astimezone().isoformat(" ", "milliseconds") + " "
    line = f"{stamp}{event}: {text}".replace("\n", "; ")
    with _lock:
        print(line, file=sys.stderr, flush=True)  # noqa: T201  # standard error is the log
