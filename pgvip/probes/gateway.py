"""Whether this host still has a network: one of the gateway targets answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import ProbeError
from pgvip.system import packets

if TYPE_CHECKING:
    from pgvip.config.model import Config

TIMEOUT_S_MAX = 1.0
"""An answer on the own network takes milliseconds; a second is a lost packet."""


def probe(config: Config) -> str:
    """The target that answered first, by echo or, as a neighbour, by ARP. ProbeError when none did."""
    timeout_s = min(config.settings.interval_s, TIMEOUT_S_MAX)
    answered = packets.ping_any(config.me.interface, config.gateways, timeout_s)
    if not answered:
        raise ProbeError("no gateway target answers", f"Asked: {', '.join(config.gateways)}.")
    return answered
