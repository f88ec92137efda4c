"""`scripts/demo` as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lab.demo import FAULTS, medians
from tests.lab.hosts import REPOSITORY
from tests.lab.lab import base_directory

FIELDS = {"fault", "write_outage_s", "read_outage_s", "acknowledged", "acknowledged_lost", "healthy_after_s",
          "roles_after", "served_by_itself"}


def demo(*words: str, directory: str = "") -> subprocess.CompletedProcess[str]:
    argv = [str(REPOSITORY / "scripts/demo"), *words]
    env = os.environ | ({"PGVIP_LAB_DIR": directory} if directory else {})
    return subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False, env=env)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_it_prints_one_json_object_and_removes_everything(mode: str) -> None:
    words = ["--mode", mode, "--preset", "fast", "--json", "--only", "postmaster-killed", "--only", "switchover"]
    with tempfile.TemporaryDirectory(dir=base_directory()) as directory:
        done = demo(*words, directory=directory)
        assert not list(Path(directory).iterdir())
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["mode"], told["preset"]) == (mode, "fast")
    assert [step["fault"] for step in told["steps"]] == ["postmaster-killed", "switchover"]
    for step in told["steps"]:
        assert set(step) == FIELDS
        assert sorted(step["roles_after"].values()) == ["primary", "standby"]
        assert 0 < step["write_outage_s"] < 5
        assert step["acknowledged"] > 50
        assert step["acknowledged_lost"] == 0


def test_the_faults_are_those_that_were_promised() -> None:
    assert [fault.name for fault in FAULTS] == [
        "postmaster-killed", "primary-power-off", "standby-power-off", "primary-cut-off", "primary-hung", "switchover",
    ]
    assert medians([]) == []


def test_a_wrong_option_is_told() -> None:
    done = demo("--mode", "none")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "invalid choice" in done.stderr
