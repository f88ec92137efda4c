"""Virtual addresses that vanish, or that a stranger has."""

from __future__ import annotations

import time

import pytest

from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import Node, wait_until
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
