"""What every session of pgvip's sets for itself, so that no default of a file, a database or a role changes it.

What a connection asks for when it starts wins over all of these (manual, 20.1.4). What only a superuser may set
(`session_preload_libraries`, `log_statement`), setup.sql sets for pgvip's roles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

IMMUNE = {
    # A hot standby refuses serializable transactions: it would seem not to answer.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "search_path": "pg_catalog",
    "role": "none",
    "row_security": "on",
    "local_preload_libraries": "",
    "client_min_messages": "warning",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    # Compiling each of our short queries would cost far more than running it.
    "jit": "off",
    # A session whose client lost the network is ended by the server, not only after the kernel's two hours: it would
    # keep its place among max_connections, and a network that fails again and again would use them all up.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
SUPERUSER = {**IMMUNE, "session_preload_libraries": ""}
"""For the programs that connect as PostgreSQL's own user."""
NEWER = {17: {"transaction_timeout": "0", "event_triggers": "off"}}
"""What superusers' sessions need besides, by the first major version that has it: event triggers run on login, too."""

ALONE = {key: value for key, value in SUPERUSER.items() if key != "role"}
"""For single-user mode, on its command line."""

RECEIVER = {
    "role": "none",
    "statement_timeout": "0",
    # Of this receiver's own sender: a returned standby finds its slot in use until the one to its former self gives
    # up. For the whole server it would end slow logical consumers.
    "wal_sender_timeout": "10s",
}
"""For the WAL receiver, and the worker that synchronizes logical failover slots."""


def of_witness(timeout_s: float) -> dict[str, str]:
    """For sessions at a witness, whose version may be 12: what it has answered must be on its disk."""
    settings = {key: value for key, value in IMMUNE.items() if key != "idle_session_timeout"}  # new in 14
    limit = f"{timeout_s * 1000:.0f}"
    return {**settings, "synchronous_commit": "on", "statement_timeout": limit, "lock_timeout": limit}


def superuser(version: int) -> dict[str, str]:
    """For a session of PostgreSQL's own user at a server of this major version."""
    return SUPERUSER | {key: value for since, more in NEWER.items() if version >= since for key, value in more.items()}


def options(settings: Mapping[str, str]) -> str:
    r"""The connection parameter `options`, in which a blank in a value is escaped (manual, 34.1.2).

    >>> options({"default_transaction_isolation": "read committed", "role": "none"})
    '-c default_transaction_isolation=read\\ committed -c role=none'
    """
    escaped = {key: value.replace("\\", "\\\\").replace(" ", "\\ ") for key, value in settings.items()}
    return " ".join(f"-c {key}={value}" for key, value in escaped.items())


def environment(settings: Mapping[str, str] = IMMUNE) -> dict[str, str]:
    """The same for PostgreSQL's programs."""
    return {"PGOPTIONS": options(settings), "PGCLIENTENCODING": "UTF8"}
