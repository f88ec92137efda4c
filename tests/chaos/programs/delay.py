"""Delays frames in the switch: runs in its namespace, for there may be no netem in the kernel.

    delay.py NUMBER SECONDS MAC,PORT...

Frames from MAC that are about to leave the switch at PORT are led to this program and sent there later, in their order.
Prints "ready" when it works; ends on SIGTERM, and takes down what it set up. A port that is plugged in anew (its host
has booted) has no delay any more.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from types import FrameType

ETH_P_ALL, SOL_PACKET, PACKET_VNET_HDR, PACKET_QDISC_BYPASS = 3, 263, 15, 20
QUEUE_MAX = 20_000
"""Frames that may be on their way; what comes more is lost, as in any queue."""
FRAME_MAX = 1 << 17


def open_socket(device: str, protocol: int) -> socket.socket:
    """Raw frames with the kernel's own header before them: so large ones that a card would cut pass whole."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    opened.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)  # past the rule that leads frames here
    opened.bind((device, protocol))
    return opened


class Path:
    """One direction: from a hardware address to a port."""

    def __init__(self, table: str, number: int, mac: str, port: str) -> None:
        self.near, self.far = f"{table}-{number}a", f"{table}-{number}b"
        subprocess.run(["ip", "link", "add", self.near, "type", "veth", "peer", "name", self.far], check=True)
        for device in (self.near, self.far):
            subprocess.run(["ip", "link", "set", device, "mtu", "9000", "up"], check=True)
        self.source, self.target = open_socket(self.far, ETH_P_ALL), open_socket(port, 0)
        self.frames: deque[tuple[float, bytes]] = deque()
        chain = f'chain c{number} {{ type filter hook egress device "{port}" priority 0; }}'
        rules = f'add table netdev {table}\nadd {chain.replace("chain ", f"chain netdev {table} ", 1)}\n'
        rules += f'add rule netdev {table} c{number} ether saddr {mac} fwd to "{self.near}"\n'
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def take(self, delay_s: float) -> None:
        """One frame that came."""
        frame = self.source.recv(FRAME_MAX)
        if len(self.frames) < QUEUE_MAX:
            self.frames.append((time.monotonic() + delay_s, frame))

    def give(self) -> None:
        """Send what is due."""
        while self.frames and self.frames[0][0] <= time.monotonic():
            with contextlib.suppress(OSError):  # the port is gone, or its queue is full: the frame is lost
                self.target.send(self.frames.popleft()[1])

    def close(self) -> None:
        subprocess.run(["ip", "link", "del", self.near], check=False)


def main() -> None:
    table, delay_s = f"late{sys.argv[1]}", float(sys.argv[2])
    stopped = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.append(True)

    signal.signal(signal.SIGTERM, stop)
    paths: list[Path] = []
    try:
        for number, words in enumerate(sys.argv[3:]):
            paths.append(Path(table, number, *words.split(",")))
        print("ready", flush=True)
        while not stopped:
            due_s = min((path.frames[0][0] for path in paths if path.frames), default=time.monotonic() + 0.2)
            ready, _, _ = select.select([path.source for path in paths], [], [], max(0.0, due_s - time.monotonic()))
            for path in paths:
                if path.source in ready:
                    path.take(delay_s)
                path.give()
    finally:
        subprocess.run(["nft", "delete", "table", "netdev", table], check=False)
        for path in paths:
            path.close()


if __name__ == "__main__":
    main()
