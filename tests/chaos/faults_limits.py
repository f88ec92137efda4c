"""Faults of what a host has to work with: descriptors, threads, processor time, room for the state."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.chaos.ground import Ground, Undo, VoidError
from tests.chaos.schedule import Step
from tests.lab.hosts import Host
from tests.lab.nodes import LabError

CGROUPS = Path("/sys/fs/cgroup")
STATE = "/var/lib/pgvip"
FILLER = f"{STATE}/chaos-filler"
PERIOD_US = 100_000
NO_LIMIT = {"pids.max": "max", "cpu.cfs_quota_us": "-1"}


def daemon_of(ground: Ground, host: Host) -> int:
    """The daemon's process id; VoidError when it does not run."""
    found = ground.daemons(host)
    if not found:
        raise VoidError(f"no daemon on {host.name}")
    return found[0]


def descriptors(ground: Ground, host: Host, step: Step) -> Undo:
    """The daemon may open a few more files than it has open now, until it is started again."""
    daemon = daemon_of(ground, host)
    before = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    used = max(int(path.name) for path in Path(f"/proc/{daemon}/fd").iterdir()) + 1
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (used + round(step.amount), before[1]))

    def undo() -> None:
        if daemon in ground.daemons(host):
            resource.prlimit(daemon, resource.RLIMIT_NOFILE, before)

    return undo


# --- control groups ----------------------------------------------------------------------------------------


def confined(controller: str, name: str, limit: str, value: str, pids: Sequence[int]) -> Undo:
    """A group of processes under a limit until the answer is called; VoidError where this machine has no such group.

    Those that they start belong to it as well. In the end all go where the first came from.
    """
    root = CGROUPS / controller
    group = root / f"pgvip-chaos-{os.getpid()}-{name}"
    try:
        home = root / own_group(controller, pids[0]).lstrip("/")
        group.mkdir()
        (group / limit).write_text(value)
    except (OSError, StopIteration) as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise VoidError(f"no control group: {error}") from error
    move(pids, group)
    return partial(released, group, home, limit)


def own_group(controller: str, pid: int) -> str:
    """Where a process is in a hierarchy; StopIteration when that is not mounted."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(words[2] for words in (line.split(":", 2) for line in lines) if controller in words[1].split(","))


def move(pids: Sequence[int], group: Path) -> None:
    """Into a group; those that ended meanwhile are left out."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))


def released(group: Path, home: Path, limit: str) -> None:
    """Lift the limit: move everybody out and remove the group; those that start something meanwhile are moved again."""
    (group / limit).write_text(NO_LIMIT[limit])  # at once: those that are ending cannot be moved
    for _ in range(100):
        move([int(pid) for pid in (group / "cgroup.procs").read_text().split()], home)
        try:
            group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.05)
        else:
            return
    raise LabError(f"{group} cannot be removed")


def tasks(ground: Ground, host: Host, step: Step) -> Undo:
    daemon = daemon_of(ground, host)
    return confined("pids", f"tasks-{step.number}", "pids.max", "1", [daemon])


def starved(ground: Ground, host: Host, step: Step) -> Undo:
    """Everything of the host together gets a share of one processor."""
    ground.need_on(host)
    pids = [process.pid for process in host.processes()]
    quota_us = round(PERIOD_US * step.amount / 100)
    return confined("cpu", f"cpu-{step.number}", "cpu.cfs_quota_us", str(quota_us), pids)


# --- the state directory -----------------------------------------------------------------------------------


def read_only(ground: Ground, host: Host, _step: Step) -> Undo:
    """Until the host boots again, at the latest."""
    ground.need_on(host)
    host.run(["mount", "-o", "remount,bind,ro", STATE])

    def undo() -> None:
        with contextlib.suppress(LabError):
            host.run(["mount", "-o", "remount,bind,rw", STATE])

    return undo


def full(ground: Ground, host: Host, _step: Step) -> Undo:
    """Only where the lab has given the state a file system of its own."""
    ground.need_on(host)
    state = host.directory / "state"
    if not state.is_mount():
        raise VoidError("the state directory has no file system of its own")
    filler = state / Path(FILLER).name
    with filler.open("wb") as file:
        left = os.statvfs(state)
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize)
    return lambda: filler.unlink(missing_ok=True)


STRIKES: dict[str, Callable[[Ground, Host, Step], Undo | None]] = {
    "daemon-descriptors": descriptors,
    "daemon-tasks": tasks,
    "cpu-starved": starved,
    "state-read-only": read_only,
    "state-full": full,
}
