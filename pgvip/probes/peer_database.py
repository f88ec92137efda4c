"""The peer's database, over the network: a new connection and a query, as any client would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.core.observations import PeerDatabase
from pgvip.deadlines import Deadline
from pgvip.system.pgping import ping
from pgvip.system.sql import DATABASE_ROLE, ServerAnswered, connect_peer

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.system.pgping import Answer

BUSY, FORBIDDEN = "53300", "28"
"""SQLSTATE of too many connections, and class of a refused login (manual, Appendix A)."""


def probe(config: Config, address: str, timeout_s: float) -> PeerDatabase:
    """Ask the database at `address` (the peer's own, or a VIP) who it is.

    One that is full, or does not let this role in, works for others: it is an answer, from nobody known. Raises
    NoAnswer, or ServerAnswered when a live server said that it serves nobody; both are ProbeErrors.
    """
    deadline = Deadline.after(timeout_s)
    try:
        with connect_peer(config, address) as session:
            in_recovery, timeline, system_id = session.query("peer_database", timeout_s=timeout_s)[0]
    except ServerAnswered:
        # The driver does not tell why a connection was refused (which is no reason to think it dead).
        answer = ping(address, config.postgres.port, DATABASE_ROLE, config.postgres.database, deadline.left_s())
        if not _works(answer):
            raise
        return PeerDatabase(in_recovery=None)
    return PeerDatabase(in_recovery=in_recovery, timeline=timeline, system_id=system_id)


def _works(answer: Answer) -> bool:
    """The server serves, though not us: it came as far as to ask for a password, is full, or forbids the login."""
    asked = not answer.sqlstate and not answer.text
    return answer.ready or asked or answer.sqlstate == BUSY or answer.sqlstate.startswith(FORBIDDEN)
