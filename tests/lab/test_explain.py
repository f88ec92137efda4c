"""`pgvip explain` on a real pair: what it said comes true."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from tests.lab.hosts import Host
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene

LATER_S = 3.0
"""How much longer than expected a real takeover may take on a busy machine."""
EARLIER_S = 3.0
"""The lab's device needs none of the time that a real one takes until the power has gone."""
BLOCKED = 6


def explained(scene: Scene, host: Host, code: int = 0) -> dict[str, Any]:
    said = scene.pair.pgvip(host, "explain", "--json", check=False)
    assert said.returncode == code, said
    document: dict[str, Any] = json.loads(said.stdout)
    return {one["name"]: one for one in document["scenarios"]}


def explained_as_healthy(scene: Scene, host: Host) -> bool:
    found = explained(scene, host)
    served_by = {name: (scene.primary if name in ("standby-host", "link") else scene.standby).name for name in found}
    return {name: one["served_by"] for name, one in found.items()} == served_by and not any(
        one["blockers"] for one in found.values()
    )


def test_a_takeover_comes_as_explained(scene: Scene) -> None:
    for host in scene.pair.hosts.values():
        # One late answer of a gateway, on a busy machine, is explained as well.
        wait_until(partial(explained_as_healthy, scene, host), 30, f"nothing stands in the way on {host.name}")
    told = explained(scene, scene.standby)["primary-host"]
    print(scene.pair.pgvip(scene.standby, "explain").stdout)
    scene.strike()
    scene.primary.power_off()
    outage_s = scene.wait_writes()
    assert told["outage_s"] - EARLIER_S <= outage_s <= told["outage_s"] + LATER_S, told
    assert outage_s <= told["outage_max_s"]
    alone = explained(scene, scene.standby, BLOCKED)
    assert {one["name"] for one in alone["primary-host"]["blockers"]} >= {"pair"}
    scene.finish(swapped=True)
