"""What is given up is gone for good, in this process and in what it starts."""

import os
import subprocess
import sys

import pytest

from pgvip.system import capabilities

SCRIPT = """
import subprocess, sys
from pgvip.system import capabilities
capabilities.give_up()
capabilities.give_up()
assert not capabilities.held(), capabilities.held()
print(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
"""


def sets_of(status: str) -> dict[str, int]:
    rows = (line.split(":") for line in status.splitlines() if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in rows}


def test_a_program_that_is_started_does_not_get_them_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=30)
    mask = sum(1 << number for number in capabilities.GIVEN_UP.values())
    found = sets_of(done.stdout)
    assert not found["CapEff"] & mask
    assert not found["CapPrm"] & mask
    if os.geteuid() == 0:
        assert not found["CapBnd"] & mask
        assert found["CapEff"], "the others are kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has any")
def test_this_process_has_them_still() -> None:
    assert capabilities.held()


def test_there_must_be_no_other_thread() -> None:
    script = (
        "import threading; from pgvip.system import capabilities\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "try: capabilities.give_up()\n"
        "except AssertionError: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "refused\n"


def test_a_worker_has_none_and_gets_none() -> None:
    script = (
        "import pwd, os; from pgvip.system import worker\n"
        "worker.become(pwd.getpwuid(os.geteuid()).pw_name)\n"
        "print(open('/proc/self/status').read())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    found = sets_of(done.stdout)
    assert (found["CapEff"], found["CapPrm"], found["CapInh"], found["CapAmb"]) == (0, 0, 0, 0)
    assert "NoNewPrivs:\t1" in done.stdout
