"""The process that a lab hangs on: it makes the networks and machines, serves orders, and takes all down at its end.

    python -m tests.vm.hold DIRECTORY BACKEND [--tied]

`--tied`: it ends with its standard input, so that no lab outlives the tests that made it. SIGTERM ends it too; a
SIGKILL takes the machines along (they are told by the kernel) and the namespaces after them.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.lab.lab import mark_owner
from tests.lab.nodes import LabError, Node
from tests.vm import bmc, image
from tests.vm.machines import BACKENDS, Machine
from tests.vm.network import ADDRESSES, MACHINES, make_bridges, plug

ORDERS = ("status", "on", "off", "reset", "freeze", "thaw", "slow")
REQUEST_BYTES_MAX = 4096


class Holder:
    """All of one lab. One thread, one order at a time: the kernel tells a machine when the thread that made it ends."""

    def __init__(self, directory: Path, backend: str) -> None:
        self.directory = directory
        base = image.image_path(backend)
        if not base.exists():
            raise LabError(f"no image {base}; run scripts/vmlab build")
        mark_owner(directory)
        self.switch = Node("switch")
        self.nodes = {name: Node(name) for name in ADDRESSES}
        self.machines: dict[str, Machine] = {
            name: BACKENDS[backend](name, self.switch, directory / name, base) for name in MACHINES
        }
        self.backend = backend

    def start(self) -> None:
        """Make the networks, the gateway, the client and the BMCs; the machines stay off."""
        self.switch.start()
        make_bridges(self.switch)
        for node in self.nodes.values():
            node.start()
            plug(self.switch, node)
        for machine in MACHINES:
            bmc.start(self.nodes[f"bmc-{machine}"], machine, self.directory / f"bmc-{machine}", self.socket_path)
        pids = {node.name: node.pid for node in (self.switch, *self.nodes.values())}
        state = {"pid": os.getpid(), "backend": self.backend, "nodes": pids}
        (self.directory / "state.json").write_text(json.dumps(state))

    @property
    def socket_path(self) -> Path:
        return self.directory / "control.sock"

    def serve(self, *, tied: bool) -> None:
        """Serve orders until the end is asked for."""
        woken, waker = socket.socketpair()
        for half in (woken, waker):
            half.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
            listener.bind(str(self.socket_path))
            listener.listen(16)
            selector.register(listener, selectors.EVENT_READ, "order")
            selector.register(woken, selectors.EVENT_READ, "end")
            if tied:
                selector.register(sys.stdin, selectors.EVENT_READ, "end")
            (self.directory / "ready").touch()
            while True:
                ready = {key.data for key, _ in selector.select()}
                if "end" in ready:
                    return
                self.take(listener)

    def take(self, listener: socket.socket) -> None:
        """One connection, one order, one answer."""
        channel, _ = listener.accept()
        with channel, channel.makefile("rw") as file:
            channel.settimeout(5)
            try:
                answer = self.obey(json.loads(file.readline(REQUEST_BYTES_MAX)))
            except (LabError, OSError, ValueError, KeyError) as error:
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            try:
                file.write(json.dumps(answer) + "\n")
                file.flush()
            except OSError:
                pass  # who asked has gone

    def obey(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked; what is so afterwards."""
        machine, order = self.machines[request["machine"]], request["do"]
        if order not in ORDERS:
            raise LabError(f"no order {order!r}")
        if order == "slow":
            machine.bmc_delay_s = float(request["delay_s"])
        elif order != "status":
            getattr(machine, order)()
        return {"ok": True, "power": machine.look(), "boots": machine.boots, "bmc_delay_s": machine.bmc_delay_s}

    def stop(self) -> None:
        """Take everything down."""
        for machine in self.machines.values():
            machine.off()
        for node in (*self.nodes.values(), self.switch):
            node.stop()


def main() -> None:
    directory, backend, *options = sys.argv[1:]
    holder = Holder(Path(directory), backend)
    try:
        holder.start()
        holder.serve(tied="--tied" in options)
    finally:
        holder.stop()


if __name__ == "__main__":
    main()
