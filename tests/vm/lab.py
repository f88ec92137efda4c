"""A lab of virtual machines, as tests and scripts/vmlab use it: started here, or one that runs already."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tests.lab.lab import mark_owner, owner
from tests.lab.nodes import LabError, Node, wait_until, words_of
from tests.vm import image
from tests.vm.chassis import ask
from tests.vm.machines import default_backend
from tests.vm.network import BRIDGES, FENCE, MACHINES, SERVICE, fence_address, nics, pull, put_back

BOOT_S = {"uml": 300.0, "qemu": 1200.0}
"""The longest that a boot may take, on a machine that does much else."""
DOWN_S = 60.0
SSH = [
    "ssh", "-q", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
    "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
]


class Attached(Node):
    """A namespace that the lab's holder keeps."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name)
        self.held = pid

    @property
    def pid(self) -> int:
        return self.held


class Host:
    """One machine, as the lab's operator has it: its power button, its cables, and a shell over the fence network."""

    def __init__(self, lab: VmLab, name: str) -> None:
        self.lab, self.name = lab, name

    # --- power -----------------------------------------------------------------------------------

    def order(self, order: str, **words: object) -> dict[str, Any]:
        """Give an order to the lab's holder; LabError when it fails."""
        answer = ask(str(self.lab.directory / "control.sock"), do=order, machine=self.name, **words)
        if not answer["ok"]:
            raise LabError(f"{self.name}: {order}: {answer['error']}")
        return answer

    @property
    def power(self) -> str:
        """One of "off", "on", "frozen" and "hung" (machines.Machine)."""
        return str(self.order("status")["power"])

    @property
    def boots(self) -> int:
        """How often it was powered on, a fence's included."""
        return int(self.order("status")["boots"])

    # --- cables ----------------------------------------------------------------------------------

    def cut_off(self) -> None:
        """Pull the cable of the hosts' network; the fence network stays."""
        pull(self.lab.switch, nics(self.name)[0].tap)

    def reconnect(self) -> None:
        """Undo `cut_off`."""
        put_back(self.lab.switch, nics(self.name)[0].tap, BRIDGES[SERVICE])

    def cut_off_bmc(self) -> None:
        """Pull the cable of this machine's BMC."""
        pull(self.lab.switch, f"sw-bmc-{self.name}")

    def reconnect_bmc(self) -> None:
        """Undo `cut_off_bmc`."""
        put_back(self.lab.switch, f"sw-bmc-{self.name}", BRIDGES[FENCE])

    # --- a shell ---------------------------------------------------------------------------------

    def ssh(self, *command: str) -> list[str]:
        """The words that run a shell command in the machine, as root."""
        # one connection for many commands: a handshake is work for a machine that forks slowly
        shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={self.lab.directory}/ssh-{self.name}", "-o",
                  "ControlPersist=30"]
        return [*SSH, *shared, "-i", str(image.key_path()), f"root@{fence_address(self.name)}", *command]

    def run(
        self, command: str, *, timeout_s: float = 60.0, check: bool = True, stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command to its end."""
        return self.lab.operator.run(self.ssh(command), timeout_s=timeout_s, check=check, stdin=stdin)

    def ask(self, command: str, *, timeout_s: float = 60.0) -> str:
        """What a shell command prints; "" while the machine cannot be reached or the command fails."""
        with contextlib.suppress(LabError):
            done = self.run(command, timeout_s=timeout_s, check=False)
            return done.stdout.strip() if done.returncode == 0 else ""
        return ""

    def send(self, source: Path, names: Sequence[str], target: str) -> None:
        """Copy files or directories of `source` into a directory of the machine."""
        argv = ["tar", "-C", source, "-c", "--exclude=__pycache__", "--", *names]
        with subprocess.Popen([str(word) for word in argv], stdout=subprocess.PIPE) as tar:
            receive = self.ssh(f"mkdir -p {target} && tar -x --no-same-owner -C {target}")
            done = subprocess.run([*self.lab.operator.enter(), *receive], stdin=tar.stdout, timeout=120, check=False)
        if tar.returncode or done.returncode:
            raise LabError(f"{self.name}: {words_of(names)} did not arrive in {target}")

    def wait_ssh(self, deadline_s: float = 0.0) -> None:
        """Wait until a shell can be had."""
        limit_s = deadline_s or BOOT_S[self.lab.backend]
        wait_until(lambda: self.ask("echo yes", timeout_s=15) == "yes", limit_s, f"a shell in {self.name}", 0.5)

    def boot_id(self) -> str:
        """A name for this boot of its kernel; "" while there is no shell."""
        return self.ask("cat /proc/sys/kernel/random/boot_id", timeout_s=15)

    def wait_boot(self, before: str, deadline_s: float = 0.0) -> None:
        """Wait until another boot than `before` gives a shell."""
        limit_s = deadline_s or BOOT_S[self.lab.backend]
        wait_until(lambda: self.boot_id() not in ("", before), limit_s, f"{self.name} has booted again", 1.0)

    def sql(self, query: str, *, timeout_s: float = 60.0) -> str:
        """Ask the database of this machine, as its superuser, by its socket."""
        return self.run(
            "cd / && runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -f -", stdin=query, timeout_s=timeout_s,
        ).stdout.strip()


class VmLab:
    """A lab whose holder runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        state = json.loads((directory / "state.json").read_text())
        self.backend: str = state["backend"]
        self.nodes = {name: Attached(name, pid) for name, pid in state["nodes"].items()}
        self.switch, self.operator = self.nodes["switch"], self.nodes["operator"]
        self.client = self.nodes["client"]
        self.hosts = {name: Host(self, name) for name in MACHINES}
        self.db1, self.db2 = (self.hosts[name] for name in MACHINES)

    def boot(self) -> None:
        """Power both machines on and wait for shells."""
        for host in self.hosts.values():
            host.order("on")
        for host in self.hosts.values():
            host.wait_ssh()

    def programs_end(self) -> None:
        """End the programs that were started from here in the lab's namespaces."""
        for node in self.nodes.values():
            node.stop()


def labs() -> Path:
    """Where the labs' directories are."""
    return image.cache() / "labs"


def clean_left_overs() -> list[Path]:
    """Remove the directories of labs whose holder is gone; what was removed."""
    removed = []
    for directory in labs().glob("*"):
        if not _text(directory / "owner") or owner(directory) == 0:
            shutil.rmtree(directory)
            removed.append(directory)
    return removed


def holder_pid(directory: Path) -> int:
    """The process id of a lab's holder; 0 when it is gone, or cannot be seen from here."""
    return (owner(directory) or 0) if _text(directory / "owner") else 0


def start(name: str, *, backend: str = "", stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start a lab's holder, and wait until it takes orders. `stdin`: a pipe whose end is the lab's end."""
    backend = backend or default_backend()
    image.build(backend)
    clean_left_overs()
    directory = labs() / name
    directory.mkdir(parents=True)
    mark_owner(directory)  # until the holder has one of its own, lest another start takes it for a left-over
    tied = ["--tied"] if stdin is not None else []
    with (directory / "holder.log").open("wb") as log:
        holder = subprocess.Popen(
            [sys.executable, "-m", "tests.vm.hold", str(directory), backend, *tied], cwd=image.REPOSITORY,
            stdin=subprocess.DEVNULL if stdin is None else stdin, stdout=log, stderr=log, start_new_session=True,
        )
    wait_until(
        lambda: (directory / "ready").exists() or holder.poll() is not None, 60, "the lab's holder takes orders",
    )
    if holder.poll() is not None:
        raise LabError(f"the lab did not start: {_text(directory / 'holder.log')}")
    return holder


def stop(name: str) -> bool:
    """End a lab and remove its directory; False when there is none."""
    directory = labs() / name
    if not directory.exists():
        return False
    if pid := holder_pid(directory):
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not holder_pid(directory), DOWN_S, f"the end of the lab {name}")
    shutil.rmtree(directory)
    return True


def attach(name: str) -> VmLab:
    """The lab of that name; LabError when none runs."""
    directory = labs() / name
    if not holder_pid(directory):
        raise LabError(f"no lab {name!r} is running")
    return VmLab(directory)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def progress(text: str, since_s: float) -> None:
    """One line for people who wait."""
    print(f"{time.monotonic() - since_s:6.0f} s  {text}", file=sys.stderr, flush=True)
