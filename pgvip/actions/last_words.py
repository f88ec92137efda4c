"""Why the server ended: what its logs have got since it was started last."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgvip.deadlines import now_s
from pgvip.errors import PostgresError
from pgvip.system import server_log
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config

LOG_LINES, LOG_BYTES = 8, 1 << 16


class _Start(NamedTuple):
    """When the server was started last, and how long its logs were then."""

    at_s: float
    logs: list[server_log.Log]


_STARTED: dict[Path, _Start] = {}
"""By data directory, for the life of this process."""


def log_file(config: Config) -> Path:
    """Where the server writes until its own logging collector starts (without a systemd unit)."""
    data = config.postgres.data_directory
    return data.with_name(f"{data.name}.log")


def begin(config: Config) -> str:
    """Remember that the server is started now; returns what ended it after its last start, "" for nothing known."""
    ended = fatal(config)
    logs: list[server_log.Log] = []
    with suppress(PostgresError):
        logs = server_log.now(config, log_file(config))
    _STARTED[config.postgres.data_directory] = _Start(now_s(), logs)
    return ended


def fatal(config: Config) -> str:
    """What ended the server after its last start, as its log says; "" for nothing known."""
    return server_log.cause(_written(config))


def why(config: Config) -> str:
    """PostgreSQL's own reason and hint, else the last lines of its log."""
    lines = _written(config)
    if found := server_log.cause(lines):
        return found
    if not lines and config.postgres.unit:
        return f"See journalctl -u {config.postgres.unit}."
    return "\n".join(lines[-LOG_LINES:]) or end_of_log(config)


def _written(config: Config) -> list[str]:
    """What the server wrote since it was started last by this process; a log that cannot be read only reports less."""
    started = _STARTED.get(config.postgres.data_directory)
    if started is None:
        return []
    lines: list[str] = []
    with suppress(PostgresError):
        lines = server_log.added(config, log_file(config), started.logs)
    if config.postgres.unit:
        lines += server_log.of_unit(config.postgres.unit, now_s() - started.at_s)
    return lines


@as_postgres()
def end_of_log(config: Config) -> str:
    """The last lines of the server's log."""
    try:
        with log_file(config).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_BYTES))
            lines = file.read(LOG_BYTES).decode(errors="replace").splitlines()
    except OSError as failure:
        return f"Its log could not be read: {failure}."
    return "\n".join(lines[-LOG_LINES:])
