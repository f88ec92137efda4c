"""The machine: what starts PostgreSQL behind pgvip's back, space on its disks, its clock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pgvip.checks.finding import Finding, Perf, gathered, judged, warning
from pgvip.checks.subject import ANSWER_S, Facts
from pgvip.deadlines import now_s
from pgvip.system import processes, units
from pgvip.system.sql import connect_local, connect_peer
from pgvip.system.workers import as_postgres
from pgvip.text.writing import size


def autostart(facts: Facts) -> Finding:
    """Nothing but pgvip starts the server at boot, and systemd does not restart it by itself."""
    return gathered("nothing but pgvip starts PostgreSQL", _autostart(facts))


def _autostart(facts: Facts) -> Iterator[Finding]:
    postgres = facts.config.postgres
    for start in units.auto_starts(postgres.data_directory, postgres.unit):
        yield warning(f"{start.what}: the server would start before the pair has agreed", start.hint)
    if postgres.unit and units.has_systemd():
        restart = units.restarts(postgres.unit)
        if restart:
            text = f"unit {postgres.unit} has Restart={restart}"
            yield warning(text, f"systemctl edit {postgres.unit}: [Service] Restart=no")


def disk(facts: Facts) -> Finding:
    """Space on the file systems of data, WAL, tablespaces, archive, state and saved WAL."""
    found = [one for path, names in _places(facts).items() if (one := _space(facts, path, names))]
    bad = [one for one in found if one.level]
    return gathered("; ".join(one.text for one in found), bad, [perf for one in found for perf in one.perf])


def _places(facts: Facts) -> dict[Path, list[str]]:
    """One path for each file system, with the names of what lies on it."""
    config = facts.config
    data = config.postgres.data_directory
    wanted = {"data": data, "wal": data / "pg_wal", "archive": config.archive.directory, "state": config.paths.state}
    return file_systems(wanted, data / "pg_tblspc")


@as_postgres()
def file_systems(wanted: Mapping[str, Path], spaces: Path) -> dict[Path, list[str]]:
    """One path for each file system that these and the links in `spaces` lie on, with their names."""
    paths = dict(wanted)
    if spaces.is_dir():
        paths |= {f"tablespace_{link.name}": link for link in sorted(spaces.iterdir())}
    found: dict[int, tuple[Path, list[str]]] = {}
    for name, path in paths.items():
        if path.exists():
            found.setdefault(path.stat().st_dev, (path, []))[1].append(name)
    return dict(found.values())


def _space(facts: Facts, path: Path, names: list[str]) -> Finding:
    """Free space in per cent; "used" is what the performance data show, since more of it is worse."""
    space, limits = space_at(path), facts.limits
    free = 100 * space.free_bytes / max(space.total_bytes, 1)
    least, bare = 100 - limits.disk_warning_percent, 100 - limits.disk_critical_percent
    perf = Perf(f"used_{names[0]}", round(100 - free, 1), "%", least, bare)
    text = f"{'+'.join(names)}: {free:.0f} % free ({size(space.free_bytes)})"
    return judged(text, perf, f"make space below {os.path.realpath(path)}")


@as_postgres()
def space_at(path: Path) -> processes.DiskSpace:
    """The space there. OSError."""
    return processes.disk_space(path)


def clock(facts: Facts) -> Finding:
    """The two hosts' clocks agree: for logs, schedules and people, not for the protocol."""
    mine, theirs = _clock(facts, here=True), _clock(facts, here=False)
    difference_s = abs(mine - theirs)
    perf = Perf("clock_difference", difference_s, "s", facts.limits.clock_warning_s, facts.limits.clock_critical_s)
    hint = "see chronyc tracking or timedatectl on both hosts"
    return judged(f"the clocks differ by {difference_s:.3f} s", perf, hint)


def _clock(facts: Facts, *, here: bool) -> float:
    """A server's wall clock less this process's boot clock, at the middle of the question."""
    config = facts.config
    session = connect_local(config) if here else connect_peer(config, config.peer.address)
    with session:
        session.connect(ANSWER_S)
        began_s = now_s()
        told_s = float(session.query("check_clock", timeout_s=ANSWER_S)[0][0])
        return told_s - (began_s + now_s()) / 2
