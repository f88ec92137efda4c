"""A pair from nothing, by README.md's own steps, on two machines as a distribution installs them."""

from __future__ import annotations

from tests.lab.nodes import wait_until
from tests.vm import setting
from tests.vm.scene import Scene


def test_set_up_by_the_readme_and_switched_over_both_ways(scene: Scene) -> None:
    for host in (scene.primary, scene.standby):
        assert host.run("systemctl --failed --no-legend").stdout == ""
        document = setting.status(host)
        assert document["warnings"] == [], document["warnings"]
        host.run("pgvip fence test", timeout_s=200)
        wait_until(
            lambda host=host: setting.status(host)["archive"]["value"] is True,  # type: ignore[misc]  # a default binds it
            120, f"{host.name} has mounted the archive", 2.0,
        )
    for _ in range(2):
        scene.strike()
        scene.primary.run("pgvip switchover", timeout_s=120)
        print(f"write outage, switchover: {scene.wait_writes():.1f} s")
        setting.wait_healthy(scene.lab)
        scene.primary, scene.standby = scene.standby, scene.primary
    scene.finish(swapped=False)
