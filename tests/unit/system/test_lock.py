"""Two processes and one lock: the second is refused, until the first has ended, however it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pgvip.errors import RefusedError
from pgvip.system import lock

HOLDER = """
import sys, time
from pathlib import Path
from pgvip.system import lock
lock.take(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_the_second_is_refused_until_the_first_has_ended(tmp_path: Path, stopped: bool) -> None:
    words = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        if stopped:
            holder.send_signal(signal.SIGSTOP)
        with pytest.raises(RefusedError) as refused:
            lock.take(tmp_path)
        assert str(holder.pid) in refused.value.detail
        holder.kill()
    lock.take(tmp_path)
    lock.take(tmp_path)
    assert (tmp_path / "lock").read_text() != f"{holder.pid}\n"


def test_a_child_does_not_keep_it(tmp_path: Path) -> None:
    parent = HOLDER.replace("time.sleep(60)", "import subprocess; subprocess.Popen(['sleep', '5'])")
    subprocess.run([sys.executable, "-c", parent, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    lock.take(tmp_path)
