"""Who answers for an address, and announcing who has it: ARP, neighbour discovery, echo.

Scapy builds the packets; plain sockets carry them, which is what makes a probe take 40 ms and not a second. What comes
is read by hand: whoever is on the network decides what that is, and one form of it alone is of interest. Only scapy's
l2 layer is loaded with this module, IPv6 when it is first needed.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import struct
import sys
import time
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from pgvip.deadlines import Deadline
from pgvip.errors import ProbeError
from pgvip.system.closing import CLOSER


@contextmanager
def _slim_scapy() -> Iterator[None]:
    """Import scapy without its lists of makers (15 MB, 8 ms) and without pickles in root's home.

    Nor with the kernel's routes, which it would read (20 ms) and keep for ever: all packets here name their addresses.
    It also warns of interfaces without addresses while it is being imported.
    """
    logging.getLogger("scapy").setLevel(logging.ERROR)
    for name, data in (("scapy.libs.manuf", ""), ("scapy.libs.bluetoothids", {})):
        makers = ModuleType(name)
        makers.__dict__["DATA"] = data
        sys.modules.setdefault(name, makers)
    cache = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = os.devnull  # nothing can be read from or written below it
    try:
        from scapy.config import conf  # noqa: PLC0415 - only now

        # Not None: that is what makes scapy read them. Whoever asked it for a way would get an AttributeError.
        conf.route = conf.route6 = SimpleNamespace(routes=[])
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if cache is not None:
            os.environ["XDG_CACHE_HOME"] = cache


with _slim_scapy():
    from scapy.layers.l2 import ARP, Ether

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Address = IPv4Address | IPv6Address

ETH_P_ARP = 0x0806
BROADCAST = "ff:ff:ff:ff:ff:ff"
ALL_NODES = "ff02::1"
ALL_NODES_MAC = "33:33:00:00:00:01"
FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})
NOBODY = "0.0.0.0"  # noqa: S104 # nosec B104 # as in RFC 5227, no address to listen on
SEND_S, SEND_AGAIN_S = 0.1, 0.002
"""A queue that is full drains in milliseconds; a takeover must not fail for that, nor wait for one that does not."""
PACKET_OUTGOING = 4
"""Of a packet socket's address: this host sent it itself (packet(7))."""

ARP_REQUEST, ARP_REPLY = 1, 2
ARP_HEAD = struct.pack(">HHHBB", ETH_P_ARP, 1, 0x0800, 6, 4)
"""Of a frame that carries ARP for IPv4 on Ethernet, from its type on."""
ARP_END = 42
ND_END = 24
"""Where the options of a neighbour advertisement begin (RFC 4861, 4.4)."""
ND_TARGET_OPTION = 2
ICMP_ECHO_REPLY, ICMP_ECHO = 0, 8
ICMP6_ECHO, ICMP6_ECHO_REPLY = 128, 129
ND_SOLICITATION, ND_ADVERTISEMENT = 135, 136
SOL_RAW = 255
ICMP_FILTER = 1
"""Socket option of a raw ICMP socket (raw(7))."""

ICMP6_FILTER = 1
"""Socket option of a raw ICMPv6 socket (RFC 3542, 3.2)."""

SO_BINDTODEVICE = 25
"""Missing in Python's socket module before 3.12 on some builds."""

HOPS = 255
"""Neighbour discovery is only believed with a hop limit that no router has touched (RFC 4861, 7.1)."""


def arp_who_has(interface: str, ip: str, count: int = 3, wait_s: float = 0.04, longer_s: float = 0.0) -> str:
    """Ask who has an address; the hardware address of a host other than this one that answers, else "".

    Sends up to `count` requests and waits `wait_s` after each, `longer_s` more after the last; ends at the first
    answer. Nobody's ARP cache is changed: the request comes from nobody (RFC 5227, 2.1.1). An IPv6 address is asked
    for by neighbour solicitation. ProbeError when nothing can be sent.
    """
    address = ip_address(ip)
    waits = [wait_s] * (count - 1) + [wait_s + longer_s]
    if isinstance(address, IPv6Address):
        return _solicit(interface, address, waits)
    with _packet_socket(interface, ETH_P_ARP) as sock:
        own = _mac(sock)
        request = ARP(op=ARP_REQUEST, hwsrc=own, psrc=NOBODY, hwdst="00:00:00:00:00:00", pdst=ip)
        frame = bytes(Ether(src=own, dst=BROADCAST) / request)
        return _ask(lambda: _send(sock, frame), sock, waits, lambda: _arp_answer(sock, ip, own))


