"""The cluster's postmaster by what the kernel says of processes, where nothing in the data directory may be read."""

from __future__ import annotations

from pathlib import Path

from pgvip.system.procfs import (
    FORKED,
    ProcessRef,
    alive,
    is_server,
    lines_of,
    link_of,
    parent_of,
    pids,
    ref_of,
    stat_of,
)

OTHER_MODES = ([b"--single"], [b"--boot"], [b"--check"], [b"--describe-config"])
"""First arguments of a server program that is no postmaster (postgres(1))."""

_SEEN: dict[str, ProcessRef] = {}
"""By data directory: the one that was seen last."""


def belongs(pid: int, owner: int | None) -> bool:
    """True for a process of this user with all its identities; one that a setuid program has changed is another's."""
    if owner is None:
        return True
    try:
        lines = lines_of(f"/proc/{pid}/status")
    except (OSError, ProcessLookupError):
        return False
    found = next((line.split()[1:] for line in lines if line.startswith("Uid:")), [])
    return len(found) == 4 and set(found) == {str(owner)}


def standing_postmaster(data: str, owner: int) -> ProcessRef | None:
    """The postmaster by what the kernel says of it: a server of this user that runs in the data directory.

    The oldest wins where a second one is just being refused by the first.
    """
    known = _SEEN.get(data)
    if known is not None and alive(known) and link_of(known.pid, "cwd") == data:
        return known
    found = [
        ref
        for pid in pids()
        if link_of(pid, "cwd") == data
        and is_server(pid)
        and belongs(pid, owner)
        and _is_postmaster(pid)
        and (ref := ref_of(pid)) is not None
    ]
    among = {ref.pid for ref in found}
    first = min((ref for ref in found if parent_of(ref.pid) not in among), key=lambda ref: int(ref.start), default=None)
    if first is None or not alive(first):
        return None
    _SEEN[data] = first
    return first


def _is_postmaster(pid: int) -> bool:
    """True for a server program that was executed as a postmaster: no child of one, no single user, no question.

    The kernel says which; a child has its parent's arguments until it sets its own title, and may have lost its parent
    by then.
    """
    stat = stat_of(pid)
    if stat is None or stat.flags & FORKED:
        return False
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ProcessLookupError):
        return False
    return words[1:2] not in OTHER_MODES and b"-C" not in words
