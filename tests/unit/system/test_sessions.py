"""Real TCP sessions: found by the address through which they came in, and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from pgvip.deadlines import now_s
from pgvip.system import sessions

BACKEND = """
import os, signal, socket, sys
address, stubborn = sys.argv[1], sys.argv[2] == "stubborn"
family = socket.AF_INET6 if ":" in address else socket.AF_INET
listener = socket.create_server(("::" if family == socket.AF_INET6 else "0.0.0.0", 0), family=family)
print(listener.getsockname()[1], flush=True)
while True:
    session, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        signal.signal(signal.SIGTERM, signal.SIG_IGN if stubborn else signal.SIG_DFL)
        session.sendall(b"%d\\n" % os.getpid())
        while True:
            signal.pause()
    session.close()
"""


def serve(address: str, *words: str) -> tuple[subprocess.Popen[bytes], int]:
    listener = subprocess.Popen([sys.executable, "-c", BACKEND, address, *words], stdout=subprocess.PIPE)
    assert listener.stdout is not None
    with listener.stdout:
        return listener, int(listener.stdout.readline())


@pytest.mark.parametrize(("vip", "other"), [("127.0.0.7", "127.0.0.8"), ("::1", "")])
def test_sessions_through_one_address_are_found_and_ended(vip: str, other: str) -> None:
    listener, port = serve(vip, "polite")
    try:
        with socket.create_connection((vip, port)) as session:
            backend = int(session.makefile().readline())
            assert sessions.sessions_on(vip, port) == [backend]
            assert sessions.sessions_on(vip, port + 1) == []
            if other:
                with socket.create_connection((other, port)) as apart:
                    kept = int(apart.makefile().readline())
                    assert sessions.end_sessions(vip, port, 2.0) == 0
                    assert sessions.sessions_on(other, port) == [kept]
                    os.kill(kept, signal.SIGKILL)
            else:
                assert sessions.end_sessions(vip, port, 2.0) == 0
            assert session.recv(10) == b""
        assert listener.poll() is None, "the listener is the postmaster: never ended"
        assert sessions.end_sessions(vip, port, 2.0) == 0
    finally:
        listener.kill()
        listener.wait(5)


def test_a_session_that_does_not_end_is_counted_and_not_killed() -> None:
    listener, port = serve("127.0.0.7", "stubborn")
    try:
        with socket.create_connection(("127.0.0.7", port)) as session:
            backend = int(session.makefile().readline())
            start_s = now_s()
            assert sessions.end_sessions("127.0.0.7", port, 0.2) == 1
            assert 0.2 <= now_s() - start_s < 2.0
            assert sessions.sessions_on("127.0.0.7", port) == [backend]
            os.kill(backend, signal.SIGKILL)
    finally:
        listener.kill()
        listener.wait(5)
