"""The witness of a pair in the lab: a small PostgreSQL on the node `stranger`, a third machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import psutil

from pgvip.config.witness_config import WitnessConfig
from pgvip.witness.making import script
from tests.lab.network import ADDRESSES, NETWORK
from tests.lab.nodes import wait_until
from tests.lab.postgres import bin_directory

if TYPE_CHECKING:
    from tests.lab.lab import Lab

NODE = "stranger"
ID = "ab" * 16
PORT = 5455
PLACE = f"host={ADDRESSES[NODE]} port={PORT} dbname=pgvip_witness sslmode=disable"
SECTION: dict[str, Any] = {"postgresql": PLACE, "id": ID}
"""The section of the configuration that names it."""
SETTINGS = """
port = {port}
listen_addresses = '*'
unix_socket_directories = '{home}'
dynamic_shared_memory_type = mmap
shared_buffers = 16MB
"""


class WitnessServer:
    """The server; it ends with the lab."""

    def __init__(self, lab: Lab) -> None:
        self.node = lab.stranger
        self.home = lab.directory / "witness"
        self.binaries = bin_directory()
        self.program: subprocess.Popen[str] | None = None

    def create(self) -> None:
        """Make the cluster and the register in it, and start it."""
        self.home.mkdir()
        shutil.chown(self.home, "postgres")
        words = ["-D", self.home / "data", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        self.node.run([self.binaries / "initdb", *words], user="postgres", timeout_s=120)
        with (self.home / "data/postgresql.conf").open("a") as file:
            file.write(SETTINGS.format(port=PORT, home=self.home))
        with (self.home / "data/pg_hba.conf").open("a") as file:
            file.write(f"host pgvip_witness pgvip_witness {NETWORK} trust\n")
        self.start()
        self.psql("CREATE DATABASE pgvip_witness", "postgres")
        self.psql(script(WitnessConfig(postgresql=PLACE), ID))

    def psql(self, text: str, database: str = "pgvip_witness") -> str:
        """What a superuser is answered."""
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.home, "-p", PORT, "-d", database]
        return self.node.run(argv, user="postgres", stdin=text, timeout_s=60).stdout.strip()

    def start(self) -> None:
        """Start it and wait until it answers; nothing where it runs."""
        if self.program is not None:
            return
        with (self.home / "log").open("a") as log:
            argv = [self.binaries / "postgres", "-D", self.home / "data"]
            self.program = self.node.popen(argv, user="postgres", stdout=log, stderr=subprocess.STDOUT)
        ready = [self.binaries / "pg_isready", "-q", "-h", self.home, "-p", PORT]
        wait_until(lambda: self.node.run(ready, check=False).returncode == 0, 60, "the witness answers")

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> None:
        """End it as pg_ctl does: SIGINT is fast, SIGQUIT immediate. Nothing where it does not run."""
        program, self.program = self.program, None
        if program is not None:
            program.send_signal(with_signal)
            program.wait(60)
            self.node.programs.remove(program)

    def hang(self) -> None:
        """Stop every process of it: its kernel still answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.program is None:
            return
        for process in (psutil.Process(self.program.pid), *psutil.Process(self.program.pid).children(recursive=True)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def claims(self) -> dict[int, str]:
        """Who has which term, of the one pair that uses it."""
        rows = self.psql("SELECT term || ' ' || host FROM pgvip_witness.claims ORDER BY term").splitlines()
        return {int(row.split()[0]): row.split()[1] for row in rows}
