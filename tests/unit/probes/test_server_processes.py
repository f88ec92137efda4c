"""Real processes; pg_controldata is a script that prints what PostgreSQL 15's prints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pgvip.core.observations import Processes
from pgvip.core.values import Lsn, WalPoint
from pgvip.deadlines import wait_until
from pgvip.errors import ProbeError
from pgvip.probes import server_processes as probe_module
from pgvip.probes.server_processes import ProcessesProbe
from pgvip.system.processes import ProcessRef
from tests.unit import configs
from tests.unit.system.test_processes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config

CONTROL = """\
pg_control version number:            1300
Database system identifier:           7300000000000000001
Database cluster state:               {state}
pg_control last modified:             Sat 01 Jun 2024 10:00:00 AM UTC
Latest checkpoint location:           0/5000110
Latest checkpoint's REDO location:    0/50000D8
Latest checkpoint's TimeLineID:       3
Minimum recovery ending location:     0/0
Min recovery ending loc's timeline:   0
wal_log_hints setting:                on
max_connections setting:              100
Bytes per WAL segment:                16777216
WAL block size:                       8192
Database block size:                  8192
Data page checksum version:           0
"""


class Files(Cluster):
    """A cluster with a control file, and how often that was read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (self.data / "global").mkdir()
        (root / "bin").mkdir()
        self.calls = root / "calls"
        program = root / "bin" / "pg_controldata"
        program.write_text(f'#!/bin/sh\necho x >> {self.calls}\ncat "$1/global/pg_control"\n')
        program.chmod(0o755)

    def control(self, state: str) -> None:
        """Write the control file as PostgreSQL does: in place, with a new time stamp."""
        path = self.data / "global" / "pg_control"
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text(CONTROL.format(state=state))
        os.utime(path, ns=(before + 1_000_000, before + 1_000_000))

    def reads(self) -> int:
        return self.calls.read_text().count("x") if self.calls.exists() else 0


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    yield files
    files.end()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return configs.make(tmp_path)


def test_no_data_directory_and_an_empty_one_are_not_installed(config: Config, tmp_path: Path) -> None:
    assert ProcessesProbe().probe(config) == Processes()
    (tmp_path / "data").mkdir()
    assert ProcessesProbe().probe(config) == Processes()


def test_a_stopped_cluster_is_read_from_its_files(config: Config, files: Files) -> None:
    files.control("shut down")
    seen = ProcessesProbe().probe(config)
    assert seen == Processes(
        installed=True,
        system_id="7300000000000000001",
        control_state="shut down",
        checkpoint=WalPoint(3, Lsn.parse("0/5000110")),
    )
    assert seen.clean
    (files.data / "standby.signal").touch()
    assert ProcessesProbe().probe(config).standby_signal


def test_a_live_postmaster_and_its_backends_are_counted(config: Config, files: Files) -> None:
    files.control("in production")
    pid = files.start("sleep 61 & wait")
    files.write_pid_file(pid)
    wait_until(lambda: len(files.pids()) == 2, 5)
    seen = ProcessesProbe().probe(config)
    assert seen.postmaster.startswith(f"{pid}:")
    assert seen.left == 2


def test_whoever_waits_for_its_end_is_told_which_process_it_is(config: Config, files: Files) -> None:
    told: list[ProcessRef | None] = []
    probe = ProcessesProbe(told.append)
    files.control("in production")
    pid = files.start("sleep 61")
    files.write_pid_file(pid)
    probe.probe(config)
    files.end()
    probe.probe(config)
    assert told[0] is not None
    assert (told[0].pid, told[1:]) == (pid, [None])


def test_orphans_are_left_without_a_postmaster(config: Config, files: Files) -> None:
    files.control("in production")
    files.write_pid_file(999_999_999)
    orphan = files.start("sleep 61 & wait")
    wait_until(lambda: orphan in files.pids(), 5)
    seen = ProcessesProbe().probe(config)
    assert (seen.postmaster, seen.left > 0) == ("", True)


def test_an_unchanged_control_file_is_read_once_and_a_changed_one_at_once(config: Config, files: Files) -> None:
    probe = ProcessesProbe()
    files.control("in production")
    for _ in range(3):
        assert probe.probe(config).control_state == "in production"
    assert files.reads() == 1
    files.control("shut down")
    assert probe.probe(config).control_state == "shut down"
    assert files.reads() == 2


def test_below_a_live_postmaster_it_is_not_read_all_the_time(
    config: Config, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = files.start("sleep 61")
    files.write_pid_file(pid)
    wait_until(lambda: pid in files.pids(), 5)
    probe = ProcessesProbe()
    files.control("in archive recovery")
    assert probe.probe(config).control_state == "in archive recovery"
    files.control("in production")
    (files.data / "standby.signal").touch()
    seen = probe.probe(config)
    assert (seen.control_state, seen.standby_signal) == ("in archive recovery", False), "within two seconds of the last"
    monkeypatch.setattr(probe_module, "REREAD_S", 0.0)
    seen = probe.probe(config)
    assert (seen.control_state, seen.standby_signal) == ("in production", True)
    assert files.reads() == 2
    files.control("shut down")
    (files.data / "standby.signal").unlink()
    monkeypatch.setattr(probe_module, "REREAD_S", 1000.0)
    files.end()
    seen = probe.probe(config)
    assert (seen.control_state, seen.standby_signal) == ("shut down", False), "at once when the postmaster is gone"


def test_the_files_of_another_postmaster_are_looked_at_at_once(config: Config, files: Files) -> None:
    probe = ProcessesProbe()
    for state in ("in archive recovery", "in production"):
        pid = files.start("sleep 61")
        files.write_pid_file(pid)
        wait_until(lambda pid=pid: pid in files.pids(), 5)  # type: ignore[misc]  # a bound default
        files.control(state)
        assert probe.probe(config).control_state == state
        files.end()


def test_a_control_file_that_makes_no_sense_is_said_to_be_so(config: Config, files: Files) -> None:
    files.control("in production")
    (files.data / "global" / "pg_control").write_text("damaged")
    seen = ProcessesProbe().probe(config)
    assert seen == Processes(installed=True, control_state="unreadable")
    assert not seen.clean


def test_what_cannot_be_read_is_an_error(config: Config, files: Files) -> None:
    files.control("in production")
    (files.data / "postmaster.pid").mkdir()
    with pytest.raises(ProbeError, match=r"could not read postmaster\.pid"):
        ProcessesProbe().probe(config)
