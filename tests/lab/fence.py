"""The lab's fence device: a power controller behind one Unix socket for each host that may ask.

`fence_lab` is the agent that the daemon calls. `off` kills every process of the plug's namespaces and answers
only when none is left; `status` says what is true.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socketserver
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.hosts import SHARED, Host

PROGRAM = Path(__file__).resolve().parent / "fence_lab"
AGENT = Path(f"{SHARED}/fence_lab")
"""Root's own copy: the checkout may belong to another user, whose programs pgvip does not call as root."""
DEVICE = f"{SHARED}/fence.sock"
"""Where every host finds the device, in its own view of the file system."""
OK, FAILED, OFF = 0, 1, 2


@dataclass
class Failures:
    """How the device misbehaves toward one plug.

    `fail_next`: so many orders fail. `delay_s`: each order takes that much longer. `late_s`: an order is
    answered as failed, and executed that much later all the same. `stay_off`: `on` fails. `hang`: no answer
    until it is cleared. `lies`: it says that the host is off, and has done nothing (which no pair survives: it
    is here to see that this is noticed).
    """

    fail_next: int = 0
    delay_s: float = 0.0
    late_s: float = 0.0
    stay_off: bool = False
    lies: bool = False
    hang: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Order:
    """What was asked of the device. Times are CLOCK_MONOTONIC seconds."""

    at_s: float
    by: str
    plug: str
    action: str
    code: int


class FenceDevice:
    """Serves the agents of both hosts until `close`."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self.hosts = hosts
        self.failures = {name: Failures() for name in hosts}
        self.cut_off: set[str] = set()
        """Hosts that cannot reach the device."""
        self.orders: list[Order] = []
        self.asked: list[tuple[str, str, str]] = []
        """Who asked what of which plug, as soon as it came; `orders` follow when they are done."""
        self.closing = threading.Event()
        self.servers = [self.serve(name) for name in hosts]

    def serve(self, asker: str) -> socketserver.ThreadingUnixStreamServer:
        """Listen where `asker` can see it."""
        device = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    device.answer(asker, self)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        shared = self.hosts[asker].directory / "shared"
        shutil.copyfile(PROGRAM, shared / PROGRAM.name)
        (shared / PROGRAM.name).chmod(0o755)
        path = shared / "fence.sock"
        path.unlink(missing_ok=True)
        server = Server(str(path), Handler)
        path.chmod(0o600)
        threading.Thread(target=server.serve_forever, args=(0.2,), name=f"fence-{asker}", daemon=True).start()
        return server

    def answer(self, asker: str, handler: socketserver.StreamRequestHandler) -> None:
        """Take one order and reply with an exit code."""
        words = json.loads(handler.rfile.readline())
        plug, action = words.get("plug", ""), words.get("action", "reboot")
        self.asked.append((asker, action, plug))
        if asker in self.cut_off:
            handler.rfile.read()  # the order never arrives: the agent waits until it gives up
            return
        while plug in self.failures and self.failures[plug].hang.is_set():
            if self.closing.wait(0.05):
                return
        code, text = self.execute(plug, action)
        self.orders.append(Order(time.monotonic(), asker, plug, action, code))
        handler.wfile.write(json.dumps({"code": code, "text": text}).encode() + b"\n")

    def execute(self, plug: str, action: str) -> tuple[int, str]:
        """Do it, unless the device is made to fail."""
        if action in {"list", "monitor"} and not plug:
            return OK, "\n".join(self.hosts)
        host = self.hosts.get(plug)
        if host is None:
            return FAILED, f"no plug {plug!r}"
        failures = self.failures[plug]
        self.closing.wait(failures.delay_s)
        if failures.lies:
            return (OFF, "off") if action in {"status", "monitor"} else (OK, action)
        if action in {"status", "monitor"}:
            return (OK, "on") if host.is_on() else (OFF, "off")
        if failures.stay_off and action == "on":
            return FAILED, "no power"
        if failures.fail_next > 0:
            failures.fail_next -= 1
            return FAILED, "the device refuses"
        if failures.late_s:
            threading.Timer(failures.late_s, self.switch, (host, action)).start()
            return FAILED, "no answer from the device"
        return self.switch(host, action)

    def switch(self, host: Host, action: str) -> tuple[int, str]:
        """Off, on, or both."""
        if self.closing.is_set():
            return FAILED, "the device is closing"
        if action not in {"off", "on", "reboot"}:
            return FAILED, f"no action {action!r}"
        if action in {"off", "reboot"}:
            host.power_off()
        if action in {"on", "reboot"}:
            host.boot()
        return OK, action

    def orders_for(self, plug: str, action: str) -> list[Order]:
        """What was asked so far, for assertions."""
        return [order for order in list(self.orders) if (order.plug, order.action) == (plug, action)]

    def soothe(self) -> None:
        """The device works again."""
        self.cut_off.clear()
        for name, failures in self.failures.items():
            failures.hang.clear()
            self.failures[name] = Failures()

    def close(self) -> None:
        """Stop serving; calls still waiting get no answer."""
        self.closing.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()
