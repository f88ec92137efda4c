"""Other software that decides who is primary, or who has an address: two such managers are two writers sooner or later.

What runs, or would run after the next boot, is a reason to refuse a set-up. What has only left traces is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import PgvipError, RefusedError
from pgvip.system import pgtools, units
from pgvip.system.procfs import pids

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgvip.config.model import Config

OPTION = "--beside"
WORDS_MAX = 3
"""A program's name is one of the first words of its command line: after an interpreter and its -m."""
CMDLINE_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Manager:
    """One of them. `programs`: what its daemon is called; `units`: of systemd, a template's without an instance.

    `traces`: files in a data directory that it has managed; `libraries`: in shared_preload_libraries; `stop`: what
    ends it, and does not restart PostgreSQL.
    """

    name: str
    programs: tuple[str, ...]
    units: tuple[str, ...]
    stop: str
    traces: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


TABLE = (
    Manager("patroni", ("patroni",), ("patroni.service", "patroni@"), "patronictl pause --wait, then stop its units",
            ("patroni.dynamic.json",)),
    Manager("repmgr", ("repmgrd",), ("repmgrd.service", "repmgr"), "stop repmgrd on both hosts",
            libraries=("repmgr",)),
    Manager("pg_auto_failover", ("pg_autoctl",), ("pgautofailover.service", "pg_autoctl"),
            "systemctl disable --now pgautofailover on the standby, then on the primary; PostgreSQL stops with it",
            ("postgresql-auto-failover.conf", "postgresql-auto-failover-standby.conf"), ("pgautofailover",)),
    Manager("pacemaker", ("pacemakerd", "corosync"), ("pacemaker.service", "corosync.service"),
            "pcs property set maintenance-mode=true, then pcs cluster stop --all and pcs cluster disable --all"),
    Manager("keepalived", ("keepalived",), ("keepalived.service",), "systemctl disable --now keepalived on both hosts"),
    Manager("vip-manager", ("vip-manager",), ("vip-manager.service", "vip-manager"),
            "systemctl disable --now vip-manager on both hosts"),
    Manager("pglookout", ("pglookout",), ("pglookout.service",), "systemctl disable --now pglookout on both hosts"),
    Manager("stolon", ("stolon-keeper", "stolon-sentinel"), ("stolon-keeper.service", "stolon-sentinel.service"),
            "stop its keepers and sentinels"),
)  # fmt: skip
NAMES = tuple(manager.name for manager in TABLE)


def problems(config: Config, beside: Sequence[str]) -> list[PgvipError]:
    """Each that runs here, or is enabled; `beside`: the names of those that do something else."""
    enabled = units.enabled_services() if units.has_systemd() else frozenset[str]()
    return found(_commands(), enabled, [manager for manager in TABLE if manager.name not in beside], config)


def found(
    commands: Iterable[tuple[int, Sequence[str]]], enabled: Iterable[str], managers: Sequence[Manager], config: Config
) -> list[PgvipError]:
    """The same of what was seen: processes with the words of their command lines, and enabled units."""
    running, units_on = list(commands), list(enabled)
    errors: list[PgvipError] = []
    for manager in managers:
        seen = [f"process {pid} ({' '.join(words)})" for pid, words in running if runs(manager, words)]
        seen += [f"unit {unit} is enabled" for unit in units_on if unit.startswith(manager.units)]
        if not seen:
            continue
        vips = " and ".join(str(address.ip) for address in config.vips.values())
        hint = (
            f"To come from it: {manager.stop} (the documentation has procedures/from-other-managers.md). If it has "
            f"nothing to do with {config.postgres.data_directory} or with {vips}: {OPTION} {manager.name}"
        )
        what = f"{manager.name} is at work on this host, and two managers must not decide about one database"
        errors.append(RefusedError(what, "; ".join(seen) + ".", hint))
    return errors


def runs(manager: Manager, words: Sequence[str]) -> bool:
    """Whether a command line is that of its daemon.

    >>> patroni = TABLE[0]
    >>> runs(patroni, ["/usr/bin/python3", "/usr/bin/patroni", "/etc/patroni.yml"])
    True
    >>> runs(patroni, ["python3", "-m", "patroni"]), runs(patroni, ["vi", "/etc/patroni"])
    (True, False)
    """
    first = Path(words[0]).name if words else ""
    if first in manager.programs:
        return True
    interpreted = first.startswith("python") or first in ("sh", "bash", "dash")
    return interpreted and any(Path(word).name in manager.programs for word in words[1:WORDS_MAX])


def warnings(config: Config) -> list[tuple[str, str]]:
    """What one of them has left in the cluster: (what, hint)."""
    data, configs = config.postgres.data_directory, config.postgres.config_directory
    said = []
    if pgtools.is_empty(data):
        return []
    loaded = [word.strip() for word in _preloaded(config).split(",")]
    for manager in TABLE:
        left = [str(place / name) for name in manager.traces for place in sorted({data, configs})
                if pgtools.is_there(place / name)]  # fmt: skip
        if left:
            hint = f"See that postgresql.conf no longer includes what {manager.name} wrote; then remove it."
            said.append((f"{manager.name} has managed this cluster: {', '.join(left)}", hint))
        if any(library in loaded for library in manager.libraries):
            hint = "Take it out of shared_preload_libraries before the next restart; it does no harm until then."
            said.append((f"the server loads a library of {manager.name}", hint))
    return said


def _preloaded(config: Config) -> str:
    if not pgtools.is_there(config.postgres.config_directory / "postgresql.conf"):
        return ""
    return pgtools.server_setting(config, "shared_preload_libraries")


def _commands() -> list[tuple[int, list[str]]]:
    """Every process with the first words of its command line; one that is gone meanwhile has none."""
    said = []
    for pid in pids():
        try:
            with Path(f"/proc/{pid}/cmdline").open("rb") as file:
                line = file.read(CMDLINE_BYTES_MAX)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words := [word.decode(errors="replace") for word in line.split(b"\0")[:WORDS_MAX] if word]:
            said.append((pid, words))
    return said
