"""Paths between the hosts, each with its own cuts, per direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.machine import Host

PATHS = ("link", "db", "stream", "connect", "gateway", "fence", "client")
WITHIN = {"stream": "db", "connect": "db"}
"""db: all that the databases' network carries, ARP too; of it, stream: replication; connect: new connections."""


class Network:
    """`cuts` holds (path, name of the host whose packets are lost)."""

    def __init__(self) -> None:
        self.cuts: set[tuple[str, str]] = set()

    def sends(self, path: str, source: Host) -> bool:
        """Packets that `source` sends on `path` arrive."""
        cuts = self.cuts
        if not cuts:
            return True
        return (path, source.name) not in cuts and (WITHIN.get(path), source.name) not in cuts

    def open(self, path: str, one: Host, other: Host) -> bool:
        """Both hosts have power and packets go both ways."""
        return one.powered and other.powered and self.sends(path, one) and self.sends(path, other)
