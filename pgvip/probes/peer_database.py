"""The peer's database, over the network: a new connection and a query, as any client would."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from pgvip.core.model import PeerDatabase
from pgvip.errors import ProbeError
from pgvip.system.sql import connect_peer

if TYPE_CHECKING:
    from pgvip.config import Config


def probe(config: Config, address: str, timeout_s: float) -> PeerDatabase:
    """Ask the database at `address` (the peer's own, or a VIP) who it is.

    Raises NoAnswer, or ServerAnswered when a live server refused in words; both are ProbeErrors.
    """
    with connect_peer(config, address) as session:
        in_recovery, timeline, system_id = session.query("peer_database", timeout_s=timeout_s)[0]
    return PeerDatabase(in_recovery=in_recovery, timeline=timeline, system_id=system_id)


def port_open(config: Config, address: str, timeout_s: float) -> bool:
    """True when the database's port accepts TCP; proves no more than a living kernel.

    Raises ProbeError when it does not.
    """
    try:
        socket.create_connection((address, config.postgres.port), timeout=timeout_s).close()
    except OSError as failure:
        raise ProbeError(f"port {config.postgres.port} of {address} is closed", f"{failure}.") from failure
    return True
