"""The daemon's memory is locked where that is permitted, and nothing is half locked where it is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pgvip.system import capabilities

LOCK = """
import os, resource, threading
from pgvip.errors import PgvipError
from pgvip.system import locked_memory

def locked_kb():
    lines = open("/proc/self/status").read().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return int(found["VmLck"].split()[0]), int(found["VmRSS"].split()[0])

LIMIT
before = locked_kb()[1]
try:
    locked_memory.lock()
except PgvipError as failure:
    print(failure)
gate = threading.Event()
threads = [threading.Thread(target=gate.wait) for _ in range(20)]
for thread in threads:
    thread.start()
locked, used = locked_kb()
gate.set()
print(locked, used - before)
"""


def in_a_process(limit: str = "") -> list[str]:
    """What a process says that locks its memory and starts twenty threads: why not; locked and additional kB."""
    argv = [sys.executable, "-c", LOCK.replace("LIMIT", limit)]
    root = Path(__file__).parents[3]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, cwd=root)
    return done.stdout.splitlines()


def test_memory_is_locked_and_unused_stacks_take_none() -> None:
    assert capabilities.may(capabilities.IPC_LOCK)
    [said] = in_a_process()
    locked, more = map(int, said.split())
    assert locked > 20 * 8192
    assert more < 8192


def test_without_the_right_nothing_is_locked_and_threads_can_be_started() -> None:
    limited = "resource.setrlimit(resource.RLIMIT_MEMLOCK, (4 << 20, 4 << 20)); os.setuid(54321)"
    message, detail, hint, said = in_a_process(limited)
    assert message == "the daemon's memory is not locked, and may be swapped out"
    assert "may lock 4096 kB" in detail
    assert "LimitMEMLOCK" in hint
    assert said.split()[0] == "0"
