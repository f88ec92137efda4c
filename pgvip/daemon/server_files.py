"""Keeps PostgreSQL's files as the configuration has them while the server runs, and what ends recovery out of them."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from pgvip.core.settings import StandingWarning
from pgvip.core.warning_row import WarningRow, warned
from pgvip.errors import PgvipError
from pgvip.events import event_log
from pgvip.setup import access
from pgvip.system import pgconf, pgtools, processes, server_settings

if TYPE_CHECKING:
    from pgvip.config.model import Config

WARNINGS: tuple[WarningRow[str], ...] = (
    WarningRow("access-missing", lambda v: v,
               "pgvip's lines in pg_hba.conf and pg_ident.conf are not as they must be: {it}",
               "copy them from the other host, where they are the same; with postgresql.keep_access they are put back "
               "by themselves"),
)  # fmt: skip
UNWRITTEN: tuple[WarningRow[PgvipError | None], ...] = (
    WarningRow("settings-unwritten", lambda v: v,
               "PostgreSQL does not get what was changed in pgvip's configuration: {it.message}",
               "see that PostgreSQL's user can write the directory of postgresql.conf; it is tried again by itself"),
)  # fmt: skip


WRITING = threading.Lock()
"""Held by whoever writes these files from the configuration in force: nobody may write by one that is past."""


def reset_recovery(config: Config) -> None:
    """Take what ends or delays recovery out of postgresql.auto.conf, where it would win at a restart by hand.

    A standby with a recovery target would open itself beside the primary, or drop what was acknowledged. What cannot be
    reset stands as a warning (`settings-overridden`).
    """
    if processes.postmaster(config.postgres.data_directory) is None:
        return  # the start takes it out
    try:
        for name in sorted(pgconf.auto_conf_keys(config) & server_settings.of_recovery()):
            pgtools.psql(config, f"ALTER SYSTEM RESET {name};")
            event_log.log("settings-reset", f"somebody has set {name} by ALTER SYSTEM; it was reset")
    except PgvipError:
        return


def follow(config: Config) -> tuple[StandingWarning, ...]:
    """Have the running server take what was changed in the configuration and needs no restart (`pgconf.RELOADED`).

    Where it cannot be written, that is a warning.
    """
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None:
        return ()  # the start writes it
    try:
        if pgconf.refresh(config):
            processes.send(postmaster, pgconf.RELOAD)
            event_log.log("reload", "PostgreSQL has taken changed settings of pgvip.conf")
    except PgvipError as failure:
        return warned(UNWRITTEN, failure)
    return ()


def admit(config: Config) -> tuple[StandingWarning, ...]:
    """Have the running server let pgvip in from the addresses that the hosts have now, by the lines of pg_hba.conf.

    The configuration has changed, so this is no line of others that is put back. Where it cannot be, it is a warning.
    """
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None:
        return ()
    try:
        if access.write_access(config):
            processes.send(postmaster, signal.SIGHUP)
            event_log.log("reload", "pgvip's lines in pg_hba.conf have the addresses of the configuration")
    except (PgvipError, OSError) as failure:
        return warned(WARNINGS, failure.message if isinstance(failure, PgvipError) else str(failure))
    return ()


def keep(config: Config) -> tuple[StandingWarning, ...]:
    """See that both files have pgvip's lines; what is wrong and stays so is a warning.

    Whoever manages these files may write them again; each time that pgvip has put its lines back is an event.
    """
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is None:
        return ()
    try:
        if config.postgres.keep_access:
            if access.write_access(config):
                processes.send(postmaster, signal.SIGHUP)
                text = "pgvip's lines were missing in pg_hba.conf or pg_ident.conf, and were put back"
                event_log.log("access-restored", text)
            return ()
        why = "" if access.is_complete(config) else "they were changed or taken out"
    except (PgvipError, OSError) as failure:
        why = failure.message if isinstance(failure, PgvipError) else str(failure)
    return warned(WARNINGS, why)
