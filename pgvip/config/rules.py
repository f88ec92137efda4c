"""Contradictions: values that are each well-formed and together are wrong, or unsafe.

`contradictions` needs only the configuration; `config_host` reads this machine. Every rule yields errors that name
the key, the value and the hint.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from operator import itemgetter
from typing import TYPE_CHECKING

from pgvip.config import safeguards
from pgvip.config.fence_rules import both, fencing, same_devices
from pgvip.config.model import ArchiveConfig
from pgvip.config.read import Address, missing, read_address, wrong
from pgvip.core.values import Override, Vip
from pgvip.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config, Host

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z")
_WINDOW = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d\Z")
_INTERFACE_LENGTH_MAX = 15  # IFNAMSIZ less the terminating zero (linux/if.h)


def contradictions(config: Config) -> list[ConfigError]:
    """Every contradiction in the configuration, in the order of the file."""
    network = (_names, _hosts, _prefixes, _roles, fencing, same_devices, _addresses, _gateways, _ports, _tls, _http)
    rules = (*network, _directories, _backups, _windows, _timing, _lease, _watchdog, safeguards.witness_contradictions)
    return [error for rule in rules for error in rule(config)]


def _names(config: Config) -> Iterator[ConfigError]:
    hint = "Use letters, digits, _ and -, at most 40."
    if not _NAME.match(config.name):
        yield wrong("pair.name", config.name, "is not a valid name", hint)
    first, second = both(config)
    for host in (first, second):
        if not _NAME.match(host.name):
            yield wrong("hosts", host.name, "is not a valid name", hint)
    if first.name.lower().replace("-", "_") == second.name.lower().replace("-", "_"):
        # slot and application names fold case and know no "-" (equal names acknowledge for each other: manual, 20.6.2)
        detail = "Replication slots and application names would be the same."
        yield wrong("hosts", [first.name, second.name], "differ only in case or - and _", "Rename one host.", detail)


def _hosts(config: Config) -> Iterator[ConfigError]:
    first, second = both(config)
    if first.address == second.address:
        hint = "Give each host its own address, not a virtual one."
        yield wrong(f"hosts.{second.name}.address", second.address, f"is also that of {first.name}", hint)
    if ip_address(first.address).version != ip_address(second.address).version:
        hint = "Use IPv4 for both hosts, or IPv6 for both."
        yield wrong(f"hosts.{second.name}.address", second.address, "mixes IPv4 and IPv6 with its peer", hint)
    for host in (first, second):
        name = host.interface
        if len(name) > _INTERFACE_LENGTH_MAX or "/" in name or " " in name:
            hint = f"Write a name of at most {_INTERFACE_LENGTH_MAX} characters, as in the output of ip link."
            yield wrong(f"hosts.{host.name}.interface", name, "cannot be an interface's name", hint)


def _prefixes(config: Config) -> Iterator[ConfigError]:
    """Both hosts are in the network of the VIPs: it has one length."""
    first, second = both(config)
    if first.network is None or second.network is None:
        return
    if first.network.version == second.network.version and first.network.prefixlen != second.network.prefixlen:
        written = f"{second.address}/{second.network.prefixlen}"
        what = f"has another prefix than {first.name} (/{first.network.prefixlen})"
        hint = "Write the prefix that ip address shows for the network of the virtual addresses, the same for both."
        yield wrong(f"hosts.{second.name}.address", written, what, hint)


def _roles(config: Config) -> Iterator[ConfigError]:
    first, second = both(config)
    if first.role is second.role is not Override.AUTO:
        yield wrong(
            f"hosts.{second.name}.role",
            second.role.value,
            f"contradicts the same role of {first.name}",
            'Leave one of the two hosts on "auto".',
        )


def _addresses(config: Config) -> Iterator[ConfigError]:
    primary, standby = config.vips[Vip.PRIMARY].ip, config.vips[Vip.STANDBY].ip
    if primary == standby:
        hint = "Give each role its own address."
        yield wrong("addresses.standby", str(standby), "is also the primary's", hint)
    if ip_address(config.me.address).version != ip_address(config.peer.address).version:
        return  # said already, see _hosts
    for vip, interface in config.vips.items():
        key, text = f"addresses.{vip.value}", str(interface.ip)
        for host in both(config):
            own = ip_address(host.address)
            if interface.ip == own:
                hint = "Use an address that no host owns; pgvip adds it where the role is."
                yield wrong(key, text, f"is {host.name}'s own address", hint)
            elif own.version != interface.version:
                hint = f"Use IPv{own.version}, as the hosts do."
                yield wrong(key, text, f"is IPv{interface.version}, unlike {host.name}'s own", hint)
            elif host.network is not None:
                yield from outside(key, interface.ip, host, [str(host.network)])


def outside(key: str, address: Address, host: Host, networks: list[str]) -> Iterator[ConfigError]:
    """The address must be a host's address in one of the interface's networks."""
    parsed = [ip_network(network) for network in networks]
    around = [network for network in parsed if network.version == address.version and address in network]
    if parsed and not around:
        hint = f"Use a free address of {' or '.join(networks)}, or the interface that is in its network."
        yield wrong(key, str(address), f"is outside the network of {host.name}'s {host.interface}", hint)
    for network in around:
        edges = (network.network_address, network.broadcast_address)
        if network.version == 4 and network.prefixlen < 31 and address in edges:
            yield wrong(key, str(address), f"is the first or last address of {network}", "Use one in between.")


def _gateways(config: Config) -> Iterator[ConfigError]:
    taken = {ip_address(host.address): f"{host.name}'s own address" for host in both(config)}
    taken |= {interface.ip: f"the {vip.value} VIP" for vip, interface in config.vips.items()}
    for target in config.gateways:
        address = read_address(target)
        if address is None:
            hint = "Write addresses; names are not looked up, since a dead name server is no dead gateway."
            yield wrong("gateway.targets", target, "is not an IP address", hint)
        elif address in taken:
            detail = "The gateway check says whether this host itself still has a network."
            hint = "Name a router or another machine outside of the pair."
            yield wrong("gateway.targets", target, f"is {taken[address]}", hint, detail)


def _ports(config: Config) -> Iterator[ConfigError]:
    if config.link_port == config.postgres.port:
        yield wrong("link.port", config.link_port, "is also PostgreSQL's port", "Use another; the default is 8432.")
    archive = config.archive
    if not archive.by_link:
        return
    ports = {"link.port": config.link_port, "postgresql.port": config.postgres.port}
    for key, port in (ports | ({"http.port": config.http.port} if config.http.listen != "off" else {})).items():
        if archive.port == port:
            yield wrong("archive.port", archive.port, f"is also {key}", "Use another; the default is 8434.")


def _http(config: Config) -> Iterator[ConfigError]:
    http = config.http
    for name in http.names:
        if not (_HOST_NAME.match(name) or read_address(name)):
            hint = 'Write names and addresses without a port, as in names = ["pg.example.org", "192.0.2.20"].'
            yield wrong("http.names", name, "is neither a host name nor an address", hint)
    if http.listen == "off":
        return
    for key, port in (("link.port", config.link_port), ("postgresql.port", config.postgres.port)):
        if http.port == port:
            yield wrong("http.port", http.port, f"is also {key}", "Use another; the default is 8433.")
    if (http.certificate is None) != (http.key is None):
        absent = "certificate" if http.certificate is None else "key"
        yield missing(f"http.{absent}", "TLS needs both: name the certificate and its key, or neither.")
    elif http.password_file and http.open and not http.certificate:
        yield wrong(
            "http.password_file",
            str(http.password_file),
            "would be asked for in the clear",
            'Name http.certificate and http.key, or write listen = "loopback".',
            "Whoever listens on the network would read the password.",
        )


def _tls(config: Config) -> Iterator[ConfigError]:
    postgres = config.postgres
    if postgres.tls == "own" and postgres.tls_authority is None:
        hint = "Name the PEM file with the authority of the server's certificate, the same path on both hosts."
        yield missing("postgresql.tls_authority", hint)
    if postgres.tls == "own":
        return
    if postgres.tls == "off":
        return  # on the way to "own", or from there: they are not used, or still in use
    only = 'belongs to tls = "own"'
    if postgres.tls_authority is not None:
        yield wrong("postgresql.tls_authority", str(postgres.tls_authority), only, "Remove it, or change tls.")
    for host in both(config):
        if host.certificate_name:
            key = f"hosts.{host.name}.certificate_name"
            yield wrong(key, host.certificate_name, only, "Remove it, or change postgresql.tls.")


def _directories(config: Config) -> Iterator[ConfigError]:
    data, archive = config.postgres.data_directory, config.archive
    inner = {
        "archive.directory": archive.directory,
        "archive.peer_mount": archive.peer_mount,
        "backup.directory": config.backup.directory,
        **{f"archive.destinations ({one.name})": one.directory for one in archive.destinations if one.directory},
        "paths.state": config.paths.state,
        "paths.run": config.paths.run,
    }
    for key, path in inner.items():
        if key == "backup.directory" and data in archive.directory.parents:
            continue  # said of the archive already
        if path == data or data in path.parents:
            detail = "A clone or a rewind would replace it, and every base backup would copy it."
            yield wrong(key, str(path), "is inside the data directory", "Move it out of there.", detail)
    own, mount = archive.directory, archive.peer_mount
    if own == mount:
        hint = "Name an empty directory of its own for the peer's archive."
        yield wrong("archive.peer_mount", str(mount), "is also archive.directory", hint)
    elif own in mount.parents or mount in own.parents:
        yield wrong("archive.peer_mount", str(mount), "lies within archive.directory or around it", "Part the two.")
    yield from _archives(config)
    if archive.by_link:
        yield from _no_mount(config)
    if archive.by_link or not archive.mount_type:
        return
    if not archive.mount_source:
        yield missing("archive.mount_source", 'Write mount_source = "{peer}:{directory}", or mount_type = "".')
    try:
        archive.mount_source.format(peer="", directory="")
    except (KeyError, ValueError, IndexError, AttributeError):
        hint = "Use {peer} and {directory} only; write other braces twice."
        yield wrong("archive.mount_source", archive.mount_source, "holds an unknown placeholder", hint)


def _no_mount(config: Config) -> Iterator[ConfigError]:
    """With "link" nothing is mounted: whoever names a mount expects something else."""
    archive, default = config.archive, ArchiveConfig()
    for key in ("peer_mount", "mount_type", "mount_source", "mount_options"):
        value = getattr(archive, key)
        if value != getattr(default, key):
            hint = f'Remove {key}, or write peer_archive = "nfs".'
            yield wrong(f"archive.{key}", str(value), 'belongs to peer_archive = "nfs"', hint)


def _archives(config: Config) -> Iterator[ConfigError]:
    archive, backups = config.archive, config.backup.directory
    taken = {
        archive.directory: "archive.directory",
        archive.peer_mount: "archive.peer_mount",
        backups: "backup.directory",
    }
    for one in archive.destinations:
        key = f"archive.destinations ({one.name})"
        if one.directory in taken:
            hint = "Name a directory of its own for each archive."
            yield wrong(key, str(one.directory), f"is also {taken[one.directory]}", hint)
        elif one.directory is not None:
            taken[one.directory] = f"the directory of {one.name}"
    if backups == archive.directory:
        yield wrong("backup.directory", str(backups), "is also archive.directory", "Name one within it or elsewhere.")
    apart = archive.peer_mount not in (archive.directory, *archive.directory.parents)
    if apart and archive.peer_mount in (backups, *backups.parents):
        yield wrong("backup.directory", str(backups), "is in the peer's archive", "It is read-only; name another.")


def _backups(config: Config) -> Iterator[ConfigError]:
    backup, age = config.backup, config.backup.max_age_days
    if age > 0 and (backup.keep == 0 or not config.archive.enabled):
        why = "backup.keep = 0" if backup.keep == 0 else "archive.enabled = false"
        yield wrong("backup.max_age_days", age, f"asks for base backups, and pgvip makes none ({why})", "Write 0.")


def _windows(config: Config) -> Iterator[ConfigError]:
    rejoin, form = config.rejoin, 'Write window = "HH:MM-HH:MM", local time, as in "01:00-05:00".'
    if rejoin.window and not _WINDOW.match(rejoin.window):
        yield wrong("rejoin.window", rejoin.window, "is not a time of day", form)
    elif rejoin.window and rejoin.window[:5] == rejoin.window[6:]:
        yield wrong("rejoin.window", rejoin.window, "is empty", form)
    elif rejoin.clone == "window" and not rejoin.window:
        yield wrong("rejoin.clone", "window", "but no window is given", form)


def _timing(config: Config) -> Iterator[ConfigError]:
    s = config.settings
    if s.heartbeat_s > s.interval_s:
        hint = f"Write at most {s.interval_s:g}, or a longer timing.interval_s."
        yield wrong("timing.heartbeat_s", s.heartbeat_s, f"is longer than timing.interval_s = {s.interval_s:g}", hint)
        return
    for key, value in (("timing.hung_after_s", s.hung_after_s), ("timing.standby_down_s", s.standby_down_s)):
        if value < 2 * s.heartbeat_s:
            what = f"is less than two heartbeats of {s.heartbeat_s:g} s"
            yield wrong(key, value, what, f"Write at least {2 * s.heartbeat_s:g}, so that one late one is no fault.")
    if 0 < s.isolation_demote_s < 2 * s.dead_after_s:
        what = f"is shorter than twice interval_s * check_times = {s.dead_after_s:g} s"
        hint = f"Write 0 (never) or at least {2 * s.dead_after_s:g}."
        detail = "A link that fails for a moment would stop the database."
        yield wrong("timing.isolation_demote_s", s.isolation_demote_s, what, hint, detail)
    if s.unfollowed_s < 2 * s.dead_after_s:
        what = f"is shorter than twice interval_s * check_times = {s.dead_after_s:g} s"
        detail = "A daemon that is restarted beside a stream that breaks for a moment would be fenced."
        yield wrong("timing.unfollowed_s", s.unfollowed_s, what, f"Write at least {2 * s.dead_after_s:g}.", detail)
    if config.postgres.stop_timeout_s > s.stop_s:
        what = f"is shorter than postgresql.stop_timeout_s = {config.postgres.stop_timeout_s:g}"
        yield wrong("timing.stop_s", s.stop_s, what, f"Write at least {config.postgres.stop_timeout_s:g}.")
    if s.salvage_s >= s.consent_s:
        what = f"is not shorter than timing.consent_s = {s.consent_s:g}"
        yield wrong("timing.salvage_s", s.salvage_s, what, "A host that gives up for that long would be fenced.")
    if config.valid_lft_s and config.valid_lft_s < s.dead_after_s:
        what = f"is shorter than interval_s * check_times = {s.dead_after_s:g} s"
        hint = f"Write 0 (no lease) or at least {int(s.dead_after_s) + 1}."
        yield wrong("addresses.valid_lft_s", config.valid_lft_s, what, hint, "A short stall would drop the address.")


def _lease(config: Config) -> Iterator[ConfigError]:
    """Async: the fence must be confirmed before the lease of `eligible` ends (docs/protocol.md)."""
    s = config.settings
    if s.sync:
        return
    for host in both(config):
        waits = ("fence_delay_s", s.fence_delay_s), ("hooks.veto_timeout_s", s.veto_timeout_s)
        key, wait_s = max(waits, key=itemgetter(1))  # they run at the same time
        needed_s = s.dead_after_s + wait_s + sum(method.timeout_s for method in host.fencing)
        if host.fencing and s.lag_s_max < needed_s:
            yield wrong(
                "replication.lag_s_max",
                s.lag_s_max,
                f"is too short to fence {host.name} within it",
                f"Write at least {needed_s:g}, or shorten hosts.{host.name}.fencing timeout_s.",
                f"Detection {s.dead_after_s:g} s + {key} {wait_s:g} s + all fence time-outs must fit.",
            )


RESTART_S = 5
"""For a daemon that died to be back: systemd's RestartSec=1, and a start of a second or two."""


