"""Whether this host's network configuration raises a VIP at boot: then two hosts may hold it until pgvip runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.config.read import wrong
from pgvip.state import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config
    from pgvip.errors import ConfigError

PLACES = (
    "etc/systemd/network/*.network", "etc/systemd/network/*.network.d/*.conf", "etc/netplan/*.yaml",
    "etc/network/interfaces", "etc/network/interfaces.d/*", "etc/NetworkManager/system-connections/*",
    "etc/sysconfig/network-scripts/ifcfg-*",
)  # fmt: skip
"""Of systemd-networkd, netplan, ifupdown, NetworkManager (keyfiles, and those of the RHEL family)."""
FILE_BYTES_MAX = 1 << 20


def static_vips(config: Config, root: Path = Path("/")) -> Iterator[ConfigError]:
    """Each file that gives a VIP to this host. What cannot be read is left out: who is not root sees less."""
    for path in sorted(found for place in PLACES for found in root.glob(place)):
        try:
            text = files.read(path, FILE_BYTES_MAX).decode(errors="replace")
        except OSError:
            continue
        lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
        for vip, address in config.vips.items():
            whole = re.compile(rf"(?<![\w.:]){re.escape(str(address.ip))}(?![\w.:])")
            if any(map(whole.search, lines)):
                yield wrong(
                    f"addresses.{vip.value}", str(address.ip), f"is in {path} too: this host raises it at each boot",
                    "Remove it there, and reload the network's configuration: pgvip alone raises and drops it.",
                    "Until pgvip runs, it may be on both hosts.",
                )
