"""What faults leave in PostgreSQL's files is taken out again, and nothing else; limits end with their fault."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path
from typing import cast

import pytest

from tests.chaos.faults_limits import CGROUPS, confined, descriptors
from tests.chaos.ground import BAD_SETTINGS, Ground, VoidError, clean_settings
from tests.chaos.schedule import Heal, Step
from tests.lab.hosts import DATA_DIRECTORY, Host

STEP = Step(1, "daemon-descriptors", "any", "alpha", 2.0, Heal.SOON, 1.0, 0.0, 0)


class FakeHost:
    """A host's files, without the host."""

    name = "alpha"

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, inside: str) -> Path:
        return self.root / Path(inside).relative_to(DATA_DIRECTORY)

    def postmaster(self) -> int:
        return 0


def test_only_what_faults_have_written_is_taken_out(tmp_path: Path) -> None:
    kept = "# written by hand\nport = 5432\n#archive_command = 'x'\ninclude = 'pgvip.conf'\n"
    bad = "".join(f"{name} = '{value}'\n" for name, value in BAD_SETTINGS.items())
    (tmp_path / "postgresql.conf").write_text(kept + bad)
    (tmp_path / "postgresql.auto.conf").write_text(bad + "work_mem = '8MB'\n")
    clean_settings(cast("Host", FakeHost(tmp_path)))
    assert (tmp_path / "postgresql.conf").read_text() == kept
    assert (tmp_path / "postgresql.auto.conf").read_text() == "work_mem = '8MB'\n"


class FakeGround:
    """The daemon is some process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def daemons(self, _host: object) -> list[int]:
        return [self.pid]


def test_a_limit_of_descriptors_is_lifted() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            before = resource.prlimit(child.pid, resource.RLIMIT_NOFILE)
            lift = descriptors(cast("Ground", FakeGround(child.pid)), cast("Host", FakeHost(Path())), STEP)
            assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE)[0] < 20
            lift()
            assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == before
        finally:
            child.kill()


@pytest.mark.skipif(os.geteuid() != 0 or not (CGROUPS / "pids/cgroup.procs").exists(), reason="control groups, root")
def test_a_control_group_is_left_and_removed() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            released = confined("pids", "test", "pids.max", "1", [child.pid])
            assert "pgvip-chaos" in Path(f"/proc/{child.pid}/cgroup").read_text()
            released()
            assert "pgvip-chaos" not in Path(f"/proc/{child.pid}/cgroup").read_text()
            assert not list((CGROUPS / "pids").glob(f"pgvip-chaos-{os.getpid()}-*"))
        finally:
            child.kill()


def test_where_there_is_no_such_group_the_fault_is_void() -> None:
    with pytest.raises(VoidError):
        confined("no-such", "test", "limit", "1", [os.getpid()])
