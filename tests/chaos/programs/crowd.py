"""Takes as many sessions as a server gives, and holds them: an application that leaks connections. Standard library.

    crowd.py ADDRESS USER COUNT

Speaks just enough of the protocol (version 3.0, no TLS, no password) to be a session; what is refused or ends is tried
again while the program runs.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time

AGAIN_S = 0.2


def session(address: str, user: str) -> socket.socket:
    """A session that does nothing; OSError when there is none to be had."""
    made = socket.create_connection((address, 5432), 2.0)
    words = b"".join(word.encode() + b"\0" for word in ("user", user, "database", "postgres", ""))
    made.sendall(struct.pack("!ii", len(words) + 8, 196608) + words)
    answer = made.recv(1)
    if answer != b"R":
        made.close()
        raise OSError("refused")
    made.setblocking(False)
    return made


def alive(held: socket.socket) -> bool:
    """False when the server has ended the session; what it says is thrown away."""
    try:
        while chunk := held.recv(65536):
            if chunk[:1] == b"E":
                break
    except BlockingIOError:
        return True
    except OSError:
        pass
    held.close()
    return False


def main() -> None:
    address, user, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sessions: list[socket.socket] = []
    parent = os.getppid()
    while os.getppid() == parent:  # nobody ends an orphan
        sessions = [held for held in sessions if alive(held)]
        try:
            while len(sessions) < count:
                sessions.append(session(address, user))
        except OSError:
            pass
        time.sleep(AGAIN_S)


if __name__ == "__main__":
    main()
