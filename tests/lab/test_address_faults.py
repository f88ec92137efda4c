"""Virtual addresses that vanish, or that a stranger has."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import Node, wait_until
from tests.lab.pair import Options
from tests.lab.scene import Scene


def address(node: Node, verb: str, vip: str) -> None:
    node.run(["ip", "addr", verb, f"{vip}/32", "dev", "eth0"])


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_a_vip_removed_by_hand_comes_back_at_once(scene: Scene, role: str) -> None:
    host, vip = (scene.primary, PRIMARY_VIP) if role == "primary" else (scene.standby, STANDBY_VIP)
    scene.strike()
    address(host, "del", vip)
    gone_s = time.monotonic()
    wait_until(lambda: vip in host.addresses(), 10, "the address is back")
    assert time.monotonic() - gone_s < 3
    scene.finish(swapped=False, outage_max_s=4)


def test_a_vip_held_by_a_stranger_is_not_taken(scene: Scene) -> None:
    """The role is taken over all the same; the address follows when the stranger leaves it."""
    scene.fence.failures[scene.primary.name].stay_off = True
    scene.strike()
    scene.primary.power_off()
    address(scene.lab.stranger, "add", PRIMARY_VIP)
    try:
        wait_until(scene.standby.writable, 30, "promoted")
        held_s = time.monotonic()
        while time.monotonic() < held_s + 3:
            assert PRIMARY_VIP not in scene.standby.addresses()
        assert "stranger" in scene.lab.holders(PRIMARY_VIP)
    finally:
        address(scene.lab.stranger, "del", PRIMARY_VIP)
    scene.lab.client.run(["ip", "neigh", "flush", "dev", "eth0"])
    scene.wait_roles(standby="primary_standby", deadline_s=40)
    scene.fence.soothe()
    scene.primary.boot()
    scene.finish(swapped=True)


def test_both_vips_removed_with_a_network_restart(scene: Scene) -> None:
    scene.strike()
    scene.primary.run(["ip", "addr", "flush", "dev", "eth0", "scope", "global"])
    batch = f"addr add {scene.primary.address}/24 dev eth0\nroute replace default via 10.77.0.1\n"
    scene.primary.run(["ip", "-batch", "-"], stdin=batch)
    scene.finish(swapped=None)


def test_the_primary_vip_on_lo_of_the_other_host_is_named_on_both(scene: Scene) -> None:
    """As of a load balancer's set-up: the kernel answers ARP for it through every interface."""
    words = [f"{PRIMARY_VIP}/32", "dev", "lo"]
    scene.standby.run(["ip", "addr", "add", *words])
    try:
        wait_until(lambda: scene.says(scene.primary, "too, which"), 20, "the holder sees the second answer")
        wait_until(lambda: scene.says(scene.standby, "primary VIP on lo too"), 20, "the other host names its interface")
    finally:
        scene.standby.run(["ip", "addr", "del", *words])
    scene.lab.client.run(["ip", "neigh", "flush", "dev", "eth0"])
    wait_until(lambda: not scene.says(scene.primary, "too, which"), 20, "the warning ends")
    scene.begun_s = time.monotonic()  # the monitors have seen two holders until here
    scene.finish(swapped=False)


def test_a_vip_that_is_configured_no_more_is_dropped(scene: Scene) -> None:
    """The daemon was stopped, the file changed, the daemon started: the address of before must not stay for good."""
    pair, host, other = scene.pair, scene.standby, "10.77.0.77"
    memory = host.path("/run/pgvip/raised.json")
    wait_until(lambda: memory.exists() and STANDBY_VIP in memory.read_text(), 15, "it is remembered")
    options = pair.options
    try:
        at_once = {"standby": other, "overlap_s": 0}  # else the former address is served for a while, too
        restart_daemons(scene, replace(options, overrides={**options.overrides, "addresses": at_once}))
        wait_until(lambda: STANDBY_VIP not in host.addresses() and other in host.addresses(), 30, "the new one instead")
    finally:
        restart_daemons(scene, replace(options, overrides={**options.overrides, "addresses": {"overlap_s": 0}}))
    wait_until(lambda: other not in host.addresses(), 30, "the new one goes, too")
    restart_daemons(scene, options)
    scene.finish(swapped=False)


def restart_daemons(scene: Scene, options: Options) -> None:
    """Both, with another configuration."""
    for host in (scene.primary, scene.standby):
        host.stop_service("pgvip")
    scene.pair.write_config(options)
    for host in (scene.primary, scene.standby):
        scene.pair.start_services(host)


def test_clients_that_get_no_session_are_told_of(scene: Scene) -> None:
    """Pings and the Unix socket say that all is well."""
    chain = f"type filter hook input priority 0; ip daddr {PRIMARY_VIP} tcp dport 5432 drop;"
    rules = f"table inet closed {{ chain in {{ {chain} }}; }}"
    scene.primary.run(["nft", "-f", "-"], stdin=rules)
    try:
        wait_until(lambda: scene.says(scene.primary, "clients get no session"), 30, "a warning")
    finally:
        scene.primary.run(["nft", "delete", "table", "inet", "closed"])
    wait_until(lambda: not scene.says(scene.primary, "clients get no session"), 30, "it ends")
    scene.finish(swapped=False)
