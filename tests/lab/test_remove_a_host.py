"""Back to one host and to a pair again, by the page: the other host leaves, is removed, and a new one comes."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.lab.hosts import PERSISTENT, Host
from tests.lab.nodes import wait_until
from tests.lab.pages import commands
from tests.lab.scene import Scene
from tests.lab.store import PairStore

PAGE = "remove-a-host"
SLOTS = "select coalesce(string_agg(slot_name, ' ' order by slot_name), '') from pg_replication_slots"


def follow(scene: Scene, wanted: str, host: Host) -> None:
    """Run the page's commands for `wanted` on a host; systemd is not in the lab."""
    other = scene.pair.peer_of(host).name
    for where, words in commands(PAGE):
        if where != wanted or words[1] in ("add-peer", "check"):
            continue
        if words[:3] == ["systemctl", "stop", "pgvip"]:
            host.stop_service("pgvip")
        elif words[0] == "systemctl":
            scene.pair.stop_postgres(host)
        else:
            assert words[0] == "pgvip"
            scene.pair.pgvip(host, *[other if word == "db2" else word for word in words[1:]])


def not_well(scene: Scene, host: Host) -> set[str]:
    """The checks that find something here."""
    said = scene.pair.pgvip(host, "check", "--json", check=False).stdout
    return {one["name"] for one in json.loads(said)["checks"] if one["level"] != "OK"}


def warnings(scene: Scene, host: Host) -> list[str]:
    return [one["name"] for one in scene.pair.status(host)["warnings"]]


@pytest.mark.nightly
def test_back_to_one_host_and_to_a_pair_again(scene: Scene, pairs: PairStore) -> None:
    pair, stays, goes = scene.pair, scene.primary, scene.standby
    stays.sql("select pg_create_physical_replication_slot('of_others', true)")
    before = not_well(scene, stays)
    assert "whole" in pair.pgvip(stays, "remove-peer", "--yes", goes.name, check=False).stderr
    scene.strike()
    follow(scene, "db2", goes)
    scene.fence.cut_off.update(pair.hosts)  # nobody is to fence or to be switched on from here on
    goes.power_off()
    scene.wait_roles(primary="primary_standby")
    wait_until(lambda: "peer-silent" in warnings(scene, stays), 30, "it is missed")
    asked = ("remove-peer", "--dry-run")
    wait_until(lambda: pair.pgvip(stays, *asked, check=False).returncode == 0, 30, "its database is silent, too")
    follow(scene, "db1", stays)
    assert scene.wait_writes() < 2
    assert not_well(scene, stays) <= before
    assert warnings(scene, stays) == []
    assert "peer removed since" in pair.pgvip(stays, "status").stdout
    assert "removed already" in pair.pgvip(stays, "remove-peer", "--yes", goes.name).stdout
    assert "nobody takes over" in pair.pgvip(stays, "explain", "--short", check=False).stdout
    wait_until(lambda: stays.sql(SLOTS) == "of_others", 30, "its slot is dropped, and no other")
    stays.power_off()
    stays.boot()
    scene.wait_roles(primary="primary_standby", deadline_s=60)
    scene.wait_writes()
    wait_until(lambda: stays.sql(SLOTS) == "of_others", 30, "nor is it made again")
    assert warnings(scene, stays) == []
    goes.boot()
    wait_until(lambda: warnings(scene, stays) == ["removed-peer"], 60, "the removed host is named")
    scene.stays(10, primary="primary_standby", standby="none")
    assert not goes.writable()
    assert not goes.addresses() & set(scene.pair.status(stays)["addresses"].values())
    bring_a_new_one(scene, stays, goes)
    stays.sql("select pg_drop_replication_slot('of_others')")
    scene.finish(swapped=False)
    pairs.discard()


def bring_a_new_one(scene: Scene, stays: Host, goes: Host) -> None:
    """A new machine under the old name, by the page of that."""
    pair = scene.pair
    goes.power_off()
    wait_until(lambda: stays.sql(SLOTS) == "of_others", 60, "the slot that it has made is dropped")
    for part in PERSISTENT:
        shutil.rmtree(goes.directory / part)
        (goes.directory / part).mkdir()
    goes.boot(start_daemon=False)
    for where, words in commands(PAGE):
        if where == "db1" and words[1] == "add-peer":
            pair.pgvip(stays, *words[1:])
    assert "nothing is to be done" in pair.pgvip(stays, "add-peer").stdout
    scene.fence.soothe()
    pair.pgvip(stays, "bundle", "/etc/pgvip/new.bundle", "--yes", goes.name)
    shutil.copy2(stays.directory / "etc/new.bundle", goes.directory / "etc/new.bundle")
    pair.pgvip(goes, "clone", "/etc/pgvip/new.bundle")
    pair.start_services(goes)
    pair.wait_healthy()


def test_the_page_is_read() -> None:
    assert [" ".join(words) for where, words in commands(PAGE) if where == "db1"] == [
        "pgvip remove-peer --dry-run", "pgvip remove-peer --yes db2", "pgvip status --exit-code", "pgvip check",
        "pgvip add-peer",
    ]  # fmt: skip
