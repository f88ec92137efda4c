"""A real pair in the lab: made by `pgvip init` and `pgvip clone`, run by real daemons, judged by its deeds.

What a host is gets read from outside pgvip (addresses, writability, streaming); what pgvip says of itself
(`status --json`) is compared with that, never trusted for it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.clients import CLIENT_USER
from tests.lab.fence import AGENT, DEVICE
from tests.lab.hosts import DATA_DIRECTORY, PERSISTENT, SOCKET_DIRECTORY, Host, Service, remove_tree
from tests.lab.lab import HOSTS, Lab
from tests.lab.network import ADDRESSES, NETWORK, PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import LabError, wait_until
from tests.lab.postgres import WITHOUT_TLS, bin_directory
from tests.lab.witness_server import SECTION, WitnessServer

PGVIP = Path(sys.prefix) / "bin" / "pgvip"
BUNDLE = "/etc/pgvip/beta.bundle"
CONFIG = "etc/pgvip.toml"
PEER_STATE = "/run/pgvip-lab-peer"
"""Where a host sees its peer's state directory, as the stand-in for an NFS export (this kernel has none)."""
HEALTHY = ["primary", "standby"]
MEANS: dict[str, dict[str, Any]] = {
    "fence": {},
    "witness": {"fencing": False, "witness": True},
    "both": {"witness": True},
    "neither": {"fencing": False},
}
"""What a host may take over from a silent one by, as options of the pair."""
Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Options:
    """How a pair is configured. `overrides`: further keys by section, as in the file ("hosts.alpha": {...}).

    `fencing`, `witness`: what a host may take over from a silent one by. `disk_mb`: PostgreSQL's disk has this size.
    """

    mode: str = "sync"
    preset: str = "fast"
    fencing: bool = True
    witness: bool = False
    version: str = ""
    overrides: Sections = field(default_factory=dict)
    disk_mb: int = 0


def sections(options: Options) -> dict[str, dict[str, Any]]:
    """The configuration of the lab's pair."""
    found: dict[str, dict[str, Any]] = {"pair": {"name": "lab"}}
    for name in HOSTS:
        method = {"agent": str(AGENT), "options": {"ip": DEVICE, "plug": name}, "timeout_s": 10}
        found[f"hosts.{name}"] = {
            "address": f"{ADDRESSES[name]}/24",
            "interface": "eth0",
            "fencing": [method] if options.fencing else "none",
        }
    found |= {
        "addresses": {"primary": PRIMARY_VIP, "standby": STANDBY_VIP},
        "gateway": {"targets": [ADDRESSES["gateway"]]},
        "postgresql": {
            "data_directory": DATA_DIRECTORY,
            "bin_directory": str(bin_directory(options.version)),
            "socket_directory": SOCKET_DIRECTORY,
            **({"tls": "off"} if options.version in WITHOUT_TLS else {}),
        },
        "replication": {"mode": options.mode},
        "archive": {"mount_type": "none", "mount_source": f"{PEER_STATE}/archive", "mount_options": "bind,ro"},
        "timing": {"preset": options.preset},
        **({"witness": SECTION} if options.witness else {}),
    }
    for section, values in options.overrides.items():
        found.setdefault(section, {}).update(values)
    if found["archive"].get("peer_archive") == "link":  # nothing is mounted then
        found["archive"] = {key: value for key, value in found["archive"].items() if not key.startswith("mount_")}
    return found


