"""The switch between the nodes: a bridge in a namespace of its own, and every way to cut it.

An unplugged port keeps the carrier of the node at its other end, as a cut behind a real switch does. A cut
between two nodes drops their frames in the bridge, both ways or one, all or one TCP port.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tests.lab.nodes import Node

PREFIX = "10.77.0."
NETWORK = PREFIX + "0/24"
ADDRESSES = {"gateway": PREFIX + "1", "alpha": PREFIX + "11", "beta": PREFIX + "12", "client": PREFIX + "100",
             "stranger": PREFIX + "50"}
PRIMARY_VIP = PREFIX + "21"
STANDBY_VIP = PREFIX + "22"
INTERFACE = "eth0"


def mac_of(name: str) -> str:
    """The fixed hardware address of a node: the same after each boot, as on a real host."""
    return f"02:77:00:00:00:{int(ADDRESSES[name].rsplit('.', 1)[1]):02x}"


@dataclass(frozen=True)
class Cut:
    """Frames from `source` to `target` that the bridge drops.

    `port`: only TCP from or to this port. `loss`: only so many per cent, by chance (0: all). `above`: only packets
    longer than this, and no ICMP says so (0: all).
    """

    source: str
    target: str
    port: int = 0
    loss: int = 0
    above: int = 0

    def rules(self) -> list[str]:
        """The nftables rules of the cut."""
        ends = f'iifname "{port_of(self.source)}" oifname "{port_of(self.target)}"'
        if self.above:
            return [f"{ends} ip length > {self.above} drop"]
        if self.loss:
            return [f"{ends} numgen random mod 100 < {self.loss} drop"]
        if not self.port:
            return [f"{ends} drop"]
        return [f"{ends} ip protocol tcp tcp {side} {self.port} drop" for side in ("dport", "sport")]


def port_of(name: str) -> str:
    """The switch's port that a node is plugged into."""
    return f"sw-{name}"


class Switch(Node):
    """The bridge; nodes are plugged in by veth pairs."""

    def __init__(self) -> None:
        super().__init__("switch")
        self.cuts: set[Cut] = set()
        self.plugged: set[str] = set()
        self.disconnected: set[str] = set()
        """Nodes behind a cut cable: it stays cut while the node is off and when it boots."""
        self.lock = threading.RLock()

    def start(self) -> None:
        super().start()
        self.ip("link add br0 type bridge forward_delay 0", "link set br0 up")
        self.apply()

    def ip(self, *commands: str, check: bool = True) -> None:
        """Run `ip` commands in one batch."""
        self.run(["ip", "-batch", "-"], stdin="".join(f"{command}\n" for command in commands), check=check)

    def plug(self, node: Node) -> None:
        """Give the node an eth0 with its address, connected here, and a default route."""
        port = port_of(node.name)
        with self.lock:
            self.ip(
                f"link add {port} type veth peer name {INTERFACE} address {mac_of(node.name)} netns {node.pid}",
                f"link set {port} {'nomaster' if node.name in self.disconnected else 'master br0'}",
                f"link set {port} up",
            )
            self.plugged.add(node.name)
        address = ADDRESSES[node.name]
        commands = ["link set lo up", f"addr add {address}/24 dev {INTERFACE}", f"link set {INTERFACE} up"]
        if node.name != "gateway":
            commands.append(f"route add default via {ADDRESSES['gateway']}")
        batch = "".join(f"{command}\n" for command in commands)
        node.run(["ip", "-batch", "-"], stdin=batch)

    def remove(self, name: str) -> None:
        """Delete the node's port, and with it the interface at the other end."""
        with self.lock:
            self.plugged.discard(name)
            self.ip(f"link del {port_of(name)}", check=False)

    def disconnect(self, name: str) -> None:
        """Unplug behind the switch: nothing passes, the node's carrier stays."""
        with self.lock:
            self.disconnected.add(name)
            if name in self.plugged:
                self.ip(f"link set {port_of(name)} nomaster")

    def connect(self, name: str) -> None:
        """Undo `disconnect`."""
        with self.lock:
            self.disconnected.discard(name)
            if name in self.plugged:
                self.ip(f"link set {port_of(name)} master br0")

    def link_down(self, name: str) -> None:
        """The node's carrier is gone, as with a pulled cable."""
        self.ip(f"link set {port_of(name)} down", check=False)

    def cut(self, one: str, other: str, *, port: int = 0, one_way: bool = False, above: int = 0) -> None:
        """Drop what passes between two nodes; `one_way`: only from `one` to `other`."""
        self.cuts.add(Cut(one, other, port, above=above))
        if not one_way:
            self.cuts.add(Cut(other, one, port, above=above))
        self.apply()

    def heal(self) -> None:
        """Undo every `cut` (not `disconnect`)."""
        self.cuts.clear()
        self.apply()

    def apply(self) -> None:
        """Load all cuts at once."""
        lines = ["add table bridge lab", "add chain bridge lab cuts { type filter hook forward priority 0; }",
                 "flush chain bridge lab cuts"]
        lines += [f"add rule bridge lab cuts {rule}" for cut in sorted(self.cuts, key=str) for rule in cut.rules()]
        self.run(["nft", "-f", "-"], stdin="\n".join(lines) + "\n")
