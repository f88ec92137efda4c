"""Raising and dropping the virtual addresses."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.config import former_vips
from pgvip.deadlines import now_s
from pgvip.errors import PostgresError, ProbeError
from pgvip.probes import addresses
from pgvip.system import netlink, packets, sessions

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from pgvip.config.former_vips import Place
    from pgvip.config.model import Config
    from pgvip.core.values import Vip
    from pgvip.system.netlink import Interface

END_SESSIONS_S = 0.2
"""How long sessions through an address may take to end before it goes: the new owner is waiting."""

CHECK_TIMES = 3
CHECK_WAIT_S, CHECK_LONGER_S = 0.005, 0.02
"""RFC 5227 probes for seconds; after a confirmed fence or consent it may be short: it ends within the promotion."""

ANNOUNCE_TIMES = 5
"""As keepalived does; the daemon repeats it slowly while the address is held."""


_changing = threading.Lock()
"""Between a check of the addresses and what is done by it, nobody drops one: it would come back, or be announced."""


def add(config: Config, vip: Vip) -> None:
    """Give this host the address, see it in place, and announce it. VipError when it is not there.

    Its former addresses follow, by `complete`: whoever waits for the new one waits for none of them.
    """
    with _changing:
        netlink.add_address(config.me.interface, config.vips[vip], config.valid_lft_s)
        _announce(config.me.interface, config.vips[vip])


def complete(config: Config, vip: Vip, lifetime_s: int) -> list[str]:
    """Raise what is missing beside an address of this VIP that is here: its own, or a former one that is still served.

    What another host answers for is left out; it is tried again. Returns what was raised. VipError, ProbeError.
    """
    raised = []
    for place in former_vips.served(config, vip, now_s()):
        if _is_anywhere(config, place) or packets.arp_who_has(place.interface, str(place.address.ip), CHECK_TIMES,
                                                              CHECK_WAIT_S, CHECK_LONGER_S):  # fmt: skip
            continue
        with _changing:
            if addresses.carried(config, vip):  # not dropped since
                netlink.add_address(place.interface, place.address, lifetime_s)
                _announce(place.interface, place.address)
                raised.append(f"{place.address.ip} on {place.interface}")
    return raised


def _is_anywhere(config: Config, place: Place) -> bool:
    """Whether this host carries the address, be it on the interface that it had before."""
    former = [one for one in config.former_vips if one.address.ip == place.address.ip]
    return any(place.address.ip in _held(name) for name in {place.interface, *(one.interface for one in former)})


def _held(interface: str) -> set[IPv4Address | IPv6Address]:
    try:
        return netlink.held(interface)
    except ProbeError:  # an interface that is gone carries nothing
        return set()


def renew(config: Config, vip: Vip, lifetime_s: int) -> bool:
    """Give an address that is here so much time to live; False when it is not here, and stays so."""
    with _changing:
        here = addresses.carried(config, vip)
        for place in here:
            netlink.add_address(place.interface, place.address, lifetime_s)
        return bool(here)


def announce(config: Config, vip: Vip) -> bool:
    """Announce the address to every neighbour; False when it is not here. ProbeError when nothing can be sent."""
    with _changing:
        here = addresses.carried(config, vip)
        for place in here:
            _announce(place.interface, place.address)
        return bool(here)


def _announce(interface: str, address: Interface) -> None:
    packets.announce(interface, str(address.ip), ANNOUNCE_TIMES)


def drop(config: Config, vip: Vip) -> int:
    """End the sessions that came in through the address, drop it, and see it gone; its former addresses as well.

    Sessions that do not end in time do not keep the address; how many they are is returned. VipError when the
    address is still there.
    """
    own, former = config.vips[vip], former_vips.counted(config, vip, now_s())
    left = sum(_end_sessions(config, place.address) for place in addresses.carried(config, vip))
    with _changing:
        netlink.drop_address(config.me.interface, own)
        for place in former:
            if netlink.carries(place.interface, place.address):
                netlink.drop_address(place.interface, place.address, exactly=True)
    return left


def drop_former(config: Config, interface: str, address: Interface) -> None:
    """The same for an address that was a VIP and is configured no more, with this very prefix. VipError."""
    _end_sessions(config, address)
    with _changing:
        netlink.drop_address(interface, address, exactly=True)


def _end_sessions(config: Config, address: Interface) -> int:
    """How many are left."""
    # A dead disk, on which the server's processes are looked up, must not keep the address here.
    with suppress(PostgresError, OSError):
        return sessions.end_sessions(
            str(address.ip), config.postgres.port, END_SESSIONS_S, config.postgres.data_directory
        )
    return 0


def check(config: Config, vip: Vip) -> str:
    """The hardware address of another host that has the address now, "" for nobody; takes 0.035 s then."""
    address = str(config.vips[vip].ip)
    return packets.arp_who_has(config.me.interface, address, CHECK_TIMES, CHECK_WAIT_S, CHECK_LONGER_S)
