"""A stranger's server at an address that was another host's; as a program (standard library only).

    stranger.py PORT HOW

HOW: refuses (no login), no-row (lets everybody in, and answers each query with no row), other (as the primary of
another cluster), accepts (takes the connection and says nothing), asks (for the password, in clear).

What is heard in clear and is more than the request for TLS is printed.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from contextlib import suppress

SSL_REQUESTS = (80877103, 80877104)
SAYS = {"server_version": "15.1", "client_encoding": "UTF8", "DateStyle": "ISO", "standard_conforming_strings": "on"}


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


REFUSAL = message(b"E", b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for this host\0\0")
CLEAR = message(b"R", (3).to_bytes(4, "big"))
LOGIN = b"".join((
    message(b"R", bytes(4)),
    *(message(b"S", f"{key}\0{value}\0".encode()) for key, value in SAYS.items()),
    message(b"K", bytes(8)),
    message(b"Z", b"I"),
))  # fmt: skip


def row(cells: list[bytes]) -> bytes:
    return message(b"D", struct.pack("!h", len(cells)) + b"".join(struct.pack("!i", len(one)) + one for one in cells))


def answer(how: str) -> bytes:
    """To a query, whatever it is."""
    columns = b"".join(b"c\0" + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0) for oid in (16, 23, 25))
    rows = row([b"f", b"9", b"7999999999999999999"]) if how == "other" else b""
    return message(b"T", struct.pack("!h", 3) + columns) + rows + message(b"C", b"SELECT 1\0") + message(b"Z", b"I")


def serve(client: socket.socket, how: str) -> None:
    with client, suppress(OSError):
        client.settimeout(30)
        while how != "accepts" and struct.unpack("!i", (said := client.recv(4096))[4:8])[0] in SSL_REQUESTS:
            client.sendall(b"N")
        if how == "asks":
            client.sendall(CLEAR)
            print(said, client.recv(4096), flush=True)
            return
        if how == "refuses":
            client.sendall(REFUSAL)
        elif how != "accepts":
            client.sendall(LOGIN)
        while client.recv(4096):
            if how != "accepts":
                client.sendall(answer(how))


def main() -> None:
    port, how = int(sys.argv[1]), sys.argv[2]
    with socket.create_server(("", port)) as listener:
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, how), daemon=True).start()


if __name__ == "__main__":
    main()
