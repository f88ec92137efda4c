"""What a pair is changes: its VIPs, the hosts' own addresses, one host's machine; by the commands of the pages."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.lab.clients import CLIENT_USER
from tests.lab.hosts import PERSISTENT, Host
from tests.lab.network import PREFIX, PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import wait_until
from tests.lab.pages import commands
from tests.lab.pair import Sections
from tests.lab.scene import Scene

NEW_VIP = f"{PREFIX}23"
PEERS = "select host(client_addr) from pg_stat_replication where application_name like 'pgvip%'"


def follow(scene: Scene, page: str, at: Host) -> str:
    """Run the commands of a page on one host; what they say."""
    said = ""
    for _, words in commands(page):
        assert words[0] == "pgvip"
        said += scene.pair.pgvip(at, *words[1:]).stdout
    return said


def configure(scene: Scene, **sections: Mapping[str, object]) -> None:
    """Write a changed file on both hosts, nothing more."""
    merged: Sections = {**scene.pair.options.overrides, **sections}
    scene.pair.write_config(replace(scene.pair.options, overrides=merged))


def vips(primary: str, overlap_s: float) -> dict[str, object]:
    return {"primary": primary, "standby": STANDBY_VIP, "overlap_s": overlap_s}


def writes(scene: Scene, vip: str) -> bool:
    """Whether a client gets to a server that takes writes by this address."""
    words = f"host={vip} user={CLIENT_USER} dbname=postgres connect_timeout=2"
    argv = ["psql", "-XAtq", "-d", words, "-c", "select not pg_is_in_recovery()"]
    return scene.lab.client.run(argv, check=False).stdout.strip() == "t"


def test_a_vip_changes_and_its_former_address_goes_with_it(scene: Scene) -> None:
    pair, first, second, usual = scene.pair, scene.primary, scene.standby, scene.pair.options
    configure(scene, addresses=vips(NEW_VIP, 600))
    scene.strike()
    said = follow(scene, "change-a-vip", second)
    assert "nothing was changed (--dry-run)" in said
    assert f'addresses.primary: "{PRIMARY_VIP}" -> "{NEW_VIP}"' in said
    wait_until(lambda: first.addresses() >= {PRIMARY_VIP, NEW_VIP}, 10, "both are here")
    assert writes(scene, NEW_VIP)
    assert writes(scene, PRIMARY_VIP)
    assert scene.wait_writes() < 1, "nobody who uses the old one has noticed"
    first.stop_service("pgvip", with_signal=signal.SIGKILL)
    first.start_service(first.services[0])
    wait_until(lambda: pair.pgvip(first, "status", check=False).returncode != 4, 20, "its daemon answers")
    pair.wait_healthy()
    assert first.addresses() >= {PRIMARY_VIP, NEW_VIP}
    pair.pgvip(first, "switchover")
    scene.wait_roles(primary="standby", standby="primary", deadline_s=60)
    wait_until(lambda: second.addresses() >= {PRIMARY_VIP, NEW_VIP}, 10, "both have moved")
    assert not first.addresses() & {PRIMARY_VIP, NEW_VIP}
    scene.wait_writes()
    assert writes(scene, NEW_VIP)
    scene.stop()
    configure(scene, addresses=vips(NEW_VIP, 0))
    pair.pgvip(second, "config", "apply")
    wait_until(lambda: PRIMARY_VIP not in second.addresses(), 15, "the old one is dropped")
    assert writes(scene, NEW_VIP)
    configure(scene, addresses=vips(PRIMARY_VIP, 0))
    pair.pgvip(first, "config", "apply")
    wait_until(lambda: NEW_VIP not in second.addresses(), 15, "and back at once")
    pair.write_config(usual)
    pair.pgvip(first, "config", "apply")
    pair.wait_healthy()
    assert NEW_VIP not in second.addresses() | first.addresses()


@pytest.mark.nightly
def test_a_host_s_own_address_changes_and_nothing_is_copied(scene: Scene) -> None:
    """First the standby's, then that of the host that serves."""
    pair = scene.pair
    copies = rebuilt(scene)
    for host, number in ((scene.standby, 32), (scene.primary, 31)):
        move(scene, host, f"{PREFIX}{number}")
    pair.pgvip(scene.primary, "switchover")
    scene.wait_roles(primary="standby", standby="primary", deadline_s=60)
    scene.finish(swapped=True)
    assert rebuilt(scene) == copies


