"""The configuration as frozen values: the same file on both hosts, seen from one of them.

`config_load` reads the TOML and names what is wrong with it. Defaults live here, each with its precedent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from pgvip.config.notify_model import NotifyConfig
from pgvip.config.paths import Paths
from pgvip.config.witness_config import WitnessConfig
from pgvip.core.settings import Settings
from pgvip.core.values import Override, Vip

Interface = IPv4Interface | IPv6Interface

OVERLAP_S = 600.0
"""How long clients have to find a VIP's new address: longer than most pools keep a connection that is idle."""


@dataclass(frozen=True, slots=True)
class FenceMethod:
    """One way to power a host off: a ClusterLabs agent, or a command of the operator's.

    `agent`: executable name or path, fed `key=value` lines on standard input. `command`: an argument list,
    called with one more argument: off, on or status (status: exit 0 on, 2 off).
    `secrets`: the agent's parameters whose values are the first lines of files, root-only; `password_file` is
    short for that of `password`.
    """

    agent: str = ""
    options: tuple[tuple[str, str], ...] = ()
    password_file: Path | None = None
    secrets: tuple[tuple[str, Path], ...] = ()
    command: tuple[str, ...] = ()
    timeout_s: float = 40.0

    @property
    def name(self) -> str:
        return self.agent or self.command[0]

    @property
    def secret_files(self) -> tuple[tuple[str, Path], ...]:
        """Every parameter that comes from a file, with that file."""
        short = () if self.password_file is None else (("password", self.password_file),)
        return (*short, *self.secrets)


@dataclass(frozen=True, slots=True)
class Host:
    """One of the two hosts. `address` is its own; the peer and replication use it, never a VIP.

    `network`: that of the address, where the file says it (`address = "192.0.2.11/24"`). `certificate_name`: what
    the administrator's server certificate calls the host (`tls = "own"`); "" is its name here.
    """

    name: str
    address: str
    interface: str
    role: Override = Override.AUTO
    fencing: tuple[FenceMethod, ...] = ()
    data_directory: Path | None = None
    network: IPv4Network | IPv6Network | None = None
    certificate_name: str = ""


@dataclass(frozen=True, slots=True)
class FormerVip:
    """An address that was a VIP's until the configuration changed, with its prefix, and where it was raised.

    Until `until_s` (of `deadlines.now_s`) it goes with the VIP: whoever holds that serves it as well.
    """

    vip: Vip
    interface: str
    address: Interface
    until_s: float


@dataclass(frozen=True, slots=True)
class FormerAddress:
    """An address that was a host's own; until `until_s` pgvip's roles may still come from there."""

    address: str
    until_s: float


@dataclass(frozen=True, slots=True)
class PostgresConfig:
    """Where PostgreSQL lives. `unit`: the systemd unit that runs it; "" means pg_ctl as `user`.

    `config_directory`: where postgresql.conf and pg_hba.conf are (Debian: /etc/postgresql/15/main); by
    default the data directory. Time-outs in seconds. `keep_access`: the daemon puts pgvip's lines of pg_hba.conf and
    pg_ident.conf back where they are missing.
    `tls`: of pgvip's connections between the hosts: "pair" (certificates made by pgvip), "own" (the administrator's
    server certificate, verified by `tls_authority`), "off". It is what is in use, and `tls_wanted` what the file says;
    while the one becomes the other, `tls_also` is let in as well (setup.tls_order).
    """

    data_directory: Path
    bin_directory: Path
    config_directory: Path
    socket_directory: Path
    port: int = 5432
    user: str = "postgres"
    database: str = "postgres"
    unit: str = ""
    listen_addresses: str = "*"
    tls: str = "pair"
    tls_also: str = ""
    tls_wanted: str = ""
    tls_authority: Path | None = None
    start_timeout_s: float = 300.0
    stop_timeout_s: float = 60.0
    promote_timeout_s: float = 60.0
    keep_access: bool = True

    @property
    def tls_let_in(self) -> frozenset[str]:
        """By which `tls` this host's server lets pgvip's roles in."""
        return frozenset({self.tls, self.tls_also} - {""})

    @property
    def tls_changes(self) -> bool:
        """Whether a change of `tls` is under way on this host."""
        return bool(self.tls_also) or self.tls_wanted not in ("", self.tls)


@dataclass(frozen=True, slots=True)
class ArchiveDestination:
    """A further archive: a `directory`, or a `command` with %p and %f (`restore`: one that fetches).

    `required`: PostgreSQL keeps a file until it is there; else it may come later. `compress`: as in
    archive.packing.PACKINGS. `timeout_s`: for one file; an orderly stop of the server waits for it as well.
    """

    name: str
    directory: Path | None = None
    command: tuple[str, ...] = ()
    restore: tuple[str, ...] = ()
    compress: str = "none"
    required: bool = False
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ArchiveConfig:
    """WAL archive: `directory` is this host's own, `peer_mount` is where the peer's export is mounted.

    `peer_archive`: "nfs" (what is mounted there), or "link" (the daemons fetch it over TLS, from `port`).
    `mount_type` "" means: nothing is mounted (a test, or the administrator's own automounter).
    `mount_source` may use {peer} and {directory}. `clean`: "auto" or "never"; `keep_days` and `keep_max_mb`: what
    is kept though nobody needs it (archive.retention).
    """

    enabled: bool = True
    directory: Path = Path("/var/lib/pgvip/archive")
    peer_archive: str = "nfs"
    port: int = 8434
    peer_mount: Path = Path("/var/lib/pgvip/peer-archive")
    mount_type: str = "nfs"
    mount_source: str = "{peer}:{directory}"
    mount_options: str = "ro,soft,timeo=10,retrans=2,retry=0,nosuid,nodev,noexec"
    timeout_s: float = 10.0
    compress: str = "none"
    destinations: tuple[ArchiveDestination, ...] = ()
    clean: str = "never"
    keep_days: float = 7.0
    keep_max_mb: int = 0

    @property
    def by_link(self) -> bool:
        """The peer's archive is read over the pair's own TLS, and nothing is mounted."""
        return self.peer_archive == "link"


