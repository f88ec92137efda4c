"""Diverged data made to follow the peer by pg_rewind; what goes wrong before it has changed anything is no loss."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.actions import prepare, slots
from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import CommandError, RejoinError
from pgvip.rejoin import own_files, source
from pgvip.system import pgconf, pgtools, session_settings
from pgvip.system.commands import check, run

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.rejoin.source import Source
    from pgvip.system.commands import Completed

Say = Callable[[str], None]

CHANGES_BEGIN = re.compile(r"need to copy|creating backup label|syncing target", re.IGNORECASE)
"""What pg_rewind prints from the moment on at which it changes the target (src/bin/pg_rewind/pg_rewind.c)."""

CONNECTION_LOST = re.compile(
    r"connection to server|could not connect|closed the connection|terminating connection|no connection to the server"
    r"|could not (?:receive|send) data|SSL (?:SYSCALL )?error|timeout expired",
    re.IGNORECASE,
)
"""What libpq says when it is not the data that pg_rewind failed on (src/interfaces/libpq)."""

RECOVERY_S = 3600.0
"""For crash recovery in single-user mode: replays what was written since the last checkpoint."""


def why_no_rewind(config: Config, end: WalPoint, found: Source, strange: frozenset[int] = frozenset()) -> str:
    """Why diverged data that ends at `end` must be cloned; "" when pg_rewind can undo it.

    It knows timelines by number: on one and the same it ends well and does nothing (src/bin/pg_rewind/pg_rewind.c).
    """
    if not pgtools.control_data(config).rewindable:
        return "it has neither checksums nor wal_log_hints"
    double = strange & {point.timeline for point in found.history} | ({end.timeline} & {found.flush.timeline})
    if double:
        return f"it has other WAL than the peer on the same timeline {min(double)}, which pg_rewind does not undo"
    return ""


def rewind(config: Config, fork: Lsn, progress: Say) -> str:
    """Rewind this cluster to `fork`; returns "" or the reason why a clone is needed instead.

    The data is marked unusable then: the archive still holds what diverged. RejoinError when the connection was lost
    before anything was changed: the same call may be repeated.
    """
    control = pgtools.control_data(config)
    version = pgtools.major_version(config.postgres.data_directory)
    pgconf.write(config, sync=False, version=version)
    pgconf.strip_auto_conf(config, version)
    try:
        if not control.clean:
            progress("recovering from the crash before the rewind")
            _recover(config)
        source.prepare_source(config)
        progress(f"rewinding to follow {config.peer.name}")
        said = _run(config, version, fork)
    except CommandError as failure:
        return f"the rewind did not end: {failure.message}; {failure.detail}".rstrip("; ")
    if said.returncode == 0:
        slots.forget(config)
        return ""
    if not CHANGES_BEGIN.search(said.stderr + said.stdout):
        prepare.mark_usable(config)
        if CONNECTION_LOST.search(said.stderr):
            raise RejoinError(
                "pg_rewind lost its connection to the peer's database before it changed anything",
                said.said,
                "It is tried again.",
            )
    return f"pg_rewind failed: {said.said}"


def _run(config: Config, version: int, fork: Lsn) -> Completed:
    """Run pg_rewind on data that is marked unusable, with what it would take from this host set aside."""
    prepare.mark_unusable(config, "rewind")
    data = config.postgres.data_directory
    slots.set_aside(config)
    own_files.set_aside(config, lend=True)
    try:
        return run(
            _rewind_command(config, version),
            timeout_s=config.rejoin.timeout_s,
            user=config.postgres.user,
            env=session_settings.environment(),
            die_with_caller=True,
        )
    finally:
        own_files.give_back(config, data)
        own_files.forget(config)
        slots.give_back(config, fork)


def _recover(config: Config) -> None:
    """Crash recovery in single-user mode, which pg_rewind needs and could not do with split directories.

    standby.signal forbids single-user mode; it is back before this returns.
    """
    data = config.postgres.data_directory
    signal_file = data / "standby.signal"
    prepare.forget_killed_postmaster(config)
    was_standby = signal_file.exists()
    signal_file.unlink(missing_ok=True)
    command: list[str | Path] = [
        pgtools.tool(config, "postgres"),
        # Without pg_rewind's -F: it syncs everything when it ends, which a power cut may forestall.
        *("--single", "-D", data),
        *pgtools.config_file_option(config),
        *("-c", "synchronous_standby_names=", "-c", "archive_mode=off"),
        # A time-out or a missing library of a file would end it; what is set for databases and roles does not count.
        *(word for key, value in session_settings.ALONE.items() for word in ("-c", f"{key}={value}")),
        "template1",
    ]
    try:
        check(command, timeout_s=RECOVERY_S, user=config.postgres.user, die_with_caller=True)
    finally:
        if was_standby:
            signal_file.touch(mode=0o600)
            pgtools.give(config, signal_file)


def _rewind_command(config: Config, version: int) -> list[str | Path]:
    command: list[str | Path] = [
        pgtools.tool(config, "pg_rewind"),
        *("-D", config.postgres.data_directory),
        f"--source-server={source.conninfo(config)}",
        *("--no-ensure-shutdown", "--progress"),
    ]
    split = config.postgres.config_directory != config.postgres.data_directory
    if split and version >= 15:
        command.append(f"--config-file={config.postgres.config_directory / 'postgresql.conf'}")
    if config.archive.enabled and (version >= 15 or not split):
        command.append("--restore-target-wal")
    return command
