"""What faults act upon: a pair in its lab, and how to find, strike and repair its parts while others do the same."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.chaos.kinds import PRIMARY, STANDBY
from tests.chaos.schedule import Step
from tests.lab.hosts import DATA_DIRECTORY, PROGRAMS, SHARED, Host, Process
from tests.lab.network import PRIMARY_VIP, Cut
from tests.lab.nodes import LabError, Node, end_process, wait_until
from tests.lab.pair import PEER_STATE, PGVIP, Pair
from tests.lab.witness_server import WitnessServer

Undo = Callable[[], None]
SERVED = "/run/pgvip-lab-served"
"""Where a host has its peer's archive from: a file system that can hang, as an NFS server does."""
RECORD = "state/record.json"
CHAOS_PROGRAMS = Path(__file__).resolve().parent / "programs"
FILLERS = ("/var/lib/postgresql/filler", "/var/lib/postgresql/filler-rest")


BAD_SETTINGS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "lock_timeout": "10ms",
    "idle_session_timeout": "100ms",
    "primary_conninfo": "host=10.77.0.99 port=5432",
    "primary_slot_name": "nobody",
    "recovery_target_name": "nowhere",
    "wal_receiver_status_interval": "0",
    "max_standby_streaming_delay": "-1",
    "archive_command": "/bin/false",
    "synchronous_standby_names": "",
    "work_memm": "4MB",
}
"""What faults write into PostgreSQL's files: some draw one of these, others have their own. Nothing else of the lab
sets them there, so that they are taken out again by their names."""


class VoidError(Exception):
    """There is nothing that this fault could strike now."""


