"""PID 1 of a lab host: builds the host's own view of the file system, reaps, and supervises like systemd.

Run by `hosts.Host.boot` inside fresh mount, pid, net, uts and ipc namespaces; standard library only. Commands
come as JSON lines on standard input, replies go to standard output. End of input (the lab process is gone)
is a power cut: PID 1 leaves, and the kernel kills all that is left in the namespace.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MS_BIND, MS_REC = 4096, 16384
RESTART_S = 0.1  # systemd's default RestartSec

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); OSError names the target."""
    words = [word.encode() or None for word in (source, target, fstype)]
    if libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def bind(handle: int, target: str) -> None:
    """Bind what `handle` (O_PATH) shows to `target`, made first; its old path may be hidden by now."""
    source = f"/proc/self/fd/{handle}"
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    mount(source, target, flags=MS_BIND | MS_REC)


def open_path(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def private_copy(directory: str) -> None:
    """Put a tmpfs over `directory` that shows the same: files copied, directories bound.

    So that mount points can be made in /etc and /var/lib without leaving a trace on the machine.
    """
    entries: list[tuple[str, int]] = []
    for entry in os.scandir(directory):
        handle = os.open(entry.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        entries.append((entry.path, handle))
    mount("tmpfs", directory, "tmpfs", data="mode=755")
    for path, handle in entries:
        status = os.fstat(handle)
        if stat.S_ISLNK(status.st_mode):
            Path(path).symlink_to(os.readlink("", dir_fd=handle))
        elif stat.S_ISDIR(status.st_mode):
            bind(handle, path)
        elif stat.S_ISREG(status.st_mode):
            shutil.copyfile(f"/proc/self/fd/{handle}", path)
            os.chown(path, status.st_uid, status.st_gid)
            Path(path).chmod(stat.S_IMODE(status.st_mode))
        os.close(handle)


def build_root(spec: dict[str, Any]) -> None:
    """Give this host its own /proc, /sys, /run, /tmp, boot id and persistent directories."""
    mount("proc", "/proc", "proc")
    kept = {path: open_path(path) for path in spec["keep"]}
    binds = [(open_path(source), target) for source, target in spec["binds"]]
    boot_id = open_path(spec["boot_id_file"])
    for directory in spec["copied"]:
        private_copy(directory)
    for directory, mode in spec["hidden"]:
        mount("tmpfs", directory, "tmpfs", data=f"mode={mode}")
    for path, handle in kept.items():
        bind(handle, path)
    for handle, target in binds:
        bind(handle, target)
    mount("sysfs", "/sys", "sysfs")
    bind_file = f"/proc/self/fd/{boot_id}"
    mount(bind_file, "/proc/sys/kernel/random/boot_id", flags=MS_BIND)
    for handle in [*kept.values(), boot_id, *(handle for handle, _ in binds)]:
        os.close(handle)
    socket.sethostname(spec["hostname"])
    if spec["disk"]:
        subprocess.run(["mount", "-o", "loop", spec["disk"], str(Path(spec["disk"]).parent)], check=True)
    for path, owner, mode in spec["directories"]:
        Path(path).mkdir(parents=True, exist_ok=True)
        shutil.chown(path, owner)
        Path(path).chmod(int(mode, 8))
    # A real host's next boot does not hand out the process ids of the last one: a stale postmaster.pid
    # must not name a live process by accident.
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(random.randrange(1000, 4_000_000)))


class Unit:
    """One supervised program."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], log: str, restart: bool) -> None:
        self.name, self.argv, self.env, self.log, self.restart = name, argv, env, log, restart
        self.pid = 0
        self.starts = 0
        self.start_at = 0.0
        self.wanted = True
        self.last_status = ""

    def start(self) -> None:
        """Fork and exec, with the log as standard output and error."""
        pid = os.fork()
        if pid:
            self.pid, self.starts = pid, self.starts + 1
            return
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            os.execve(self.argv[0], self.argv, self.env)  # noqa: S606 - this is what PID 1 is for
        except OSError as error:
            os.write(2, f"cannot execute {self.argv[0]}: {error}\n".encode())
            os._exit(127)

    def ended(self, status: int) -> None:
        self.pid = 0
        self.last_status = str(os.waitstatus_to_exitcode(status))
        self.wanted = self.wanted and self.restart
        self.start_at = time.monotonic() + RESTART_S


class Init:
    """The loop: commands, children that ended, units to start again."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.buffer = b""

    def run(self) -> None:
        """Serve until standard input ends."""
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ)
        selector.register(read_end, selectors.EVENT_READ)
        os.set_blocking(0, False)
        while True:
            for key, _ in selector.select(self.wait_s()):
                if key.fd == read_end:
                    os.read(read_end, 4096)
                elif not self.commands():
                    return
            self.reap()
            self.start_due()

    def wait_s(self) -> float | None:
        due = [unit.start_at for unit in self.units.values() if unit.wanted and not unit.pid]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for unit in self.units.values():
                if unit.pid == pid:
                    unit.ended(status)

    def start_due(self) -> None:
        for unit in self.units.values():
            if unit.wanted and not unit.pid and time.monotonic() >= unit.start_at:
                unit.start()

    def commands(self) -> bool:
        """Read what came; False at the end of input."""
        chunk = os.read(0, 65536)
        if not chunk:
            return False
        self.buffer += chunk
        while b"\n" in self.buffer:
            line, _, self.buffer = self.buffer.partition(b"\n")
            reply(self.command(json.loads(line)))
        return True

    def command(self, words: dict[str, Any]) -> dict[str, Any]:
        name = words.get("name", "")
        if words["do"] == "start":
            unit = self.units.get(name)
            if unit is None or not unit.pid:
                unit = Unit(name, words["argv"], words["env"], words["log"], words["restart"])
                self.units[name] = unit
                unit.start()
            return {"pid": unit.pid}
        if words["do"] == "stop":
            unit = self.units[name]
            unit.wanted = False
            if unit.pid:
                os.kill(unit.pid, words["signal"])
            return {"pid": unit.pid}
        self.reap()
        return {unit.name: {"pid": unit.pid, "starts": unit.starts, "last": unit.last_status}
                for unit in self.units.values()}


def reply(words: dict[str, Any]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    build_root(spec)
    os.chdir("/")
    reply({"ready": True})
    Init().run()


if __name__ == "__main__":
    main()
