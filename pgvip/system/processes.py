"""Processes of the database cluster, found by its data directory, and TCP sessions, found by address.

Read from procfs by hand: the daemon looks several times a second, and nothing here may open a file of the
cluster's own disk but `postmaster.pid` (a dead disk would hold the reader in D state).
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgvip.deadlines import Deadline, wait_until
from pgvip.errors import PostgresError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SERVERS = ("postgres", "postmaster", "edb-postgres", "edb-postmaster")
"""What the server's executable is called: tells a backend from an administrator's shell in the same directory."""

MARKER = b"PGSYSCONFDIR="
"""Every PostgreSQL program sets this for itself, and its archive and restore commands inherit it."""

LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""

POLL_S = 0.005


class ProcessRef(NamedTuple):
    """One process for all time: a pid alone comes back. `start`: in clock ticks since the boot."""

    pid: int
    start: str

    def __str__(self) -> str:
        return f"{self.pid}:{self.start}"

    @classmethod
    def parse(cls, text: str) -> ProcessRef:
        """Read the form that `str` writes.

        >>> str(ProcessRef.parse("12:345"))
        '12:345'
        """
        pid, _, start = text.partition(":")
        return cls(int(pid), start)


class _Stat(NamedTuple):
    """What is used of /proc/PID/stat (proc(5))."""

    state: str
    parent: int
    start: str


def _stat(pid: int) -> _Stat | None:
    """The process's state, parent and start; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123  # several hundred a second
            words = file.read(4096).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return _Stat(words[0].decode(), int(words[1]), words[19].decode()) if len(words) > 19 else None


def ref_of(pid: int) -> ProcessRef | None:
    """The live process that has this pid now; None when there is none, or only its zombie."""
    stat = _stat(pid)
    return None if stat is None or stat.state in "ZX" else ProcessRef(pid, stat.start)


def alive(ref: ProcessRef) -> bool:
    """True while this very process lives (a zombie does not)."""
    return ref_of(ref.pid) == ref


def postmaster(data_directory: str | Path) -> ProcessRef | None:
    """The live postmaster that `postmaster.pid` names.

    A pid that something else has got since is not believed: the process must be a server and must stand in
    the data directory. Its start time is part of what is returned. None: there is none.
    """
    data = _resolved(str(data_directory))
    lines = _pid_file(data)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    ref = ref_of(pid)
    if ref is None or _link(pid, "cwd") != data or not _is_server(pid):
        return None
    return ref if ref_of(pid) == ref else None


def cluster_processes(data_directory: str | Path) -> list[ProcessRef]:
    """Every live process of the cluster, the postmaster first: backends, orphans, archive and restore commands.

    They are those that stand in the data directory and are a server, were started by one, or are children of
    such; and whatever still has the cluster's shared memory attached. An administrator's shell in the
    directory is not among them, nor is this process.
    """
    data = _resolved(str(data_directory))
    standing = [pid for pid in _pids() if _link(pid, "cwd") == data]
    members = [pid for pid in standing if _is_server(pid)]
    rest = [pid for pid in standing if pid not in set(members)]
    members += [pid for pid in rest if _was_started_by_server(pid)]
    members += _children_among(rest, members)
    if not members:
        members = _attached(data)
    stats = {pid: stat for pid in members if (stat := _stat(pid)) is not None and stat.state not in "ZX"}
    parents = {stat.parent for stat in stats.values()}
    first = sorted(stats, key=lambda pid: (pid not in parents or stats[pid].parent in stats, pid))
    return [ProcessRef(pid, stats[pid].start) for pid in first]


def kill_cluster(data_directory: str | Path, deadline_s: float) -> None:
    """SIGKILL everything of the cluster, stopped processes too, until nothing is left.

    The postmaster last: a backend that waits for the synchronous standby gives up the wait when the postmaster is
    dead (syncrep.c), and what it has committed shows to others for the moment that they have left.
    PostgresError when something is still there after `deadline_s` (a process in D state cannot be ended).
    """

    def gone() -> bool:
        left = cluster_processes(data_directory)
        for ref in reversed(left):
            send(ref, signal.SIGKILL)
        # a process that was forking while it was killed shows up in the second look
        return not left and not cluster_processes(data_directory)

    try:
        wait_until(gone, deadline_s, every_s=POLL_S, what="end of the cluster's processes", error=PostgresError)
    except PostgresError:
        left = ", ".join(str(ref.pid) for ref in cluster_processes(data_directory))
        raise PostgresError(
            "could not end every process of the cluster",
            f"Still there after {deadline_s:g} s: {left or 'none at last'}.",
            "A process that ignores SIGKILL hangs in the kernel: look at the disk; the host may need a reset.",
        ) from None


