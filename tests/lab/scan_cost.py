"""What one look at the cluster's processes costs, beside many processes of others.

scripts/bench-scan [--foreign N] [--backends N]   needs no PostgreSQL: a shell stands for the server; half a minute
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from pgvip.deadlines import wait_until
from pgvip.system import processes, sessions

START_S = 60.0
PORT = 5432


@contextlib.contextmanager
def foreign(count: int) -> Iterator[None]:
    """So many sleeping processes of nobody's cluster, which are ended at the end."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.extend(subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL) for _ in range(count))
        yield
    finally:
        for one in started:
            one.kill()
        for one in started:
            one.wait()


@contextlib.contextmanager
def cluster(backends: int) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A data directory with a postmaster and its backends; what is called kills the postmaster alone."""
    with tempfile.TemporaryDirectory() as root:
        data, server = Path(root, "data"), Path(root, "postgres")
        data.mkdir()
        shutil.copy("/bin/sh", server)
        words = [str(server), "-c", f"for i in $(seq {backends}); do (sleep 600; :) & done; wait"]
        postmaster = subprocess.Popen(words, cwd=data, start_new_session=True)
        lines = [str(postmaster.pid), str(data), "1700000000", str(PORT), "/tmp", "*", "  1 0", "ready"]
        (data / "postmaster.pid").write_text("\n".join(lines) + "\n")

        def kill() -> None:
            postmaster.kill()
            postmaster.wait()

        try:
            # a backend, and the command that it runs: as the archiver does
            wait_until(lambda: len(processes.cluster_processes(data)) == 1 + 2 * backends, START_S)
            yield data, kill
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(postmaster.pid, signal.SIGKILL)
            postmaster.wait()
            wait_until(lambda: not processes.cluster_processes(data), START_S)


def measure(name: str, look: Callable[[], object], times: int) -> None:
    """CPU time of one call and the shortest wall time: what else the machine does is in neither."""
    look()
    best_s, cpu_s = float("inf"), time.process_time()
    for _ in range(times):
        began_s = time.perf_counter()
        look()
        best_s = min(best_s, time.perf_counter() - began_s)
    cpu_ms = (time.process_time() - cpu_s) / times * 1000
    sys.stdout.write(f"  {name:58} {cpu_ms:8.2f} ms CPU {best_s * 1000:8.2f} ms at best\n")


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench-scan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--foreign", type=int, default=2000, help="sleeping processes of others [2000]")
    parser.add_argument("--backends", type=int, default=20, help="the postmaster's children, each with one [20]")
    args = parser.parse_args()
    with foreign(args.foreign), cluster(args.backends) as (data, kill):
        sys.stdout.write(f"{len(psutil.pids())} processes, {1 + 2 * args.backends} of them the cluster's\n")
        measure("a look while the postmaster lives", lambda: processes.look(data), 300)
        measure("all processes by working directory", lambda: processes.cluster_processes(data), 20)
        measure("the same by psutil.process_iter", lambda: list(psutil.process_iter(["cwd"])), 5)
        measure("sessions on an address", lambda: sessions.sessions_on("127.0.0.1", PORT, data), 20)
        measure("the same by psutil.net_connections", lambda: psutil.net_connections("tcp"), 5)
        kill()
        sys.stdout.write(f"the postmaster is killed: {processes.look(data).live} orphans\n")
        measure("a look without a postmaster", lambda: processes.look(data), 20)
    return 0


if __name__ == "__main__":
    sys.exit(main())
