"""PostgreSQL's own programs, run as its system user: control data, settings, psql.

A server that is down is asked through its files, never guessed at.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.core.values import Lsn, WalPoint
from pgvip.errors import CommandError, PostgresError
from pgvip.system import session_settings
from pgvip.system.commands import Completed, check, run
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from pgvip.config.model import Config

UPGRADE = "docs/procedures/upgrade-major.md"
"""How a pair goes to a new major version."""
TOOL_TIMEOUT_S = 20.0
"""For programs that read a few files; more means a disk that hangs."""


@dataclass(frozen=True, slots=True)
class ControlData:
    """What pg_control says (pg_controldata; src/include/catalog/pg_control.h).

    `end`: the newest timeline the cluster was on: a promotion that crashed before its first checkpoint is
    known from `min_recovery` alone.
    """

    state: str
    system_id: str
    checkpoint: WalPoint
    redo: Lsn
    min_recovery: WalPoint
    segment_bytes: int
    page_bytes: int
    checksums: bool
    wal_log_hints: bool
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def timeline(self) -> int:
        return max(self.checkpoint.timeline, self.min_recovery.timeline)

    @property
    def clean(self) -> bool:
        """True after an orderly shutdown, of a primary or of a standby."""
        return self.state in ("shut down", "shut down in recovery")

    @property
    def in_recovery(self) -> bool:
        """True for a standby's data, whether it was shut down or not."""
        return "recovery" in self.state

    @property
    def closed(self) -> bool:
        """True when the checkpoint is the last record: not after a standby's shutdown, which writes no WAL.

        A standby names its last restartpoint there; it may have received and replayed any amount since.
        """
        return self.state == "shut down"

    @property
    def rewindable(self) -> bool:
        """True when pg_rewind can know every changed block (manual, pg_rewind, Notes)."""
        return self.checksums or self.wal_log_hints


def tool(config: Config, name: str) -> Path:
    """Path of one of PostgreSQL's programs."""
    return config.postgres.bin_directory / name


def program_version(config: Config) -> int:
    """Major version of the installed programs. PostgresError when they say something odd, CommandError when nothing."""
    return int(full_version(config).partition(".")[0])


def full_version(config: Config) -> str:
    """Version of the installed programs, "15.14"; errors as of `program_version`.

    Asked as PostgreSQL's user, as everything of `bin_directory` is called: the programs may belong to that user.
    """
    command: list[str | Path] = [tool(config, "postgres"), "--version"]
    said = check(command, timeout_s=TOOL_TIMEOUT_S, user=config.postgres.user).stdout
    found = re.search(r"\) (\d+)(\.\d+)*", said)
    if found is None:
        raise PostgresError("did not understand postgres --version", f"It said: {said.strip()}.")
    return found[0].removeprefix(") ")


@as_postgres()
def has_tls(config: Config) -> bool:
    """Whether the installed server can speak TLS: its build decides (manual, 20.15, ssl_library)."""
    with tempfile.TemporaryDirectory(prefix="pgvip-") as name:
        (Path(name) / "postgresql.conf").touch()
        command: list[str | Path] = [tool(config, "postgres"), "-D", name, "-C", "ssl_library"]
        if os.geteuid() == 0:
            give(config, Path(name), Path(name) / "postgresql.conf")
        return bool(check(command, timeout_s=TOOL_TIMEOUT_S, user=config.postgres.user).stdout.strip())


def account(config: Config) -> pwd.struct_passwd:
    """System user that PostgreSQL runs as; PostgresError when there is none."""
    try:
        return pwd.getpwnam(config.postgres.user)
    except KeyError as failure:
        raise PostgresError(f'system user "{config.postgres.user}" does not exist') from failure


def give(config: Config, *paths: Path) -> None:
    """Make PostgreSQL's user the owner of files that root wrote for it."""
    owner = account(config)
    for path in paths:
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


@as_postgres()
def control_data(config: Config, directory: Path | None = None) -> ControlData:
    """Read pg_control of this host's cluster, or of another data directory.

    Raises PostgresError when it cannot be read or is not understood.
    """
    where = directory or config.postgres.data_directory
    try:
        said = check([tool(config, "pg_controldata"), where], timeout_s=TOOL_TIMEOUT_S)
    except CommandError as failure:
        raise PostgresError(f'could not read pg_control of "{where}"', str(failure)) from failure
    return parse_control_data(said.stdout)