def open_pidfd(ref: ProcessRef) -> int | None:
    """A descriptor that becomes readable when this very process ends; None when it has ended already."""
    try:
        descriptor = os.pidfd_open(ref.pid)
    except ProcessLookupError:
        return None
    if alive(ref):
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def pidfd(ref: ProcessRef) -> Iterator[int | None]:
    """`open_pidfd`, closed at the end."""
    descriptor = open_pidfd(ref)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def send(ref: ProcessRef, number: signal.Signals) -> bool:
    """Send a signal to this very process; False when it is gone."""
    with pidfd(ref) as descriptor:
        if descriptor is None:
            return False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
            return True
    return False


def sessions_on(address: str, port: int, data_directory: str | Path | None = None) -> list[int]:
    """The processes that serve TCP connections which came in through an address of this host.

    Whoever listens on the port is left out: that is the postmaster. `data_directory` narrows the search to
    one cluster's processes, which makes it fast.
    """
    connected, listening = _sockets(address, port)
    if not connected:
        return []
    candidates = _pids() if data_directory is None else (ref.pid for ref in cluster_processes(data_directory))
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


def memory_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def cpu_seconds() -> float:
    """CPU time that this process has used: user and system, all threads, without children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- procfs ---------------------------------------------------------------------------------------------


_RESOLVED: dict[str, str] = {}


def _resolved(path: str) -> str:
    """The path as the kernel shows it; looked up until it is there, then kept, since looking touches the disk."""
    known = _RESOLVED.get(path)
    if known is None:
        known = os.path.realpath(path)
        if os.path.isdir(known):  # noqa: PTH112  # beside realpath
            _RESOLVED[path] = known
    return known


def _pids() -> list[int]:
    """Every process but this one."""
    own = str(os.getpid())
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != own]  # noqa: PTH208  # several hundred names


def _link(pid: int, name: str) -> str:
    """Where /proc/PID/NAME points; "" for a zombie, a kernel thread, or a process that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115  # several hundred a second
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def _is_server(pid: int) -> bool:
    """True for the server program, also when a package upgrade has removed the file."""
    return _link(pid, "exe").removesuffix(" (deleted)").rpartition("/")[2] in SERVERS


def _was_started_by_server(pid: int) -> bool:
    try:
        return MARKER in Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ProcessLookupError):
        return False


def _children_among(pids: Iterable[int], parents: Iterable[int]) -> list[int]:
    """Those of `pids` that descend from `parents` (and are not in them)."""
    known = set(parents)
    waiting = {pid: stat.parent for pid in pids if pid not in known and (stat := _stat(pid)) is not None}
    found: list[int] = []
    while grown := [pid for pid, parent in waiting.items() if parent in known]:
        known.update(grown)
        found += grown
        for pid in grown:
            del waiting[pid]
    return found


def _pid_file(data: str) -> list[str]:
    """The lines of postmaster.pid (src/include/utils/pidfile.h); none when there is no such file."""
    try:
        lines = Path(data, "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as failure:
        raise PostgresError("could not read postmaster.pid", f"{failure}.") from failure
    segment = lines[6].split() if len(lines) > 6 else []
    if len(segment) == 2:
        _SEGMENTS[data] = segment[1]
    return lines


_SEGMENTS: dict[str, str] = {}
"""By data directory: the shared memory id that postmaster.pid last named; asking the file again may hang."""


def _attached(data: str) -> list[int]:
    """Processes that still have the cluster's System V segment: each backend keeps it attached for this purpose."""
    if data not in _SEGMENTS:
        _pid_file(data)
    segment = _SEGMENTS.get(data)
    if segment is None:
        return []
    rows = (line.split() for line in _lines("/proc/sysvipc/shm"))
    if not any(len(row) > 6 and row[1] == segment and row[6] != "0" for row in rows):
        return []
    return [pid for pid in _pids() if _maps_segment(pid, segment)]


def _maps_segment(pid: int, segment: str) -> bool:
    try:
        lines = _lines(f"/proc/{pid}/maps")
    except (OSError, ProcessLookupError):
        return False
    return any(words[4] == segment and words[5].startswith("/SYSV") for line in lines if len(words := line.split()) > 5)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()


# --- sockets --------------------------------------------------------------------------------------------


def _sockets(address: str, port: int) -> tuple[set[str], set[str]]:
    """The inodes of the sockets connected to a local address and port, and of those listening on the port."""
    wanted = {f"{form}:{port:04X}" for form in _kernel_forms(address)}
    connected, listening = set(), set()
    for name in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in _lines(f"/proc/thread-self/net/{name}")[1:]:
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
    links = (_link(pid, f"fd/{name}") for name in names)
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def _wait_for_any(pids: list[int], timeout_s: float) -> None:
    """Return when one of the processes has ended, or the time is over."""
    refs = [ref for pid in pids if (ref := ref_of(pid)) is not None]
    with suppress(PostgresError):
        wait_until(lambda: not all(alive(ref) for ref in refs), timeout_s, every_s=POLL_S, error=PostgresError)
