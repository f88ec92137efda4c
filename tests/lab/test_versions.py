"""The main job on PostgreSQL 16 and 18; everything else in this folder runs on the distribution's version.

One life of a pair for each version, so that every program of PostgreSQL that pgvip calls is called: initdb,
pg_basebackup, pg_ctl, pg_controldata, pg_waldump, pg_rewind.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.postgres import PACKAGED
from tests.lab.scene import Scene

EVERY_VERSION = [pytest.param(version, marks=pytest.mark.pair(version=version)) for version in PACKAGED]
FLUSHED = """
select pg_last_wal_receive_lsn() where pg_is_in_recovery()
union all select pg_current_wal_flush_lsn() where not pg_is_in_recovery()"""


def diverge(scene: Scene, primary: Host, standby: Host) -> None:
    """Cut the stream alone, until the primary has WAL that its standby will never get."""
    scene.switch.cut(primary.name, standby.name, port=5432)
    wait_until(lambda: primary.sql(FLUSHED) != standby.sql(FLUSHED), 10, "WAL that the standby lacks", 0.01)


@pytest.mark.parametrize("version", EVERY_VERSION)
def test_a_life_of_a_pair(scene: Scene, version: str) -> None:
    pair, first, second = scene.pair, scene.primary, scene.standby
    assert first.sql("show server_version").startswith(version)
    os.kill(first.postmaster(), signal.SIGKILL)
    scene.wait_roles(standby="primary", primary="standby")
    assert scene.wait_writes() < 8
    assert scene.fenced(first) == 0
    pair.wait_healthy()

    diverge(scene, second, first)
    second.power_off()
    scene.switch.heal()
    scene.wait_writes()
    assert scene.fenced(second) >= 1
    pair.wait_healthy()
    assert "rejoined: rewound" in second.log()

    pair.pgvip(first, "switchover")
    scene.wait_roles(standby="primary", primary="standby")
    pair.wait_healthy()
    pair.pgvip(first, "rejoin", "--clone")
    wait_until(lambda: "rejoined: cloned" in first.log(), 30, "a new copy")
    scene.finish(swapped=True)
