"""Addresses and interfaces of this host, by rtnetlink.

Each call opens a socket of its own, so that threads share nothing and none waits for another. What only reads asks
the C library, in a tenth of the time.
"""

from __future__ import annotations

import errno
import importlib.util
import socket
import sys
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol, Self

from pgvip.errors import VipError
from pgvip.system.interfaces import Address, Interface, carries, everywhere, held, index_of, interfaces


@contextmanager
def _slim_pyroute2() -> Iterator[None]:
    """Import modules of pyroute2 without the package's own, which imports all of them (50 ms of CPU, 6 MB)."""
    found = importlib.util.find_spec("pyroute2")
    if found is not None and found.name not in sys.modules:
        sys.modules[found.name] = importlib.util.module_from_spec(found)
    yield


with _slim_pyroute2():
    from pyroute2.iproute import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Address", "Interface", "carries", "everywhere", "held", "interfaces"]

FOREVER = 0xFFFFFFFF
"""INFINITY_LIFE_TIME (linux/include/net/addrconf.h)."""

IFA_F_NODAD = 0x02
"""No duplicate address detection: two seconds of tentative address after pgvip has asked by itself."""

LABEL = "vip"
"""`dev:vip`: so that `ip address` and ifconfig show whose address it is. A label must start with the device."""

LABEL_BYTES_MAX = 15
"""IFNAMSIZ less its terminating zero."""

NETLINK_ROUTE = 0
GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR (rtnetlink(7))."""


def add_address(interface: str, address: Interface, valid_lft_s: int = 0) -> None:
    """Give the interface an address, or renew its lifetime; an address that is there already is no error.

    `valid_lft_s`: the kernel drops the address by itself after that time; 0: never. An IPv6 address is never
    chosen as a source (`preferred_lft 0`) and skips duplicate address detection. VipError when it fails, or
    when the address is not there afterwards.
    """
    words: dict[str, Any] = {
        "index": index_of(interface, VipError),
        "address": str(address.ip),
        "prefixlen": address.network.prefixlen,
        "valid_lft": valid_lft_s or FOREVER,
        "preferred_lft": valid_lft_s or FOREVER,
    }
    if address.version == 6:
        words |= {"flags": IFA_F_NODAD, "preferred_lft": 0}
    elif len(label := f"{interface}:{LABEL}") <= LABEL_BYTES_MAX:
        words["label"] = label
    with _failing(f"could not add {address} to {interface}"), IPRoute() as route:
        route.addr("replace", **words)
    if address.ip not in held(interface):
        raise VipError(f"could not add {address} to {interface}", "The kernel does not list it.")


def drop_address(interface: str, address: Interface, *, exactly: bool = False) -> None:
    """Take the address from the interface, whatever its prefix is there; none there is no error.

    `exactly`: only with this very prefix. VipError when it is still listed afterwards.
    """
    index = index_of(interface, VipError)
    with _failing(f"could not drop {address} from {interface}"), IPRoute() as route:
        there = [message for message in route.get_addr(index=index) if message["index"] == index]
        for message in there:
            other = exactly and message["prefixlen"] != address.network.prefixlen
            if (text := _text(message)) and ip_address(text) == address.ip and not other:
                _delete(route, index, text, message["prefixlen"])
    if carries(interface, address) if exactly else address.ip in held(interface):
        raise VipError(f"could not drop {address} from {interface}", "The kernel still lists it.")


class AddressWatch:
    """Reports that some address or interface of this host changed; what, is for `held` to say."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
        self._socket.setblocking(False)
        self._socket.bind((0, GROUPS))

    def fileno(self) -> int:
        """For select: readable when something changed."""
        return self._socket.fileno()

    def read(self) -> bool:
        """Empty the queue; True when something changed since the last call.

        Messages that the kernel had to drop (ENOBUFS) count as a change: the listener checks again anyway.
        """
        changed = False
        while True:
            try:
                self._socket.recv(1 << 16)
                changed = True
            except BlockingIOError:
                return changed
            except OSError as failure:
                if failure.errno != errno.ENOBUFS:
                    raise
                changed = True

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Message(Protocol):
    """What is used of pyroute2's address message."""

    def get_attr(self, name: str) -> str | None: ...


def _text(message: _Message) -> str | None:
    """An address message's local address; IFA_ADDRESS is the other end on a point-to-point link."""
    return message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")


def _delete(route: IPRoute, index: int, text: str, prefixlen: int) -> None:
    try:
        route.addr("delete", index=index, address=text, prefixlen=prefixlen)
    except NetlinkError as failure:
        if failure.code != errno.EADDRNOTAVAIL:
            raise


@contextmanager
def _failing(message: str) -> Iterator[None]:
    try:
        yield
    except (NetlinkError, OSError) as failure:
        raise VipError(message, f"{failure}.") from failure
