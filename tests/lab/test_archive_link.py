"""The peer's archive over the pair's own link: nothing is mounted, and the standby finds WAL there all the same."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene
from tests.lab.test_versions import diverge

LINK = {"archive": {"peer_archive": "link"}}


def restored(host: Host, name: str) -> bool:
    log = host.path("/var/lib/postgresql/data.log").read_text(errors="replace")
    return f'restored log file "{name}" from archive' in log


def push_out(host: Host) -> str:
    """Make WAL until the server has the present segment no longer; its name."""
    name = host.sql("select pg_walfile_name(pg_current_wal_lsn())").strip()
    for number in range(12):
        # Of the host that is off: the daemon may make it again, from then on.
        host.sql("select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where active", check=False)
        host.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots", check=False)
        host.sql(f"create table if not exists filler (n int); insert into filler values ({number})")
        host.sql("select pg_switch_wal()")
        host.sql("checkpoint", timeout_s=30)
        if not host.path(f"{DATA_DIRECTORY}/pg_wal/{name}").exists():
            return name
    raise AssertionError(f"{name} is still there")


def diverged_from_an_old_checkpoint(scene: Scene) -> None:
    """The primary is off; the last checkpoint that both hosts have is in a segment that only the standby's archive has.

    pg_rewind reads from there on; neither recovery nor what is saved of the host's own WAL needs that segment.
    """
    primary, standby = scene.primary, scene.standby
    primary.sql("checkpoint", timeout_s=30)
    name = primary.sql("select pg_walfile_name(redo_lsn) from pg_control_checkpoint()").strip()
    primary.sql("select pg_switch_wal(); insert into filler values (0)")
    scene.pair.pgvip(primary, "pause", "no other change meanwhile")
    diverge(scene, primary, standby)
    scene.strike()
    primary.sql("set synchronous_commit = local; insert into filler values (1); select pg_switch_wal()")
    primary.sql("checkpoint", timeout_s=30)
    archives = [host.directory / "state/archive" for host in (primary, standby)]
    wait_until(lambda: any(archives[0].glob(f"{name}*")), 20, f"{name} in the archive")
    scene.fence.failures[primary.name].stay_off = True
    primary.power_off()
    for path in archives[0].glob(f"{name}*"):
        shutil.move(path, archives[1] / path.name)
    (primary.directory / "postgresql/data/pg_wal" / name).unlink(missing_ok=True)
    scene.switch.heal()


@pytest.mark.pair(overrides=LINK)
def test_standby_behind_its_slot_and_a_host_that_returns_read_the_archive_over_the_link(scene: Scene) -> None:
    pair, primary, standby = scene.pair, scene.primary, scene.standby
    for host in (primary, standby):
        done = json.loads(pair.pgvip(host, "check", "--json", "--only", "archive-peer", check=False).stdout)
        assert "readable over the link" in json.dumps(done), done
        assert "peer-archive" not in host.run(["cat", "/proc/mounts"]).stdout
        assert not host.path("/var/lib/pgvip/peer-archive").exists()
    wait_until(lambda: scene.says(standby, "readable over the link"), 20, "the next look at the archive", every_s=0.5)

    pair.pgvip(primary, "fence", "off", "--yes", standby.name)
    scene.wait_writes()
    name = push_out(primary)
    pair.pgvip(primary, "fence", "on")
    pair.wait_healthy(60)
    assert restored(standby, name)

    diverged_from_an_old_checkpoint(scene)
    pair.pgvip(standby, "resume")
    scene.wait_writes(30)
    scene.fence.soothe()
    primary.boot()
    scene.finish(swapped=True)
    assert "rejoined: rewound" in primary.log()
    # The history of the new timeline is in the archive of the host that took over.
    assert restored(primary, scene.standby.sql("select pg_walfile_name(pg_current_wal_lsn())")[:8] + ".history")
    found = json.loads(pair.pgvip(primary, "archive", "status", "--json").stdout)
    assert found["other"] is not None, found["other_why"]
    assert found["other"]["files"] > 0
    wait_until(partial(said_nothing_of_it, scene), 10, "no warning of the archive")


def said_nothing_of_it(scene: Scene) -> bool:
    return not any(
        warning["name"] == "archive-unread"
        for host in scene.pair.hosts.values()
        for warning in scene.pair.status(host)["warnings"]
    )