def announce(interface: str, ip: str, count: int = 5) -> None:
    """Announce the address to every neighbour: gratuitous ARP as a request and as a reply.

    Some stacks take only one of the two; a reply's target is its sender (RFC 5227, 3). For
    IPv6: unsolicited advertisements with the override flag (RFC 4861, 7.2.6).
    """
    address = ip_address(ip)
    with _packet_socket(interface, 0) as sock:
        own = _mac(sock)
        if isinstance(address, IPv6Address):
            frames = [_advertisement(own, address)]
        else:
            ether = Ether(src=own, dst=BROADCAST)
            request = ARP(op=ARP_REQUEST, hwsrc=own, psrc=ip, hwdst="00:00:00:00:00:00", pdst=ip)
            reply = ARP(op=ARP_REPLY, hwsrc=own, psrc=ip, hwdst=own, pdst=ip)
            frames = [bytes(ether / request), bytes(ether / reply)]
        for frame in frames * count:
            _send(sock, frame)


def ping(interface: str | None, ip: str, timeout_s: float) -> bool:
    """True when the address answers an echo request, or, as a neighbour that ignores those, an ARP request."""
    return bool(ping_any(interface, [ip], timeout_s))


def ping_any(interface: str | None, ips: Sequence[str], timeout_s: float) -> str:
    """The first of several addresses that answers, "" when none does.

    All are sent an echo request at once; after half of the time the rest is left to ARP, for neighbours that
    ignore echo (none without an interface to ask on). ProbeError when nothing could be sent at all.
    """
    deadline = Deadline.after(timeout_s)
    addresses = [ip_address(ip) for ip in ips]
    answered, unsent = _echo(addresses, interface, timeout_s * (0.5 if interface else 1.0))
    if answered:
        return answered
    for number, ip in enumerate(ips):
        if interface and arp_who_has(interface, ip, count=2, wait_s=deadline.left_s() / 2 / (len(ips) - number)):
            return ip
    if unsent and not interface:
        raise ProbeError("could not send an echo request", f"{unsent}.")
    return ""


# --- asking ----------------------------------------------------------------------------------------------


def _ask(send: Callable[[], object], ears: socket.socket, waits: Sequence[float], answer: Callable[[], str]) -> str:
    """Send and listen, for each of `waits`, until `answer` (called for each packet that came) says something."""
    for wait_s in waits:
        send()
        deadline = Deadline.after(wait_s)
        while _readable(ears, deadline):
            if found := answer():
                return found
    return ""


def _send(sock: socket.socket, frame: bytes) -> None:
    """Send one frame; while the socket's buffer or the device's queue is full, again and again for SEND_S. OSError."""
    deadline = Deadline.after(SEND_S)
    while True:
        try:
            sock.send(frame)
        except OSError as failure:
            if failure.errno not in FULL or deadline.expired:
                raise
        else:
            return
        time.sleep(SEND_AGAIN_S)


def _arp_answer(sock: socket.socket, ip: str, own: str) -> str:
    """The sender of one ARP packet if it claims the address; a request from it is as good as a reply."""
    try:
        data, source = sock.recvfrom(2048)
    except BlockingIOError:
        return ""
    if source[2] == PACKET_OUTGOING:
        return ""
    mac, claimed = read_arp(data)
    return mac if claimed == ip and mac != own else ""


