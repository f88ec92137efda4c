"""Another PostgreSQL beside the configured one: where its programs are, which they are, and where its data would be.

For a new major version. Both hosts ask this of themselves; nothing is changed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.config.ownership import changeable
from pgvip.errors import PostgresError, RefusedError
from pgvip.system import libraries, pgtools, processes
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config

NEEDED = (
    "initdb", "pg_basebackup", "pg_controldata", "pg_ctl", "pg_dump", "pg_dumpall", "pg_resetwal", "pg_restore",
    "pg_rewind", "pg_upgrade", "pg_waldump", "postgres", "psql", "vacuumdb",
)  # fmt: skip
"""What pg_upgrade, the steps of the upgrade, and pgvip afterwards call."""


@dataclass(frozen=True, slots=True)
class Programs:
    """An installation on one host. `version`: "16.4". `missing`: programs; `libraries`: () when not known.

    `data`: where its new cluster would be, `free_bytes` of that file system, `same_disk` as the present data, `empty`:
    nothing is in `data` yet; `writable`: PostgreSQL's user may make it.
    """

    version: str
    missing: tuple[str, ...]
    libraries: tuple[str, ...]
    tls: bool
    data: str
    free_bytes: int
    same_disk: bool
    empty: bool
    writable: bool

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


def renamed(path: Path, old: int, new: int) -> Path:
    """A path with the number of the new major version in place of the old one's; the same path where there is none.

    >>> str(renamed(Path("/usr/pgsql-15/bin"), 15, 16)), str(renamed(Path("/srv/data150"), 15, 16))
    ('/usr/pgsql-16/bin', '/srv/data150')
    """
    return Path(re.sub(rf"(?<!\d){old}(?!\d)", str(new), str(path)))


def next_data(data: Path, old: int, new: int) -> Path:
    """Where the new cluster would be: by its number, or beside the old one.

    >>> str(next_data(Path("/srv/15/main"), 15, 16)), str(next_data(Path("/srv/data"), 15, 16))
    ('/srv/16/main', '/srv/data-16')
    """
    found = renamed(data, old, new)
    return data.with_name(f"{data.name}-{new}") if found == data else found


def directory_of(config: Config, to: str, old: int) -> Path:
    """The directory of programs that `--to` means: itself, or that of a version. RefusedError."""
    if to.startswith("/"):
        return Path(to)
    programs = config.postgres.bin_directory
    if not re.fullmatch(r"\d{1,3}", to):
        raise RefusedError(f"--to {to} is neither a major version nor an absolute path", hint="Example: --to 18")
    found = renamed(programs, old, int(to))
    if found == programs:
        text = f"postgresql.bin_directory, {programs}, does not have the number {old}"
        raise RefusedError(f"{text}: where version {to} is, is not known", hint="Name its programs: --to DIRECTORY")
    return found


@as_postgres()
def describe(config: Config, directory: Path, data: str) -> Programs:
    """What is installed there. `data`: of the new cluster, "" for `next_data`. PostgresError, CommandError."""
    server = directory / "postgres"
    try:
        whose = changeable(server)  # the other host may name any directory: nothing is called that a user has put there
    except OSError as failure:
        raise PostgresError(
            f"there is no PostgreSQL in {directory}", f"{server}: {failure.strerror}.", "Install the new version."
        ) from failure
    if whose:
        raise PostgresError(f"{server} is not called", f"{whose}.")
    with_new = replace(config, postgres=replace(config.postgres, bin_directory=directory))
    version, own = pgtools.full_version(with_new), config.postgres.data_directory
    place = Path(data) if data else next_data(own, pgtools.major_version(own), int(version.partition(".")[0]))
    try:
        near = existing(place)
        return Programs(
            version=version,
            missing=tuple(name for name in NEEDED if not (directory / name).exists()),
            libraries=libraries.installed(directory),
            tls=pgtools.has_tls(with_new),
            data=str(place),
            free_bytes=processes.disk_space(near).free_bytes,
            same_disk=near.stat().st_dev == (own / "base").stat().st_dev,
            empty=near != place or not any(place.iterdir()),
            writable=os.access(near, os.W_OK),
        )
    except OSError as failure:
        raise PostgresError(f"could not look where the new data would be: {place}", f"{failure}.") from failure


def existing(path: Path) -> Path:
    """A directory, or the nearest one above it that there is."""
    return next(one for one in (path, *path.parents) if one.is_dir())