def parse_control_data(text: str) -> ControlData:
    """Understand pg_controldata's output; PostgresError names a line that is missing or odd."""
    words = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            words[key.strip()] = value.strip()
    try:
        found = ControlData(
            state=words["Database cluster state"],
            system_id=words["Database system identifier"],
            checkpoint=WalPoint(
                int(words["Latest checkpoint's TimeLineID"]),
                Lsn.parse(words["Latest checkpoint location"]),
            ),
            redo=Lsn.parse(words["Latest checkpoint's REDO location"]),
            min_recovery=WalPoint(
                int(words["Min recovery ending loc's timeline"]),
                Lsn.parse(words["Minimum recovery ending location"]),
            ),
            segment_bytes=int(words["Bytes per WAL segment"]),
            page_bytes=int(words["WAL block size"]),
            checksums=words["Data page checksum version"] != "0",
            wal_log_hints=words["wal_log_hints setting"] == "on",
            settings=tuple(
                (key.removesuffix(" setting"), value) for key, value in words.items() if key.endswith(" setting")
            ),
        )
    except (KeyError, ValueError) as failure:
        raise PostgresError("did not understand the output of pg_controldata", f"{failure}.") from failure
    for name, bytes_, least, most in (
        ("WAL segment", found.segment_bytes, 1 << 20, 1 << 30),
        ("WAL block", found.page_bytes, 1 << 10, 1 << 16),
    ):
        if not least <= bytes_ <= most or bytes_ & (bytes_ - 1):
            raise PostgresError("did not understand the output of pg_controldata", f"A {name} of {bytes_} bytes.")
    return found


@as_postgres()
def major_version(data_directory: Path) -> int:
    """Major version of the cluster (its PG_VERSION file); PostgresError without a cluster."""
    try:
        return int((data_directory / "PG_VERSION").read_text(encoding="ascii"))
    except (OSError, ValueError) as failure:
        raise PostgresError(f'there is no database cluster in "{data_directory}"', f"{failure}.") from failure


def version_problem(config: Config) -> PostgresError | None:
    """What is wrong where data and programs are of different major versions. PostgresError, CommandError."""
    data, programs = config.postgres.data_directory, program_version(config)
    cluster = major_version(data)
    if cluster == programs:
        return None
    return PostgresError(
        f"the cluster in {data} is of version {cluster}, the programs in {config.postgres.bin_directory} are of "
        f"version {programs}",
        hint="Correct postgresql.bin_directory or data_directory. "
        f"Data go to another major version by pg_upgrade: see {UPGRADE}.",
    )


@as_postgres()
def is_there(path: Path) -> bool:
    """Whether there is a file or directory, as PostgreSQL's user sees it."""
    return path.exists()


@as_postgres()
def is_empty(directory: Path) -> bool:
    """True when a directory is absent, or has nothing in it."""
    return not directory.exists() or not any(directory.iterdir())


def config_file_option(config: Config) -> list[str]:
    """Give the option that names postgresql.conf where it is not in the data directory (Debian)."""
    if config.postgres.config_directory == config.postgres.data_directory:
        return []
    return ["-c", f"config_file={config.postgres.config_directory / 'postgresql.conf'}"]


def server_setting(config: Config, name: str) -> str:
    """What the configuration files say for a setting (`postgres -C`); the server may be down."""
    command: list[str | Path] = [
        tool(config, "postgres"),
        *("-D", config.postgres.data_directory),
        *config_file_option(config),
        *("-C", name),
    ]
    try:
        return check(command, timeout_s=TOOL_TIMEOUT_S, user=config.postgres.user).stdout.strip()
    except CommandError as failure:
        raise PostgresError(f'could not read setting "{name}"', str(failure)) from failure


def psql(config: Config, script: str, timeout_s: float = TOOL_TIMEOUT_S, database: str = "") -> str:
    """Run an SQL script as PostgreSQL's superuser, which has the name of its system user.

    The script goes in by standard input, so nothing of it is in an argument list. Its functions and operators are
    PostgreSQL's own: whoever owns the database may set a search_path that has others first. Raises PostgresError.
    """
    settings = session_settings.superuser(major_version(config.postgres.data_directory))
    options = session_settings.environment(settings) | {"PGREQUIREPEER": config.postgres.user}
    command: list[str | Path] = [
        tool(config, "psql"),
        *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
        *("-h", config.postgres.socket_directory, "-p", str(config.postgres.port)),
        *("-U", config.postgres.user, "-d", database or config.postgres.database),
    ]
    try:
        user = config.postgres.user
        return check(command, timeout_s=timeout_s, user=user, input_text=script, env=options).stdout
    except CommandError as failure:
        raise PostgresError("an SQL script failed", failure.detail or str(failure)) from failure


def pg_ctl(config: Config, *words: str | Path, timeout_s: float = TOOL_TIMEOUT_S) -> Completed:
    """Run pg_ctl on this host's cluster, whatever it returns."""
    command: list[str | Path] = [tool(config, "pg_ctl"), words[0], "-D", config.postgres.data_directory, *words[1:]]
    options = config_file_option(config)
    if options and words[0] == "start":
        command += ["-o", shlex.join(options)]
    return run(command, timeout_s=timeout_s, user=config.postgres.user)
