"""What was set aside is there when everything else is used up."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgvip.errors import ProbeError
from pgvip.system.reserve import Reserve, lack_of, raise_limit

LIMIT = 200


@pytest.fixture
def limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def use_up() -> list[int]:
    used = []
    try:
        while True:
            used.append(os.dup(2))
    except OSError:
        return used


@pytest.mark.usefixtures("limited")
def test_the_reserve_is_lent_when_nothing_is_left_and_taken_back() -> None:
    reserve = Reserve()
    reserve.keep(20)
    used = use_up()
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.pipe()
        for _ in range(2):
            with reserve.lent(), reserve.lent():
                for descriptor in os.pipe():
                    os.close(descriptor)
            with pytest.raises(OSError, match="Too many open files"):
                os.pipe()
    finally:
        reserve.close()
        for descriptor in used:
            os.close(descriptor)


@pytest.mark.usefixtures("limited")
def test_nothing_is_lent_while_there_is_enough() -> None:
    reserve = Reserve()
    reserve.keep(5)
    kept = set(Path("/proc/self/fd").iterdir())
    with reserve.lent():
        assert set(Path("/proc/self/fd").iterdir()) == kept
    reserve.close()


NO_TASK_LEFT = """
import os, resource, threading
from queue import SimpleQueue
from pgvip.core.actions import FindEnd, WriteState
from pgvip.daemon.action_threads import Workshop
from pgvip.errors import CommandError
from pgvip.system.commands import run
from pgvip.system.reserve import TASKS

if os.geteuid() == 0:
    os.setuid(54321)  # a limit on processes does not hold for root
inbox = SimpleQueue()
shop = Workshop({FindEnd: lambda action: None}, lambda action: None, inbox)
shop.prepare(HANDS)
TASKS.keep(PARKED)
resource.setrlimit(resource.RLIMIT_NPROC, (threading.active_count(), threading.active_count()))
try:
    threading.Thread(target=int).start()
    print("thread")
except RuntimeError:
    print("no thread")
shop.start(FindEnd())
result = inbox.get(timeout=5)
print("action", result.ok, result.text)
try:
    print("command", run(["true"], timeout_s=5).returncode)
except CommandError as failure:
    print("command", failure)
"""


def without_tasks(hands: int, parked: int) -> list[str]:
    """What a process says that has used up its limit of tasks."""
    code = NO_TASK_LEFT.replace("HANDS", str(hands)).replace("PARKED", str(parked))
    root = Path(__file__).parents[3]
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, cwd=root)
    return done.stdout.splitlines()[:3]


def test_actions_and_commands_go_on_when_no_task_is_left() -> None:
    assert without_tasks(hands=2, parked=4) == ["no thread", "action True ", "command 0"]


def test_without_a_reserve_an_action_fails_and_says_why() -> None:
    thread, action, command = without_tasks(hands=0, parked=0)
    assert thread == "no thread"
    assert action.startswith("action False no thread for the action")
    assert command.startswith("command could not run true")


@pytest.mark.parametrize(
    ("failure", "lack"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (MemoryError(), "Cannot allocate memory"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ""),
        (ProbeError("the server says: out of file descriptors: Too many open files in system"), ""),
    ],
)
def test_a_lack_of_this_host_is_told_from_every_other_failure(failure: Exception, lack: str) -> None:
    outer = ProbeError("no database answers")
    outer.__cause__ = failure
    assert lack_of(outer) == lack_of(failure) == lack


@pytest.mark.usefixtures("limited")
def test_the_soft_limit_is_raised() -> None:
    raise_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
