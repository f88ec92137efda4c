"""A small PostgreSQL with TLS on this machine: what a monitoring machine would have for a witness."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pgvip.config.witness_config import WitnessConfig
from pgvip.deadlines import wait_until
from pgvip.errors import CommandError
from pgvip.system.commands import check, run
from pgvip.witness.making import new_id
from pgvip.witness.making import run as run_init
from tests.lab.clusters import free_port
from tests.lab.postgres import bin_directory

DATABASE = "pgvip_witness"
ROLE = "pgvip_witness"
NAME = "witness.test"
HBA = """\
local all all trust
hostssl pgvip_witness pgvip_witness 127.0.0.0/8 cert
hostssl pgvip_witness by_password 127.0.0.0/8 scram-sha-256
hostssl all manager 127.0.0.0/8 trust
hostnossl pgvip_witness in_clear 127.0.0.0/8 trust
"""
SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{home}'
shared_buffers = 16MB
max_connections = 60
dynamic_shared_memory_type = mmap
ssl = on
ssl_cert_file = '{home}/server.crt'
ssl_key_file = '{home}/server.key'
ssl_ca_file = '{home}/root.crt'
"""


def ended(pid: int) -> bool:
    """It is gone, or only its parent has not noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def openssl(*words: str | Path) -> None:
    check(["openssl", *words], timeout_s=30)


def make_certificates(home: Path) -> None:
    """An authority, and certificates of the server and of the role."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
    root = ("-keyout", home / "root.key", "-out", home / "root.crt", "-subj", "/CN=authority")
    openssl("req", "-x509", *curve, *root)
    for name, subject in (("server", NAME), ("client", ROLE), ("other", "somebody")):
        extension = home / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{subject}\n")
        openssl("req", *curve, "-keyout", home / f"{name}.key", "-out", home / f"{name}.csr", "-subj", f"/CN={subject}")
        openssl("x509", "-req", "-in", home / f"{name}.csr", "-CA", home / "root.crt", "-CAkey", home / "root.key",
                "-CAcreateserial", "-days", "30", "-extfile", extension, "-out", home / f"{name}.crt")  # fmt: skip


@dataclass
class Server:
    """One cluster; `words`: how the role of the witness connects."""

    home: Path
    port: int
    binaries: Path

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def words(self) -> str:
        files = {"sslrootcert": "root.crt", "sslcert": "client.crt", "sslkey": "client.key"}
        said = " ".join(f"{key}={self.home}/{name}" for key, name in files.items())
        return f"host={NAME} hostaddr=127.0.0.1 port={self.port} dbname={DATABASE} {said}"

    @property
    def witness(self) -> WitnessConfig:
        return WitnessConfig(postgresql=self.words, timeout_s=5.0)

    @property
    def admin(self) -> str:
        return f"host={self.home} user=postgres"

    def sql(self, text: str, database: str = DATABASE) -> str:
        to = ["-h", str(self.home), "-p", str(self.port), "-d", database]
        argv = ["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", *to, "-c", text]
        return check(argv, timeout_s=20, user="postgres").stdout.strip()

    def start(self) -> None:
        """Run; its log is shown where it does not."""
        try:
            self._pg_ctl("start", "-l", str(self.home / "log"))
        except CommandError:
            print(*(self.home / "log").read_text().splitlines()[-20:], sep="\n")
            raise

    def stop(self, mode: str = "fast") -> None:
        self._pg_ctl("stop", "-m", mode)

    def kill(self) -> None:
        """The postmaster and all that it has, as a crash of the machine ends them."""
        file = self.data / "postmaster.pid"
        lines = file.read_text().splitlines()
        pid, segment = int(lines[0]), lines[6].split()[1]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        everyone = (pid, *map(int, children))
        for one in everyone:
            os.kill(one, signal.SIGKILL)
        wait_until(lambda: all(map(ended, everyone)), 10, what="the end of the server")
        # After a boot no process of that number would be there, nor the segment.
        file.unlink()
        (self.home / f".s.PGSQL.{self.port}.lock").unlink()
        run(["ipcrm", "--shmem-id", segment], timeout_s=10)

    def _pg_ctl(self, *words: str) -> None:
        check([self.binaries / "pg_ctl", "-D", self.data, "-w", "-t", "30", *words], timeout_s=40, user="postgres")

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.home)


BARE = "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{home}'\nshared_buffers = 16MB\n"
"""As a package leaves it, but for the places."""


def make_server(version: str = "", binaries: Path | None = None, *, bare: bool = False) -> Server:
    """A running server with the database, and nothing of a witness in it yet. `bare`: without TLS and database too."""
    home = Path(tempfile.mkdtemp(prefix="pgvip-witness-", dir=os.environ.get("PGVIP_LAB_DIR")))
    home.chmod(0o755)
    server = Server(home, free_port(), binaries or bin_directory(version))
    shutil.chown(home, "postgres")
    if not bare:
        make_certificates(home)
        shutil.chown(home / "server.key", "postgres")
        shutil.chown(home / "server.crt", "postgres")
    words = ["-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    check([server.binaries / "initdb", "-D", server.data, *words], timeout_s=60, user="postgres")
    with (server.data / "postgresql.conf").open("a") as file:
        file.write(f"port = {server.port}\n{(BARE if bare else SETTINGS).format(home=home)}")
    (server.data / "pg_hba.conf").write_text("local all all peer\n" if bare else HBA)
    server.start()
    if not bare:
        server.sql(f"CREATE DATABASE {DATABASE}", "postgres")
    return server


def made(server: Server) -> str:
    """With a witness in it, by the script; its id."""
    return run_init(server.witness, server.admin, new_id())
