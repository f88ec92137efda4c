"""Who may change a file: what root believes or calls must be root's own, as sudo and ssh ask for it."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINKS_MAX = 40
"""As the kernel's own limit (path_resolution(7))."""


def changeable(path: Path) -> str:
    """Why others than root (or this user) can change what is at `path`, or "": by it, or by a step of the way to it.

    After a colon comes the command that repairs it. Raises OSError when it is not there or cannot be inspected.
    """
    for place, status in _way(path):
        if status.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to another user than root: chown -h root {place}"
        # Nobody writes to a link; in a sticky directory everybody's entries are their own.
        free = stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX)
        if status.st_mode & 0o022 and not free:
            return f"{place} can be written by others than its owner: chmod go-w {place}"
    return ""


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every directory and link that the kernel passes on the way to the file, and the file itself."""
    absolute = path.absolute()
    here, ahead, links = type(path)(absolute.anchor), [*absolute.parts[1:]], 0
    yield here, here.lstat()
    while ahead:
        part = ahead.pop(0)
        if part == "..":
            here = here.parent
            continue
        there = here / part
        status = there.lstat()
        yield there, status
        if not stat.S_ISLNK(status.st_mode):
            here = there
            continue
        links += 1
        if links > LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = there.readlink()
        if target.is_absolute():
            here = type(path)(target.anchor)
        ahead = [*(target.parts[1:] if target.is_absolute() else target.parts), *ahead]
