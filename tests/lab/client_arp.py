"""Who answers for an address, seen from the client's side; as a program (raw packets, standard library only).

    client_arp.py LOG PERIOD_S WAIT_S ADDRESS...

Asks by broadcast every PERIOD_S (0: once) and collects all answers for WAIT_S. One line for each question:

    asked ADDRESS AT_S MAC,MAC...
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TextIO

INTERFACE = "eth0"
BROADCAST = b"\xff" * 6
HEADER = struct.Struct("!6s6sHHHBBH6s4s6s4s")


def own_addresses() -> tuple[bytes, bytes]:
    """Hardware and IPv4 address of this node's interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((INTERFACE, 0))  # not from /sys, which shows the network namespace of whoever mounted it
        mac: bytes = wire.getsockname()[4]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("10.77.0.1", 9))
        return mac, socket.inet_aton(probe.getsockname()[0])


def answers(addresses: list[str], wait_s: float, mac: bytes, own: bytes) -> dict[str, set[str]]:
    """Ask for all the addresses and return the hardware addresses that claimed each."""
    found: dict[str, set[str]] = {address: set() for address in addresses}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as wire:
        wire.bind((INTERFACE, 0x0806))
        for address in addresses:
            target = socket.inet_aton(address)
            wire.send(HEADER.pack(BROADCAST, mac, 0x0806, 1, 0x0800, 6, 4, 1, mac, own, bytes(6), target))
        end_s = time.monotonic() + wait_s
        while (left_s := end_s - time.monotonic()) > 0:
            wire.settimeout(left_s)
            try:
                frame = wire.recv(128)
            except TimeoutError:
                break
            fields = HEADER.unpack_from(frame)
            operation, sender_mac, sender, target_mac = fields[7:11]
            address = socket.inet_ntoa(sender)
            if operation == 2 and target_mac == mac and address in found:
                found[address].add(sender_mac.hex(":"))
    return found


def ask(log: TextIO, addresses: list[str], wait_s: float, mac: bytes, own: bytes) -> None:
    """One round of questions, logged."""
    at_s = time.monotonic()
    found = answers(addresses, wait_s, mac, own)
    log.writelines(f"asked {address} {at_s:.6f} {','.join(sorted(macs))}\n" for address, macs in found.items())
    log.flush()


def main() -> None:
    path, period, wait = sys.argv[1:4]
    mac, own = own_addresses()
    with Path(path).open("a") as log:
        parent = os.getppid()
        while os.getppid() == parent:  # nobody reads what an orphan measures
            ask(log, sys.argv[4:], float(wait), mac, own)
            if not float(period):
                return
            time.sleep(float(period))


if __name__ == "__main__":
    main()
