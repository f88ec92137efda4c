"""A node of the lab: namespaces held by one process, and commands run in them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MALLOC_ARENA_MAX": "1",  # as in pgvip.service
}
"""What every program in the lab gets: nothing of the caller's environment reaches it."""


class LabError(Exception):
    """Something in the lab itself, not in what is tested, went wrong."""


def wait_until(condition: Callable[[], T], deadline_s: float, what: str, every_s: float = 0.05) -> T:
    """Poll until `condition` is true and return it; LabError names `what` when the deadline passes."""
    end_s = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end_s:
            raise LabError(f"not within {deadline_s:g} s: {what}")
        time.sleep(every_s)


def signal_program(process: subprocess.Popen[str], with_signal: int) -> None:
    """Signal the program that nsenter runs as its child, or the process itself when it is no nsenter.

    Were nsenter killed in its place, its child would have no parent within reach: nobody would collect it, and
    the end of its process id namespace would wait for that for ever.
    """
    pids = [process.pid]
    with contextlib.suppress(OSError):
        if Path(f"/proc/{process.pid}/comm").read_text() == "nsenter\n":
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            pids = [int(child) for child in children] or pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, with_signal)


def end_process(process: subprocess.Popen[str], grace_s: float = 2.0) -> None:
    """SIGTERM, then SIGKILL after `grace_s`; nothing when it has ended already."""
    if process.poll() is None:
        signal_program(process, signal.SIGTERM)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            signal_program(process, signal.SIGKILL)
            process.wait(10)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


class Node:
    """A network namespace. The holder ends by itself when the lab process is gone (end of its input)."""

    flags: tuple[str, ...] = ("--net",)

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder: subprocess.Popen[str] | None = None
        self.programs: list[subprocess.Popen[str]] = []

    @property
    def pid(self) -> int:
        """The process that holds the namespaces, as the lab process sees it."""
        if self.holder is None:
            raise LabError(f"{self.name} is off")
        return self.holder.pid

    def start(self) -> None:
        """Make the namespaces, with the loopback interface up."""
        argv = ["unshare", "--net", "--", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
        self.holder = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True,
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != "ready\n":
            raise LabError(f"no network namespace for {self.name}; is this root?")

    def stop(self) -> None:
        """End what runs here, and with it the namespaces."""
        for program in self.programs:
            end_process(program)
        self.programs.clear()
        if self.holder is not None:
            end_process(self.holder)
            self.holder = None

    def enter(self, user: str = "") -> list[str]:
        """The words that run a command in this node."""
        words = ["nsenter", f"--target={self.pid}", *self.flags]
        if user:
            words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*words, "--"] if not user else words

    def run(
        self,
        argv: Sequence[object],
        *,
        user: str = "",
        timeout_s: float = 30.0,
        check: bool = True,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; LabError with all the output when it fails (`check`) or takes too long."""
        words = [*self.enter(user), *map(str, argv)]
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=ENVIRONMENT | dict(env or {}), start_new_session=True,
        ) as process:
            try:
                output, errors = process.communicate(stdin, timeout_s)
            except BaseException as error:
                signal_program(process, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise LabError(f"{self.name}: no end within {timeout_s:g} s: {words_of(argv)}") from error
                raise
        if check and process.returncode:
            raise LabError(f"{self.name}: exit {process.returncode}: {words_of(argv)}\n{output}{errors}")
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def popen(
        self,
        argv: Sequence[object],
        *,
        user: str = "",
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | IO[str] = subprocess.DEVNULL,
        stderr: int | IO[str] = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start and leave running; ended with the node at the latest."""
        program = subprocess.Popen(
            [*self.enter(user), *map(str, argv)], stdin=stdin, stdout=stdout, stderr=stderr, text=True,
            env=ENVIRONMENT, start_new_session=True,
        )
        self.programs.append(program)
        return program


def words_of(argv: Sequence[object]) -> str:
    """A command line for people."""
    return " ".join(map(str, argv))


def namespace_members(kind: str, inode: int) -> list[int]:
    """Process ids, as seen from here, that live in the namespace with this inode number."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{entry.name}/ns/{kind}").stat().st_ino == inode:
                    found.append(int(entry.name))
    return found
