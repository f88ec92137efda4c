"""Mounts that may be dead: read in /proc, touched only by child processes with a deadline.

A process that touches the mount of a dead NFS server may hang in the kernel until the server is back. One such
child at a time is accepted for each mount point, a thread of the daemon never.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple

from pgvip.errors import CommandError, MountError
from pgvip.system import service
from pgvip.system.commands import Completed, Lookout, describe

SAFE = ("nosuid", "nodev")
"""Options of every mount: whoever answers for the other host's address would else make this host's users root."""
STACKED_MAX = 8
"""How many mounts over each other are taken off one mount point."""


class Mount(NamedTuple):
    """One line of /proc/self/mountinfo (proc(5))."""

    point: str
    kind: str
    source: str


_LOOKOUTS: dict[tuple[str, str], Lookout] = {}
_LOCK = threading.Lock()


def mounted(point: Path) -> Mount | None:
    """What is mounted there, the uppermost; None when nothing is. Does not touch the file system."""
    name = os.path.normpath(point)  # no resolve(): that would touch it
    found = None
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        if _plain(left.split()[4]) == name:
            kind, source = right.split()[:2]
            found = Mount(name, kind, _plain(source))
    return found


def below(directory: Path) -> list[str]:
    """Mount points below a directory, itself left out; the directory has no links in its path."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    points = {_plain(line.split()[4]) for line in lines}
    return sorted(point for point in points if point.startswith(f"{directory}/"))


def mount(kind: str, source: str, options: str, point: Path, timeout_s: float) -> None:
    """Mount it and see it in /proc; a mount that is there already is kept. MountError otherwise."""
    if mounted(point):
        return
    try:
        point.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(point):
            point.mkdir(mode=0o755)
    except OSError as failure:
        raise MountError(f"could not make mount point {point}", f"{failure}.") from failure
    words = ["mount", "-t", kind, "-o", safe(options), source, str(point)]
    done = _run("mount", point, _by_systemd("mount", words, timeout_s), timeout_s)
    if done.returncode != 0:
        raise MountError(f"could not mount {source}", done.said or f"mount {describe(done.returncode)}.")
    if not mounted(point):
        raise MountError(f"could not mount {source}", f"Nothing is mounted on {point} although mount succeeded.")


def safe(options: str) -> str:
    """The options with SAFE at their end, where they win over what says otherwise (mount(8), of several the last).

    >>> safe("ro,soft,nosuid,nodev,noexec"), safe("ro,suid"), safe("")
    ('ro,soft,noexec,nosuid,nodev', 'ro,suid,nosuid,nodev', 'nosuid,nodev')
    """
    return ",".join([*(one for one in options.split(",") if one and one not in SAFE), *SAFE])


def unmount(point: Path, timeout_s: float) -> None:
    """Take every mount off the mount point, lazily: who still uses it keeps it, nobody new gets it."""
    for _ in range(STACKED_MAX):
        if not mounted(point):
            return
        # no canonical name, no helper: both would touch the mount
        words = ["umount", "--no-canonicalize", "--internal-only", "--lazy", str(point)]
        try:
            done = _run("unmount", point, _by_systemd("unmount", words, timeout_s), timeout_s)
        except MountError:
            if mounted(point):
                raise
            # It is off the mount point at once; what lasts is NFSv4's farewell to a server that is dead (over 10 s).
            return
        if done.returncode != 0 and mounted(point):
            raise MountError(f"could not unmount {point}", done.said or f"umount {describe(done.returncode)}.")
    if mounted(point):
        raise MountError(f"could not unmount {point}", "Something is still mounted there.")


def answers(point: Path, timeout_s: float) -> None:
    """Ask the file system for its free space, which an NFS client does not answer from its cache.

    MountError when it fails or does not answer in time.
    """
    done = _run("look", point, ["stat", "--file-system", "--format=%i", str(point)], timeout_s)
    if done.returncode != 0:
        raise MountError(f"{point} does not answer", done.said)


def _by_systemd(purpose: str, words: list[str], timeout_s: float) -> list[str]:
    """The command as systemd's, where the daemon is a service: its unit may not mount, and has no CAP_SYS_ADMIN.

    The name of the unit is fixed: while one hangs in the kernel, systemd refuses to start another beside it.
    """
    if not service.under_systemd():
        return words
    unit = [f"--unit=pgvip-{purpose}", f"--description=pgvip: {purpose} the archive of the other host"]
    # RuntimeMaxSec= ends what outlives the client; TimeoutStopSec= is how long systemd waits for that.
    limits = [f"--property=RuntimeMaxSec={timeout_s:g}", "--property=TimeoutStopSec=1"]
    return ["systemd-run", "--quiet", "--collect", "--wait", "--pipe", *unit, *limits, "--", *words]


def _run(purpose: str, point: Path, words: list[str], timeout_s: float) -> Completed:
    """Run it, unless an earlier run of the same purpose still hangs on the same mount point."""
    with _LOCK:
        lookout = _LOOKOUTS.setdefault((purpose, str(point)), Lookout())
    try:
        return lookout.run(words, timeout_s=timeout_s)
    except CommandError as failure:
        raise MountError(f"{point}: {failure.message}", failure.detail) from failure


def _plain(text: str) -> str:
    r"""Undo the kernel's octal escapes.

    >>> _plain(r"/a\\040b")
    '/a b'
    """
    first, *rest = text.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
