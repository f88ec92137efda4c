"""Processes of the database cluster, found by its data directory; what psutil says of this process and this host.

The cluster's processes are read from procfs by hand: the daemon looks several times a second, where psutil costs more
than twice as much, and nothing here may open a file of the cluster's own disk but `postmaster.pid` (a dead disk would
hold the reader in D state). Everything else is psutil's.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import contextmanager, suppress
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from pgvip.deadlines import wait_until
from pgvip.errors import PostgresError
from pgvip.system import workers
from pgvip.system.procfs import ProcessRef, alive, is_server, lines_of, link_of, parent_of, pids, ref_of, stat_of
from pgvip.system.reserve import RESERVE
from pgvip.system.standing import belongs, standing_postmaster
from pgvip.text.numbers import whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ProcessRef", "alive", "link_of", "parent_of", "pids", "ref_of"]

MARKER = b"PGSYSCONFDIR="
"""Every PostgreSQL program sets this for itself, and its archive and restore commands inherit it."""

POLL_S = 0.005


Address = IPv4Address | IPv6Address


class Cluster(NamedTuple):
    """The live processes of a cluster: the postmaster, None when there is none, and how many there are in all."""

    postmaster: ProcessRef | None
    live: int


class DiskSpace(NamedTuple):
    """Of one file system; `free_bytes`: to users other than root."""

    total_bytes: int
    free_bytes: int


def look(data_directory: str | Path) -> Cluster:
    """The postmaster and the number of the cluster's processes, at the least cost: what the daemon asks all the time.

    While the postmaster lives they are its descendants, and no other process of the host is read. Only when it is gone
    are they sought among all: its orphans have another parent then.
    """
    data = _resolved(str(data_directory))
    ref = postmaster(data)
    if ref is not None and _lists_children():
        live = sum(1 for pid in _descendants(ref.pid) if link_of(pid, "cwd") == data)
        if alive(ref):  # else it ended meanwhile, and the kernel has given its children to another process
            return Cluster(ref, 1 + live)
    left = cluster_processes(data)
    return Cluster(postmaster(data), len(left))


def postmaster(data_directory: str | Path) -> ProcessRef | None:
    """The live postmaster that `postmaster.pid` names.

    A pid that something else has got since is not believed: the process must be a server and must stand in
    the data directory. Its start time is part of what is returned. None: there is none. Where this process must not
    read the file (workers do), it is found among the processes of PostgreSQL's user.
    """
    data = _resolved(str(data_directory))
    owner = workers.served_uid()
    if owner is not None:
        found = standing_postmaster(data, owner)
        if found is not None:
            _learn_segment(data, found)
        return found
    lines = _pid_file(data)
    pid = whole(lines[0].strip()) if lines else None
    if pid is None:
        return None
    ref = ref_of(pid)
    if ref is None or link_of(pid, "cwd") != data or not is_server(pid):
        return None
    return ref if ref_of(pid) == ref else None


def cluster_processes(data_directory: str | Path) -> list[ProcessRef]:
    """Every live process of the cluster, the postmaster first: backends, orphans, archive and restore commands.

    They are those that stand in the data directory and are a server, were started by one, or are children of
    such; and whatever still has the cluster's shared memory attached. An administrator's shell in the
    directory is not among them, nor is this process.
    """
    data = _resolved(str(data_directory))
    owner = workers.served_uid()
    standing = [pid for pid in pids() if link_of(pid, "cwd") == data and belongs(pid, owner)]
    members = [pid for pid in standing if is_server(pid)]
    rest = [pid for pid in standing if pid not in set(members)]
    members += [pid for pid in rest if _was_started_by_server(pid)]
    members += _children_among(rest, members)
    if not members:
        members = [pid for pid in _attached(data) if belongs(pid, owner)]
    stats = {pid: stat for pid in members if (stat := stat_of(pid)) is not None and stat.state not in "ZX"}
    parents = {stat.parent for stat in stats.values()}
    first = sorted(stats, key=lambda pid: (pid not in parents or stats[pid].parent in stats, pid))
    return [ProcessRef(pid, stats[pid].start) for pid in first]


def members(data_directory: str | Path) -> list[ProcessRef]:
    """Every process of the cluster, the postmaster first: at the cost of its children alone while it lives."""
    data = _resolved(str(data_directory))
    ref = postmaster(data)
    if ref is None or not _lists_children():
        return cluster_processes(data)
    return [ref, *(one for pid in _descendants(ref.pid) if (one := ref_of(pid)) is not None)]


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
            "A process that ignores SIGKILL hangs in the kernel: check the disk; the host may need a reset.",
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


def memory_bytes() -> int:
    """Resident memory of this process."""
    with RESERVE.lent():  # asked on threads that nothing may end
        return int(psutil.Process().memory_info().rss)


def cpu_seconds() -> float:
    """CPU time that this process has used: user and system, all threads, without children."""
    with RESERVE.lent():
        used = psutil.Process().cpu_times()
    return float(used.user + used.system)


def disk_space(path: str | Path) -> DiskSpace:
    """Space on the file system that `path` lies on. OSError when that cannot be known."""
    usage = psutil.disk_usage(str(path))
    return DiskSpace(usage.total, usage.free)


def networks_of(interface: str) -> list[str]:
    """The IPv4 networks that an interface has an address in; a single address (/32), as a VIP has, makes none."""
    networks = {
        IPv4Interface(f"{one.address}/{one.netmask}").network: None
        for name, addresses in psutil.net_if_addrs().items()
        if name.partition(":")[0] == interface  # an address with a label is listed under that
        for one in addresses
        if one.family == socket.AF_INET and one.netmask
    }
    return [str(network) for network in networks if 0 < network.prefixlen < network.max_prefixlen]


def interface_addresses() -> list[tuple[str, Address, int]]:
    """Every IP address of this machine: interface, address, length of its prefix. OSError when they cannot be known."""
    found: list[tuple[str, Address, int]] = []
    for name, listed in psutil.net_if_addrs().items():
        for one in listed:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                address = ip_address(one.address.partition("%")[0])  # of a link-local one the interface follows
                length = int(ip_address(one.netmask)).bit_count() if one.netmask else address.max_prefixlen
                found.append((name.partition(":")[0], address, length))  # one with a label is listed under that
    return found


def addresses() -> dict[Address, tuple[str, int]]:
    """Every IP address of this machine, with its interface and the length of its prefix."""
    return {address: (name, length) for name, address, length in interface_addresses()}


# --- procfs ---------------------------------------------------------------------------------------------


_RESOLVED: dict[str, str] = {}


def _resolved(path: str) -> str:
    """The path as the kernel shows it; looked up until it is there, then kept, since looking touches the disk."""
    known = _RESOLVED.get(path)
    if known is None:
        known, there = resolve(path)
        if there:
            _RESOLVED[path] = known
    return known


@workers.as_postgres()
def resolve(path: str) -> tuple[str, bool]:
    """A path without its symbolic links, as the owner of the data sees it, and whether a directory is there."""
    real = os.path.realpath(path)
    return real, os.path.isdir(real)  # noqa: PTH112  # beside realpath


def _learn_segment(data: str, postmaster: ProcessRef) -> None:
    """Remember the System V segment that a live postmaster has attached; read at once."""
    if _LEARNED.get(data) == postmaster:
        return
    try:
        rows = [line.split() for line in lines_of(f"/proc/{postmaster.pid}/maps")]
    except (OSError, ProcessLookupError):
        return
    found = [row[4] for row in rows if len(row) > 5 and row[5].startswith("/SYSV")]
    if found:
        _SEGMENTS[data], _LEARNED[data] = found[0], postmaster


_LEARNED: dict[str, ProcessRef] = {}
"""By data directory: the postmaster whose segment is known."""


def remember_segment(data_directory: str | Path, segment: str) -> None:
    """Believe what postmaster.pid names for the day on which only backends are left, if no postmaster was seen since.

    Only a process of PostgreSQL's user that has it attached is ever taken for one of the cluster's.
    """
    if segment.isdigit():
        _SEGMENTS.setdefault(_resolved(str(data_directory)), segment)


@workers.as_postgres()
def named_segment(data_directory: str) -> str:
    """The System V segment that postmaster.pid names; "" when it names none."""
    data = os.path.realpath(data_directory)
    with suppress(PostgresError):
        _pid_file(data)
    return _SEGMENTS.get(data, "")


def _was_started_by_server(pid: int) -> bool:
    try:
        return MARKER in Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ProcessLookupError):
        return False


def _children_among(those: Iterable[int], parents: Iterable[int]) -> list[int]:
    """Which of them descend from `parents` (and are not in them)."""
    known = set(parents)
    waiting = {pid: stat.parent for pid in those if pid not in known and (stat := stat_of(pid)) is not None}
    found: list[int] = []
    while grown := [pid for pid, parent in waiting.items() if parent in known]:
        known.update(grown)
        found += grown
        for pid in grown:
            del waiting[pid]
    return found


@cache
def _lists_children() -> bool:
    """Whether this kernel has the file that `_descendants` reads (CONFIG_PROC_CHILDREN, as distributions set it)."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists()


def _descendants(pid: int) -> list[int]:
    """The processes that descend from one.

    One that is there may be missing while others end (proc(5)), so nothing is concluded from an absence.
    """
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        try:
            with open(f"/proc/{parent}/task/{parent}/children", "rb", buffering=0) as file:  # noqa: PTH123  # as in _stat
                children = [int(word) for word in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += children
        waiting += children
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
    if data not in _SEGMENTS and workers.served_uid() is None:
        _pid_file(data)
    segment = _SEGMENTS.get(data)
    if segment is None:
        return []
    rows = (line.split() for line in lines_of("/proc/sysvipc/shm"))
    if not any(len(row) > 6 and row[1] == segment and row[6] != "0" for row in rows):
        return []
    return [pid for pid in pids() if _maps_segment(pid, segment)]


def _maps_segment(pid: int, segment: str) -> bool:
    try:
        lines = lines_of(f"/proc/{pid}/maps")
    except (OSError, ProcessLookupError):
        return False
    return any(words[4] == segment and words[5].startswith("/SYSV") for line in lines if len(words := line.split()) > 5)
