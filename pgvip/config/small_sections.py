"""The sections that stand for themselves: rejoin, hooks, log, http, monitor, paths."""

from __future__ import annotations

import dataclasses
from typing import Any

from pgvip.config.model import (
    HookConfig,
    HttpConfig,
    LogConfig,
    MonitorConfig,
    RejoinConfig,
)
from pgvip.config.paths import Paths
from pgvip.config.read import Table
from pgvip.core.settings import Settings
from pgvip.events.event_table import WORDS

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Settings)}


def read_rejoin(table: Table) -> RejoinConfig:
    """The [rejoin] section."""
    default = RejoinConfig()
    rejoin = RejoinConfig(
        clone=table.choice("clone", default.clone, ["now", "window", "never"]),
        window=table.text("window", default.window, "01:00-05:00"),
        bandwidth_mb_s=table.whole("bandwidth_mb_s", default.bandwidth_mb_s, 0, 1024),
        keep_saved=table.whole("keep_saved", default.keep_saved, 0, 1000),
        timeout_s=table.number("timeout_s", default.timeout_s, 60.0, 30 * 86400.0),
    )
    table.finish()
    return rejoin


def read_hooks(table: Table) -> tuple[HookConfig, float]:
    """The [hooks] section, and how long the core waits for the veto hooks."""
    default = HookConfig()
    hooks = HookConfig(
        alert=table.optional_path("alert", "/etc/pgvip/alert"),
        directory=table.path("directory", default.directory, str(default.directory)),
        timeout_s=table.number("timeout_s", default.timeout_s, 0.5, 600.0),
    )
    veto_timeout_s = table.number("veto_timeout_s", _DEFAULTS["veto_timeout_s"], 0.1, 60.0)
    table.finish()
    return hooks, veto_timeout_s


def read_log(table: Table) -> LogConfig:
    """The [log] section."""
    default = LogConfig()
    log = LogConfig(
        format=table.choice("format", default.format, ["human", "json"]),
        level=table.choice("level", default.level, list(WORDS)),
    )
    table.finish()
    return log


def read_http(table: Table) -> HttpConfig:
    """The [http] section."""
    default = HttpConfig()
    http = HttpConfig(
        listen=table.choice("listen", default.listen, ["off", "loopback", "own", "all"]),
        port=table.whole("port", default.port, 1, 65535),
        certificate=table.optional_path("certificate", "/etc/pgvip/http.crt"),
        key=table.optional_path("key", "/etc/pgvip/http.key"),
        password_file=table.optional_path("password_file", "/etc/pgvip/http.password"),
        names=table.words("names", '["pg.example.org"]', ()),
    )
    table.finish()
    return http


def read_monitor(table: Table) -> MonitorConfig:
    """The [monitor] section."""
    monitor = MonitorConfig(
        interval_s=table.number("interval_s", MonitorConfig().interval_s, 1.0, 60.0),
        keep_days=table.whole("keep_days", MonitorConfig().keep_days, 0, 3650),
    )
    table.finish()
    return monitor


def read_paths(table: Table) -> Paths:
    """The [paths] section."""
    default = Paths()
    paths = Paths(
        state=table.path("state", default.state, str(default.state)),
        run=table.path("run", default.run, str(default.run)),
        passwords=table.path("passwords", default.passwords, str(default.passwords)),
    )
    table.finish()
    return paths
