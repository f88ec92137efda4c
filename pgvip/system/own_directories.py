"""Directories that root makes for PostgreSQL's user, in places where only root can make any.

This is the one thing that a command does for this user as root. It is safe because nobody else can exchange anything
on the way: every directory above is root's alone. Everywhere else that user makes its directories itself.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pgvip.errors import PostgresError
from pgvip.system import pgtools

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config


def make(config: Config, path: Path, *, mode: int) -> bool:
    """Make a directory and give it to PostgreSQL's user, or give it an empty one of root's; True when it was made.

    Nothing where others than root could change the way to it, or where it is in use: whoever needs it says so then.
    PostgresError when it cannot be made. Only while this process has CAP_CHOWN.
    """
    there = next(one for one in path.parents if os.path.lexists(one))
    if os.geteuid() != 0 or not _is_roots_alone(there):
        return False
    owner = pgtools.account(config)
    try:
        made = not os.path.lexists(path)
        if made:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or any(path.iterdir()):
            return False
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        if made:
            path.chmod(mode)
    except OSError as failure:
        raise PostgresError(f"could not make {path}", f"{failure}.") from failure
    return made


def _is_roots_alone(path: Path) -> bool:
    """True for a directory that is there, and that nobody but root can replace or write to."""
    try:
        for one in (path, *path.parents):
            status = one.lstat()
            shared = status.st_mode & 0o022 and (one == path or not status.st_mode & stat.S_ISVTX)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or shared:
                return False
    except OSError:
        return False
    return True