@dataclass(frozen=True, slots=True)
class BackupConfig:
    """Base backups: how many good ones the pair keeps at least, and for how many days all of them.

    `keep` 0: pgvip makes none, and WAL is kept by time and size alone. `bandwidth_mb_s` 0: no limit. `max_age_days`
    above 0: it is a warning when the pair has no good one, or only older ones.
    """

    directory: Path = Path("/var/lib/pgvip/archive/backups")
    keep: int = 2
    keep_days: float = 0.0
    bandwidth_mb_s: int = 0
    timeout_s: float = 24 * 3600.0
    max_age_days: float = 0.0


@dataclass(frozen=True, slots=True)
class RejoinConfig:
    """How a returned host gets its data back. `clone`: "now", "window" or "never"; window "HH:MM-HH:MM"."""

    clone: str = "now"
    window: str = ""
    bandwidth_mb_s: int = 0
    keep_saved: int = 3
    timeout_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class HookConfig:
    """Hooks are called with the event's name; words in PGVIP_* environment variables.

    `directory`: executables in a directory for each event. `alert`: one for every event that has hooks.
    `timeout_s`: for each call.
    """

    alert: Path | None = None
    directory: Path = Path("/etc/pgvip/hooks.d")
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Health checks, metrics and the status page: read-only, on a port of their own.

    `listen`: "off"; "loopback" (the default: no port opens to the network unasked); "own" (this host's own address and
    the loopback); "all" (every address, the VIPs too). `certificate` and `key`: PEM files; both None is plain HTTP.
    `password_file`: one line, `user:password`, for all but the health checks; root-only. `names`: further names and
    addresses by which clients may ask for this host.
    """

    listen: str = "loopback"
    port: int = 8433
    certificate: Path | None = None
    key: Path | None = None
    password_file: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Other machines can connect."""
        return self.listen in ("own", "all")


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """Replication monitoring history: a sample every `interval_s`; `keep_days` of its minutes (0: no history).

    repmgrd's monitor_interval_secs is 2 s, into a table of the database; a record here has about 110 bytes.
    """

    interval_s: float = 5.0
    keep_days: int = 30


@dataclass(frozen=True, slots=True)
class LogConfig:
    """How the daemon's log looks. `format`: "human" or "json"; `level`: less important events are left out."""

    format: str = "human"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class WatchdogConfig:
    """`mode`: "off", "if-present" or "required" (without one this host does not begin to serve).

    `timeout_s`: whole seconds, as the device takes them; longer than systemd takes to end a daemon that hangs
    (WatchdogSec=10) and to start another.
    """

    mode: str = "off"
    device: Path = Path("/dev/watchdog")
    timeout_s: int = 15


@dataclass(frozen=True, slots=True)
class Config:
    """Everything, seen from host `me`.

    `overlap_s`: how long an address that was a VIP's is still served; `former_vips`: those that are
    (config.former_vips). `former_addresses`: the hosts' own ones.
    """

    name: str
    me: Host
    peer: Host
    vips: dict[Vip, Interface]
    postgres: PostgresConfig
    settings: Settings
    gateways: tuple[str, ...] = ()
    archive: ArchiveConfig = field(default_factory=ArchiveConfig)
    backup: BackupConfig = field(default_factory=BackupConfig)
    rejoin: RejoinConfig = field(default_factory=RejoinConfig)
    hooks: HookConfig = field(default_factory=HookConfig)
    notify: NotifyConfig = field(default_factory=NotifyConfig)
    http: HttpConfig = field(default_factory=HttpConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    log: LogConfig = field(default_factory=LogConfig)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)
    witness: WitnessConfig = field(default_factory=WitnessConfig)
    paths: Paths = field(default_factory=Paths)
    link_port: int = 8432
    valid_lft_s: int = 0
    overlap_s: float = OVERLAP_S
    former_vips: tuple[FormerVip, ...] = ()
    former_addresses: tuple[FormerAddress, ...] = ()
    max_slot_wal_keep_mb: int = 8192
    shutdown_handover_s: float = 60.0
    file: Path = Path("/etc/pgvip/pgvip.toml")
    pair_id: str = ""
    mode: str = "normal"

    @property
    def application_name(self) -> str:
        """Name of this host's WAL receiver: different on the two hosts, never `*` (manual, 20.6.2)."""
        return f"pgvip_{self.me.name}"

    @property
    def peer_application_name(self) -> str:
        """Name of the peer's WAL receiver, which goes into synchronous_standby_names."""
        return f"pgvip_{self.peer.name}"