def read_arp(frame: bytes) -> tuple[str, str]:
    """The sender's hardware and IPv4 address of an ARP packet in its Ethernet frame (RFC 826); "" twice for any other.

    >>> read_arp(bytes(12) + bytes.fromhex("0806 0001 0800 06 04 0002 525400000001 0a090064") + bytes(10))
    ('52:54:00:00:00:01', '10.9.0.100')
    """
    if len(frame) < ARP_END or frame[12:20] != ARP_HEAD or frame[20:22] not in (b"\0\x01", b"\0\x02"):
        return "", ""
    return frame[22:28].hex(":"), str(IPv4Address(frame[28:32]))


def _solicit(interface: str, address: IPv6Address, waits: Sequence[float]) -> str:
    """Neighbour solicitation from nobody, as duplicate address detection sends it: the answer goes to all nodes."""
    from scapy.layers.inet6 import ICMPv6ND_NS, IPv6  # noqa: PLC0415  # 2 MB that IPv4 pairs never need

    low = address.packed[-3:]
    group = str(IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + low))
    group_mac = (b"\x33\x33\xff" + low).hex(":")
    with (
        _packet_socket(interface, 0) as sender,
        _icmp6_socket(interface, ND_ADVERTISEMENT) as ears,
    ):
        own = _mac(sender)
        frame = bytes(
            Ether(src=own, dst=group_mac) / IPv6(src="::", dst=group, hlim=HOPS) / ICMPv6ND_NS(tgt=str(address))
        )
        return _ask(lambda: _send(sender, frame), ears, waits, lambda: _nd_answer(ears, address, own))


def _nd_answer(sock: socket.socket, address: IPv6Address, own: str) -> str:
    """The target link-layer address of one advertisement for the address by another host (RFC 4861, 4.4)."""
    mac, claimed = read_advertisement(_receive_from(sock)[0])
    return mac if claimed == address and mac != own else ""


def read_advertisement(data: bytes) -> tuple[str, IPv6Address | None]:
    """The target link-layer address and the target of an ICMPv6 neighbour advertisement; "" and None for any other."""
    if len(data) < ND_END or data[0] != ND_ADVERTISEMENT:
        return "", None
    options = data[ND_END:]
    while len(options) >= 8 and options[1]:
        if options[0] == ND_TARGET_OPTION:
            return options[2:8].hex(":"), IPv6Address(data[8:ND_END])
        options = options[8 * options[1] :]
    return "", None


def _advertisement(own: str, address: IPv6Address) -> bytes:
    from scapy.layers.inet6 import (  # noqa: PLC0415  # 2 MB that IPv4 pairs never need
        ICMPv6ND_NA,
        ICMPv6NDOptDstLLAddr,
        IPv6,
    )

    return bytes(
        Ether(src=own, dst=ALL_NODES_MAC)
        / IPv6(src=str(address), dst=ALL_NODES, hlim=HOPS)
        / ICMPv6ND_NA(tgt=str(address), R=0, S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=own)
    )


def _echo(addresses: Sequence[Address], interface: str | None, timeout_s: float) -> tuple[str, str]:
    """One echo request to each: the first that replies, or "" and why not even one could be sent."""
    ident = int.from_bytes(os.urandom(2), "big")
    waiting = {(address, number): str(address) for number, address in enumerate(addresses, 1)}
    failures, sent = [], 0
    with ExitStack() as stack:
        sockets: dict[int, socket.socket] = {}
        for version in {address.version for address in addresses}:  # a kernel may be without IPv6 (ipv6.disable=1)
            opening = _icmp6_socket(None, ICMP6_ECHO_REPLY) if version == 6 else _icmp_socket()
            try:
                sockets[version] = stack.enter_context(opening)
            except OSError as failure:
                failures.append(f"IPv{version}: {failure}")
        poll = select.poll()
        for sock in sockets.values():
            poll.register(sock, select.POLLIN)
        for address, number in waiting:
            if address.version not in sockets:
                continue
            try:
                _send_echo(sockets[address.version], address, ident, number, interface)
                sent += 1
            except OSError as failure:
                failures.append(f"{address}: {failure}")
        by_descriptor = {sock.fileno(): sock for sock in sockets.values()}
        deadline = Deadline.after(timeout_s)
        while sent and not deadline.expired:
            for descriptor, _ in poll.poll(deadline.left_s() * 1000):
                if found := waiting.get(_echo_reply(by_descriptor[descriptor], ident)):
                    return found, ""
    return "", "" if sent else "; ".join(failures)


