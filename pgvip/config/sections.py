"""The sections of the configuration file, one function each: TOML tables → typed values.

Every default lives in `config.model` and `core.settings`; the ranges here only catch slips of the pen.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgvip.config.archiving import read_archive, read_backup
from pgvip.config.model import (
    OVERLAP_S,
    ArchiveConfig,
    BackupConfig,
    FenceMethod,
    HookConfig,
    Host,
    HttpConfig,
    Interface,
    LogConfig,
    MonitorConfig,
    PostgresConfig,
    RejoinConfig,
    WatchdogConfig,
)
from pgvip.config.notify_model import NotifyConfig
from pgvip.config.notifying import read_notify
from pgvip.config.observing import MODES, NORMAL
from pgvip.config.paths import Paths
from pgvip.config.read import REQUIRED, Table, read_interface
from pgvip.config.safeguards import lifetime_s, read_watchdog, read_witness
from pgvip.config.small_sections import read_hooks, read_http, read_log, read_monitor, read_paths, read_rejoin
from pgvip.config.toml import SECRET_NAME
from pgvip.config.witness_config import WitnessConfig
from pgvip.core.settings import Settings
from pgvip.core.values import Override, Vip
from pgvip.errors import ConfigError

FAST: dict[str, float] = {
    "interval_s": 0.33,
    "check_times": 3,
    "heartbeat_s": 0.2,
    "fence_delay_s": 0.25,
    "hung_after_s": 1.0,
    "disk_hung_after_s": 5.0,
    "standby_down_s": 1.0,
}
"""The preset that finds a dead host in about one second."""

PRESETS: dict[str, dict[str, float]] = {"default": {}, "fast": FAST}

_SECONDS = {
    "interval_s": (0.1, 60.0),
    "heartbeat_s": (0.05, 30.0),
    "fence_delay_s": (0.1, 120.0),
    "fence_retry_s": (0.5, 600.0),
    "hung_after_s": (0.3, 300.0),
    "disk_hung_after_s": (1.0, 300.0),
    "standby_down_s": (0.3, 300.0),
    "unfollowed_s": (0.5, 3600.0),
    "consent_s": (0.5, 300.0),
    "stop_s": (1.0, 3600.0),
    "solo_boot_wait_s": (0.5, 300.0),
    "holdoff_s": (0.0, 86400.0),
    "stuck_s": (1.0, 3600.0),
    "salvage_s": (0.0, 60.0),
    "isolation_demote_s": (0.0, 86400.0),
}
_COUNTS = {"check_times": (1, 100), "restart_times": (0, 100), "handbacks_max": (0, 100)}
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Settings)}

FENCE_TIMEOUT_S = 40.0
"""Longer than an agent's own power_timeout of 20 s (fence-agents 4.12) and its log-in."""

HANDOVER_MAX_S = 600.0
"""TimeoutStopSec= of pgvip-handover.service is longer than this."""

OVERLAP_MAX_S = 30 * 86400.0

_FENCING_HINT = (
    'Write a list of methods, [{ agent = "fence_ipmilan", options = { ... }, password_file = "..." }], '
    'or fencing = "none" to do without: then a silent primary is never taken over from.'
)


@dataclass(frozen=True, slots=True)
class Draft:
    """The whole file, typed, before it is known which of the hosts this is."""

    name: str
    mode: str
    hosts: dict[str, Host]
    vips: dict[Vip, Interface]
    postgres: PostgresConfig
    settings: Settings
    gateways: tuple[str, ...]
    archive: ArchiveConfig
    backup: BackupConfig
    rejoin: RejoinConfig
    hooks: HookConfig
    notify: NotifyConfig
    http: HttpConfig
    monitor: MonitorConfig
    log: LogConfig
    paths: Paths
    link_port: int
    valid_lft_s: int
    overlap_s: float
    max_slot_wal_keep_mb: int
    shutdown_handover_s: float
    watchdog: WatchdogConfig
    witness: WitnessConfig


