"""What a set-up command asks the network before it begins: gateways, and who holds the addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import PgvipError, ProbeError, RefusedError
from pgvip.system import packets

if TYPE_CHECKING:
    from pgvip.config.model import Config

PING_S = 1.0


def gateway_warnings(config: Config) -> list[tuple[str, str]]:
    """What the gateways do now that may be meant, and may be a mistake: (what, hint)."""
    try:
        if packets.ping_any(config.me.interface, config.gateways, PING_S):
            return []
    except ProbeError as failure:
        return [(failure.message, failure.detail)]
    hint = "Without one, this host neither takes over nor fences; correct gateway.targets."
    return [(f"no gateway answers a ping: {', '.join(config.gateways)}", hint)]


def vip_problems(config: Config) -> list[PgvipError]:
    """A VIP that another host answers for, or that nobody could be asked for."""
    found: list[PgvipError] = []
    for vip, address in config.vips.items():
        try:
            mac = packets.arp_who_has(config.me.interface, str(address.ip))
        except ProbeError as failure:
            found.append(RefusedError(f"could not ask who holds {address.ip}: {failure.message}", failure.detail))
            continue
        if mac:
            hint = f"It must be free: correct addresses.{vip.value}, end what holds it, or use --accept-vip-in-use."
            found.append(RefusedError(f"{address.ip} is in use already, by {mac}", hint=hint))
    return found
