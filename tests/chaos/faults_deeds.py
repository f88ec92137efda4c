"""What administrators, and other people's programs, do to a server without asking pgvip."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial

from tests.chaos.faults_database import ask, pg_ctl
from tests.chaos.ground import BAD_SETTINGS, Ground, Undo, VoidError, clean_settings
from tests.chaos.schedule import Step
from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import DATA_DIRECTORY, SOCKET_DIRECTORY, Host
from tests.lab.nodes import LabError, signal_program, wait_until
from tests.lab.postgres import bin_directory

DRAWN = [name for name in BAD_SETTINGS if name not in {"synchronous_standby_names", "work_memm"}]
READER = "begin; select count(*) from chaos_aside; select pg_sleep(3600)"


def undone(ground: Ground, host: Host) -> None:
    """Take the settings out again; where that cannot be done now, the end of the group tidies."""
    with contextlib.suppress(VoidError, LabError, OSError):
        ground.need_disk(host)
        clean_settings(host)


def altered(ground: Ground, host: Host, name: str) -> Undo:
    ground.need_disk(host)
    ask(host, f"alter system set {name} = '{BAD_SETTINGS[name]}'")
    ask(host, "select pg_reload_conf()")
    return partial(undone, ground, host)


def setting_bad(ground: Ground, host: Host, step: Step) -> Undo:
    return altered(ground, host, DRAWN[step.salt % len(DRAWN)])


def names_cleared(ground: Ground, host: Host, _step: Step) -> Undo:
    return altered(ground, host, "synchronous_standby_names")


def heartbeat_dropped(ground: Ground, host: Host, _step: Step) -> Undo:
    """It is made again as the warning says, or by the operator at the end of the group when that does not work."""
    ground.need_on(host)
    ask(host, "drop schema pgvip cascade")

    def undo() -> None:
        for each in (host, ground.pair.peer_of(host)):
            with contextlib.suppress(LabError, OSError, VoidError):
                ground.need_awake(each)
                if each.writable():
                    ground.pair.pgvip(each, "init", check=False, timeout_s=60)
                    return

    return undo


def config_broken(ground: Ground, host: Host, step: Step) -> Undo:
    """A typing error; half of the people who make it reload at once, and half do not."""
    ground.need_disk(host)
    with host.path(f"{DATA_DIRECTORY}/postgresql.conf").open("a") as file:
        file.write("work_memm = '4MB'\n")
    if step.salt % 2:
        with contextlib.suppress(VoidError):
            os.kill(ground.postmaster(host), signal.SIGHUP)
    return partial(undone, ground, host)


def sessions_terminated(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    ask(host, f"select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{CLIENT_USER}'")


def reader_blocks(ground: Ground, host: Host, _step: Step) -> Undo:
    """A session on the standby has read a table; then the primary rewrites it, and the replay waits for the session."""
    ground.need_on(host)
    primary = ground.pair.peer_of(host)
    ground.need_on(primary)
    if ask(host, "select pg_is_in_recovery() and to_regclass('chaos_aside') is not null") != "t":
        raise VoidError(f"{host.name} is no standby with the table")
    argv = ["psql", "-XAtq", "-h", SOCKET_DIRECTORY, "-d", "postgres", "-c", READER]
    program = host.popen(argv, user="postgres")
    undo = partial(ground.end, host, program)
    try:
        asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
        wait_until(lambda: ask(host, asleep) != "0", 5, "the reader has read", 0.1)
        ask(primary, "set synchronous_commit = local; truncate chaos_aside")
    except (VoidError, LabError):
        undo()
        raise
    return undo


def wal_client_lazy(ground: Ground, host: Host, step: Step) -> Undo:
    """It flushes, and so confirms, at the end of a segment only; every other one is stopped in its first second."""
    ground.postmaster(host)
    target = "/tmp/chaos-receivewal"
    host.run(["install", "-d", "-o", "postgres", target])
    program = bin_directory(ground.pair.options.version) / "pg_receivewal"
    argv = [program, "-h", SOCKET_DIRECTORY, "-D", target, "--no-loop"]
    client = host.popen(argv, user="postgres", stderr=subprocess.DEVNULL)
    if step.salt % 2:
        signal_program(client, signal.SIGSTOP)

    def undo() -> None:
        signal_program(client, signal.SIGCONT)
        ground.end(host, client)

    return undo


STRIKES: dict[str, Callable[[Ground, Host, Step], Undo | None]] = {
    "setting-bad": setting_bad,
    "names-cleared": names_cleared,
    "heartbeat-dropped": heartbeat_dropped,
    "config-broken": config_broken,
    "promoted-by-hand": partial(pg_ctl, ["promote", "-W"]),
    "sessions-terminated": sessions_terminated,
    "reader-blocks": reader_blocks,
    "wal-client-lazy": wal_client_lazy,
}
