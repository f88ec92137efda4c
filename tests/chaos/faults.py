"""How each kind of fault is done: a function that strikes and returns what undoes it (None: nothing to undo).

All of them bear hosts that are off, or are switched off meanwhile: what cannot be struck raises VoidError, and
what cannot be undone any more was undone by the power-off.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

from tests.chaos import faults_database, faults_deeds, faults_limits, faults_network
from tests.chaos.ground import RECORD, Ground, Undo, VoidError, addresses, wake
from tests.chaos.kinds import KINDS
from tests.chaos.schedule import Step
from tests.lab.hosts import Host
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import LabError, wait_until
from tests.lab.pair import PGVIP

Strike = Callable[[Ground, Host, Step], Undo | None]


# --- power -----------------------------------------------------------------------------------------------


def power_reset(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    host.power_off()
    host.boot()


def power_off(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_on(host)
    host.power_off()
    return host.boot


def power_off_stays(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_on(host)
    ground.fence.failures[host.name].stay_off = True
    host.power_off()

    def undo() -> None:
        ground.fence.failures[host.name].stay_off = False
        host.boot()

    return undo


def at_once(ground: Ground, what: Callable[[Host], None]) -> None:
    """The same on both hosts at one time."""
    threads = [threading.Thread(target=what, args=(host,)) for host in ground.pair.hosts.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def both_off(ground: Ground, _host: Host, _step: Step) -> Undo:
    at_once(ground, Host.power_off)
    return partial(at_once, ground, Host.boot)


def both_reset(ground: Ground, host: Host, step: Step) -> None:
    both_off(ground, host, step)()


def host_frozen(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_awake(host)
    ground.frozen.add(host.name)
    for _ in range(3):  # what was started meanwhile is caught by the next look
        ground.signal([process.pid for process in host.processes()], signal.SIGSTOP)

    def undo() -> None:
        with contextlib.suppress(LabError, OSError):
            wake(host)
            ground.frozen.discard(host.name)

    return undo


# --- the daemon ------------------------------------------------------------------------------------------


def daemon_signal(with_signal: int, ground: Ground, host: Host, _step: Step) -> None:
    """Kill it, or end it in an orderly way; it is started again as by systemd."""
    ground.signal(ground.daemons(host), with_signal)


def daemons_killed(ground: Ground, _host: Host, _step: Step) -> None:
    ground.signal([pid for host in ground.pair.hosts.values() for pid in ground.daemons(host)], signal.SIGKILL)


def daemon_stopped(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_awake(host)
    with host.lock:
        ground.need_awake(host)
        host.ask_init(do="stop", name="pgvip", signal=int(signal.SIGTERM))

    def undo() -> None:
        with host.lock:
            if host.is_on() and host.name not in ground.frozen:
                # As `systemctl start` does: the one that was told to end may take its time.
                wait_until(lambda: not host.service_pid("pgvip"), 30, f"the daemon of {host.name} ended")
                ground.pair.start_services(host)

    return undo


def daemon_frozen(ground: Ground, host: Host, _step: Step) -> Undo:
    pids = ground.daemons(host)
    ground.signal(pids, signal.SIGSTOP)

    def undo() -> None:
        with contextlib.suppress(VoidError, LabError, OSError):
            ground.signal([pid for pid in pids if pid in ground.daemons(host)], signal.SIGCONT)

    return undo


# --- the fence device ------------------------------------------------------------------------------------


def fence_fails(ground: Ground, host: Host, step: Step) -> Undo:
    ground.fence.failures[host.name].fail_next = round(step.amount)

    def undo() -> None:
        ground.fence.failures[host.name].fail_next = 0

    return undo


def fence_late(ground: Ground, host: Host, step: Step) -> Undo:
    late_s = step.amount or 0.02
    ground.fence.failures[host.name].late_s = late_s

    def undo() -> None:
        ground.fence.failures[host.name].late_s = 0.0
        time.sleep(late_s + 0.5)  # an order that is under way still strikes: it belongs to this fault

    return undo


def fence_slow(ground: Ground, host: Host, step: Step) -> Undo:
    ground.fence.failures[host.name].delay_s = step.amount

    def undo() -> None:
        ground.fence.failures[host.name].delay_s = 0.0

    return undo


def fence_hangs(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.fence.failures[host.name].hang.set()
    return ground.fence.failures[host.name].hang.clear


def fence_cut(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.fence.cut_off.add(host.name)
    return lambda: ground.fence.cut_off.discard(host.name)


# --- addresses, archive, operators, state ----------------------------------------------------------------


def vip_removed(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    vips = sorted(addresses(host) & {PRIMARY_VIP, STANDBY_VIP})
    if not vips:
        raise VoidError(f"{host.name} has no virtual address")
    for vip in vips:
        host.run(["ip", "addr", "del", f"{vip}/32", "dev", "eth0"], check=False)


def addresses_flushed(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    host.run(["ip", "addr", "flush", "dev", "eth0", "scope", "global"])
    batch = f"addr add {host.address}/24 dev eth0\nroute replace default via 10.77.0.1\n"
    host.run(["ip", "-batch", "-"], stdin=batch, check=False)


def vip_stranger(ground: Ground, _host: Host, _step: Step) -> Undo:
    stranger = ground.lab.stranger
    stranger.run(["ip", "addr", "add", f"{PRIMARY_VIP}/32", "dev", "eth0"])

    def undo() -> None:
        stranger.run(["ip", "addr", "del", f"{PRIMARY_VIP}/32", "dev", "eth0"], check=False)
        ground.lab.client.run(["ip", "neigh", "flush", "dev", "eth0"])

    return undo


def archive_hangs(_ground: Ground, host: Host, _step: Step) -> Undo:
    stall = host.directory / "shared/stall"
    stall.touch()
    return lambda: stall.unlink(missing_ok=True)


def archive_unmounted(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_on(host)
    if host.run(["umount", "-l", "/var/lib/pgvip/peer-archive"], check=False).returncode:
        raise VoidError("it is not mounted")


def switchover(ground: Ground, host: Host, _step: Step) -> None:
    ground.need_awake(host)
    ground.start_command(host, [PGVIP, "switchover", "--wait", "30"])


def paused(ground: Ground, host: Host, _step: Step) -> Undo:
    ground.need_awake(host)
    if ground.pair.pgvip(host, "pause", "chaos", "--wait", "5", check=False, timeout_s=20).returncode:
        raise VoidError(f"{host.name} took no order")

    def undo() -> None:
        for each in (host, ground.pair.peer_of(host)):
            with contextlib.suppress(LabError, OSError):
                if each.name not in ground.frozen:
                    ground.pair.pgvip(each, "resume", "--wait", "5", check=False, timeout_s=20)

    return undo


def record_lost(ground: Ground, host: Host, step: Step) -> Undo:
    switch_on = power_off_stays(ground, host, step)
    record = host.directory / RECORD
    os.replace(record, record.with_name("record-lost-by-chaos.json"))  # noqa: PTH105 - one system call, no surprises
    return switch_on


def record_rolled_back(ground: Ground, host: Host, step: Step) -> Undo:
    older = ground.older_record(host)
    switch_on = power_off_stays(ground, host, step)
    (host.directory / RECORD).write_bytes(older)
    return switch_on


STRIKES: dict[str, Strike] = {
    "record-rolled-back": record_rolled_back,
    "power-reset": power_reset,
    "power-off": power_off,
    "power-off-stays": power_off_stays,
    "both-off": both_off,
    "both-reset": both_reset,
    "host-frozen": host_frozen,
    "daemon-killed": partial(daemon_signal, signal.SIGKILL),
    "daemons-killed": daemons_killed,
    "daemon-restarted": partial(daemon_signal, signal.SIGTERM),
    "daemon-reloaded": partial(daemon_signal, signal.SIGHUP),
    "daemon-stopped": daemon_stopped,
    "daemon-frozen": daemon_frozen,
    "fence-fails": fence_fails,
    "fence-late": fence_late,
    "fence-unconfirmed": fence_late,
    "fence-slow": fence_slow,
    "fence-hangs": fence_hangs,
    "fence-cut": fence_cut,
    "vip-removed": vip_removed,
    "addresses-flushed": addresses_flushed,
    "vip-stranger": vip_stranger,
    "archive-hangs": archive_hangs,
    "archive-unmounted": archive_unmounted,
    "switchover": switchover,
    "paused": paused,
    "record-lost": record_lost,
    **faults_database.STRIKES,
    **faults_network.STRIKES,
    **faults_limits.STRIKES,
    **faults_deeds.STRIKES,
}
assert STRIKES.keys() == KINDS.keys(), STRIKES.keys() ^ KINDS.keys()