def read_draft(root: Table) -> Draft | None:
    """Read every section; None when addresses are missing altogether (the problems then say so)."""
    pair = root.table("pair")
    name = pair.text("name", REQUIRED, "orders")
    mode = pair.choice("mode", NORMAL, list(MODES))
    pair.finish()
    hosts = read_hosts(root.table("hosts"))
    addresses = root.table("addresses")
    vips = read_vips(addresses)
    gateway = root.table("gateway")
    gateways = gateway.words("targets", '["192.0.2.1"]')
    gateway.finish()
    postgres = read_postgres(root.table("postgresql"))
    archive = read_archive(root.table("archive"))
    backup = read_backup(root.table("backup"), archive.directory)
    rejoin = read_rejoin(root.table("rejoin"))
    replication, timing = root.table("replication"), root.table("timing")
    keep_mb = replication.whole("max_slot_wal_keep_mb", 8192, 64, 100_000_000)
    handover_s = timing.number("shutdown_handover_s", 60.0, 1.0, HANDOVER_MAX_S)
    settings = read_settings(replication, timing, postgres.stop_timeout_s)
    settings = dataclasses.replace(
        settings,
        archive=archive.enabled,
        archive_mounted=not archive.by_link,
        rejoin_clone=rejoin.clone != "never",
    )
    if not archive.enabled:  # it is the way that salvaged WAL goes
        settings = dataclasses.replace(settings, salvage_s=0.0)
    hooks, veto_timeout_s = read_hooks(root.table("hooks"))
    settings = dataclasses.replace(settings, veto_timeout_s=veto_timeout_s)
    notify = read_notify(root.table("notify"))
    log, paths = read_log(root.table("log")), read_paths(root.table("paths"))
    http, monitor = read_http(root.table("http")), read_monitor(root.table("monitor"))
    watchdog = read_watchdog(root.table("watchdog"))
    settings = dataclasses.replace(settings, watchdog_required=watchdog.mode == "required")
    witness = read_witness(root, settings)
    valid_lft_s = addresses.whole("valid_lft_s", lifetime_s(witness, settings, hosts.values()), 0, 86400)
    overlap_s = addresses.number("overlap_s", OVERLAP_S, 0.0, OVERLAP_MAX_S)
    addresses.finish()
    link = root.table("link")
    link_port = link.whole("port", 8432, 1, 65535)
    link.finish()
    root.finish()
    if len(hosts) != 2 or len(vips) != len(Vip):
        return None
    return Draft(
        name=name,
        mode=mode,
        hosts=hosts,
        vips=vips,
        postgres=postgres,
        settings=settings,
        gateways=gateways,
        archive=archive,
        backup=backup,
        rejoin=rejoin,
        hooks=hooks,
        notify=notify,
        http=http,
        monitor=monitor,
        log=log,
        paths=paths,
        link_port=link_port,
        valid_lft_s=valid_lft_s,
        overlap_s=overlap_s,
        max_slot_wal_keep_mb=keep_mb,
        shutdown_handover_s=handover_s,
        watchdog=watchdog,
        witness=witness,
    )


def read_hosts(table: Table) -> dict[str, Host]:
    """Both hosts, by name; a number other than two is a mistake."""
    hosts = {}
    for name in table.values:
        hosts[name] = read_host(name, table.table(name))
    if len(hosts) != 2:
        names = ", ".join(hosts) or "none"
        hint = "Write exactly two sections, [hosts.NAME] for each host of the pair."
        table.problems.append(ConfigError(f"hosts: {len(hosts)} instead of two ({names})", hint=hint))
    return hosts


def read_host(name: str, table: Table) -> Host:
    """One [hosts.NAME] section."""
    interface = read_interface(table, "address", "192.0.2.11")
    network = None if interface is None or interface.network.num_addresses == 1 else interface.network
    host = Host(
        name=name,
        address=str(interface.ip) if interface else "",
        interface=table.text("interface", REQUIRED, "eth0"),
        role=Override(table.choice("role", "auto", [override.value for override in Override])),
        fencing=read_fencing(table),
        data_directory=table.optional_path("data_directory", "/var/lib/postgresql/15/main"),
        network=network,
        certificate_name=table.text("certificate_name", "", "db1.example.org"),
    )
    table.finish()
    return host


def read_fencing(table: Table) -> tuple[FenceMethod, ...]:
    """The methods that power this host off; nothing only when "none" is written out."""
    value = table.take("fencing", REQUIRED, _FENCING_HINT)
    if value is None or value == "none":
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        table.bad("fencing", 'is neither a list of methods nor "none"', _FENCING_HINT)
        return ()
    return tuple(
        read_method(Table(f"{table.key}.fencing[{number}]", entry, table.problems))
        for number, entry in enumerate(value, 1)
    )


