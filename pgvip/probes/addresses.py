"""Who has the two VIPs: this host, by its own interfaces; anybody else, by ARP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.config import former_vips
from pgvip.config.former_vips import Place
from pgvip.core.values import Vip
from pgvip.deadlines import now_s
from pgvip.system import interfaces, packets

if TYPE_CHECKING:
    from pgvip.config.model import Config

ASK_TIMES = 2
ASK_WAIT_S = 0.1
"""Longer than before a claim: this one has time, and a wrong "nobody" would be noise."""


def held_vips(config: Config) -> frozenset[Vip]:
    """The VIPs that this host carries now, be it by a former address; ProbeError when that cannot be known."""
    return frozenset(vip for vip in config.vips if carried(config, vip))


def carried(config: Config, vip: Vip) -> list[Place]:
    """Where this host carries the VIP: its own address, or former ones just as they were raised. ProbeError."""
    at_s, found = now_s(), list[Place]()
    own = former_vips.served(config, vip, at_s)[0]
    if own.address.ip in interfaces.held(own.interface):
        found.append(own)
    former = former_vips.counted(config, vip, at_s)
    return found + [one for one in former if interfaces.carries(one.interface, one.address)]


def elsewhere(config: Config) -> list[tuple[Vip, str]]:
    """VIPs on another interface of this host than the configured one: the kernel answers ARP for them all the same.

    ProbeError when that cannot be known.
    """
    found = interfaces.everywhere()
    return [
        (vip, interface)
        for vip, address in config.vips.items()
        for interface, one in sorted(found, key=str)
        if one == address.ip and interface != config.me.interface
    ]


def who_answers(config: Config, vip: Vip) -> str:
    """The hardware address of another host that answers for a VIP, "" for nobody."""
    return packets.arp_who_has(config.me.interface, str(config.vips[vip].ip), ASK_TIMES, ASK_WAIT_S)
