"""What addresses the interfaces of this host have; `netlink` changes them.

The C library lists them in a tenth of the time that a netlink library takes, and without importing one.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from pgvip.errors import ProbeError, VipError
from pgvip.system import processes

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface


def held(interface: str) -> set[Address]:
    """The addresses that the interface carries now. ProbeError when that cannot be known."""
    index_of(interface, ProbeError)
    return {address for name, address, _ in _listed(f"of {interface}") if name == interface}


def everywhere() -> set[tuple[str, Address]]:
    """Every address of this host with the interface that carries it. ProbeError when that cannot be known."""
    return {(name, address) for name, address, _ in _listed("of this host")}


def interfaces() -> frozenset[str]:
    """The names of this host's interfaces."""
    return frozenset(name for _index, name in socket.if_nameindex())


def carries(interface: str, address: Interface) -> bool:
    """Whether the interface carries the address with this very prefix. ProbeError when that cannot be known."""
    return (interface, address.ip, address.network.prefixlen) in _listed(f"of {interface}")


def index_of(interface: str, error: type[ProbeError | VipError]) -> int:
    """The kernel's number of an interface; `error` when there is none of this name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError as failure:
        raise error(f"there is no interface {interface}", f"{failure}.") from failure


def _listed(whose: str) -> list[tuple[str, Address, int]]:
    try:
        return processes.interface_addresses()
    except OSError as failure:
        raise ProbeError(f"could not list the addresses {whose}", f"{failure}.") from failure