def _send_echo(sock: socket.socket, address: Address, ident: int, number: int, interface: str | None) -> None:
    if isinstance(address, IPv6Address):
        scope = socket.if_nametoindex(interface) if interface and address.is_link_local else 0
        # the kernel fills in an ICMPv6 checksum
        sock.sendto(struct.pack(">BBHHH", ICMP6_ECHO, 0, 0, ident, number), (str(address), 0, 0, scope))
    else:
        checksum = 0xFFFF - _folded(ICMP_ECHO << 8, ident, number)
        sock.sendto(struct.pack(">BBHHH", ICMP_ECHO, 0, checksum, ident, number), (str(address), 0))


def _echo_reply(sock: socket.socket, ident: int) -> tuple[Address, int]:
    """Whose reply to which of our requests has come; (address, 0) for anything else."""
    data, sender = _receive_from(sock)
    return read_echo_reply(data, ip_address(sender.partition("%")[0]), ident)


def read_echo_reply(data: bytes, address: Address, ident: int) -> tuple[Address, int]:
    """Which of our requests (those with `ident`) a packet of `address` replies to: (address, its number), or 0."""
    if address.version == 4:
        data = data[(data[0] & 0xF) * 4 :] if data else b""  # behind the IP header
    reply_type = ICMP_ECHO_REPLY if address.version == 4 else ICMP6_ECHO_REPLY
    if len(data) < 8 or data[0] != reply_type or data[4:6] != struct.pack(">H", ident):
        return address, 0
    return address, int.from_bytes(data[6:8], "big")


def _folded(*words: int) -> int:
    """The one's complement sum of 16-bit words (RFC 1071).

    >>> hex(_folded(0xFFFF, 0x0001))
    '0x1'
    """
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


# --- sockets ---------------------------------------------------------------------------------------------


@contextmanager
def _packet_socket(interface: str, protocol: int) -> Iterator[socket.socket]:
    """A raw socket on one interface that gets one protocol's packets; 0: none."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            sock.setblocking(False)
            sock.bind((interface, protocol))
            yield sock
        finally:
            CLOSER.close(sock)
    except OSError as failure:
        raise ProbeError(f"could not send or receive on {interface}", f"{failure}.") from failure


@contextmanager
def _icmp_socket() -> Iterator[socket.socket]:
    """A raw ICMP socket that gets echo replies only."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP) as sock:
        sock.setblocking(False)
        sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", 0xFFFFFFFF & ~(1 << ICMP_ECHO_REPLY)))
        yield sock


@contextmanager
def _icmp6_socket(interface: str | None, wanted_type: int) -> Iterator[socket.socket]:
    """A raw ICMPv6 socket that gets one type of message only."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as sock:
        sock.setblocking(False)
        blocked = [0xFFFFFFFF] * 8
        blocked[wanted_type >> 5] &= ~(1 << (wanted_type & 31))
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("8I", *blocked))
        _bind_to(sock, interface)
        yield sock


def _bind_to(sock: socket.socket, interface: str | None) -> None:
    if interface:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")


def _readable(sock: socket.socket, deadline: Deadline) -> bool:
    """Wait for a packet; False when the time is over."""
    if deadline.expired:
        return False
    poll = select.poll()  # not select(): the daemon may have more than 1024 descriptors
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(deadline.left_s() * 1000))


def _mac(sock: socket.socket) -> str:
    """The hardware address of the interface that a packet socket is bound to (packet(7), sll_addr)."""
    raw: bytes = sock.getsockname()[4]
    return raw[:6].hex(":")


def _receive_from(sock: socket.socket) -> tuple[bytes, str]:
    try:
        data, source = sock.recvfrom(2048)
    except BlockingIOError:
        return b"", "0.0.0.0"  # noqa: S104 # nosec B104 # nobody
    sender: Any = source[0]
    return data, str(sender)
