"""The whole lab: two hosts, a gateway, a client, a switch, a fence device; made and taken down.

Nothing of it outlives the lab process: all namespaces hang on pipes of this process, and what is left on disk
after a SIGKILL is removed by the next lab or by `scripts/lab clean`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.clients import ArpWatch, SqlClient, WriteProbe, holders, reader, two_writers, writer
from tests.lab.fence import FenceDevice
from tests.lab.hosts import Host, remove_tree
from tests.lab.network import ADDRESSES, PRIMARY_VIP, STANDBY_VIP, Switch
from tests.lab.nodes import LabError, Node

PREFIX = "pgvip-lab-"
HOSTS = ("alpha", "beta")


def base_directory() -> Path:
    """Where labs keep their disks: PGVIP_LAB_DIR, or /var/tmp."""
    return Path(os.environ.get("PGVIP_LAB_DIR", "/var/tmp"))


def start_time(pid: int) -> str:
    """A process's start time in clock ticks: with its id it names one process for ever; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return ""


def namespace() -> str:
    """The namespace of process ids that this process is in, as pid_namespaces(7) shows it."""
    return str(Path("/proc/self/ns/pid").readlink())


def mark_owner(directory: Path) -> None:
    """Say that a directory lives as long as this process."""
    (directory / "owner").write_text(f"{os.getpid()} {start_time(os.getpid())} {namespace()}")


def owner(directory: Path) -> int | None:
    """The process whose directory it is: 0 when it is gone, None when that cannot be told from here.

    Containers may share a directory, and their processes are not seen from one another.
    """
    pid, started, where = (directory / "owner").read_text().split()
    if where != namespace():
        return None
    return int(pid) if start_time(int(pid)) == started else 0


def clean_left_overs() -> list[Path]:
    """Remove the directories of labs whose process is gone; what was removed."""
    removed = []
    for directory in base_directory().glob(PREFIX + "*"):
        with contextlib.suppress(OSError, ValueError):
            if owner(directory) == 0:
                remove_tree(directory)
                removed.append(directory)
    return removed


class Lab:
    """Use as a context manager; hosts are made, but not booted."""

    def __init__(self, *, needed: tuple[Path, ...] = ()) -> None:
        clean_left_overs()
        self.directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base_directory()))
        self.directory.chmod(0o755)
        mark_owner(self.directory)
        self.switch = Switch()
        self.gateway, self.client, self.stranger = Node("gateway"), Node("client"), Node("stranger")
        self.hosts = {name: Host(name, self.switch, self.directory / name, needed) for name in HOSTS}
        self.alpha, self.beta = (self.hosts[name] for name in HOSTS)
        self.fence = FenceDevice(self.hosts)
        self.probes = {name: WriteProbe(host) for name, host in self.hosts.items()}
        self.arp = ArpWatch(self.client, self.directory / "arp.log")
        self.clients: list[SqlClient] = []
        self.owner = os.getpid()
        atexit.register(self.close)

    def __enter__(self) -> Self:
        try:
            self.switch.start()
            for node in (self.gateway, self.client, self.stranger):
                node.start()
                self.switch.plug(node)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down. May be called twice, and from an interpreter that is ending."""
        atexit.unregister(self.close)
        if os.getpid() != self.owner or not self.directory.exists():
            return
        failed: list[Exception] = []
        nodes = (*self.hosts.values(), self.client, self.stranger, self.gateway, self.switch)
        for stop in (self.fence.close, *(node.stop for node in nodes)):
            try:
                stop()
            except Exception as error:  # noqa: BLE001 - the rest must be taken down whatever happened to this
                failed.append(error)
        keep = os.environ.get("PGVIP_LAB_KEEP")
        if keep:
            shutil.copytree(self.directory, Path(keep) / self.directory.name, symlinks=True, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.sock", "base", "pg_wal"))
        remove_tree(self.directory)
        if failed:
            raise LabError(f"not everything could be taken down: {failed}") from failed[0]

    # --- clients ---------------------------------------------------------------------------------

    def writer(self, name: str = "writer", *, rate: float = 100.0, first: int = 1) -> SqlClient:
        """A writing client on the primary VIP, not started yet."""
        return self._known(writer(self.client, self.directory / f"{name}.log", rate=rate, first=first))

    def reader(self, name: str = "reader", *, rate: float = 50.0) -> SqlClient:
        """A reading client on the standby VIP, not started yet."""
        return self._known(reader(self.client, self.directory / f"{name}.log", rate=rate))

    def _known(self, client: SqlClient) -> SqlClient:
        self.clients.append(client)
        return client

    # --- what is true ----------------------------------------------------------------------------

    def holders(self, address: str) -> set[str]:
        """Who answers ARP for an address, seen by the client."""
        return holders(self.client, address)

    def vip_holders(self) -> dict[str, set[str]]:
        """Who answers for the two VIPs."""
        return {"primary": self.holders(PRIMARY_VIP), "standby": self.holders(STANDBY_VIP)}

    def lost(self, acknowledged: set[int], host: Host) -> set[int]:
        """Acknowledged numbers that are not on `host`, asked directly."""
        present = {int(line) for line in host.sql("select n from lab_rows", timeout_s=60).split()}
        return acknowledged - present

    def violations(self, since_s: float = 0.0) -> list[str]:
        """What the monitors saw (after a time) that must never be: two writers, two holders of one address."""
        alpha, beta = (self.probes[name].writable(since_s) for name in HOSTS)
        pairs = two_writers(alpha, beta)
        found = [f"two writers at {one.answered_s:.3f} and {other.answered_s:.3f}" for one, other in pairs]
        names = {ADDRESSES[name]: name for name in ADDRESSES}
        found += [f"{names.get(answer.address, answer.address)} answered by {answer.macs} at {answer.at_s:.3f}"
                  for answer in self.arp.doubles() if answer.at_s > since_s]
        return found
