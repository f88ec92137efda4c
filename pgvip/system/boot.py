"""Which boot of which system this is."""

from __future__ import annotations

from pathlib import Path

from pgvip.errors import ProbeError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
INIT = Path("/proc/1/stat")


def boot_identity() -> str:
    """The kernel's boot id with PID 1's start time.

    A container keeps its kernel's boot id over its own restarts; its first process is new each time
    (docs/protocol.md, "The record"). ProbeError when procfs is not readable.
    """
    try:
        boot_id = BOOT_ID.read_text(encoding="ascii").strip()
        started = INIT.read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError) as failure:
        raise ProbeError("could not read the boot identity", f"{failure}.") from failure
    return f"{boot_id}/{started}"
