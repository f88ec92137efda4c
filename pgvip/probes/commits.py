"""Whether commits of this server wait for the standby wherever nobody has asked otherwise in a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import PostgresError, ProbeError
from pgvip.system import pgtools
from pgvip.system.sql import connect_local

if TYPE_CHECKING:
    from pgvip.config.model import Config

WEAK = ("off", "local", "remote_write")
"""synchronous_commit at which an acknowledged commit need not be on the standby's disk (manual, 20.5.1)."""


def probe(config: Config, timeout_s: float) -> str:
    """Where synchronous_commit is below `on`: for the cluster, a database, a role; "" where nowhere.

    The files are asked by PostgreSQL's own program: our sessions have a setting of their own. ProbeError when that
    cannot be known.
    """
    with connect_local(config) as session:
        rows = session.query("weak_commit", timeout_s=timeout_s)
    found = [f"{setting} for {role} in {database}" for database, role, setting in rows]
    try:
        everywhere = pgtools.server_setting(config, "synchronous_commit")
    except PostgresError as failure:
        raise ProbeError(failure.message, failure.detail) from failure
    if everywhere in WEAK:
        found.insert(0, f"synchronous_commit={everywhere} for the whole server")
    return ", ".join(found)
