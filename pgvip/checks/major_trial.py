"""A trial of a new major version: an empty cluster of it in a temporary directory, and what it says to the old one.

The old server goes on; nothing of it is changed. The directory is removed. One that a killed trial has left is removed
by the next one.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import CommandError, PostgresError
from pgvip.system import pgtools
from pgvip.system.commands import run
from pgvip.system.new_programs import existing
from pgvip.system.workers import as_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgvip.config.model import Config
    from pgvip.system.commands import Completed

PREFIX = "pgvip-trial-"
MARK = "made-by-pgvip-upgrade-major"
"""A file by which a directory with such a name is known to be a trial's, and nobody else's."""
TRIAL_S = 900.0
INITDB_S = 120.0
CHECK_S = 600.0
"""Of pg_upgrade --check, which asks each database about ten times."""
PROGRAM_S = 20.0
TEXT_MAX = 2000
SAID = re.compile(r"(?:LOG|WARNING|ERROR|FATAL):  (.*)")
PLACE = re.compile(r" in file \".*\" line \d+$")
COLUMN = re.compile(r"^\s*\d+: (\w+) = \"(.*)\"\t\(typeid")
HBA = "select line_number, error from pg_hba_file_rules where error is not null\n"
SLOTS = ("wal_level", "max_replication_slots")
UNTRIED = ("log_line_prefix", "log_destination", "logging_collector", "log_min_messages", "log_error_verbosity")
"""They would change how the trial's own messages look."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to try. `new`: programs of the new version; `data`: where the real cluster would be.

    `options`: of initdb. `settings`: of the old server's files, beside pgvip's own.
    """

    new: Path
    data: Path
    options: tuple[str, ...]
    settings: dict[str, str]
    hba_file: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What the new version said, each () for nothing.

    `upgrade`: why pg_upgrade --check failed. `settings`: of the old configuration files, what it does not take.
    `access`: lines of pg_hba.conf that it does not take. `linked`: the check was one with --link.
    """

    upgrade: tuple[str, ...]
    settings: tuple[str, ...]
    access: tuple[str, ...]
    linked: bool


@as_postgres(timeout_s=TRIAL_S)
def trial(config: Config, order: Order) -> Trial:
    """Make the cluster, and try it. PostgresError when there is no cluster to try."""
    new, settings = order.new, order.settings
    place = _place(config, order.data)
    _remove_left(new, place)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as name,
        tempfile.TemporaryDirectory(prefix="pgvip-") as short,  # the path of a socket must be
    ):
        scratch, sockets = Path(name), Path(short)
        cluster = scratch / "cluster"
        (scratch / MARK).touch()
        _give(config, scratch, sockets)
        made = _run(config, [new / "initdb", "-N", "-D", cluster, "-U", config.postgres.user, *order.options], INITDB_S)
        if made.returncode:
            raise PostgresError("no trial cluster of the new version could be made", made.said)
        linked = cluster.stat().st_dev == (config.postgres.data_directory / "base").stat().st_dev
        with (cluster / "postgresql.conf").open("a") as file:  # logical slots are checked against these
            file.writelines(_line(name, settings[name]) for name in SLOTS if name in settings)
        return Trial(
            upgrade=_upgrade(config, new, cluster, sockets, linked=linked),
            settings=_settings(config, new, scratch / "settings", settings),
            access=_access(config, new, cluster, order.hba_file),
            linked=linked,
        )


def _place(config: Config, data: Path) -> Path:
    """A directory for the trial: on the file system of the new data where that is possible, so that links are tried."""
    for place in (existing(data), config.postgres.data_directory.parent):
        if place != config.postgres.data_directory and os.access(place, os.W_OK):
            return place
    return Path(tempfile.gettempdir())


def _remove_left(new: Path, place: Path) -> None:
    """What a trial has left that was killed; one that may still run is let alone, and so is what no trial has made."""
    for left in place.glob(f"{PREFIX}*"):
        try:
            mark = (left / MARK).lstat()
        except OSError:
            continue
        if not stat.S_ISREG(mark.st_mode) or time.time() - mark.st_mtime < TRIAL_S:
            continue
        with suppress(CommandError):
            run([new / "pg_ctl", "stop", "-m", "immediate", "-D", left / "cluster"], timeout_s=PROGRAM_S)
        shutil.rmtree(left, ignore_errors=True)


def _give(config: Config, *paths: Path) -> None:
    if os.geteuid() == 0:
        pgtools.give(config, *paths)


def _run(config: Config, command: Sequence[str | Path], timeout_s: float, *, cwd: Path | None = None,
         input_text: str | None = None) -> Completed:  # fmt: skip
    return run(command, timeout_s=timeout_s, user=config.postgres.user, cwd=cwd, input_text=input_text)


def _line(name: str, value: str) -> str:
    return f"{name} = '{value.replace(chr(39), 2 * chr(39))}'\n"


# --- pg_upgrade ----------------------------------------------------------------------------------------------


