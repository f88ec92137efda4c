"""Who has the two VIPs: this host, by its own interfaces; anybody else, by ARP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.values import Vip
from pgvip.system import netlink, packets

if TYPE_CHECKING:
    from pgvip.config.model import Config

ASK_TIMES = 2
ASK_WAIT_S = 0.1
"""Longer than before a claim: this one has time, and a wrong "nobody" would be noise."""


def held_vips(config: Config) -> frozenset[Vip]:
    """The VIPs that this host's interface carries now; ProbeError when that cannot be known."""
    held = netlink.held(config.me.interface)
    return frozenset(vip for vip, address in config.vips.items() if address.ip in held)


def elsewhere(config: Config) -> list[tuple[Vip, str]]:
    """VIPs on another interface of this host than the configured one: the kernel answers ARP for them all the same.

    ProbeError when that cannot be known.
    """
    found = netlink.everywhere()
    return [
        (vip, interface)
        for vip, address in config.vips.items()
        for interface, one in sorted(found, key=str)
        if one == address.ip and interface != config.me.interface
    ]


def who_answers(config: Config, vip: Vip) -> str:
    """The hardware address of another host that answers for a VIP, "" for nobody."""
    return packets.arp_who_has(config.me.interface, str(config.vips[vip].ip), ASK_TIMES, ASK_WAIT_S)