class Ground:
    """One pair under faults. Cuts are counted, so that two faults may cut the same and heal apart."""

    def __init__(self, pair: Pair) -> None:
        self.pair, self.lab, self.fence, self.switch = pair, pair.lab, pair.lab.fence, pair.lab.switch
        self.cuts: Counter[Cut] = Counter()
        self.unplugged: Counter[str] = Counter()
        self.frozen: set[str] = set()
        self.stalled: set[str] = set()
        """Hosts whose disk hangs: whoever writes there, this driver too, would wait for as long."""
        self.records: dict[str, list[bytes]] = {name: [] for name in pair.hosts}
        for host in pair.hosts.values():
            host.at_power_off.append(partial(self.frozen.discard, host.name))
            host.at_boot.append(partial(serve_archive, host))

    @property
    def witness(self) -> WitnessServer:
        """The pair's; VoidError when it has none."""
        if self.pair.witness is None:
            raise VoidError("the pair has no witness")
        return self.pair.witness

    # --- finding ---------------------------------------------------------------------------------

    def aim(self, step: Step) -> Host:
        """The host that a step hits: by role as its address tells, else the one drawn."""
        if step.target in (PRIMARY, STANDBY):
            holders = [host for host in self.pair.hosts.values() if PRIMARY_VIP in addresses(host)]
            if len(holders) == 1:
                return holders[0] if step.target == PRIMARY else self.pair.peer_of(holders[0])
        return self.pair.hosts[step.host]

    def need_on(self, host: Host) -> None:
        """VoidError when the host is off."""
        if not host.is_on():
            raise VoidError(f"{host.name} is off")

    def need_awake(self, host: Host) -> None:
        """VoidError when the host is off or frozen: its PID 1 would not answer."""
        self.need_on(host)
        if host.name in self.frozen:
            raise VoidError(f"{host.name} is frozen")

    def need_disk(self, host: Host) -> None:
        """VoidError when the host is off or its disk hangs."""
        self.need_on(host)
        if host.name in self.stalled:
            raise VoidError(f"{host.name}'s disk hangs")

    def servers(self, host: Host) -> list[Process]:
        """The processes of PostgreSQL, the postmaster among them."""
        self.need_on(host)
        return [process for process in host.processes("postgres") if "postgres" in process.command.split(" ")[0]]

    def postmaster(self, host: Host) -> int:
        """Its process id; VoidError when there is none."""
        self.need_on(host)
        found = host.postmaster()
        if not found:
            raise VoidError(f"no postmaster on {host.name}")
        return found

    def daemons(self, host: Host) -> list[int]:
        """The daemon's process id, found without PID 1, which may be stopped."""
        self.need_on(host)
        return [process.pid for process in host.processes() if process.command.endswith(f"{PGVIP} run")]

    def remember_records(self) -> None:
        """Keep a copy of each host's record when it has changed since the last look."""
        for name, host in self.pair.hosts.items():
            now = (host.directory / RECORD).read_bytes()
            if self.records[name][-1:] != [now]:
                self.records[name].append(now)

    def older_record(self, host: Host) -> bytes:
        """One that the host had before; VoidError when none was seen."""
        now = (host.directory / RECORD).read_bytes()
        older = [record for record in self.records[host.name] if record != now]
        if not older:
            raise VoidError(f"{host.name} has had no other record")
        return older[-1]

    # --- striking --------------------------------------------------------------------------------

    def signal(self, pids: Sequence[int], with_signal: int) -> None:
        """Signal them all; VoidError when none was there."""
        reached = 0
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, with_signal)
                reached += 1
        if not reached:
            raise VoidError("no such process")

    def cut(self, *cuts: Cut) -> Undo:
        """Drop frames in the switch until the answer is called."""
        self.cuts.update(cuts)
        self._apply()

        def undo() -> None:
            self.cuts.subtract(cuts)
            self._apply()

        return undo

    def _apply(self) -> None:
        self.switch.cuts = {cut for cut, count in self.cuts.items() if count > 0}
        self.switch.apply()

    def unplug(self, name: str) -> Undo:
        """Pull a node's cable behind the switch until the answer is called."""
        self.unplugged[name] += 1
        self.switch.disconnect(name)

        def undo() -> None:
            self.unplugged[name] -= 1
            if not self.unplugged[name]:
                self.switch.connect(name)

        return undo

    def end(self, node: Node, program: subprocess.Popen[str]) -> None:
        """End a program that a fault has started on a node; nothing when it went with the node's power."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, signal.SIGCONT)  # nsenter stops together with its child, and would not collect it
        try:
            end_process(program)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{node.name}: a program of a fault does not end: {error}") from error
        with contextlib.suppress(ValueError):
            node.programs.remove(program)

    def start_command(self, host: Host, argv: Sequence[object], user: str = "") -> None:
        """Start something that an operator would wait for, and do not wait; its words go to `operator.log`."""
        self.need_on(host)
        with (host.directory / "shared/operator.log").open("a") as log:
            host.popen(argv, user=user, stdout=log, stderr=subprocess.STDOUT)

    # --- repairing ---------------------------------------------------------------------------------

    def boot_all(self) -> list[str]:
        """Somebody presses the power buttons; the hosts that were off."""
        off = [host for host in self.pair.hosts.values() if not host.is_on()]
        for host in off:
            host.boot()
        return [host.name for host in off]

    def tidy(self) -> None:
        """Whatever a fault may have left because its host was off when it was healed. May be called any time."""
        self.fence.soothe()
        for host in self.pair.hosts.values():
            (host.directory / "shared/stall").unlink(missing_ok=True)
            (host.directory / "state/chaos-filler").unlink(missing_ok=True)
            with contextlib.suppress(LabError, OSError):
                wake(host)
                self.frozen.discard(host.name)
                host.run(["rm", "-f", *FILLERS], check=False)
                resume_replay(host)
            with contextlib.suppress(LabError, OSError):
                clean_settings(host)


def addresses(host: Host) -> set[str]:
    """Those of the host's interface, none when it is off."""
    try:
        return host.addresses()
    except (LabError, OSError, ValueError):
        return set()


def wake(host: Host) -> None:
    """SIGCONT to whatever is stopped on the host; PID 1 first."""
    for process in sorted(host.processes(), key=lambda process: process.inside):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)


def resume_replay(host: Host) -> None:
    """End a pause of the replay, where there is one."""
    query = "select pg_wal_replay_resume() where pg_is_in_recovery() and pg_is_wal_replay_paused()"
    host.sql(query, check=False, timeout_s=5)


def clean_settings(host: Host) -> None:
    """Take out of PostgreSQL's files what faults have put there, also when the server refuses to start for it."""
    changed = False
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        path = host.path(f"{DATA_DIRECTORY}/{name}")
        with contextlib.suppress(FileNotFoundError):
            before = path.read_text()
            lines = before.splitlines(keepends=True)
            kept = "".join(line for line in lines if line.split("=")[0].strip() not in BAD_SETTINGS)
            if kept != before:
                path.write_text(kept)
                changed = True
    if changed and (postmaster := host.postmaster()):
        os.kill(postmaster, signal.SIGHUP)


def serve_archive(host: Host) -> None:
    """The stand-in for the peer's NFS server, one that can hang."""
    argv = [sys.executable, "-IS", PROGRAMS / "stalling_fs.py", f"{PEER_STATE}/archive", SERVED, f"{SHARED}/stall"]
    host.popen(argv)
    wait_until(lambda: SERVED in host.run(["cat", "/proc/mounts"]).stdout, 20, f"{host.name}: archive served")
