"""A lab host: namespaces that boot, run PostgreSQL and the daemon, lose power and boot again.

What survives a power-off is what a disk keeps: /etc/pgvip, /etc/postgresql, /var/lib/pgvip and
/var/lib/postgresql. All else (processes, addresses, /run, /tmp, System V memory, boot id) is new at each boot.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.network import ADDRESSES, Switch
from tests.lab.nodes import ENVIRONMENT, LabError, Node, namespace_members, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).resolve().parent
PERSISTENT = {"state": "/var/lib/pgvip", "etc": "/etc/pgvip", "postgresql": "/var/lib/postgresql",
              "etc-postgresql": "/etc/postgresql"}
SHARED = "/run/pgvip-lab"
"""Where a host sees its fence device and writes its logs."""
COPIED = ["/etc", "/var/lib"]
HIDDEN = [("/run", "755"), ("/tmp", "1777"), ("/dev/shm", "1777")]
DIRECTORIES = [("/run/postgresql", "postgres", "2775"), ("/run/lock", "root", "1777"), ("/run/user", "root", "755"),
               ("/var/lib/postgresql", "postgres", "755"), ("/etc/postgresql", "postgres", "755")]
DATA_DIRECTORY = "/var/lib/postgresql/data"
SESSION = {
    "PGOPTIONS": r"-c default_transaction_isolation=read\ committed -c default_transaction_read_only=off -c role=none"
    " -c search_path=public -c statement_timeout=0 -c lock_timeout=0 -c session_preload_libraries="
    " -c local_preload_libraries= -c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0",
}
"""So that the lab's own questions are answered whatever a test makes of the server's defaults."""
SOCKET_DIRECTORY = "/run/postgresql"


@dataclass(frozen=True)
class Process:
    """A process of a host. `pid` as seen from here, `inside` as the host itself sees it."""

    pid: int
    inside: int
    uid: int
    command: str


@dataclass(frozen=True)
class Service:
    """What "systemd" starts at each boot and restarts when it ends."""

    name: str
    argv: tuple[str, ...]
    restart: bool = True
    env: tuple[tuple[str, str], ...] = field(default=())


class Host(Node):
    """One of the two hosts; `directory` is its disk."""

    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
    flags = (*namespaces, "--root", "--wd")  # within a chroot, the mount namespace alone leads to the machine's root

    def __init__(self, name: str, switch: Switch, directory: Path, needed: Sequence[Path] = ()) -> None:
        super().__init__(name)
        self.switch, self.directory = switch, directory
        self.address = ADDRESSES[name]
        self.needed = [REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), *needed]
        self.services: list[Service] = []
        self.binds: list[tuple[Path, str]] = []
        """Further directories of this machine, and where the host sees them."""
        self.disk_mb = 0
        """When set before the first boot: /var/lib/postgresql is a file system of its own, of this size."""
        self.boots = 0
        self.boot_id = ""
        self.lock = threading.RLock()
        self.at_boot: list[Callable[[], None]] = []
        self.at_kill: list[Callable[[], None]] = []
        """Run between the SIGKILL to all and the wait for their end: what holds them in the kernel must let go."""
        self.at_power_off: list[Callable[[], None]] = []
        self.init_pid = 0
        for part in (*PERSISTENT, "shared", "boots"):
            (directory / part).mkdir(parents=True, exist_ok=True)

    # --- power ---------------------------------------------------------------------------------

    def is_on(self) -> bool:
        """True while PID 1 lives."""
        return self.holder is not None and self.holder.poll() is None

    @property
    def pid(self) -> int:
        if not self.is_on():
            raise LabError(f"{self.name} is off")
        return self.init_pid

    def boot(self, *, start_daemon: bool = True) -> None:
        """Power on: fresh namespaces and boot id, network, then the services. Nothing when it is on."""
        with self.lock:
            if self.is_on():
                return
            self.forget()
            spec = self.directory / "boots" / "spec.json"
            spec.write_text(json.dumps(self.make_spec()))
            argv = ["unshare", *self.namespaces, "--fork", "--kill-child=SIGKILL", "--", sys.executable, "-I", "-S",
                    str(PROGRAMS / "init.py"), str(spec)]
            with (self.directory / "shared" / "init.log").open("a") as log:
                self.holder = subprocess.Popen(
                    argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                    env=ENVIRONMENT, start_new_session=True,
                )
            if not self.reply().get("ready"):
                raise LabError(f"{self.name} did not boot:\n{Path(log.name).read_text()[-2000:]}")
            children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
            self.init_pid = int(children[0])
            if self.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip() != self.boot_id:
                raise LabError(f"commands for {self.name} would run outside it")
            self.switch.plug(self)
            for hook in self.at_boot:
                hook()
            if start_daemon:
                for service in self.services:
                    self.start_service(service)

    def make_spec(self) -> dict[str, Any]:
        """What `init` is to build; see `init.build_root`."""
        self.boots += 1
        self.boot_id = str(uuid.uuid4())
        boot_file = self.directory / "boots" / f"boot_id.{self.boots}"
        boot_file.write_text(self.boot_id + "\n")
        boot_file.chmod(0o444)
        hidden = HIDDEN + [(str(path), "755") for path in {closed_parent(path) for path in self.needed} if path]
        masked = [Path(path) for path, _ in hidden]
        keep = {str(path) for path in self.needed if any(path.is_relative_to(parent) for parent in masked)}
        binds = [(str(self.directory / part), target) for part, target in PERSISTENT.items()]
        binds += [(str(source), target) for source, target in [(self.directory / "shared", SHARED), *self.binds]]
        return {"hostname": self.name, "boot_id_file": str(boot_file), "keep": sorted(keep), "hidden": hidden,
                "binds": binds, "disk": self.make_disk(),
                "copied": COPIED, "directories": DIRECTORIES}

    def make_disk(self) -> str:
        """The image behind /var/lib/postgresql as the host sees it, or ""."""
        image = self.directory / "postgresql" / "disk.img"
        if self.disk_mb and not image.exists():
            with image.open("wb") as file:
                file.truncate(self.disk_mb << 20)
            argv = ["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", str(image)]
            subprocess.run(argv, check=True, timeout=60, env=ENVIRONMENT)
        return "/var/lib/postgresql/disk.img" if self.disk_mb else ""

    def power_off(self) -> None:
        """Cut the power: link down, SIGKILL to PID 1 and thereby to all; verified. Nothing when it is off."""
        with self.lock:
            if self.is_on():
                inode = Path(f"/proc/{self.pid}/ns/pid").stat().st_ino
                self.switch.link_down(self.name)
                os.kill(self.init_pid, signal.SIGKILL)
                for let_go in list(self.at_kill):  # each takes itself off the list
                    let_go()
                for program in self.programs:  # nsenter stops together with its child, and would not collect it
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(program.pid, signal.SIGCONT)
                assert self.holder is not None
                try:
                    self.holder.wait(20)
                except subprocess.TimeoutExpired as error:
                    left = [(pid, read_process(pid)) for pid in namespace_members("pid", inode)]
                    raise LabError(f"{self.name}: these outlive a power-off: {left}") from error
                wait_until(lambda: not namespace_members("pid", inode), 20, f"{self.name}: every process gone")
            self.forget()

    def forget(self) -> None:
        """Clear what a power-off, or a PID 1 that ended by itself, left on this side."""
        for hook in self.at_power_off:
            hook()
        if self.holder is not None:
            self.switch.remove(self.name)
        super().stop()
        self.init_pid = 0

    def stop(self) -> None:
        self.power_off()

    # --- "systemd" -----------------------------------------------------------------------------

    def reply(self) -> dict[str, Any]:
        """One line of PID 1's."""
        assert self.holder is not None
        assert self.holder.stdout is not None
        line = self.holder.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def ask_init(self, **words: Any) -> dict[str, Any]:
        """Tell PID 1 something and return its answer."""
        with self.lock:
            assert self.holder is not None
            assert self.holder.stdin is not None
            self.holder.stdin.write(json.dumps(words) + "\n")
            self.holder.stdin.flush()
            return self.reply()

    def start_service(self, service: Service) -> None:
        """`systemctl start`."""
        env = ENVIRONMENT | {"PATH": f"{ENVIRONMENT['PATH']}:{sys.prefix}/bin"} | dict(service.env)
        self.ask_init(do="start", name=service.name, argv=service.argv, env=env, restart=service.restart,
                      log=f"{SHARED}/{service.name}.log")

    def stop_service(self, name: str, *, with_signal: int = signal.SIGTERM, timeout_s: float = 30.0) -> None:
        """`systemctl stop` of a unit with KillMode=process: signals the main process alone, and waits."""
        self.ask_init(do="stop", name=name, signal=int(with_signal))
        wait_until(lambda: not self.service_pid(name), timeout_s, f"{self.name}: {name} ended")

    def service_pid(self, name: str) -> int:
        """The service's main process as seen from here, or 0."""
        inside = self.ask_init(do="status").get(name, {}).get("pid", 0)
        return self.outer_pid(inside) if inside else 0

    def log(self, name: str = "pgvip") -> str:
        """What a service has written so far, over all boots."""
        path = self.directory / "shared" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def path(self, inside: str) -> Path:
        """A file that the host sees under the path `inside`; LabError when it is off."""
        return Path(f"/proc/{self.pid}/root{inside}")

    # --- processes -----------------------------------------------------------------------------

    def processes(self, user: str = "") -> list[Process]:
        """All of the host's processes (of one system user), PID 1 included."""
        uid = pwd.getpwnam(user).pw_uid if user else None
        inode = Path(f"/proc/{self.pid}/ns/pid").stat().st_ino
        found = []
        for pid in namespace_members("pid", inode):
            with contextlib.suppress(OSError, StopIteration):
                process = read_process(pid)
                if uid is None or process.uid == uid:
                    found.append(process)
        return found

    def outer_pid(self, inside: int) -> int:
        """The process id seen from here, or 0 when there is no such process."""
        return next((process.pid for process in self.processes() if process.inside == inside), 0)

    def postmaster(self) -> int:
        """The postmaster as seen from here, or 0."""
        try:
            inside = int(self.path(f"{DATA_DIRECTORY}/postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return 0
        return next((process.pid for process in self.processes("postgres") if process.inside == inside), 0)

    def signal_postgres(self, with_signal: int) -> None:
        """Signal every process of the cluster at (nearly) once."""
        cluster = [process for process in self.processes("postgres") if "postgres" in process.command.split(" ")[0]]
        for process in cluster:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, with_signal)

    # --- network and database ------------------------------------------------------------------

    def cut(self) -> None:
        """Nothing passes to or from this host; its carrier stays up."""
        self.switch.disconnect(self.name)

    def heal(self) -> None:
        """Undo `cut`."""
        self.switch.connect(self.name)

    def addresses(self) -> set[str]:
        """The IPv4 addresses that the host carries on its interface."""
        if not self.is_on():
            return set()
        listed = json.loads(self.run(["ip", "-j", "-4", "addr", "show", "dev", "eth0"]).stdout)
        return {entry["local"] for link in listed for entry in link.get("addr_info", [])}

    def sql(self, query: str, *, database: str = "postgres", check: bool = True, timeout_s: float = 10.0) -> str:
        """Ask the local PostgreSQL over its own socket as its superuser; the answer as psql prints it."""
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", SOCKET_DIRECTORY, "-d", database, "-c", query]
        return self.run(argv, user="postgres", timeout_s=timeout_s, check=check, env=SESSION).stdout.strip()

    def writable(self) -> bool:
        """True when PostgreSQL here takes writes now."""
        answer = self.sql("select pg_is_in_recovery() or current_setting('transaction_read_only')::bool", check=False)
        return answer == "f"


def read_process(pid: int) -> Process:
    """What procfs says of a process; OSError when it has gone."""
    status = Path(f"/proc/{pid}/status").read_text()
    words = {line.split(":")[0]: line.split()[1:] for line in status.splitlines()}
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return Process(pid, int(words["NSpid"][-1]), int(words["Uid"][0]), command)


def closed_parent(path: Path) -> Path | None:
    """The topmost directory on the way to `path` that other users cannot pass (PostgreSQL's user must)."""
    for parent in reversed([path, *path.parents]):
        if parent.is_dir() and not parent.stat().st_mode & stat.S_IXOTH:
            return parent
    return None


def remove_tree(directory: Path) -> None:
    """Delete, with some patience for a name space that is still being taken down."""
    end_s = time.monotonic() + 10
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists() and time.monotonic() > end_s:
            raise LabError(f"cannot remove {directory}")
