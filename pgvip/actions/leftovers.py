"""Addresses that this daemon, or one before it, raised and that are configured no more: they are dropped.

What is raised is remembered before it is, below /run: in memory, so that no disk delays it. Only what is carried
exactly as it was raised (interface, address and prefix) is dropped, once; an address that somebody gave this host by
other means stays.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TYPE_CHECKING

from pgvip.actions import vip as addresses
from pgvip.config import former_vips
from pgvip.deadlines import now_s
from pgvip.errors import FormatError, ProbeError
from pgvip.events.event_log import log
from pgvip.state import codec, files
from pgvip.system import netlink

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.core.values import Vip

BYTES_MAX = 64 * 1024
REMEMBERED_MAX = 100


@dataclass(frozen=True, slots=True, order=True)
class Raised:
    """One address with its prefix, and where it was raised."""

    interface: str
    address: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept in the file."""

    raised: tuple[Raised, ...] = ()


_changing = threading.Lock()
"""The memory is read, changed and written by one thread at a time."""


def remember(config: Config, vip: Vip) -> None:
    """Remember a VIP that is about to be raised, with its former addresses: the daemon may end right after that.

    ProbeError.
    """
    with _changing:
        known = set(_remembered(config))
        _write(config, known, known | _served(config, vip))


def remember_and_drop(config: Config, held: frozenset[Vip]) -> bool:
    """Remember which VIPs are here now, and drop what was remembered and is configured no more.

    True when something was dropped. ProbeError or VipError when that is not known or fails: the next call tries again.
    """
    with _changing:
        configured = set[Raised]().union(*(_served(config, vip) for vip in config.vips))
        known = set(_remembered(config))
        dropped = [one for one in sorted(known - configured) if _drop(config, one)]
        _write(config, known, (known & configured) | {_raised(config, vip) for vip in held})
        return bool(dropped)


def _raised(config: Config, vip: Vip) -> Raised:
    return Raised(config.me.interface, str(config.vips[vip]))


def _served(config: Config, vip: Vip) -> set[Raised]:
    """Where the VIP may be, former addresses whose time is not over included."""
    return {Raised(one.interface, str(one.address)) for one in former_vips.served(config, vip, now_s())}


def _write(config: Config, known: set[Raised], wanted: set[Raised]) -> None:
    if wanted == known:
        return
    try:
        files.write(config.paths.raised, codec.to_text(Memory(tuple(sorted(wanted)[:REMEMBERED_MAX]))))
    except OSError as failure:
        raise ProbeError("could not remember the raised addresses", f"{failure}.") from failure


def _drop(config: Config, one: Raised) -> bool:
    """Drop it where it is carried just as it was raised; whether it was."""
    try:
        address = ip_interface(one.address)
    except ValueError:
        return False
    if not netlink.carries(one.interface, address):
        return False
    addresses.drop_former(config, one.interface, address)
    log("address-dropped", f"{address.ip} on {one.interface}: pgvip raised it, and it is configured no more")
    return True


def _remembered(config: Config) -> tuple[Raised, ...]:
    try:
        return codec.from_file(Memory, config.paths.raised, max_bytes=BYTES_MAX).raised
    except (FileNotFoundError, FormatError):
        return ()  # what makes no sense is written afresh
    except OSError as failure:
        raise ProbeError("could not read which addresses were raised", f"{failure}.") from failure
