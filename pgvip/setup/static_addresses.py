"""How an address becomes one of the host's own, in the words of what configures its network.

A file is written only where it stands alone: a drop-in of systemd-networkd, or a file of /etc/network/interfaces.d that
is read. Elsewhere the lines are for the administrator.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import ActionError
from pgvip.state import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Interface, IPv6Interface

NAME = "pgvip-addresses"
TEXT_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to write, and where. `file`: None where pgvip does not write it. `then`: what puts it in force."""

    manager: str
    text: str
    then: str
    file: Path | None = None


def recipe(interface: str, addresses: Sequence[IPv4Interface | IPv6Interface], root: Path = Path("/")) -> Recipe:
    """For what configures the interface on this host."""
    words = [str(address) for address in addresses]
    link = _networkd_file(interface, root)
    if sorted((root / "etc/netplan").glob("*.yaml")):
        lines = ["network:", "  version: 2", "  ethernets:", f"    {interface}:", "      addresses:"]
        text = "\n".join([*lines, *(f"        - {word}" for word in words)])
        then = f"Write it to /etc/netplan/99-{NAME}.yaml (mode 0600; bonds, bridges or vlans in place of ethernets "
        return Recipe("netplan", text, f"{then}where the interface is one), then netplan try.")
    if link is not None:
        place = root / "etc/systemd/network" / f"{link.name}.d" / f"{NAME}.conf"
        text = "\n".join(["[Network]", *(f"Address={word}" for word in words)])
        return Recipe("systemd-networkd", text, "networkctl reload", place)
    if (root / "run/NetworkManager").is_dir():
        connection = f'"$(nmcli -g GENERAL.CONNECTION device show {interface})"'
        changes = [f"+ipv{address.version}.addresses {address}" for address in addresses]
        return Recipe("NetworkManager", f"nmcli connection modify {connection} {' '.join(changes)}", "Run it as root.")
    main = root / "etc/network/interfaces"
    if _names(main, interface):
        stanzas = [f"iface {interface} inet{'6' * (one.version == 6)} static\n    address {one}" for one in addresses]
        sourced = re.search(r"^\s*source(-directory)?\s+(/etc/network/)?interfaces\.d", _text(main), re.MULTILINE)
        place = root / "etc/network/interfaces.d" / NAME
        then = "The next boot, or ifup of the interface, puts it in force."
        return Recipe("ifupdown", "\n".join(stanzas), then, place if sourced else None)
    text = "\n".join(f"ip address add {word} dev {interface}" for word in words)
    return Recipe("none that is known", text, "Have it run at each boot.")


def by_hand(one: Recipe) -> tuple[str, str]:
    """For a person who keeps the addresses: what is so, and what to write where."""
    place = f", in {one.file}" if one.file else ""
    what = f"the addresses stay until the next boot; to keep them ({one.manager}{place}):"
    return what, "\n    ".join((*one.text.splitlines(), f"({one.then})"))


def write(one: Recipe) -> None:
    """Write the file. ActionError."""
    if one.file is None:
        raise ActionError(f"with {one.manager}, pgvip writes no file for an address")
    try:
        one.file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        files.write(one.file, f"# The addresses of a pair that pgvip no longer moves.\n{one.text}\n", mode=0o644)
    except OSError as failure:
        raise ActionError(f"could not write {one.file}", f"{failure}.") from failure


def _networkd_file(interface: str, root: Path) -> Path | None:
    """The .network file that systemd-networkd uses for the interface (its run-time state says so)."""
    try:
        state = root / "run/systemd/netif/links" / str(socket.if_nametoindex(interface))
    except OSError:
        return None
    found = re.search(r"^NETWORK_FILE=(.+)$", _text(state), re.MULTILINE)
    return Path(found[1]) if found else None


def _names(main: Path, interface: str) -> bool:
    """Whether ifupdown has the interface."""
    wanted = re.compile(rf"^\s*iface\s+{re.escape(interface)}\s+inet", re.MULTILINE)
    return any(wanted.search(_text(file)) for file in (main, *sorted(main.with_name("interfaces.d").glob("*"))))


def _text(path: Path) -> str:
    try:
        return files.read(path, TEXT_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""
