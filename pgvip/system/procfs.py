"""Single processes as procfs shows them (proc(5)): read by hand, since the daemon looks several times a second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

SERVERS = ("postgres", "postmaster", "edb-postgres", "edb-postmaster")
"""The name of the server's executable: distinguishes a backend from an administrator's shell in its directory."""


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


FORKED = 0x40
"""PF_FORKNOEXEC of include/linux/sched.h: the process runs its parent's program still, and has called no exec."""


class Stat(NamedTuple):
    """What is used of /proc/PID/stat (proc(5)). `cpu`: clock ticks that it has used, of user and system."""

    state: str
    parent: int
    start: str
    flags: int
    cpu: int


def stat_of(pid: int) -> Stat | None:
    """The process's state, parent and start; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123  # several hundred a second
            words = file.read(4096).rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if len(words) <= 19:
        return None
    return Stat(words[0].decode(), int(words[1]), words[19].decode(), int(words[6]), int(words[11]) + int(words[12]))


def ref_of(pid: int) -> ProcessRef | None:
    """The live process that has this pid now; None when there is none, or only its zombie."""
    stat = stat_of(pid)
    return None if stat is None or stat.state in "ZX" else ProcessRef(pid, stat.start)


def alive(ref: ProcessRef) -> bool:
    """True while this very process lives (a zombie does not)."""
    return ref_of(ref.pid) == ref


def parent_of(pid: int) -> int:
    """The parent of a process; 0 when it is gone."""
    stat = stat_of(pid)
    return 0 if stat is None else stat.parent


def pids() -> list[int]:
    """Every process but this one."""
    own = str(os.getpid())
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != own]  # noqa: PTH208  # several hundred names


def link_of(pid: int, name: str) -> str:
    """Where /proc/PID/NAME points; "" for a zombie, a kernel thread, or a process that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115  # several hundred a second
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def is_server(pid: int) -> bool:
    """True for the server program, also when a package upgrade has removed the file."""
    return link_of(pid, "exe").removesuffix(" (deleted)").rpartition("/")[2] in SERVERS


def lines_of(path: str) -> list[str]:
    """The lines of a file of procfs."""
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
