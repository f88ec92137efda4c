"""What is said of this host, and finished on it, before the loop goes round."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.checks.configuration import host_problems, host_warnings
from pgvip.config import former_vips
from pgvip.config.observing import observes
from pgvip.deadlines import now_s
from pgvip.errors import CommandError, PgvipError
from pgvip.events import event_log
from pgvip.rejoin import copy as cloning
from pgvip.setup import rotation
from pgvip.system import locked_memory, service, units

if TYPE_CHECKING:
    from pgvip.config.model import Config


def begin(config: Config) -> None:
    """Say what does not fit this host; lock memory; end a clone that was cut short; let archived WAL be restored."""
    _tell_misfits(config)
    _lock_memory()
    # In the background: the start must not wait for systemd's answers.
    threading.Thread(target=_tell_auto_starts, args=(config,), name="auto-starts", daemon=True).start()
    if observes(config):
        return
    _finish_clone(config)
    with suppress(FileNotFoundError):
        config.paths.no_restore.unlink()


def former_addresses(config: Config) -> Config:
    """The same with the addresses that the VIPs had before the configuration changed, by a reload or before a restart.

    Where that cannot be kept, the daemon runs all the same: what was raised and is configured no more is dropped.
    """
    found = former_vips.at_start(config, now_s())
    try:
        former_vips.keep(found)
    except OSError:
        return config
    return found


def end_exchange(config: Config) -> str:
    """End an exchange of keys that was cut short, before the link and PostgreSQL read them; what there is to say of it.

    Where it fails, the daemon runs all the same, if the keys can be used. Nothing is ended where pgvip only observes.
    """
    if observes(config):
        return ""
    try:
        return "new keys are in use; pgvip rotate has not ended yet" if rotation.resume(config) else ""
    except PgvipError as failure:
        return f"could not see to the new keys that pgvip rotate has made: {failure}".replace("\n", "; ")


def _lock_memory() -> None:
    """Where it is not permitted, the daemon runs all the same."""
    try:
        locked_memory.lock()
    except PgvipError as failure:
        event_log.log("configuration", str(failure).replace("\n", "; "))


def _tell_misfits(config: Config) -> None:
    """Say what of the configuration does not fit this host, and where its shutdown would not hand over as it should."""
    for misfit in (*host_problems(config), *host_warnings(config)):
        event_log.log("configuration", str(misfit).replace("\n", "; "))
    if not service.under_systemd():
        return
    with suppress(CommandError):
        problem = units.handover_order(config.postgres.unit)
        if problem:
            event_log.log("configuration", problem)


def _tell_auto_starts(config: Config) -> None:
    """Say what starts the server behind this daemon's back: it would be up before the pair has agreed who serves."""
    try:
        for start in units.auto_starts(config.postgres.data_directory, config.postgres.unit):
            text = "PostgreSQL is started at boot, before the pair has agreed who serves"
            event_log.log("starts-at-boot", f"{start.what}: {text}; hint: {start.hint}")
    except (PgvipError, OSError) as failure:
        event_log.log("starts-at-boot", f"could not search for what starts PostgreSQL at boot: {failure}")


def _finish_clone(config: Config) -> None:
    """End a clone that was cut short between its two renames, which left no data directory.

    What it has to do was decided and copied before; nothing is deleted. Where it fails, the daemon runs all the same.
    """
    try:
        if cloning.finish_swap(config):
            event_log.log("rejoin", "finished the clone that was interrupted")
    except (PgvipError, OSError) as failure:
        event_log.log("rejoin-failed", f"could not finish the clone that was interrupted: {failure}")
