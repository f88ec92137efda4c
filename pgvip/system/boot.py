"""Which boot of which system this is."""

from __future__ import annotations

from pathlib import Path

from pgvip.errors import ProbeError
from pgvip.system import processes

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_identity() -> str:
    """The kernel's boot id with PID 1's start time.

    A container keeps its kernel's boot id over its own restarts; its first process is new each time
    (docs/protocol.md, "The record"). ProbeError when procfs is not readable.
    """
    try:
        boot_id = BOOT_ID.read_text(encoding="ascii").strip()
        first = processes.ref_of(1)
    except OSError as failure:
        raise ProbeError("could not read the boot identity", f"{failure}.") from failure
    if first is None:
        raise ProbeError("could not read the boot identity", "There is no process 1 in /proc.")
    return f"{boot_id}/{first.start}"
