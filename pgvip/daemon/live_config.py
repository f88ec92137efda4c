"""The configuration in force, and what the command line says otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgvip.config import former_vips
from pgvip.config.load import is_own, load
from pgvip.config.observing import observes
from pgvip.config.reload import changes, reloaded, unfit
from pgvip.core.warning_row import WarningRow, warned
from pgvip.deadlines import now_s
from pgvip.errors import ConfigError, PgvipError
from pgvip.events import event_log
from pgvip.events.event_table import WORDS
from pgvip.system.netlink import interfaces

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config, FormerVip
    from pgvip.core.settings import StandingWarning

@dataclass(frozen=True, slots=True)
class Options:
    """Of the command line; None: as the configuration says."""

    config: Path | str | None = None
    host: str | None = None
    log_format: str | None = None
    log_level: str | None = None


class LiveConfig:
    """Called, it gives the configuration in force, from any thread; SIGHUP has the file read again.

    `pending`: what that changed in the file and needs a restart of the daemon. `refused`: why nothing of it was taken.
    """

    def __init__(self, config: Config, options: Options) -> None:
        self._config, self._options = config, options
        self._hearers: tuple[Callable[[Config], None], ...] = ()
        self.pending: tuple[str, ...] = ()
        self.refused = ""
        self._changing = threading.Lock()

    def __call__(self) -> Config:
        return self._config

    def warnings(self) -> tuple[StandingWarning, ...]:
        """What the file said at the last reload and is not in force."""
        return warned(WARNINGS, self)

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
                new, merged = self.wanted()
                self._succeed(old, merged)
            except PgvipError as failure:
                event_log.log("reload-failed", str(failure))
                self.refused = failure.message
                return
        self.refused = ""
        applied, refused = changes(old, new)
        self.pending = tuple(map(str, refused))
        for change in applied:
            event_log.log("reload", str(change))
        for change in refused:
            event_log.log("reload", f"needs a restart of pgvip: {change}")
        for hear in self._hearers:
            hear(self._config)

    def wanted(self) -> tuple[Config, Config]:
        """What the file says now, and what of it can be in force. PgvipError: why it cannot be taken at all."""
        old, new = self._config, load(self._options.config, self._options.host)
        if new.mode != old.mode:  # what follows from the mode, such as asynchronous, must not come without it
            change = f"pair.mode: {old.mode} -> {new.mode}"
            raise ConfigError(f"needs a restart of pgvip: {change}; nothing else is applied before")
        merged = reloaded(old, new)
        if why := unfit(merged):
            raise ConfigError(f"with a witness this change needs a restart of pgvip: {why}")
        _refuse_misplaced(old, new)
        if why := former_vips.clash(old, merged, now_s()):
            raise ConfigError(why)
        return new, merged

    def _succeed(self, old: Config, new: Config) -> None:
        """Have `new` in force. ConfigError where the former addresses cannot be remembered."""
        at_s = now_s()
        new = former_vips.after(old, new, at_s)
        try:
            if former_vips.memory_of(new) != former_vips.memory_of(old):
                former_vips.keep(new)
        except OSError as failure:
            raise ConfigError("could not remember the former addresses", f"{failure}.") from failure
        self._config = new
        say_former(old.former_vips, new, at_s)


WARNINGS: tuple[WarningRow[LiveConfig], ...] = (
    WarningRow("restart-pending", lambda live: "; ".join(live.pending),
               "changed in the configuration and not in force before pgvip is restarted: {it}",
               "systemctl restart pgvip, when it suits; it moves no role and stops no PostgreSQL"),
    WarningRow("configuration-refused", lambda live: live.refused,
               "the file was refused at the last reload, and the old configuration is in force: {it}",
               "correct it (pgvip config check), then systemctl reload pgvip; else pgvip does not start again"),
)  # fmt: skip


def _refuse_misplaced(old: Config, new: Config) -> None:
    """ConfigError where this host cannot be the one of the file now."""
    me, was = new.me, old.me
    if me.name != was.name:
        raise ConfigError(
            f"by its addresses this host would be {me.name}, and it is {was.name}", hint="Set PGVIP_HOST."
        )
    if me.address != was.address and not is_own(me.address):
        hint = f"Give it to {me.interface} first, beside {was.address}."
        raise ConfigError(f"hosts.{me.name}.address = {me.address} is no address of this host", hint=hint)
    if me.interface != was.interface and me.interface not in interfaces():
        raise ConfigError(f"hosts.{me.name}.interface = {me.interface}: this host has no such interface")


def say_former(known: tuple[FormerVip, ...], config: Config, at_s: float) -> None:
    """Log which addresses are former ones now, and until when they are served."""
    for one in config.former_vips:
        if one not in known and one.until_s > at_s:
            text = f"the {one.vip.value} VIP is {config.vips[one.vip].ip} now"
            event_log.log("address-former", f"{text}; {one.address.ip} is served for {one.until_s - at_s:.0f} s more")


def log_style(config: Config, options: Options, term: Callable[[], int]) -> event_log.Style:
    """How this daemon logs: as configured, unless the command line says otherwise."""
    wanted = options.log_format or config.log.format
    level = options.log_level or config.log.level
    return event_log.Style(wanted == "json", WORDS[level], config.me.name, config.name, term, observes(config))
