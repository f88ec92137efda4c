"""What a VIP's address was until the configuration changed: it is served beside the new one for `addresses.overlap_s`.

A former address goes with its VIP: whoever holds that raises it, and who gives that up drops it in the same step. So it
is never on two hosts, whichever of them has read the changed file yet. Each daemon remembers below /run, of this boot,
which addresses the VIPs have and had: a restart goes on where a reload did.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from pgvip.config.model import FormerAddress, FormerVip, Interface
from pgvip.core.values import Vip
from pgvip.errors import FormatError
from pgvip.state import codec, files

if TYPE_CHECKING:
    from pgvip.config.model import Config

BYTES_MAX = 64 * 1024
FORMER_MAX = 20
LET_IN_S = 600.0
"""For so long pgvip's roles may come from the own address that a host had, until both hosts use the new one."""
COUNTED_S = 60.0
"""After its end a former address that is still here counts as held, until whoever drops it has seen to it."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address of a VIP, and where it is raised."""

    vip: Vip
    interface: str
    address: Interface


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept in the file."""

    current: tuple[Place, ...] = ()
    former: tuple[FormerVip, ...] = ()
    hosts: tuple[str, ...] = ()
    former_hosts: tuple[FormerAddress, ...] = ()


def served(config: Config, vip: Vip, at_s: float) -> list[Place]:
    """Where a VIP is to be on the host that holds it: its own address first, then the former ones."""
    former = [one for one in config.former_vips if one.vip is vip and at_s < one.until_s]
    return [_current(config, vip), *(Place(vip, one.interface, one.address) for one in former)]


def counted(config: Config, vip: Vip, at_s: float) -> list[Place]:
    """The former addresses that make this host hold the VIP, and go with it."""
    former = [one for one in config.former_vips if one.vip is vip and at_s < one.until_s + COUNTED_S]
    return [Place(vip, one.interface, one.address) for one in former]


def clash(old: Config, new: Config, at_s: float) -> str:
    """Why the VIPs must not become what `new` says: one role's address would be the other's at once; "" if they may."""
    for vip, other in ((Vip.PRIMARY, Vip.STANDBY), (Vip.STANDBY, Vip.PRIMARY)):
        if new.vips[vip].ip in {place.address.ip for place in served(old, other, at_s)}:
            return (
                f"addresses.{vip.value} = {new.vips[vip].ip} is still served as the {other.value} VIP; give that one "
                "another address first, and wait for overlap_s"
            )
    return ""


def succeeding(config: Config, known: Memory, at_s: float) -> Config:
    """The configuration with the former addresses that follow from what was in force before."""
    current = {_current(config, vip) for vip in Vip}
    own = {ip_address(config.me.address), ip_address(config.peer.address)}
    found = [
        dataclasses.replace(one, until_s=min(one.until_s, at_s + config.overlap_s))
        for one in known.former
        if at_s < one.until_s + COUNTED_S
    ]
    found += [FormerVip(one.vip, one.interface, one.address, at_s + config.overlap_s) for one in known.current]
    taken = {interface.ip for interface in config.vips.values()}
    former = dict[Place, FormerVip]()
    for one in found:
        place = Place(one.vip, one.interface, one.address)
        if place in current or place in former or one.address.ip in own:
            continue
        ends = one.interface != config.me.interface or one.address.ip in taken
        former[place] = dataclasses.replace(one, until_s=min(one.until_s, at_s)) if ends else one
    return dataclasses.replace(
        config,
        former_vips=tuple(former.values())[-FORMER_MAX:],
        former_addresses=_former_hosts(config, known, at_s)[-FORMER_MAX:],
    )


def _former_hosts(config: Config, known: Memory, at_s: float) -> tuple[FormerAddress, ...]:
    """The own addresses that the hosts had."""
    own = {config.me.address, config.peer.address}
    found = {one: FormerAddress(one, at_s + LET_IN_S) for one in known.hosts}
    found |= {one.address: one for one in known.former_hosts if at_s < one.until_s <= at_s + LET_IN_S}
    return tuple(one for address, one in found.items() if address not in own)


def after(old: Config, new: Config, at_s: float) -> Config:
    """`new`, which is in force after `old`."""
    return succeeding(new, memory_of(old), at_s)


def at_start(config: Config, at_s: float) -> Config:
    """The same for a daemon that starts: by what the one before it had in force, in this boot."""
    return succeeding(config, _known(config), at_s)


def with_former(config: Config) -> Config:
    """The same for commands: the former addresses that the daemon here serves and lets in."""
    known = _known(config)
    return dataclasses.replace(config, former_vips=known.former, former_addresses=known.former_hosts)


def _known(config: Config) -> Memory:
    try:
        return codec.from_file(Memory, config.paths.vips, max_bytes=BYTES_MAX)
    except (OSError, FormatError):
        return Memory()  # what cannot be read is written afresh, and what was raised is dropped (actions.leftovers)


def keep(config: Config) -> None:
    """Remember what is in force. OSError."""
    files.write(config.paths.vips, codec.to_json(memory_of(config)), durable=False)


def memory_of(config: Config) -> Memory:
    """What of this configuration is remembered."""
    hosts = tuple(sorted((config.me.address, config.peer.address)))
    current = tuple(_current(config, vip) for vip in Vip)
    return Memory(current, config.former_vips, hosts, config.former_addresses)


def _current(config: Config, vip: Vip) -> Place:
    return Place(vip, config.me.interface, config.vips[vip])
