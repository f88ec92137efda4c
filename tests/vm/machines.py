"""The machines: a kernel of its own each, in a process id namespace of its own; one interface, two backends.

A power-off kills that namespace's first process, and the kernel ends all the others with it: User Mode Linux and
its helpers make sessions of their own, so that no process group would hold them all. `off` returns after all of
them have gone, and with them the machine's memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from tests.lab.nodes import ENVIRONMENT, LabError, Node, namespace_members
from tests.vm import image
from tests.vm.network import nics

DATA_BYTES = 6 << 30
"""Size of the second disk, sparse: PostgreSQL's directory."""
DEATH_S = 30.0
COMMAND_LINE = "root={root} rw net.ifnames=0 systemd.hostname={name} systemd.show_status=no panic=0 mitigations=off"


class Machine(ABC):
    """One machine. `power`: "off", "on", "frozen", or "hung" (power is on, but the kernel has ended by a panic)."""

    def __init__(self, name: str, switch: Node, directory: Path, base: Path) -> None:
        self.name, self.switch, self.directory, self.base = name, switch, directory, base
        self.process: subprocess.Popen[bytes] | None = None
        self.lit = False
        self.frozen = False
        self.bmc_delay_s = 0.0
        self.boots = 0
        directory.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def make_disk(self) -> None:
        """Make the copy-on-write disk over the image, when there is none."""

    @abstractmethod
    def argv(self) -> list[str]:
        """The program that is the machine."""

    def data_disk(self) -> Path:
        """The second disk, made when there is none."""
        path = self.directory / "data.img"
        if not path.exists():
            with path.open("wb") as disk:
                disk.truncate(DATA_BYTES)
        return path

    def look(self) -> str:
        """The power state; notices a machine that went off or died by itself."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.process = None
            self.lit = code != 0  # an orderly power-off ends with 0; a kernel that died leaves the power on
        if not self.lit:
            return "off"
        if self.process is None:
            return "hung"
        return "frozen" if self.frozen else "on"

    def on(self) -> None:
        """Power on; nothing when it is on."""
        if self.look() != "off":
            return
        self.make_disk()
        inner = ["sh", "-c", '"$@" & wait $!', "machine", *self.argv()]
        argv = [
            "setpriv", "--pdeathsig", "KILL", *self.switch.enter(),
            "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *inner,
        ]
        self.boots += 1
        with (self.directory / "console.log").open("ab") as console:
            console.write(f"\n--- boot {self.boots}\n".encode())
            console.flush()
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True,
                env=ENVIRONMENT | {"TMPDIR": str(memory_directory())}, cwd=self.directory,
            )
        self.lit, self.frozen = True, False

    def off(self) -> None:
        """Cut the power and wait until nothing of the machine is left; nothing when it is off."""
        if self.process is not None:
            for pid in self.first_processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                self.process.wait(DEATH_S)
            except subprocess.TimeoutExpired as error:
                raise LabError(f"{self.name} did not die within {DEATH_S:g} s") from error
        self.process, self.lit, self.frozen = None, False, False

    def reset(self) -> None:
        """Off and on."""
        self.off()
        self.on()

    def freeze(self) -> None:
        """Stop every process of the machine: no instruction runs any more, its memory stays."""
        self._signal_all(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Undo `freeze`."""
        self._signal_all(signal.SIGCONT)
        self.frozen = False

    def first_processes(self) -> list[int]:
        """The first process of the machine's namespace, as seen from here (none while it is being made)."""
        if self.process is None:
            return []
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            return []
        return [int(word) for word in text.split()] or [self.process.pid]

    def _signal_all(self, number: int) -> None:
        """Signal all but what another of them traces: the kernel of User Mode Linux runs its processes that way.

        They stand still with it, at their next system call or fault; one that was stopped by itself ends the kernel
        when it goes on.
        """
        for first in self.first_processes():
            inode = Path(f"/proc/{first}/ns/pid").stat().st_ino
            for pid in namespace_members("pid", inode):
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    if "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
                        os.kill(pid, number)


class Uml(Machine):
    """User Mode Linux: needs no hardware virtualisation, computes at about native speed, forks slowly."""

    def make_disk(self) -> None:
        """Nothing: the kernel makes the copy-on-write file itself."""

    def argv(self) -> list[str]:
        cards = [f"eth{index}=tuntap,{nic.tap},{nic.mac}" for index, nic in enumerate(nics(self.name))]
        return [
            "linux.uml", "mem=768M", f"umid={self.name}", f"uml_dir={self.directory}",
            # c: shared, else each machine would lock the image that all stand on
            f"ubd0c={self.directory / 'root.cow'},{self.base}", f"ubd1={self.data_disk()}",
            *cards, "con=null", "con0=null,fd:1", "ssl=null",
            *COMMAND_LINE.format(root="/dev/ubda", name=self.name).split(),
        ]


class Qemu(Machine):
    """QEMU: with KVM where the hardware has it; its emulation is some twenty times slower."""

    def make_disk(self) -> None:
        path = self.directory / "root.qcow2"
        if not path.exists():
            image.call("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.base, path)

    def argv(self) -> list[str]:
        boot = self.base.with_suffix(".boot")
        kernel = max(boot.glob("vmlinuz-*"))
        initrd = boot / kernel.name.replace("vmlinuz", "initrd.img")
        accelerate = ["-accel", "kvm", "-cpu", "host"] if has_kvm() else [
            "-accel", "tcg,thread=multi", "-cpu", "max,la57=off"]
        cards = []
        for index, nic in enumerate(nics(self.name)):
            cards += ["-netdev", f"tap,id=n{index},ifname={nic.tap},script=no,downscript=no",
                      "-device", f"virtio-net-pci,netdev=n{index},mac={nic.mac}"]
        return [
            "qemu-system-x86_64", "-M", "pc", *accelerate, "-m", "1024", "-smp", "1", "-display", "none", "-nodefaults",
            "-serial", "stdio", "-qmp", f"unix:{self.directory / 'qmp.sock'},server=on,wait=off",
            "-drive", f"file={self.directory / 'root.qcow2'},if=virtio,format=qcow2,cache=writeback",
            "-drive", f"file={self.data_disk()},if=virtio,format=raw,cache=writeback",
            *cards, "-device", "i6300esb", "-action", "watchdog=reset",
            "-kernel", str(kernel), "-initrd", str(initrd),
            "-append", COMMAND_LINE.format(root="/dev/vda", name=self.name) + " console=ttyS0",
        ]


BACKENDS: dict[str, type[Machine]] = {"uml": Uml, "qemu": Qemu}


def has_kvm() -> bool:
    """True where the processor virtualises; a /dev/kvm alone may be an emulation that boots nothing."""
    flags = Path("/proc/cpuinfo").read_text().split("flags", 1)[-1].split("\n", 1)[0].split()
    return Path("/dev/kvm").exists() and bool({"vmx", "svm"} & set(flags))


def default_backend() -> str:
    """PGVIP_VMLAB_BACKEND, or QEMU where the hardware virtualises, else User Mode Linux."""
    return os.environ.get("PGVIP_VMLAB_BACKEND") or ("qemu" if has_kvm() else "uml")


def memory_directory() -> Path:
    """Where User Mode Linux keeps the machine's memory: not on a disk, where there is a choice."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() else Path("/tmp")
