"""TCP sessions of this host, found by the address through which they came in.

Read from procfs by hand: an address that moves waits for this. psutil.net_connections reads the descriptors of every
process of the host (130 to 200 ms beside 2,000 others, as long as sessions may take to end); here they are read of the
cluster's processes alone, and of none while no session is there.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from pgvip.deadlines import Deadline, wait_until
from pgvip.errors import PostgresError
from pgvip.system import processes

LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""

POLL_S = 0.005


def sessions_on(address: str, port: int, data_directory: str | Path | None = None) -> list[int]:
    """The processes that serve TCP connections which came in through an address of this host.

    Whoever listens on the port is left out: that is the postmaster. `data_directory` narrows the search to
    one cluster's processes, which makes it fast.
    """
    connected, listening = _sockets(address, port)
    if not connected:
        return []
    if data_directory is None:
        candidates = processes.pids()
    else:
        candidates = [ref.pid for ref in processes.cluster_processes(data_directory)]
    found = []
    for pid in candidates:
        inodes = _socket_inodes(pid)
        if inodes & connected and not inodes & listening:
            found.append(pid)
    return found


def end_sessions(address: str, port: int, deadline_s: float, data_directory: str | Path | None = None) -> int:
    """Ask the backends behind an address to end (SIGTERM) and wait for it; returns how many are left.

    Never SIGKILL: that makes PostgreSQL restart as a whole.
    """
    deadline = Deadline.after(deadline_s)
    asked: set[int] = set()
    while True:
        left = sessions_on(address, port, data_directory)
        for pid in set(left) - asked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        asked |= set(left)
        if not left or deadline.expired:
            return len(left)
        _wait_for_any(left, deadline.sooner_s(0.02))


# --- sockets --------------------------------------------------------------------------------------------


def _sockets(address: str, port: int) -> tuple[set[str], set[str]]:
    """The inodes of the sockets connected to a local address and port, and of those listening on the port."""
    wanted = {f"{form}:{port:04X}" for form in _kernel_forms(address)}
    connected, listening = set(), set()
    for name in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(f"/proc/thread-self/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
                words = line.split()
                if words[3] == LISTEN and words[1].endswith(f":{port:04X}"):
                    listening.add(words[9])
                elif words[3] != LISTEN and words[9] != "0" and words[1] in wanted:
                    connected.add(words[9])
    return connected, listening


def _kernel_forms(address: str) -> list[str]:
    """An address as /proc/net/tcp and tcp6 write it: 32-bit words in the host's byte order."""
    ip = ip_address(address)
    if ip.version == 6:
        return [_words(ip.packed)]
    mapped = socket.inet_pton(socket.AF_INET6, f"::ffff:{ip}")
    return [_words(ip.packed), _words(mapped)]


def _words(packed: bytes) -> str:
    """Format network-order bytes the way the kernel prints them.

    >>> _words(bytes([127, 0, 0, 1])) == ("0100007F" if sys.byteorder == "little" else "7F000001")
    True
    """
    quads = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    native = [int.from_bytes(quad, sys.byteorder) for quad in quads]
    return "".join(f"{value:08X}" for value in native)


def _socket_inodes(pid: int) -> set[str]:
    """The inodes of a process's sockets; empty when it is gone."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208  # thousands of short names
    except OSError:
        return set()
    links = (processes.link_of(pid, f"fd/{name}") for name in names)
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def _wait_for_any(pids: list[int], timeout_s: float) -> None:
    """Return when one of the processes has ended, or the time is over."""
    refs = [ref for pid in pids if (ref := processes.ref_of(pid)) is not None]
    with suppress(PostgresError):
        wait_until(
            lambda: not all(processes.alive(ref) for ref in refs), timeout_s, every_s=POLL_S, error=PostgresError
        )
