"""Faults of PostgreSQL and its disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from tests.chaos.ground import CHAOS_PROGRAMS as PROGRAMS
from tests.chaos.ground import FILLERS, Ground, Undo, VoidError, resume_replay
from tests.chaos.schedule import Step
from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.network import PRIMARY_VIP
from tests.lab.nodes import LabError
from tests.lab.postgres import bin_directory

CROWD = 120
"""More than max_connections, which is PostgreSQL's default here."""
FREEZE, THAW = 0xC0045877, 0xC0045878
"""FIFREEZE and FITHAW of linux/fs.h."""
FILL = f"""
free=$(df --output=avail -B1 /var/lib/postgresql | tail -1)
fallocate -l "$free" {FILLERS[0]}
cat /dev/zero > {FILLERS[1]}
"""


def ask(host: Host, query: str) -> str:
    """SQL as the superuser; VoidError when nothing comes of it."""
    try:
        return host.sql(query, timeout_s=5)
    except (LabError, OSError) as error:
        raise VoidError(str(error).split("\n")[0]) from error


def named(ground: Ground, host: Host, word: str) -> list[int]:
    """Server processes that call themselves so."""
    return [process.pid for process in ground.servers(host) if f"postgres: {word}" in process.command]


def proceed(pids: list[int], ground: Ground, host: Host) -> None:
    """SIGCONT to those that are still the same host's."""
    with contextlib.suppress(VoidError, LabError, OSError):
        alive = {process.pid for process in ground.servers(host)}
        ground.signal([pid for pid in pids if pid in alive], signal.SIGCONT)


# --- processes -------------------------------------------------------------------------------------------


def postmaster_killed(ground: Ground, host: Host, _step: Step) -> None:
    ground.signal([ground.postmaster(host)], signal.SIGKILL)


def backend_killed(ground: Ground, host: Host, step: Step) -> None:
    others = [process for process in ground.servers(host) if process.command.startswith("postgres: ")]
    if not others:
        raise VoidError(f"no server process on {host.name}")
    ground.signal([others[step.salt % len(others)].pid], signal.SIGKILL)


def backend_stopped(ground: Ground, host: Host, step: Step) -> Undo:
    others = [process.pid for process in ground.servers(host) if process.command.startswith("postgres: ")]
    if not others:
        raise VoidError(f"no server process on {host.name}")
    pids = [others[step.salt % len(others)]]
    ground.signal(pids, signal.SIGSTOP)
    return partial(proceed, pids, ground, host)


def process_stopped(*words: str) -> Callable[[Ground, Host, Step], Undo]:
    """The strike that stops one process that calls itself by the first of these words that there is."""

    def strike(ground: Ground, host: Host, step: Step) -> Undo:
        pids = next((found for word in words if (found := named(ground, host, word))), [])
        pids = [pids[step.salt % len(pids)]] if pids else []
        ground.signal(pids, signal.SIGSTOP)
        return partial(proceed, pids, ground, host)

    return strike


def crowd(ground: Ground, _host: Host, _step: Step) -> Undo:
    """Through the primary VIP, as an application with a leak does; the superuser's reserve is not touched."""
    client = ground.lab.client
    argv = [sys.executable, "-IS", PROGRAMS / "crowd.py", PRIMARY_VIP, CLIENT_USER, CROWD]
    program = client.popen(argv)

    return partial(ground.end, client, program)


def pg_ctl(words: list[str], ground: Ground, host: Host, _step: Step) -> None:
    ground.postmaster(host)
    program = bin_directory(ground.pair.options.version) / "pg_ctl"
    argv = [program, "-D", DATA_DIRECTORY, "-l", f"{DATA_DIRECTORY}.log", *words]
    ground.start_command(host, argv, user="postgres")


def postmaster_stopped(ground: Ground, host: Host, _step: Step) -> Undo:
    pids = [ground.postmaster(host)]
    ground.signal(pids, signal.SIGSTOP)
    return partial(proceed, pids, ground, host)