def _upgrade(config: Config, new: Path, cluster: Path, sockets: Path, *, linked: bool) -> tuple[str, ...]:
    """`pg_upgrade --check` against the running server; what it has against it."""
    postgres = config.postgres
    command: list[str | Path] = [
        *(new / "pg_upgrade", "--check"),
        *(["--link"] if linked else []),
        *("-b", postgres.bin_directory, "-B", new, "-d", postgres.data_directory, "-D", cluster),
        *("-s", sockets, "-U", postgres.user),
    ]
    if options := pgtools.config_file_option(config):
        command += ["-o", " ".join(options)]
    done = _run(config, command, CHECK_S, cwd=cluster.parent)
    if done.returncode == 0:
        return ()
    found = list(problems(done.stdout)) or [done.said]
    for file in sorted(cluster.parent.rglob("*.txt")):
        if text := file.read_text(errors="replace").strip():
            found.append(f"{file.name}: {text[:TEXT_MAX]}")
    return tuple(found)


def problems(output: str) -> Iterator[str]:
    r"""What pg_upgrade --check says beside the checks that are well.

    >>> list(problems("Performing Checks\n---\nChecking cluster versions      ok\nChecking for x     fatal\n\n"
    ...     "Your installation contains x.  A list is in the file:\n    /tmp/x.txt\n\nFailure, exiting\n"))
    ['Checking for x: Your installation contains x. A list is in the file: x.txt']
    """
    words, failed = list[str](), ""
    for line in output.splitlines():
        check = re.fullmatch(r"(Checking .*?|Finding .*?|Running .*?)\s+(ok|fatal|warning)", line)
        if check is not None:
            failed = "" if check[2] == "ok" else f"{check[1].rstrip('. ')}: "
        elif line.strip() and not line.startswith(("Performing", "---", "Failure", "*Clusters")):
            words.append(f"{failed}{_short(line)}")
            failed = ""
    if words:
        yield " ".join(words)


def _short(line: str) -> str:
    """Without the directories of the trial, which are removed, and with single blanks."""
    return " ".join(Path(word).name if word.startswith("/") else word for word in line.split())


# --- the configuration files ---------------------------------------------------------------------------------


def _settings(config: Config, new: Path, directory: Path, settings: Mapping[str, str]) -> tuple[str, ...]:
    """What the new server says to the old settings. It reads all of them and ends (`postgres -C`)."""
    directory.mkdir()
    file = directory / "postgresql.conf"
    file.write_text("".join(_line(name, value) for name, value in settings.items() if name not in UNTRIED))
    (directory / "postgresql.auto.conf").touch()
    _give(config, directory, *directory.iterdir())
    done = _run(config, [new / "postgres", "-D", directory, "-C", "max_connections"], PROGRAM_S)
    said = [PLACE.sub("", text) for text in SAID.findall(done.stderr)]
    found = [text for text in said if not text.startswith("configuration file ")]
    if done.returncode and not found:
        found = [done.said]
    return tuple(dict.fromkeys(found))


def _access(config: Config, new: Path, cluster: Path, hba_file: str) -> tuple[str, ...]:
    """Lines of pg_hba.conf that the new server does not take: asked of it alone, without connections."""
    command: list[str | Path] = [new / "postgres", "--single", "-D", cluster, "-c", f"hba_file={hba_file}"]
    if pgtools.has_tls(replace(config, postgres=replace(config.postgres, bin_directory=new))):
        command += ["-c", "ssl=on"]  # lines with hostssl are wrong without; nothing is opened here
    done = _run(config, [*command, "template1"], PROGRAM_S, input_text=HBA)
    if done.returncode:
        raise PostgresError("the new version could not be asked about pg_hba.conf", done.said)
    values = [found[2] for line in done.stdout.splitlines() if (found := COLUMN.match(line))]
    return tuple(f"line {number}: {error}" for number, error in zip(values[::2], values[1::2], strict=True))


# --- how much there is ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """Files of user relations, and how many relations these are; about, since a catalog that was rewritten counts."""

    files: int
    relations: int


USER_FILE = re.compile(r"(\d+)(?:_[a-z]+)?(?:\.\d+)?")
FIRST_USER_NUMBER = 16384
"""FirstNormalObjectId (src/include/access/transam.h)."""


@as_postgres()
def count_files(config: Config) -> Counted:
    """What pg_upgrade --link makes links of, in each database. PostgresError."""
    data = config.postgres.data_directory
    try:
        counts = [_count(one) for one in (*data.glob("base/*"), *data.glob("pg_tblspc/*/PG_*/*"))]
    except OSError as failure:
        raise PostgresError(f"could not count the files in {data}", f"{failure}.") from failure
    return Counted(sum(files for files, _ in counts), sum(relations for _, relations in counts))


def _count(database: Path) -> tuple[int, int]:
    files = relations = 0
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(database) as entries:  # it may just be dropped
        for entry in entries:
            found = USER_FILE.fullmatch(entry.name)
            if found is not None and int(found[1]) >= FIRST_USER_NUMBER:
                files += 1
                relations += entry.name.isdecimal()
    return files, relations