def read_method(table: Table) -> FenceMethod:
    """One way to fence: an agent with its options, or a command."""
    agent = table.text("agent", "", "fence_ipmilan")
    command: tuple[str, ...] = ()
    if table.given("command"):
        command = table.words("command", '["/usr/local/sbin/power", "host-a"]')
    else:
        table.known.append("command")
    options, secrets = table.table("options"), table.table("secrets")
    method = FenceMethod(
        agent=agent,
        options=tuple((key, read_option(options, key)) for key in options.values),
        password_file=table.optional_path("password_file", "/etc/pgvip/fence-a.password"),
        secrets=tuple((key, secrets.path(key, REQUIRED, f"/etc/pgvip/fence-a.{key}")) for key in secrets.values),
        command=command,
        timeout_s=table.number("timeout_s", FENCE_TIMEOUT_S, 1.0, 600.0),
    )
    table.finish()
    return method


def read_option(options: Table, key: str) -> str:
    """An agent's option as the text that its standard input gets."""
    value = options.values[key]
    if SECRET_NAME.search(key):  # refused by the rules; a mistake in it must not show it
        return str(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return str(value)
    return options.text(key)


def read_vips(table: Table) -> dict[Vip, Interface]:
    """Both virtual addresses; without a prefix they are /32 or /128."""
    vips = {}
    for vip, example in ((Vip.PRIMARY, "192.0.2.10"), (Vip.STANDBY, "192.0.2.20")):
        interface = read_interface(table, vip.value, example)
        if interface is not None:
            vips[vip] = interface
    return vips


def read_postgres(table: Table) -> PostgresConfig:
    """The [postgresql] section."""
    data = table.path("data_directory", REQUIRED, "/var/lib/postgresql/15/main")
    postgres = PostgresConfig(
        data_directory=data,
        bin_directory=table.path("bin_directory", REQUIRED, "/usr/lib/postgresql/15/bin"),
        config_directory=table.optional_path("config_directory", "/etc/postgresql/15/main") or data,
        socket_directory=table.path("socket_directory", Path("/var/run/postgresql")),
        port=table.whole("port", 5432, 1, 65535),
        user=table.text("user", "postgres", "postgres"),
        database=table.text("database", "postgres", "postgres"),
        unit=table.text("unit", "", "postgresql@15-main.service"),
        tls=table.choice("tls", "pair", ["pair", "own", "off"]),
        tls_authority=table.optional_path("tls_authority", "/etc/ssl/certs/our-authority.pem"),
        start_timeout_s=table.number("start_timeout_s", 300.0, 1.0, 86400.0),
        stop_timeout_s=table.number("stop_timeout_s", 60.0, 1.0, 3600.0),
        promote_timeout_s=table.number("promote_timeout_s", 60.0, 1.0, 3600.0),
        keep_access=table.flag("keep_access", default=True),
    )
    table.finish()
    return postgres


def read_settings(replication: Table, timing: Table, stop_timeout_s: float) -> Settings:
    """[replication] and [timing]: the preset's values, overlaid by what is written."""
    preset = PRESETS[timing.choice("preset", "default", list(PRESETS))]
    sync = replication.choice("mode", "sync", ["sync", "async"]) == "sync"
    demote_s = _DEFAULTS["isolation_demote_s"] if sync else 0.0  # in sync it can acknowledge nothing
    defaults = {**_DEFAULTS, "stop_s": stop_timeout_s, "isolation_demote_s": demote_s, **preset}
    values: dict[str, Any] = {
        name: timing.number(name, defaults[name], low, high) for name, (low, high) in _SECONDS.items()
    }
    values |= {name: timing.whole(name, int(defaults[name]), low, high) for name, (low, high) in _COUNTS.items()}
    # Defaults that follow what was made slower or faster: nobody has to know them to change the others.
    if sync and not timing.given("isolation_demote_s"):
        detection_s = values["interval_s"] * values["check_times"]
        values["isolation_demote_s"] = max(values["isolation_demote_s"], 2 * detection_s)
    if not timing.given("unfollowed_s"):
        values["unfollowed_s"] = max(values["unfollowed_s"], 2 * values["interval_s"] * values["check_times"])
    if not timing.given("salvage_s"):
        values["salvage_s"] = min(values["salvage_s"], values["consent_s"] / 2)
    timing.finish()
    settings = Settings(
        me="",
        peer="",
        me_first=True,
        sync=sync,
        lag_bytes_max=replication.whole("lag_bytes_max", _DEFAULTS["lag_bytes_max"], 0, 1 << 50),
        lag_s_max=replication.number("lag_s_max", _DEFAULTS["lag_s_max"], 0.5, 86400.0),
        sync_stall_s=replication.number("sync_stall_s", _DEFAULTS["sync_stall_s"], 0.5, 3600.0),
        **values,
    )
    replication.finish()
    return settings
