"""Whether applications get a session through the VIPs of this host: by TCP, with TLS where the server has it.

The health of the server is judged by its Unix socket; what lies between it and clients (`listen_addresses`, TLS, a
firewall) shows here. No session is opened: TLS that comes about is the answer, or the demand for a password without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.deadlines import Deadline
from pgvip.errors import ProbeError
from pgvip.system.pgping import ping_as_client
from pgvip.system.sql import DATABASE_ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgvip.config.model import Config
    from pgvip.core.values import Vip

NO_SESSION = ("53", "57P03", "58", "XX")
"""SQLSTATEs, or their classes, that any client would get (manual, Appendix A): no resources, starting, broken."""


def probe(config: Config, vips: Iterable[Vip], timeout_s: float) -> bool:
    """True when a client can begin to log in through each of the addresses. ProbeError says why not."""
    deadline = Deadline.after(timeout_s)
    for vip in sorted(vips):
        address = str(config.vips[vip].ip)
        answer = ping_as_client(
            address, config.postgres.port, DATABASE_ROLE, config.postgres.database, deadline.left_s()
        )
        if answer.sqlstate.startswith(NO_SESSION):
            raise ProbeError(f"{address}: {answer.text}")
    return True
