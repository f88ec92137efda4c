"""systemd's view of the database server: who would start it behind pgvip's back, and in which unit it runs.

A unit that starts the server at boot would start it before the pair has agreed on who serves. Debian's
generator does so unless start.conf says `manual` (pg_createcluster(1)).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pgvip.errors import CommandError
from pgvip.state import files
from pgvip.system.commands import check, run
from pgvip.system.workers import as_postgres

TIMEOUT_S = 30.0
"""Of systemctl. On a machine that has just booted, systemd answers after more than ten seconds."""

DEBIAN_CLUSTERS = Path("/etc/postgresql")
DATA_DIRECTORY = re.compile(r"^\s*data_directory\s*=?\s*'?([^'#\n]+?)'?\s*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AutoStart:
    """Something that starts the server by itself. `hint`: the command that ends that."""

    what: str
    hint: str
    file: Path | None = None


def has_systemd() -> bool:
    """True when this machine was booted by systemd (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def stopping(timeout_s: float = TIMEOUT_S) -> bool:
    """True while systemd shuts the machine down: its shutdown.target is queued (systemctl(1), is-system-running).

    CommandError when systemd does not say.
    """
    if not has_systemd():
        return False
    said = run(["systemctl", "is-system-running"], timeout_s=timeout_s).stdout.strip()
    if not said:
        raise CommandError("systemctl is-system-running said nothing")
    return said == "stopping"


HANDOVER = "pgvip-handover.service"
"""Runs `pgvip leave` while the machine is shut down."""


def handover_order(unit: str) -> str:
    """Why a shutdown would stop the server's unit without waiting for the hand-over; "" when it waits.

    CommandError when systemd does not say.
    """
    said = check(["systemctl", "show", "--property=LoadState,After", HANDOVER], timeout_s=TIMEOUT_S)
    words = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    if words.get("LoadState") != "loaded":
        return f"{HANDOVER} is not installed: a shutdown of this host hands nothing over; run scripts/install again"
    if unit and unit not in words.get("After", "").split():
        return (
            f"{HANDOVER} is not ordered after {unit}, which a shutdown stops at the same time; "
            f"systemctl edit {HANDOVER}: [Unit] After={unit}"
        )
    return ""


def auto_starts(data_directory: Path, unit: str) -> list[AutoStart]:
    """What would start the server of a data directory at boot."""
    found = [
        AutoStart(
            f"{file} says auto",
            f"echo manual > {file} && systemctl daemon-reload",
            file,
        )
        for file in start_files(data_directory)
        if start_word(file) == "auto"
    ]
    if not has_systemd():
        return found
    names = sorted({unit, *likely_units(data_directory)} - {""})
    found += [AutoStart(f"unit {name} is enabled", f"systemctl disable {name}") for name in names if is_enabled(name)]
    return found


@as_postgres()
def start_files(data_directory: Path, clusters: Path = DEBIAN_CLUSTERS) -> list[Path]:
    """Debian's start.conf of every cluster definition with this data directory."""
    found = []
    for main in sorted(clusters.glob("*/*/postgresql.conf")):
        named = DATA_DIRECTORY.findall(main.read_text(encoding="utf-8", errors="replace"))
        if named and os.path.realpath(named[-1]) == os.path.realpath(data_directory):
            found.append(main.with_name("start.conf"))
    return found


def take_over(start: AutoStart) -> None:
    """Make it manual. CommandError when that fails."""
    if start.file is not None:
        make_manual(start.file)
        if has_systemd():
            check(["systemctl", "daemon-reload"], timeout_s=TIMEOUT_S)
        return
    check(start.hint.split(), timeout_s=TIMEOUT_S)


@as_postgres()
def make_manual(file: Path) -> None:
    """Have start.conf say so; what lies there is replaced and not followed. CommandError."""
    _write_start(file, "# set by pgvip, which decides when this cluster may start\nmanual\n")


@as_postgres()
def make_automatic(file: Path) -> None:
    """Have start.conf say that the server is started at boot, as pg_createcluster(1) does. CommandError."""
    _write_start(file, "auto\n")


def _write_start(file: Path, text: str) -> None:
    try:
        if file.exists():
            files.write_like(file, text, file)
        else:
            files.write(file, text, mode=0o644)
    except OSError as failure:
        raise CommandError(f"could not write {file}", f"{failure}.") from failure


def is_enabled(unit: str) -> bool:
    """True when systemd starts the unit at boot; a unit that is not there is not enabled."""
    try:
        return run(["systemctl", "is-enabled", unit], timeout_s=TIMEOUT_S).stdout.strip() == "enabled"
    except CommandError:
        return False


def restarts(unit: str) -> str:
    """The unit's Restart= where systemd would start a server again that died; "" for "no".

    CommandError when systemd does not say.
    """
    said = check(["systemctl", "show", "--property=Restart", "--value", unit], timeout_s=TIMEOUT_S)
    word = said.stdout.strip()
    return "" if word == "no" else word


def main_pid(unit: str) -> int:
    """Process id of the unit's main process; 0 when it does not run. CommandError when systemd does not say."""
    said = check(["systemctl", "show", "--property=MainPID", "--value", unit], timeout_s=TIMEOUT_S)
    return int(said.stdout.strip() or 0)


def load_state(unit: str) -> str:
    """What systemd has of the unit: loaded, not-found, masked and the like; "" when it does not say."""
    try:
        said = run(["systemctl", "show", "--property=LoadState", "--value", unit], timeout_s=TIMEOUT_S)
    except CommandError:
        return ""
    return said.stdout.strip()


def known_servers() -> frozenset[str]:
    """Units of PostgreSQL servers that systemd has, templates left out."""
    command = ["systemctl", "list-unit-files", "--type=service", "--no-legend", "--plain", "*postgres*"]
    try:
        said = run(command, timeout_s=TIMEOUT_S).stdout
    except CommandError:
        return frozenset()
    return frozenset(line.split()[0] for line in said.splitlines() if line.strip() and "@." not in line)


def enabled_services() -> frozenset[str]:
    """Services that systemd starts at boot; none where it does not say."""
    command = ["systemctl", "list-unit-files", "--type=service", "--state=enabled", "--no-legend", "--plain"]
    try:
        said = run(command, timeout_s=TIMEOUT_S).stdout
    except CommandError:
        return frozenset()
    return frozenset(line.split()[0] for line in said.splitlines() if line.strip())


def debian_units(data_directory: Path) -> frozenset[str]:
    """Units that Debian's template has for the clusters with this data directory (postgresql-common)."""
    files = start_files(data_directory)
    return frozenset(f"postgresql@{file.parent.parent.name}-{file.parent.name}.service" for file in files)


@as_postgres()
def start_word(file: Path) -> str:
    """The word in start.conf; without the file it is auto (pg_createcluster(1))."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "auto"
    words = [line.split("#")[0].strip() for line in lines]
    return next((word for word in words if word), "auto")


@as_postgres()
def likely_units(data_directory: Path) -> frozenset[str]:
    """Names that packages of the RHEL family give to the server's unit."""
    try:
        version = (data_directory / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError:
        return frozenset()
    # Debian's postgresql.service starts nothing by itself, its generator's units do.
    by_version = frozenset({f"postgresql-{version}.service"})
    return by_version if DEBIAN_CLUSTERS.is_dir() else by_version | {"postgresql.service"}
