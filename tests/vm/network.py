"""The lab's two networks: the hosts' own (eth0, with both VIPs), and the fence network (eth1 and the BMCs).

Both are bridges in one namespace, "switch"; its ports can be pulled and put back. The machines' taps live there
too, so that nothing of the lab shows on the host.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.nodes import Node

SERVICE = "10.78.0."
FENCE = "10.78.1."
PRIMARY_VIP = SERVICE + "21"
STANDBY_VIP = SERVICE + "22"
MACHINES = ("db1", "db2")
ADDRESSES = {"gateway": SERVICE + "1", "client": SERVICE + "100", "operator": FENCE + "100",
             "bmc-db1": FENCE + "21", "bmc-db2": FENCE + "22"}
BRIDGES = {SERVICE: "br0", FENCE: "br1"}


@dataclass(frozen=True)
class Nic:
    """One network card of a machine: the tap it is plugged into, and its bridge."""

    tap: str
    mac: str
    bridge: str


def number(machine: str) -> int:
    """The number that a machine's addresses end in: 11 or 12."""
    return 11 + MACHINES.index(machine)


def nics(machine: str) -> tuple[Nic, Nic]:
    """eth0 and eth1; the hardware addresses are those of guest/etc/systemd/network."""
    return tuple(  # type: ignore[return-value]  # two of them
        Nic(f"{machine}-eth{index}", f"02:78:0{index}:00:00:{number(machine)}", f"br{index}") for index in (0, 1)
    )


def address(machine: str) -> str:
    """A machine's own address in the hosts' network."""
    return f"{SERVICE}{number(machine)}"


def fence_address(machine: str) -> str:
    """A machine's address in the fence network, by which the lab reaches it too."""
    return f"{FENCE}{number(machine)}"


def make_bridges(switch: Node) -> None:
    """Both bridges, and a tap for each card."""
    batch = [f"link add {bridge} type bridge forward_delay 0\nlink set {bridge} up" for bridge in BRIDGES.values()]
    for machine in MACHINES:
        for nic in nics(machine):
            batch += [f"tuntap add dev {nic.tap} mode tap", f"link set {nic.tap} master {nic.bridge} up"]
    ip(switch, *batch)


def plug(switch: Node, node: Node) -> None:
    """Give a namespace an eth0 with its address in the network that the address belongs to."""
    own = ADDRESSES[node.name]
    bridge = next(bridge for prefix, bridge in BRIDGES.items() if own.startswith(prefix))
    ip(switch, f"link add sw-{node.name} type veth peer name eth0 netns {node.pid}",
       f"link set sw-{node.name} master {bridge} up")
    ip(node, f"addr add {own}/24 dev eth0", "link set eth0 up")
    if node.name == "client":
        ip(node, f"route add default via {ADDRESSES['gateway']}")


def pull(switch: Node, port: str) -> None:
    """Cut what hangs on a port off; its carrier stays, as behind a real switch."""
    ip(switch, f"link set {port} nomaster")


def put_back(switch: Node, port: str, bridge: str) -> None:
    """Undo `pull`."""
    ip(switch, f"link set {port} master {bridge}")


def ip(node: Node, *commands: str) -> None:
    """Run `ip` commands in one batch."""
    node.run(["ip", "-batch", "-"], stdin="".join(f"{command}\n" for command in commands))