def rebuilt(scene: Scene) -> int:
    """How often a host was cloned or rewound."""
    return sum(len(re.findall("rejoined: (?:cloned|rewound)", host.log())) for host in scene.pair.hosts.values())


def move(scene: Scene, host: Host, new: str) -> None:
    pair, old = scene.pair, host.address
    host.run(["sysctl", "-qw", "net.ipv4.conf.eth0.promote_secondaries=1"])
    host.run(["ip", "address", "add", f"{new}/24", "dev", "eth0"])
    section = f"hosts.{host.name}"
    configure(scene, **{section: {**pair.options.overrides.get(section, {}), "address": f"{new}/24"}})
    scene.strike()
    follow(scene, "change-an-address", scene.primary)
    assert scene.wait_writes() < 2, "nothing is interrupted"
    host.run(["ip", "address", "del", f"{old}/24", "dev", "eth0"])
    host.run(["ss", "-K", "src", old], check=False)
    host.address = new
    pair.wait_healthy()
    if host is scene.standby:
        wait_until(lambda: scene.primary.sql(PEERS) == new, 30, "it streams from its new address")
    assert scene.wait_writes() < 20
    for one in pair.hosts.values():
        assert pair.status(one)["link"]["connected"]


@pytest.mark.nightly
def test_a_host_that_has_lost_its_address_takes_its_file_first(scene: Scene) -> None:
    pair, primary, lost, new = scene.pair, scene.primary, scene.standby, f"{PREFIX}33"
    pair.pgvip(primary, "pause", "the network changes")
    replace_address(lost, new)
    wait_until(lambda: scene.says(primary, "peer-silent"), 30, "it is missed")
    configure(scene, **{f"hosts.{lost.name}": {"address": f"{new}/24"}})
    refused = pair.pgvip(primary, "config", "apply", check=False)
    assert refused.returncode == 5
    assert "run it on that host" in refused.stderr
    pair.pgvip(lost, "config", "apply")
    pair.pgvip(primary, "resume")
    pair.wait_healthy()
    assert primary.sql(PEERS) == new
    scene.finish(swapped=False)


def replace_address(host: Host, new: str) -> None:
    """Not one after the other."""
    host.run(["sysctl", "-qw", "net.ipv4.conf.eth0.promote_secondaries=1"])
    host.run(["ip", "address", "add", f"{new}/24", "dev", "eth0"])
    host.run(["ip", "address", "del", f"{host.address}/24", "dev", "eth0"])


@pytest.mark.nightly
def test_invalid_keys_are_named_on_both_hosts_and_a_new_machine_is_set_up_by_its_page(scene: Scene) -> None:
    pair, primary, lost = scene.pair, scene.primary, scene.standby
    pair.pgvip(primary, "bundle", "/etc/pgvip/other.bundle", "--yes", lost.name)
    for host, said in ((primary, f"{lost.name} has lost its keys"), (lost, "this host has lost its keys")):
        wait_until(lambda host=host, said=said: scene.says(host, said), 20, said)  # type: ignore[misc]  # bound
        assert not scene.says(host, "peer-silent")
    scene.fence.failures[lost.name].stay_off = True
    lost.power_off()
    for part in PERSISTENT:
        shutil.rmtree(lost.directory / part)
        (lost.directory / part).mkdir()
    scene.wait_roles(primary="primary_standby", deadline_s=60)
    scene.fence.soothe()
    lost.boot(start_daemon=False)
    places = {"the primary": primary, "the new host": lost}
    for where, words in commands("new-hardware"):
        line = [lost.name if word == "db2" else word for word in words]
        if line[0] == "pgvip":
            if line[1] == "check":
                pair.wait_healthy()
            pair.pgvip(places[where], *line[1:], check=line[1] != "check")
            if line[1] == "bundle":
                shutil.copy2(primary.directory / "etc/new.bundle", lost.directory / "etc/new.bundle")
        elif line[0] == "systemctl":
            pair.start_services(lost)
        else:
            places[where].run(line)
    scene.finish(swapped=False)


def test_the_pages_are_read() -> None:
    assert [words[1] for _, words in commands("new-hardware") if words[0] == "pgvip"] == ["bundle", "clone", "check"]
    for page in ("change-a-vip", "change-an-address"):
        assert [" ".join(words) for _, words in commands(page)][-1] == "pgvip config apply"