def watchdog_limits_s(config: Config) -> tuple[float, float]:
    """The shortest and the longest time that a watchdog may have here.

    Shorter, and a crash of the daemon would reset the host. Longer, and a host that is cut off while its daemon is
    frozen would go on after its peer had tried all its fence methods, which is when an operator is asked to judge; in
    async, for more than half of the time whose commits may be lost.
    """
    s = config.settings
    longest_s = [
        s.dead_after_s + s.fence_delay_s + sum(method.timeout_s for method in host.fencing)
        for host in both(config)
        if host.fencing
    ]
    longest_s += [] if s.sync else [s.lag_s_max / 2]
    return max(RESTART_S, 4 * s.heartbeat_s), min(longest_s, default=600.0)


def _watchdog(config: Config) -> Iterator[ConfigError]:
    key, value = "watchdog.timeout_s", config.watchdog.timeout_s
    low_s, high_s = watchdog_limits_s(config)
    if config.watchdog.mode == "off":
        return
    if value < low_s:
        detail = "A crash of the daemon would reset the host before systemd has started it again."
        yield wrong(key, value, "is too short", f"Write at least {low_s:g}.", detail)
    elif value > high_s:
        detail = "A host that hangs would go on after its peer had tried every way to fence it."
        if not config.settings.sync and high_s == config.settings.lag_s_max / 2:
            detail = f"In async, half of replication.lag_s_max = {config.settings.lag_s_max:g} is the limit."
        yield wrong(key, value, "is too long", f"Write at most {int(high_s)}.", detail)
