"""Raising and dropping the virtual addresses."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.errors import PostgresError
from pgvip.system import netlink, packets, sessions

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.values import Vip
    from pgvip.system.netlink import Interface

END_SESSIONS_S = 0.2
"""How long sessions through an address may take to end before it goes: the new owner is waiting."""

CHECK_TIMES = 3
CHECK_WAIT_S, CHECK_LONGER_S = 0.01, 0.03
"""RFC 5227 probes for seconds; after a confirmed fence or consent it may be short: it ends within the promotion."""

ANNOUNCE_TIMES = 5
"""As keepalived does; the daemon repeats it slowly while the address is held."""


_changing = threading.Lock()
"""Between a check of the addresses and what is done by it, nobody drops one: it would come back, or be announced."""


def add(config: Config, vip: Vip) -> None:
    """Give this host the address, see it in place, and announce it. VipError when it is not there."""
    with _changing:
        netlink.add_address(config.me.interface, config.vips[vip], config.valid_lft_s)
        _announce(config, vip)


def renew(config: Config, vip: Vip, lifetime_s: int) -> bool:
    """Give an address that is here so much time to live; False when it is not here, and stays so."""
    with _changing:
        here = config.vips[vip].ip in netlink.held(config.me.interface)
        if here:
            netlink.add_address(config.me.interface, config.vips[vip], lifetime_s)
        return here


def announce(config: Config, vip: Vip) -> bool:
    """Announce the address to every neighbour; False when it is not here. ProbeError when nothing can be sent."""
    with _changing:
        here = config.vips[vip].ip in netlink.held(config.me.interface)
        if here:
            _announce(config, vip)
        return here


def _announce(config: Config, vip: Vip) -> None:
    packets.announce(config.me.interface, str(config.vips[vip].ip), ANNOUNCE_TIMES)


def drop(config: Config, vip: Vip) -> int:
    """End the sessions that came in through the address, drop it, and see it gone.

    Sessions that do not end in time do not keep the address; how many they are is returned. VipError when the
    address is still there.
    """
    address = config.vips[vip]
    left = _end_sessions(config, address) if address.ip in netlink.held(config.me.interface) else 0
    with _changing:
        netlink.drop_address(config.me.interface, address)
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
    """The hardware address of another host that has the address now, "" for nobody; takes 0.06 s then."""
    address = str(config.vips[vip].ip)
    return packets.arp_who_has(config.me.interface, address, CHECK_TIMES, CHECK_WAIT_S, CHECK_LONGER_S)
