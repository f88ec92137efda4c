"""The daemon's parts put together, in a process of its own: what must be in place before any of them works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pgvip.errors import Exit

PROGRAM = """
import sys, threading
from pathlib import Path
from pgvip.daemon.assembly import Assembly
from pgvip.daemon.live_config import Options
from pgvip.link.certificates import make_pair_certificates
from pgvip.link.tls import install
from pgvip.state.record import PairIdentity
from tests.unit import configs

config = configs.make(Path(sys.argv[1]))
keys = make_pair_certificates([config.me.name, config.peer.name])
install(config.paths.certificates, keys[config.me.name], keys[config.peer.name].certificate)
identity = PairIdentity("pair", "7300000000000000001", config.me.name, config.peer.name)
assembly = Assembly(config, identity, Options())
print("assembled", flush=True)
if sys.argv[2] == "wait":
    sys.stdin.read()
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
print("still there", flush=True)
"""


def words(root: Path, what: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(root), what]


def test_a_fault_in_any_thread_ends_the_daemon(tmp_path: Path) -> None:
    done = subprocess.run(words(tmp_path, "fail"), capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "assembled\n", done.stderr
    assert done.returncode == Exit.FAILED
    assert "crash: ZeroDivisionError" in done.stderr


def test_a_second_daemon_touches_nothing(tmp_path: Path) -> None:
    """It is refused before it reads or writes anything that the first one may be writing."""
    with subprocess.Popen(words(tmp_path, "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "assembled\n"
        second = subprocess.run(words(tmp_path, "fail"), capture_output=True, text=True, timeout=50, check=False)
        first.kill()
    assert second.stdout == ""
    assert "another pgvip is at work on this host" in second.stderr
    assert f"The process {first.pid} holds" in second.stderr
