"""Durable state that is lost or rolled back on one host."""

from __future__ import annotations

import shutil
from functools import partial

import pytest

from pgvip.actions.prepare import UNUSABLE
from pgvip.rejoin.copy import SWAP
from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.pair import copy_tree
from tests.lab.scene import Scene


def term(host: Host) -> str:
    return (host.directory / "state/record.json").read_text()


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_record_lost_on_one_host(scene: Scene, role: str) -> None:
    """It confirms nobody and adopts the record of the peer that serves."""
    host = scene.primary if role == "primary" else scene.standby
    scene.fence.failures[host.name].stay_off = True
    scene.strike()
    host.power_off()
    scene.wait_writes()
    (host.directory / "state/record.json").unlink()
    scene.fence.soothe()
    host.boot()
    scene.finish(swapped=role == "primary", deadline_s=90)


@pytest.mark.parametrize("lost", ["alpha", "beta"])
def test_state_directory_lost_on_the_standby(scene: Scene, lost: str) -> None:
    """Nothing is known there any more, not even the pair: an operator enrols the host again, be it the first."""
    host = scene.pair.hosts[lost]
    primary = scene.pair.peer_of(host)
    if scene.standby is not host:
        scene.pair.pgvip(scene.primary, "switchover")
        scene.pair.wait_roles(30, **{primary.name: "primary", host.name: "standby"})
        scene.pair.wait_healthy()
    scene.fence.failures[host.name].stay_off = True
    scene.strike()
    host.power_off()
    scene.pair.wait_roles(30, **{primary.name: "primary_standby"})
    state = host.directory / "state"
    for entry in state.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    scene.fence.soothe()
    host.boot()
    wait_until(lambda: "belongs to no pair" in host.log(), 20, "it says why it does not run")
    host.stop_service("pgvip")
    name = f"{host.name}-again.bundle"
    refused = scene.pair.pgvip(primary, "init", "--bundle", f"/etc/pgvip/{name}", check=False)
    assert "pgvip bundle" in refused.stderr, refused
    scene.pair.pgvip(primary, "bundle", f"/etc/pgvip/{name}", "--yes", host.name)
    shutil.copy2(primary.directory / "etc" / name, host.directory / "etc" / name)
    scene.pair.pgvip(host, "clone", "--replace", f"/etc/pgvip/{name}")
    scene.pair.start_services(host)
    scene.finish(swapped=None, deadline_s=90)
    assert primary.writable()
    for directory in (primary.directory, host.directory):
        (directory / "etc" / name).unlink()


def test_power_lost_between_the_two_renames_of_a_clone(scene: Scene) -> None:
    """Then there is no data directory; the next start finishes what was begun, and nothing is deleted."""
    host = scene.standby
    scene.fence.failures[host.name].stay_off = True
    scene.strike()
    host.power_off()
    scene.wait_writes()
    data = host.directory / "postgresql/data"
    for name in ("data.pgvip-new", "data.pgvip-replaced"):
        shutil.rmtree(data.with_name(name), ignore_errors=True)
    copy_tree(data, data.with_name("data.pgvip-new"))
    (data / "old").touch()
    data.rename(data.with_name("data.pgvip-replaced"))
    (host.directory / "state" / "work" / UNUSABLE).write_text(SWAP)
    scene.fence.soothe()
    host.boot()
    scene.finish(swapped=False, deadline_s=90)
    assert (data.with_name("data.pgvip-replaced") / "old").exists()
    assert "finished the clone that was interrupted" in host.log()


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_record_rolled_back_on_one_host(scene: Scene, role: str) -> None:
    """An old record names a former primary; the peer's higher term wins.

    On the primary that it had served was forgotten with it: nobody may start read-write until an operator says so.
    """
    old = {host.name: term(host) for host in scene.pair.hosts.values()}
    scene.pair.pgvip(scene.primary, "switchover")
    scene.wait_roles(standby="primary", primary="standby", deadline_s=40)
    scene.pair.wait_healthy()
    host = scene.standby if role == "primary" else scene.primary
    scene.strike()
    for each in scene.pair.hosts.values():
        each.power_off()
    assert term(host) != old[host.name]
    (host.directory / "state/record.json").write_text(old[host.name])
    for each in scene.pair.hosts.values():
        each.boot()
    if role == "primary":
        wait_until(partial(scene.says, host, "promote"), 60, "status names the hint", 1)
        scene.pair.pgvip(host, "promote", "--force", "--yes", "lab")
    scene.finish(swapped=True, deadline_s=90)
