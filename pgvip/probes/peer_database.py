"""The peer's database, over the network: a new connection, a login and a query, as any client would.

Only what proves to be the pair's own counts: an answer to the query, with the pair's system identifier. A refusal, an
error, another cluster or a connection that is accepted and no more may come from anybody who took the address: each is
a failed look, and what answered is named, for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.observations import PeerDatabase
from pgvip.deadlines import Deadline
from pgvip.errors import ProbeError
from pgvip.system.pgping import NotPostgresError, ping
from pgvip.system.sql import DATABASE_ROLE, NoAnswer, connect_peer

if TYPE_CHECKING:
    from pgvip.config.model import Config


class StrangerError(ProbeError):
    """Something answers at the address, and does not prove to be the peer's database."""


def probe(config: Config, address: str, system_id: str, timeout_s: float) -> PeerDatabase:
    """Ask the database at `address` (the peer's own, or a VIP) who it is. `system_id`: the pair's; "" when not known.

    Raises NoAnswer when nobody answers, StrangerError when something does that does not prove to be the peer.
    """
    deadline = Deadline.after(timeout_s)
    try:
        with connect_peer(config, address) as session:
            in_recovery, timeline, found = session.query("peer_database", timeout_s=timeout_s)[0]
    except NoAnswer as silence:
        if text := _not_postgres(config, address, deadline):
            raise StrangerError(f"something answers at {address}: {text}") from silence
        raise
    except ProbeError as failure:
        text = " ".join(f"{failure.message}: {failure.detail}".rstrip(": ").split())
        raise StrangerError(f"something answers at {address}: {text}") from failure
    if system_id and found != system_id:
        raise StrangerError(f"something answers at {address}: a database with the system identifier {found}")
    return PeerDatabase(in_recovery=in_recovery, timeline=timeline, system_id=found)


def _not_postgres(config: Config, address: str, deadline: Deadline) -> str:
    """What is said there that is not PostgreSQL's protocol; the driver reports that like silence."""
    try:
        ping(address, config.postgres.port, DATABASE_ROLE, config.postgres.database, deadline.left_s())
    except NotPostgresError as failure:
        return failure.message
    except ProbeError:
        return ""
    return ""
