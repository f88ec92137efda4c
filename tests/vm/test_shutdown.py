"""A host that systemd shuts down: it hands over first, in order, nobody is fenced, and the shutdown is held up for a
bounded time. What only stops the daemon hands nothing over."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.lab.nodes import wait_until
from tests.vm import setting
from tests.vm.lab import Host
from tests.vm.scene import Scene

HAND_OVER_S = 90.0
"""From the order to shut down to the first write at the new primary: most of it are the machine's forks."""
BLINK_S = 10.0
OFF_S = 300.0
LIMIT_S = 60.0
"""timing.shutdown_handover_s, by default: what may hold up a shutdown."""
LOAD_S = 30.0
"""What a busy machine may take for the program's own start and end."""
UNIT = "pgvip-handover.service"
POSTGRESQL = "postgresql@15-main.service"


@dataclass(frozen=True)
class Line:
    """One line of a machine's journal. `at_s`: its kernel's monotonic clock; `unit`: whose it is, or tells of."""

    at_s: float
    unit: str
    text: str


def boot(host: Host) -> str:
    """journald's name for the present boot."""
    return host.boot_id().replace("-", "")


def journal(host: Host, of: str) -> list[Line]:
    """All that a boot left in the journal, which Debian keeps over boots."""
    fields = "UNIT,_SYSTEMD_UNIT,MESSAGE"
    said = host.run(f"journalctl -b {of} -o json --output-fields={fields} --no-pager", timeout_s=120).stdout
    return [
        Line(int(one["__MONOTONIC_TIMESTAMP"]) / 1e6, one.get("UNIT") or one.get("_SYSTEMD_UNIT", ""),
             str(one.get("MESSAGE", "")))
        for one in map(json.loads, said.splitlines())
    ]


def stopped(lines: list[Line], unit: str) -> tuple[float, float]:
    """When systemd began to stop a unit for the last time, and when it had done so."""
    found = [(line.at_s, line.text.split(" ")[0]) for line in lines if line.unit == unit]
    begun = [at_s for at_s, word in found if word == "Stopping"]
    ended = [at_s for at_s, word in found if word in ("Stopped", "Deactivated")]
    assert begun or ended, f"{unit} was not stopped"
    return (begun or ended)[-1], ended[-1] if ended else float("inf")


def held_up_s(host: Host, of: str, what: str) -> float:
    """How long the shutdown that ended a boot waited for the hand-over; it came before all that it needs."""
    lines = journal(host, of)
    begun_s, ended_s = stopped(lines, UNIT)
    said = [line.text for line in lines if line.unit == UNIT and line.at_s >= begun_s]
    print(f"shutdown held up, {what}: {ended_s - begun_s:.1f} s: {said}")
    for unit in (POSTGRESQL, "pgvip.service", "systemd-networkd.service"):
        later = [line.at_s for line in lines if line.unit == unit and line.text.startswith("Stopping")]
        assert all(at_s >= ended_s for at_s in later if at_s >= begun_s), (unit, begun_s, ended_s, later)
    return ended_s - begun_s


def cause(host: Host) -> str:
    """By which change the present record came about, as a host knows it; "" when it cannot be asked."""
    return str((setting.status(host).get("record") or {}).get("cause", ""))


def wait_alone(host: Host) -> None:
    """It serves alone, with both addresses."""
    wait_until(
        lambda: setting.status(host).get("me", {}).get("vips") == ["primary", "standby"], 120,
        f"{host.name} has both addresses", 1.0,
    )
    assert setting.status(host)["role"] == "primary_standby"


@pytest.mark.parametrize("order", ["reboot", "poweroff"])
def test_shutdown_of_the_primary_hands_over(scene: Scene, order: str) -> None:
    before, boots = scene.primary.boot_id(), scene.primary.boots
    scene.strike()
    scene.primary.run(f"systemctl {order}", check=False)
    wait_until(lambda: cause(scene.standby) == "hand-over-leaving", LIMIT_S + LOAD_S, "it handed over", 0.5)
    outage_s = scene.wait_writes()
    print(f"write outage, {order} of the primary: {outage_s:.1f} s")
    if order == "poweroff":
        wait_until(lambda: scene.primary.power == "off", OFF_S, "the machine is off", 1.0)
        wait_alone(scene.standby)
        assert scene.primary.boots == boots, "who leaves in order is not switched on by its peer"
        scene.primary.order("on")
    scene.primary.wait_boot(before)
    scene.finish(swapped=True)
    assert scene.fenced(scene.primary) == (order == "poweroff")
    assert scene.fenced(scene.standby) == 0
    assert held_up_s(scene.primary, before.replace("-", ""), f"{order} of the primary") < LIMIT_S
    assert outage_s < HAND_OVER_S


