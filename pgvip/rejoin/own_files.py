"""Files in the data directory that belong to the host and not to the cluster: a server's key, an administrator's link.

pg_rewind fails on those that PostgreSQL's user may not write, after it has begun to change the data; both it and a base
backup put the peer's in their place. They are set aside in the state directory, and given back to the new data.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import PostgresError
from pgvip.state import files
from pgvip.system import pgtools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pwd import struct_passwd

    from pgvip.config.model import Config

KEPT = "own-files"
"""Directory below the state directory."""

OWN_SETTINGS = ("ssl_key_file", "ssl_cert_file")
"""Settings that name what a host shows of itself."""

ALWAYS_THE_CLUSTERS = ("pg_wal",)
"""A symbolic link at the top of the data directory that PostgreSQL's programs know."""

BYTES_MAX = 16 << 20
"""A larger file is no key and no setting."""


def set_aside(config: Config, *, lend: bool) -> list[str]:
    """Copy this host's own files from the data directory, durably; returns their names.

    `lend`: leave pg_rewind copies that it may write to, of what PostgreSQL's user may read (it reads postgresql.conf),
    and nothing of the rest. What an earlier attempt set aside, and the data directory has no longer, is kept. The
    server is down. Raises OSError.
    """
    data, kept = config.postgres.data_directory, config.paths.state / KEPT
    named = frozenset(_named(config))
    found = [path for path in sorted(data.iterdir()) if _is_own(config, path, named)] if data.is_dir() else []
    if not found:
        return []
    kept.mkdir(mode=0o700, exist_ok=True)
    for path in found:
        _copy(path, kept)
    files.sync_directory(kept)
    for path in found if lend else ():
        if _readable(config, path):
            _copy(path, data, pgtools.account(config))
        else:
            path.unlink()
    return [path.name for path in found]


def give_back(config: Config, data: Path) -> None:
    """Put what was set aside into a data directory, in place of what it has. Can be repeated. Raises OSError."""
    kept = config.paths.state / KEPT
    if not kept.is_dir():
        return
    for path in sorted(kept.iterdir()):
        _copy(path, data)
    files.sync_directory(data)


def forget(config: Config) -> None:
    """The data directory has them again."""
    shutil.rmtree(config.paths.state / KEPT, ignore_errors=True)


def _is_own(config: Config, path: Path, named: frozenset[str]) -> bool:
    """True for a file or link that is not the cluster's. Directories, and large files, stay where they are."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return path.name not in ALWAYS_THE_CLUSTERS
    if not stat.S_ISREG(status.st_mode) or status.st_size > BYTES_MAX:
        return False
    return path.name in named or not _writable(config, path)


def _writable(config: Config, path: Path) -> bool:
    """True when PostgreSQL's user, the owner of all that is the cluster's, may write to a file."""
    status = path.lstat()
    return status.st_uid == pgtools.account(config).pw_uid and bool(status.st_mode & stat.S_IWUSR)


def _readable(config: Config, path: Path) -> bool:
    """True when PostgreSQL's user may read a file; nothing is known of where a link leads."""
    status, account = path.lstat(), pgtools.account(config)
    if stat.S_ISLNK(status.st_mode):
        return False
    mine = status.st_uid == account.pw_uid or (status.st_gid == account.pw_gid and status.st_mode & stat.S_IRGRP)
    return bool(mine or status.st_mode & stat.S_IROTH)


def _named(config: Config) -> Iterator[str]:
    """Names of the files at the top of the data directory that settings of this host refer to."""
    data = config.postgres.data_directory
    for key in OWN_SETTINGS:
        # Settings that cannot be read are the server's to complain of when it starts.
        with suppress(PostgresError):
            file = data / pgtools.server_setting(config, key)
            if file.parent == data or file.parent == data.resolve():
                yield file.name


def _copy(path: Path, directory: Path, owner: struct_passwd | None = None) -> None:
    """Copy a file or link with its owner and mode, durably, in place of what has its name there.

    `owner`: whose it becomes instead. Links are copied as links, and no set-user-id bit comes along: the directory is
    another user's.
    """
    target = directory / path.name
    if path.is_symlink():
        _copy_link(path, target)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        content = opened.read(BYTES_MAX)
    if owner is None:
        mode, ids = stat.S_IMODE(status.st_mode) & 0o777, (status.st_uid, status.st_gid)
    else:
        mode, ids = 0o600, (owner.pw_uid, owner.pw_gid)
    files.write(target, content, mode=mode, owner=ids)


def _copy_link(path: Path, target: Path) -> None:
    status = path.lstat()
    with tempfile.TemporaryDirectory(prefix=".pgvip-own.", dir=target.parent) as own:
        made = Path(own) / path.name
        made.symlink_to(path.readlink())
        os.chown(made, status.st_uid, status.st_gid, follow_symlinks=False)
        made.replace(target)
