"""The postmaster by what the kernel says of processes: real ones, copies of the shell called `postgres`."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from pgvip.deadlines import wait_until
from pgvip.system import procfs
from pgvip.system.standing import standing_postmaster
from tests.unit.system.test_processes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORKS = "(while :; do sleep 0.05; done) & wait"
"""A child that has its parent's program and arguments, as a server's child has them until it sets its title."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.end()


def test_a_child_that_a_dead_postmaster_left_is_none_itself(cluster: Cluster) -> None:
    data = str(cluster.data)
    pid = cluster.start(FORKS)
    wait_until(lambda: len(cluster.pids()) >= 2, 5, what="a forked child")
    found = standing_postmaster(data, os.getuid())
    assert found is not None
    assert found.pid == pid
    os.kill(pid, signal.SIGKILL)
    cluster.started[0].wait(5)
    assert any(procfs.is_server(left) for left in cluster.pids()), "the child is there still"
    assert standing_postmaster(data, os.getuid()) is None