def test_poweroff_of_the_standby_leaves_writes_flowing_and_the_primary_alone_can_be_rebooted(scene: Scene) -> None:
    first, boots = scene.standby.boot_id(), scene.standby.boots
    scene.strike()
    scene.standby.run("systemctl poweroff", check=False)
    wait_until(lambda: scene.standby.power == "off", OFF_S, "the machine is off", 1.0)
    wait_alone(scene.primary)
    print(f"write stall, poweroff of the standby: {scene.outage_s():.1f} s")
    assert scene.outage_s() < BLINK_S
    assert scene.standby.boots == boots, "who leaves in order is not switched on by its peer"
    second = scene.primary.boot_id()
    scene.strike()
    scene.primary.run("systemctl reboot", check=False)
    scene.primary.wait_boot(second)
    print(f"write outage, reboot of a primary that serves alone: {scene.wait_writes(HAND_OVER_S * 2):.1f} s")
    wait_alone(scene.primary)
    assert held_up_s(scene.primary, second.replace("-", ""), "reboot of a primary that serves alone") < LIMIT_S
    scene.standby.order("on")
    scene.standby.wait_boot(first)
    scene.finish(swapped=False)
    assert scene.fenced(scene.primary) == 0
    assert held_up_s(scene.standby, first.replace("-", ""), "poweroff of the standby") < LIMIT_S


@pytest.mark.parametrize("peer", ["daemon-stopped", "frozen-and-not-fenceable"])
def test_shutdown_of_a_primary_without_an_eligible_standby_is_not_held_up_for_long(scene: Scene, peer: str) -> None:
    before = scene.primary.boot_id()
    if peer == "daemon-stopped":
        scene.standby.run("systemctl stop pgvip")
    else:
        scene.standby.cut_off_bmc()
        scene.standby.order("freeze")
    scene.strike()
    scene.primary.run("systemctl reboot", check=False)
    scene.primary.wait_boot(before)
    took_s = held_up_s(scene.primary, before.replace("-", ""), f"peer {peer}")
    scene.standby.reconnect_bmc()
    if peer == "daemon-stopped":
        scene.standby.run("systemctl start pgvip", timeout_s=120)
    else:
        scene.standby.order("reset")
    print(f"write outage, reboot of the primary, peer {peer}: {scene.wait_writes(setting.HEALTHY_S):.1f} s")
    scene.finish(swapped=None)
    assert took_s < LIMIT_S + LOAD_S


@pytest.mark.parametrize("order", ["restart", "stop"])
@pytest.mark.parametrize("role", ["primary", "standby"])
def test_what_only_stops_the_daemon_hands_nothing_over(scene: Scene, role: str, order: str) -> None:
    host = scene.primary if role == "primary" else scene.standby
    term = setting.status(host)["term"]
    scene.strike()
    host.run(f"systemctl {order} pgvip", timeout_s=120)
    assert host.run(f"systemctl is-active {UNIT}").stdout.strip() == "active", "nor is its unit stopped with it"
    if order == "stop":
        other = "standby" if role == "primary" else "primary"
        scene.stays(15, scene.standby if role == "primary" else scene.primary, other)
        host.run("systemctl start pgvip", timeout_s=120)
    scene.finish(swapped=False)
    assert scene.outage_s() < BLINK_S
    assert setting.status(host)["term"] == term
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


def test_the_units_of_the_readme_are_there_and_in_order(scene: Scene) -> None:
    for host in (scene.primary, scene.standby):
        assert host.run(f"systemctl is-active pgvip.service {UNIT}").stdout.split() == ["active", "active"]
        after = host.run(f"systemctl show --property=After --value {UNIT}").stdout.split()
        assert {"pgvip.service", POSTGRESQL, "network.target", "network-online.target"} <= set(after)
    # by hand, with nobody shutting the host down, its stop hands nothing over
    scene.strike()
    scene.primary.run(f"systemctl restart {UNIT}", timeout_s=120)
    scene.finish(swapped=False)
    assert scene.outage_s() < BLINK_S
