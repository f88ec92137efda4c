"""The session that chores share is one to the server that runs now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pgvip.archive import report
from pgvip.deadlines import wait_until
from pgvip.errors import ProbeError
from pgvip.system.kept_local import KeptLocal
from tests.unit import configs
from tests.unit.system.test_processes import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.end()


def begin(cluster: Cluster) -> None:
    pid = cluster.start("sleep 61")
    cluster.write_pid_file(pid)
    wait_until(lambda: pid in cluster.pids(), 5)


def test_it_is_another_one_for_another_server_and_another_configuration(tmp_path: Path, cluster: Cluster) -> None:
    config, kept = configs.make(tmp_path), KeptLocal()
    begin(cluster)
    with kept.lent(config) as first:
        pass
    with kept.lent(config) as second:
        assert second is first
    cluster.end()
    with kept.lent(config) as without:
        assert without is not first, "a backend may have outlived its postmaster"
    begin(cluster)
    with kept.lent(config) as third:
        assert third is not without
    with kept.lent(replace(config, postgres=replace(config.postgres, port=5433))) as fourth:
        assert fourth is not third
        assert fourth.parameters["port"] == 5433
    kept.close()


def test_a_server_that_cannot_be_seen_is_a_database_that_does_not_answer(tmp_path: Path) -> None:
    """A chore's thread expects that, and ends by anything else, for ever."""
    config = configs.make(tmp_path)
    config.postgres.data_directory.mkdir(exist_ok=True)
    (config.postgres.data_directory / "postmaster.pid").mkdir()  # which no read gets through
    with pytest.raises(ProbeError, match="which PostgreSQL server runs"), KeptLocal().lent(config):
        pass
    assert report.archiver(config, KeptLocal().lent) is None


def test_nobody_waits_for_ever_for_a_chore_that_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, kept = configs.make(tmp_path), KeptLocal()
    monkeypatch.setattr("pgvip.system.kept_local.WAIT_S", 0.05)
    with kept.lent(config), pytest.raises(ProbeError, match="in use"), kept.lent(config):
        pass
    with kept.lent(config):
        pass
