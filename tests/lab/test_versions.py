"""The main job on PostgreSQL 16 and 18; everything else in this folder runs on the distribution's version.

One life of a pair for each version, so that every program of PostgreSQL that pgvip calls is called: initdb,
pg_basebackup, pg_ctl, pg_controldata, pg_waldump, pg_rewind.
"""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.postgres import bin_directory
from tests.lab.scene import Scene

ARCHIVE = "/var/lib/pgvip/archive"
EVERY_VERSION = [pytest.param(version, marks=pytest.mark.pair(version=version)) for version in ("16", "18")]
FLUSHED = """
select pg_last_wal_receive_lsn() where pg_is_in_recovery()
union all select pg_current_wal_flush_lsn() where not pg_is_in_recovery()"""


def diverge(scene: Scene, primary: Host, standby: Host) -> None:
    """Cut the stream alone, until the primary has WAL that its standby will never get."""
    scene.switch.cut(primary.name, standby.name, port=5432)
    wait_until(lambda: primary.sql(FLUSHED) != standby.sql(FLUSHED), 10, "WAL that the standby lacks", 0.01)


def reads(host: Host, query: str, answer: str) -> bool:
    return host.sql(query, check=False) == answer


@pytest.mark.pair(version="18")
def test_a_logical_failover_slot_is_on_the_standby_when_it_takes_over(scene: Scene) -> None:
    """From 17 on; the standby's worker for it connects by primary_conninfo, to the database named there."""
    pair, first, second = scene.pair, scene.primary, scene.standby
    for host in (second, first):
        for setting in ("wal_level = logical", "sync_replication_slots = on", "hot_standby_feedback = on"):
            host.sql(f"alter system set {setting}")
        pg_ctl = bin_directory(pair.options.version) / "pg_ctl"
        host.run([pg_ctl, "-D", DATA_DIRECTORY, "-m", "fast", "stop"], user="postgres", timeout_s=60)
        wait_until(partial(reads, host, "show wal_level", "logical"), 60, "restarted")
    pair.wait_healthy()
    first.sql("select pg_create_logical_replication_slot('app', 'pgoutput', false, false, true)")
    assert first.sql("select failover from pg_replication_slots where slot_name = 'app'") == "t"
    synced = "select 1 from pg_replication_slots where slot_name = 'app' and synced and not temporary"

    def followed(primary: Host, standby: Host) -> bool:
        """A subscriber goes on, as it does; the copy of a slot that stands still is not kept."""
        primary.sql("select pg_replication_slot_advance('app', pg_current_wal_lsn())")
        return standby.sql(synced) == "1"

    wait_until(lambda: followed(first, second), 60, "the standby has the slot", every_s=0.5)
    waits_for = "show synchronized_standby_slots"
    assert (first.sql(waits_for), second.sql(waits_for)) == (f"pgvip_{second.name}", "")
    os.kill(first.postmaster(), signal.SIGKILL)
    scene.wait_roles(standby="primary_standby")
    wait_until(lambda: second.writable() and second.sql(waits_for) == "", 10, "alone it waits for nobody")
    scene.finish(swapped=True)
    assert (first.sql(waits_for), second.sql(waits_for)) == ("", f"pgvip_{first.name}")
    wait_until(lambda: followed(second, first), 60, "the returned host has it again", every_s=0.5)
    second.sql("select pg_drop_replication_slot('app')")


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

    last = first.sql("select pg_walfile_name(pg_current_wal_lsn())")
    pair.pgvip(first, "switchover")
    scene.wait_roles(standby="primary", primary="standby")
    pair.wait_healthy()
    assert list(first.path(ARCHIVE).glob(f"{last}*")), "the stop did not wait for it, and the rejoin archived it"
    pair.pgvip(first, "rejoin", "--clone")
    wait_until(lambda: "rejoined: cloned" in first.log(), 30, "a new copy")
    scene.finish(swapped=True)
