"""What the daemon does for the archive in the background: in a thread of its own, bounded, never in the loop's way.

Each minute: destinations get what is pending for them, the index reports to the peer what is needed here, and
PostgreSQL's archive and restore commands follow the configuration. With clean = "auto", each ten minutes: what nobody
needs is removed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pgvip.archive import backups, cleaning, inventory
from pgvip.archive.memory import DIRECTORY
from pgvip.deadlines import now_s
from pgvip.errors import ArchiveError, CommandError, PgvipError
from pgvip.system import pgconf, processes, wal_commands
from pgvip.system.commands import check
from pgvip.system.workers import LONG_S, as_postgres
from pgvip.text.writing import size

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config

Log = Callable[[str, str], None]

FIRST_S = 5.0
EVERY_S = 60.0
CLEAN_S = 600.0
CATCH_UP_S = 30.0
"""For so long a round sends what is pending; the next one continues."""


class Maintenance:
    """The thread. `config` is asked again each time, since it changes; `log` takes an event and its text."""

    def __init__(self, config: Callable[[], Config], log: Log) -> None:
        self._config, self._log = config, log
        self._cleaned_s = now_s()
        self._told: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin; nothing where the pair has no archive."""
        if self._config().archive.enabled:
            self._thread.start()

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        wait_s = FIRST_S
        while not self._ended.wait(wait_s):
            self.go_round()
            wait_s = EVERY_S

    def go_round(self) -> None:
        """Everything once. What fails is said once, and tried again in the next round."""
        config = self._config()
        self._try("commands", lambda: refresh_commands(config, self._log))
        self._try("catch-up", lambda: catch_up(config))
        self._try("index", lambda: tell(config))
        if config.archive.clean == "auto" and now_s() - self._cleaned_s >= CLEAN_S:
            self._cleaned_s = now_s()
            self._try("clean", lambda: clean(config, self._log))

    def _try(self, what: str, call: Callable[[], None]) -> None:
        why = ""
        try:
            call()
        except PgvipError as failure:
            why = str(failure).replace("\n", "; ")
        except OSError as failure:
            why = str(failure)
        if why and self._told.get(what) != why:
            self._log("maintenance-failed", f"{what}: {why}")
        self._told[what] = why


def refresh_commands(config: Config, log: Log) -> None:
    """Let PostgreSQL's archive and restore commands be those of the configuration, without a restart."""
    postmaster = processes.postmaster(config.postgres.data_directory)
    if postmaster is not None and pgconf.refresh_commands(config):
        processes.send(postmaster, pgconf.RELOAD)
        log("archive-command", "archive_command and restore_command follow the configuration")


@as_postgres(LONG_S)
def catch_up(config: Config) -> None:
    """Send optional destinations what is pending for them, as PostgreSQL's user does."""
    pending = config.archive.directory / DIRECTORY / "pending"
    names = [one.name for one in config.archive.destinations if not one.required]
    if not any(_any_file(pending / name) for name in names):
        return
    longest_s = max(one.timeout_s for one in config.archive.destinations)
    words = [*wal_commands.archive_argv(config), "--catch-up", f"{CATCH_UP_S:g}"]
    try:
        check(words, timeout_s=CATCH_UP_S + longest_s + 10.0, user=config.postgres.user)
    except CommandError as failure:
        raise ArchiveError("could not send what is pending", str(failure)) from failure


def _any_file(directory: Path) -> bool:
    with suppress(OSError):
        return any(directory.iterdir())
    return False


@as_postgres()
def tell(config: Config) -> None:
    """Write the index. A host that does not know its need says so: then nobody removes anything."""
    backups.write_index(config, backups.own(config), inventory.ask_server(config).redo)


@as_postgres(LONG_S)
def clean(config: Config, log: Log) -> None:
    """Remove what nobody needs; RefusedError while that is in doubt."""
    seen = inventory.take(config)
    inventory.remember(config, seen)
    decided = cleaning.carry_out(config, cleaning.plan(config, seen), seen)
    gone = [*decided.backups, *decided.interrupted]
    if decided.wal.files or gone:
        what = f"{len(decided.wal.files)} files of WAL ({size(decided.wal.size_bytes)}), {len(gone)} base backups"
        log("archive-clean", f"removed {what}; WAL is needed by {decided.wal.oldest.who}")
