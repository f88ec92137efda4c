"""Two clusters on one machine, for tests of what touches PostgreSQL: hosts `a` and `b` at 127.0.0.1 and 127.0.0.2.

Configuration and data directories are apart, as on Debian, so that a clone copies no settings.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from pgvip.actions import postgres
from pgvip.config.model import ArchiveConfig, Config, Host, PostgresConfig, RejoinConfig
from pgvip.config.paths import Paths
from pgvip.core.settings import Settings
from pgvip.setup.access import scram_verifier
from pgvip.system import pgtools, processes
from pgvip.system.commands import check, run
from pgvip.system.sql import SQL_DIRECTORY

ADDRESSES = {"a": "127.0.0.1", "b": "127.0.0.2"}
PASSWORD = "secret"  # noqa: S105  # of clusters that live for a test

HBA = """\
local all pgvip peer map=pgvip
local all all peer
local replication postgres peer
host replication,postgres pgvip_replication,pgvip 127.0.0.0/8 scram-sha-256
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def make_cluster(config: Config) -> None:
    """A new, empty cluster; its configuration is where the host keeps it."""
    data = config.postgres.data_directory
    check(
        [config.postgres.bin_directory / "initdb", "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"],
        timeout_s=60,
        user="postgres",
    )
    (data / "postgresql.conf").unlink()


def forget_shared_memory(config: Config) -> None:
    """Remove the segment of a killed server, which it would itself remove at its next start: there will be none.

    It is named on the seventh line of postmaster.pid (src/include/utils/pidfile.h): key and number.
    """
    file = config.postgres.data_directory / "postmaster.pid"
    words = file.read_text().splitlines()[6].split() if file.exists() else []
    if words:
        done = run(["ipcrm", "--shmem-id", words[1]], timeout_s=10)
        assert done.returncode == 0 or "invalid id" in done.said, done.said  # a start that failed has removed it


@dataclass
class Pair:
    """Both hosts' configurations, and their clusters."""

    root: Path
    a: Config
    b: Config
    created: list[Config] = field(default_factory=list)

    def create(self, config: Config) -> None:
        """Make a new cluster with roles and heartbeat row; it is left running, read-write."""
        self.created.append(config)
        make_cluster(config)
        postgres.start(config, standby=False, sync=False)
        script = (SQL_DIRECTORY / "setup.sql").read_text()
        secret = scram_verifier(PASSWORD)
        pgtools.psql(config, f"\\set verifier '{secret}'\n\\set replication_verifier '{secret}'\n{script}")

    def close(self) -> None:
        for config in (self.a, self.b):
            processes.kill_cluster(config.postgres.data_directory, 10)
            forget_shared_memory(config)
        shutil.rmtree(self.root)

    def show_logs(self) -> None:
        """The newest of both servers' logs; pytest shows it where a test has failed."""
        for config in (self.a, self.b):
            lines = postgres.log_file(config).read_text(errors="replace").splitlines()
            print(f"--- server of {config.me.name}", *lines[-60:], sep="\n")


def host_config(root: Path, me: str, port: int, binaries: Path) -> Config:
    """One host's view; its directories are made, with settings that suit a test."""
    peer = "b" if me == "a" else "a"
    home = root / me
    directories = {name: home / name for name in ("etc", "run", "state", "archive")}
    for directory in (home, *directories.values()):
        directory.mkdir()
    shutil.chown(home, "postgres")
    shutil.chown(directories["archive"], "postgres")
    shutil.chown(directories["etc"], "postgres")
    work = directories["state"] / "work"  # as setup makes it
    work.mkdir(mode=0o700)
    shutil.chown(work, "postgres")
    config = Config(
        name="test",
        me=Host(me, ADDRESSES[me], "lo"),
        peer=Host(peer, ADDRESSES[peer], "lo"),
        vips={},
        postgres=PostgresConfig(
            data_directory=home / "data",
            bin_directory=binaries,
            config_directory=directories["etc"],
            socket_directory=home,
            port=port,
            listen_addresses=ADDRESSES[me],
            tls="off",
            start_timeout_s=30,
            stop_timeout_s=20,
            promote_timeout_s=20,
        ),
        settings=Settings(me=me, peer=peer, me_first=me == "a", hung_after_s=2.0),
        archive=ArchiveConfig(directory=directories["archive"], peer_mount=root / peer / "archive", timeout_s=5),
        rejoin=RejoinConfig(timeout_s=120),
        paths=Paths(state=directories["state"], run=directories["run"], passwords=home / "pgpass"),
    )
    write_settings(config)
    return config


def write_settings(config: Config) -> None:
    etc = config.postgres.config_directory
    files = {
        etc / "postgresql.conf": f"""\
data_directory = '{config.postgres.data_directory}'
hba_file = '{etc}/pg_hba.conf'
ident_file = '{etc}/pg_ident.conf'
unix_socket_directories = '{config.postgres.socket_directory}'
shared_buffers = 16MB
# in the data directory, which is removed, and not in /dev/shm: most of these servers end by being killed
dynamic_shared_memory_type = mmap
max_connections = 20
wal_level = logical
max_wal_size = 64MB
logging_collector = off
log_line_prefix = '%m [%p] '
""",
        etc / "pg_hba.conf": HBA,
        etc / "pg_ident.conf": "pgvip root pgvip\npgvip postgres pgvip\n",
        config.paths.passwords: f"*:*:*:*:{PASSWORD}\n",
    }
    for path, text in files.items():
        path.write_text(text)
        path.chmod(0o600)
        shutil.chown(path, "postgres", "postgres")


def make_pair(binaries: Path) -> Pair:
    root = Path(tempfile.mkdtemp(prefix="pgvip-test-"))
    root.chmod(0o755)
    port = free_port()
    return Pair(root, host_config(root, "a", port, binaries), host_config(root, "b", port, binaries))