def postgres_stopped(ground: Ground, host: Host, _step: Step) -> Undo:
    pids: list[int] = []
    for _ in range(2):  # what was forked meanwhile is caught by the second look
        pids = [process.pid for process in ground.servers(host)]
        ground.signal(pids, signal.SIGSTOP)
    return partial(proceed, pids, ground, host)


def receiver_killed(ground: Ground, host: Host, _step: Step) -> None:
    ground.signal(named(ground, host, "walreceiver"), signal.SIGKILL)


# --- replication -----------------------------------------------------------------------------------------


def replay_paused(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_on(host)
    ask(host, "select pg_wal_replay_pause()")

    def undo() -> None:
        with contextlib.suppress(LabError, OSError):
            resume_replay(host)

    return undo


def receiver_ended(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    if not ask(host, "select pg_terminate_backend(pid) from pg_stat_wal_receiver"):
        raise VoidError("no receiver")


def sender_ended(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    if not ask(host, "select pg_terminate_backend(pid) from pg_stat_replication"):
        raise VoidError("no sender")


def slot_dropped(ground: Ground, host: Host, _step: Step) -> None:
    """End the sender and drop its slot before the receiver is back; some tries, since it is quick."""
    ground.need_on(host)
    slots = "pg_replication_slots where slot_name like 'pgvip%'"
    for _ in range(10):
        ask(host, f"select pg_terminate_backend(active_pid) from {slots} and active")
        with contextlib.suppress(VoidError):
            if ask(host, f"select pg_drop_replication_slot(slot_name) is null from {slots} and not active"):
                return
    raise VoidError("the slot was always in use")


# --- the disk --------------------------------------------------------------------------------------------


def disk_full(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_disk(host)
    host.run(["sh", "-c", FILL], check=False, timeout_s=60)

    def undo() -> None:
        with contextlib.suppress(VoidError, LabError, OSError):
            ground.need_disk(host)  # where that is not so, the end of the group tidies
            host.run(["rm", "-f", *FILLERS], check=False)

    return undo


def disk_stalled(ground: Ground, host: Host, _step: Step) -> Undo:
    """Freeze the file system, as `fsfreeze` does; a power-off ends it, since what waits could not be killed."""
    ground.need_disk(host)
    handle = os.open(host.path("/var/lib/postgresql"), os.O_RDONLY)
    fcntl.ioctl(handle, FREEZE, 0)
    ground.stalled.add(host.name)
    left = [handle]

    def thaw() -> None:
        if thaw in host.at_kill:
            host.at_kill.remove(thaw)
        while left:
            try:
                fcntl.ioctl(left[-1], THAW, 0)
            except OSError as error:
                if error.errno != errno.EINVAL:  # it was not frozen any more
                    raise
            os.close(left.pop())
        ground.stalled.discard(host.name)

    host.at_kill.append(thaw)
    return thaw


STRIKES: dict[str, Callable[[Ground, Host, Step], Undo | None]] = {
    "postmaster-killed": postmaster_killed,
    "backend-killed": backend_killed,
    "backend-stopped": backend_stopped,
    "crowd": crowd,
    "stopped-fast": partial(pg_ctl, ["stop", "-W", "-m", "fast"]),
    "stopped-immediate": partial(pg_ctl, ["stop", "-W", "-m", "immediate"]),
    "restarted": partial(pg_ctl, ["restart", "-m", "fast"]),
    "postmaster-stopped": postmaster_stopped,
    "postgres-stopped": postgres_stopped,
    "replay-paused": replay_paused,
    "receiver-stopped": process_stopped("walreceiver"),
    "startup-stopped": process_stopped("startup"),
    "sender-stopped": process_stopped("walsender"),
    "checkpointer-stopped": process_stopped("checkpointer"),
    "walwriter-stopped": process_stopped("walwriter"),
    "archiver-stopped": process_stopped("archiver"),
    "autovacuum-stopped": process_stopped("autovacuum worker", "autovacuum launcher"),
    "receiver-killed": receiver_killed,
    "receiver-ended": receiver_ended,
    "sender-ended": sender_ended,
    "slot-dropped": slot_dropped,
    "disk-full": disk_full,
    "disk-stalled": disk_stalled,
}