def toml(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def config_text(options: Options) -> str:
    """The configuration file of the lab's pair."""
    lines = []
    for section, values in sections(options).items():
        lines += [f"[{section}]", *(f"{key} = {toml(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)


class Pair:
    """The pair that lives in one lab."""

    def __init__(self, lab: Lab, options: Options) -> None:
        self.lab, self.options = lab, options
        self.alpha, self.beta = lab.alpha, lab.beta
        self.hosts = lab.hosts
        self.witness = WitnessServer(lab) if options.witness else None
        for host, peer in ((self.alpha, self.beta), (self.beta, self.alpha)):
            host.services = [Service("pgvip", (str(PGVIP), "run"))]
            host.disk_mb = options.disk_mb
            host.binds = [(peer.directory / "state", PEER_STATE)]

    # --- making it -------------------------------------------------------------------------------

    def write_config(self, options: Options | None = None) -> None:
        """Put the configuration on both hosts."""
        self.options = options or self.options
        for host in self.hosts.values():
            path = host.directory / CONFIG
            path.write_text(config_text(self.options))
            path.chmod(0o644)

    def pgvip(
        self, host: Host, *words: object, check: bool = True, timeout_s: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a pgvip command on a host."""
        return host.run([PGVIP, *words], check=check, timeout_s=timeout_s)

    def create(self) -> None:
        """Make it as an operator would: `init` and the daemon on alpha, `clone` and the daemon on beta."""
        if self.witness is not None:
            self.witness.create()
        for host in self.hosts.values():
            host.boot(start_daemon=False)
        (self.alpha.directory / CONFIG).write_text(config_text(self.options))
        self.pgvip(self.alpha, "init", "--bundle", BUNDLE, "--allow", f"{NETWORK}=trust")
        self.start_services(self.alpha)
        self.wait_roles(60, alpha="primary_standby")
        self.alpha.sql(f"create role {CLIENT_USER} login; create table lab_rows (n bigint primary key)")
        self.alpha.sql(f"grant select, insert on lab_rows to {CLIENT_USER}")
        shutil.copy2(self.alpha.directory / "etc/beta.bundle", self.beta.directory / "etc/beta.bundle")
        self.pgvip(self.beta, "clone", BUNDLE)
        self.start_services(self.beta)

    def start_services(self, host: Host) -> None:
        """Start what `systemd` would start at boot."""
        for service in host.services:
            host.start_service(service)

    def start(self) -> None:
        """Boot both hosts, daemons included."""
        for host in self.hosts.values():
            host.boot()

    def stop(self) -> None:
        """Daemons, then PostgreSQL (primary first, so that the standby has everything), in an orderly way."""
        for host in self.hosts.values():
            host.stop_service("pgvip")
        for host in sorted(self.hosts.values(), key=lambda host: not host.writable()):
            self.stop_postgres(host)

    def stop_postgres(self, host: Host) -> None:
        """Stop PostgreSQL in an orderly way, as its own unit would; nothing when it does not run."""
        if host.postmaster():
            argv = [bin_directory(self.options.version) / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "stop"]
            host.run(argv, user="postgres", timeout_s=90)

    def save(self, template: Path) -> None:
        """Keep the disks of a stopped pair."""
        for name, host in self.hosts.items():
            for part in PERSISTENT:
                copy_tree(host.directory / part, template / name / part)

    def restore(self, template: Path) -> None:
        """Put saved disks in place; both hosts must be off."""
        for name, host in self.hosts.items():
            for part in PERSISTENT:
                remove_tree(host.directory / part)
                copy_tree(template / name / part, host.directory / part)

    # --- what is true ----------------------------------------------------------------------------

    def role(self, host: Host) -> str:
        """The role by deeds: the addresses that the host carries and whether its database takes writes."""
        vips = {PRIMARY_VIP, STANDBY_VIP} & host.addresses() if host.is_on() else set()
        if not vips:
            return "none"
        query = "select pg_is_in_recovery(), current_setting('transaction_read_only')"
        answer = host.sql(query, check=False, timeout_s=3)
        if PRIMARY_VIP in vips:
            kind = "primary_standby" if STANDBY_VIP in vips else "primary"
            return kind if answer == "f|off" else "none"
        return "standby" if answer == "t|on" else "none"

    def roles(self) -> dict[str, str]:
        """Both roles by deeds."""
        found = {}
        for name, host in self.hosts.items():
            try:
                found[name] = self.role(host)
            except LabError:
                found[name] = "none"
        return found

    def host_as(self, role: str) -> Host:
        """The host that has the role now; LabError when none or both have."""
        names = [name for name, found in self.roles().items() if found == role]
        if len(names) != 1:
            raise LabError(f"{len(names)} hosts are {role}: {self.roles()}")
        return self.hosts[names[0]]

    def peer_of(self, host: Host) -> Host:
        return self.beta if host is self.alpha else self.alpha

    def streams(self, primary: Host) -> bool:
        """True when the standby streams, and in sync mode is the synchronous one."""
        states = primary.sql("select state || ' ' || sync_state from pg_stat_replication "
                             "where application_name like 'pgvip%'", check=False).split("\n")
        return f"streaming {self.options.mode}" in [state.replace("quorum", "sync") for state in states]

    def granted(self, standby: Host) -> bool:
        """True when the standby holds the eligibility to take over, kept by its daemon for its restarts."""
        try:
            facts = json.loads(standby.path("/run/pgvip/boot.json").read_text())
        except (OSError, ValueError, LabError):
            return False
        return "grant" in json.dumps(facts) and '"grant": null' not in json.dumps(facts)

    def healthy(self) -> bool:
        """Primary and standby, each with its own address, streaming, and able to take over."""
        roles = self.roles()
        if sorted(roles.values()) != HEALTHY:
            return False
        primary = next(self.hosts[name] for name, role in roles.items() if role == "primary")
        return self.streams(primary) and self.granted(self.peer_of(primary))

    def wait_healthy(self, deadline_s: float = 60.0, steady_s: float = 0.0) -> float:
        """Wait until it has been healthy for `steady_s`; how long that took. LabError tells what there was instead.

        A fault that no daemon has seen yet leaves the pair healthy for a moment: then `steady_s` is needed.
        """
        begun_s = time.monotonic()
        since_s: float | None = None

        def steady() -> bool:
            nonlocal since_s
            if not self.healthy():
                since_s = None
                return False
            since_s = time.monotonic() if since_s is None else since_s
            return time.monotonic() - since_s >= steady_s

        try:
            wait_until(steady, deadline_s, "pair healthy", every_s=0.1)
        except LabError as error:
            raise LabError(f"{error}\n{self.describe()}") from error
        return time.monotonic() - begun_s

    def wait_roles(self, deadline_s: float = 30.0, **roles: str) -> None:
        """Wait until the named hosts have these roles."""
        try:
            wait_until(lambda: {name: self.roles()[name] for name in roles} == roles, deadline_s, f"roles {roles}")
        except LabError as error:
            raise LabError(f"{error}\n{self.describe()}") from error

    def status(self, host: Host) -> dict[str, Any]:
        """What `pgvip status --json` says on a host."""
        answer: dict[str, Any] = json.loads(self.pgvip(host, "status", "--json", timeout_s=20).stdout)
        return answer

    def describe(self, lines: int = 25) -> str:
        """Everything one wants to see when something is not as it should be."""
        parts = [f"roles {self.roles()}"]
        for name, host in self.hosts.items():
            record = host.directory / "state/record.json"
            log = "\n".join(host.log().splitlines()[-lines:])
            power, text = "on" if host.is_on() else "off", record.read_text() if record.exists() else "no record"
            parts.append(f"--- {name}: {power} {text}\n{log}")
        return "\n".join(parts)


def copy_tree(source: Path, target: Path) -> None:
    """Copy with owners and modes; no sockets."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True, timeout=120)
