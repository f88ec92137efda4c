"""The configuration in force, and what the command line says otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgvip.config.load import load
from pgvip.config.observing import observes
from pgvip.config.reload import changes, reloaded, unfit
from pgvip.errors import PgvipError
from pgvip.events import event_log
from pgvip.events.event_table import WORDS

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config


@dataclass(frozen=True, slots=True)
class Options:
    """Of the command line; None: as the configuration says."""

    config: Path | str | None = None
    host: str | None = None
    log_format: str | None = None
    log_level: str | None = None


class LiveConfig:
    """Called, it gives the configuration in force, from any thread; SIGHUP has the file read again."""

    def __init__(self, config: Config, options: Options) -> None:
        self._config, self._options = config, options
        self._hearers: tuple[Callable[[Config], None], ...] = ()
        self._changing = threading.Lock()

    def __call__(self) -> Config:
        return self._config

    def listen(self, hear: Callable[[Config], None]) -> None:
        """Call `hear` with each new configuration from now on, on the loop's thread: it must not wait."""
        self._hearers = (*self._hearers, hear)

    def use_tls(self, tls: str, also: str) -> Config:
        """Have these in use from now on (`PostgresConfig.tls`), from any thread; what is in force then."""
        with self._changing:
            postgres = replace(self._config.postgres, tls=tls, tls_also=also)
            self._config = replace(self._config, postgres=postgres)
            return self._config

    def reload(self) -> None:
        """Read the file again. What can change does, the rest is said; a file with mistakes changes nothing."""
        with self._changing:
            old = self._config
            try:
                new = load(self._options.config, self._options.host)
            except PgvipError as failure:
                event_log.log("reload-failed", str(failure))
                return
            if new.mode != old.mode:  # what follows from the mode, such as asynchronous, must not come without it
                why = f"needs a restart of pgvip: pair.mode: {old.mode} -> {new.mode}; nothing else is applied before"
                event_log.log("reload-failed", why)
                return
            merged = reloaded(old, new)
            if why := unfit(merged):
                event_log.log("reload-failed", f"with a witness this change needs a restart of pgvip: {why}")
                return
            self._config = merged
        applied, refused = changes(old, new)
        for change in applied:
            event_log.log("reload", str(change))
        for change in refused:
            event_log.log("reload", f"needs a restart of pgvip: {change}")
        for hear in self._hearers:
            hear(self._config)


def log_style(config: Config, options: Options, term: Callable[[], int]) -> event_log.Style:
    """How this daemon logs: as configured, unless the command line says otherwise."""
    wanted = options.log_format or config.log.format
    level = options.log_level or config.log.level
    return event_log.Style(wanted == "json", WORDS[level], config.me.name, config.name, term, observes(config))
