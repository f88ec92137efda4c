"""The chaos test tested: short real runs, and that it sees what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.life import Life
from tests.lab.hosts import REPOSITORY
from tests.lab.lab import base_directory
from tests.lab.nodes import LabError, wait_until

KEPT = {"alpha.log", "beta.log", "alpha-postgresql.log", "beta-postgresql.log", "fence.jsonl", "timeline.txt",
        "driver.jsonl", "client-1.log", "probe-alpha.log", "probe-beta.log", "arp.log"}


def start(*words: object, directory: str) -> subprocess.Popen[str]:
    argv = [str(REPOSITORY / "scripts/chaos"), *map(str, words)]
    env = os.environ | {"PGVIP_LAB_DIR": directory}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.fixture
def disks() -> Iterator[str]:
    """Where the labs of one test have their disks; nothing may be left there."""
    with tempfile.TemporaryDirectory(dir=base_directory()) as directory:
        yield directory
        assert not list(Path(directory).iterdir())


def kept(out: Path) -> set[str]:
    return {path.name for path in (out / "lab-1/life-1").iterdir()}


def test_a_short_run_holds_and_leaves_everything(tmp_path: Path, disks: str) -> None:
    out = tmp_path / "out"
    words = ["--faults", 4, "--seed", 3, "--labs", 1, "--preset", "fast", "--out", out, "--json"]
    process = start(*words, directory=disks)
    told, said = process.communicate(timeout=280)
    assert process.returncode == 0, told + said
    document: dict[str, Any] = json.loads(told)
    assert document["faults"] + document["void"] == 4
    assert document["counts"]["ack"] > 500
    assert document["counts"]["reads"] > 50
    assert kept(out) >= KEPT
    whole = (out / "lab-1/life-1/timeline.txt").read_text()
    for who in ("driver", "FAULT", "pgvip alpha", "pgvip beta", "postgresql alpha", "ARP", "probe beta", "clients"):
        assert f" {who} " in whole, who
    assert json.loads((out / "report.json").read_text()) == document


def test_what_was_seen_is_kept_when_it_is_interrupted(tmp_path: Path, disks: str) -> None:
    out = tmp_path / "out"
    process = start("--faults", 30, "--labs", 1, "--preset", "fast", "--out", out, directory=disks)
    told = out / "lab-1/life-1/driver.jsonl"
    wait_until(lambda: told.exists() and "FAULT" in told.read_text(), 120, "the first fault", 0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=150)
    assert process.returncode == 130
    assert kept(out) >= KEPT
    assert (out / "report.json").exists()


def test_the_same_seed_is_the_same_plan(disks: str) -> None:
    plans = []
    for _ in range(2):
        process = start("--faults", 40, "--seed", 5, "--plan", directory=disks)
        plans.append(process.communicate(timeout=60)[0])
    assert plans[0] == plans[1]
    assert plans[0].count("group") > 10


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A pair at work under clients and probers, without faults."""
    made = Life(tmp_path / "life", "sync", "fast", 1)
    try:
        made.begin()
        begun_s = made.pulse.beat()
        wait_until(lambda: made.pulse.beat() > begun_s + 3, 30, "some seconds of writes")
        yield made
    finally:
        made.close()


def test_an_acknowledged_row_that_is_gone_is_found(life: Life) -> None:
    life.pair.host_as("primary").sql("delete from chaos_rows where client = 1 and number = "
                                     "(select min(number) from chaos_rows where client = 1)")
    life.end()
    assert "lost" in {finding.kind for finding in life.all_findings()}
    assert "FINDING" in (life.directory / "timeline.txt").read_text()


def test_clients_that_end_by_themselves_are_told(life: Life) -> None:
    assert life.workload.process is not None
    life.workload.process.kill()
    life.workload.process.wait(10)
    life.end()
    assert "watching failed" in {finding.kind for finding in life.all_findings()}


def test_a_lab_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    life = Life(tmp_path / "life", "sync", "fast", 1)
    life.pair.options = life.pair.options.__class__(overrides={"timing": {"preset": "no such"}})
    with pytest.raises(LabError):
        life.begin()
    life.close()
