"""Hooks and the event history on a real pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.hosts import SHARED, SOCKET_DIRECTORY, Host, remove_tree
from tests.lab.network import PRIMARY_VIP
from tests.lab.nodes import end_process, wait_until
from tests.lab.pair import PGVIP
from tests.lab.scene import Scene

HOOKS = "etc/hooks.d"
TOLD = "hooks.log"

TELL = f"""#!/bin/sh
recovery=$(setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtq -h {SOCKET_DIRECTORY} \\
    -c 'select pg_is_in_recovery()' 2>/dev/null || echo none)
ip -4 addr show dev eth0 | grep -q 'inet {PRIMARY_VIP}/' && vip=held || vip=no
echo "$(date +%s.%N) $1 $PGVIP_OLD_ROLE $PGVIP_ROLE $recovery $vip" >> {SHARED}/{TOLD}
"""
HANG = "#!/bin/sh\nsleep 1000 &\nsleep 1000\n"
VETO = f"""#!/bin/sh
test -e {SHARED}/allow && exit 0
echo "a resync is under way"
exit 1
"""


@pytest.fixture(autouse=True)
def _no_hooks(scene: Scene) -> Iterator[None]:
    """Each test has its own hooks."""
    yield
    for host in scene.pair.hosts.values():
        remove_tree(host.directory / HOOKS)
        for name in (TOLD, "allow"):
            (host.directory / "shared" / name).unlink(missing_ok=True)


def hook(host: Host, event: str, script: str, name: str = "10-lab.sh") -> None:
    path = host.directory / HOOKS / event / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)


def told(host: Host) -> list[tuple[float, list[str]]]:
    """When hooks were called on a host, and with what: event, old role, role, in recovery, VIP."""
    path = host.directory / "shared" / TOLD
    lines = path.read_text().splitlines() if path.exists() else []
    return [(float(words[0]), words[1:]) for words in map(str.split, lines)]


def roles_told(host: Host) -> list[str]:
    return [words[2] for _, words in told(host) if words[0] == "role-change"]


def events(scene: Scene, host: Host, *words: str) -> list[dict[str, Any]]:
    said = scene.pair.pgvip(host, "events", "--json", "-n", "1000", *words).stdout
    return [json.loads(line) for line in said.splitlines()]


def kinds(scene: Scene, host: Host) -> set[tuple[str, str]]:
    """The events that a host knows, and of which host."""
    return {(event["host"], event["event"]) for event in events(scene, host)}


def test_role_hooks_are_called_when_the_role_is_in_effect(scene: Scene) -> None:
    """In a switchover the loser says that it is primary no more before the winner says that it is."""
    for host in scene.pair.hosts.values():
        for event in ("role-change", "demoted"):
            hook(host, event, TELL)
    scene.strike()
    scene.pair.pgvip(scene.primary, "switchover")
    scene.finish(swapped=True)
    wait_until(lambda: roles_told(scene.standby) == ["primary_standby", "primary"], 20, "the winner's hooks")
    wait_until(lambda: roles_told(scene.primary) == ["standby"], 20, "the loser's hook")
    loser, winner = told(scene.primary), told(scene.standby)
    assert [words[0] for _, words in loser] == ["demoted", "role-change"]
    assert loser[0][1][4] == "no"
    assert loser[1][1] == ["role-change", "primary", "standby", "t", "no"]
    assert [words[1:] for _, words in winner] == [
        ["standby", "primary_standby", "f", "held"],
        ["primary_standby", "primary", "f", "held"],
    ]
    assert loser[0][0] < winner[0][0]


def test_a_restart_of_the_daemon_calls_no_role_hook(scene: Scene) -> None:
    hook(scene.primary, "role-change", TELL)
    hook(scene.primary, "start", TELL)
    scene.primary.stop_service("pgvip")
    scene.pair.start_services(scene.primary)
    wait_until(lambda: [words[0] for _, words in told(scene.primary)] == ["start"], 20, "the start's hook")
    scene.finish(swapped=False)
    assert roles_told(scene.primary) == []


def test_hooks_that_hang_delay_no_takeover(scene: Scene) -> None:
    for event in ("claim", "fenced", "role-change", "peer-silent"):
        hook(scene.standby, event, HANG)
    scene.strike()
    scene.primary.power_off()
    assert scene.wait_writes() < 8
    scene.finish(swapped=True)
    wait_until(lambda: "hook-failed: claim" in scene.standby.log(), 30, "the hook was ended")
    hung = [process for process in scene.standby.processes() if process.command.startswith("sleep 1000")]
    assert len(hung) <= 4, "what a hook has started is ended with it"


def test_a_veto_puts_a_takeover_off_until_it_ends(scene: Scene) -> None:
    hook(scene.standby, "veto-takeover", VETO)
    wait_until(lambda: scene.pair.status(scene.standby)["veto_hooks"], 20, "the hook is found without a reload")
    scene.strike()
    scene.primary.power_off()
    wait_until(lambda: "a resync is under way" in json.dumps(scene.pair.status(scene.standby)), 20, "the veto is named")
    scene.stays(6, standby="standby")
    assert scene.fenced(scene.primary) == 0
    assert events(scene, scene.standby, "--event", "vetoed", "--level", "error")
    (scene.standby.directory / "shared" / "allow").touch()
    scene.wait_roles(standby="primary_standby", deadline_s=20)
    scene.finish(swapped=True)
    wait_until(lambda: events(scene, scene.standby, "--event", "cleared"), 10, "what has ended is told")


def test_the_survivor_knows_what_happened_on_both_hosts(scene: Scene) -> None:
    follower = scene.standby.directory / "shared" / "followed"
    with follower.open("w") as output:
        program = scene.standby.popen([PGVIP, "events", "--follow", "--json", "-n", "1"], stdout=output)
    try:
        wait_until(follower.read_text, 20, "the newest event is shown")
        scene.pair.pgvip(scene.primary, "pause", "to", "be", "seen", "elsewhere")
        scene.pair.pgvip(scene.primary, "resume")
        wait_until(lambda: "to be seen elsewhere" in follower.read_text(), 10, "the other host's order is followed")
    finally:
        end_process(program)
    scene.fence.failures[scene.primary.name].stay_off = True
    scene.primary.power_off()
    scene.wait_roles(standby="primary_standby")
    meant = {(scene.primary.name, "order"), (scene.standby.name, "fenced"), (scene.standby.name, "role-change")}
    wait_until(lambda: meant <= kinds(scene, scene.standby), 10, "the survivor has it in its history")
    known = kinds(scene, scene.standby)
    scene.standby.stop_service("pgvip")
    assert known <= kinds(scene, scene.standby), "what the daemon told is in the files"
    scene.pair.start_services(scene.standby)
    scene.fence.failures[scene.primary.name].stay_off = False
    scene.primary.boot()
    scene.finish(swapped=True)
    wait_until(lambda: kinds(scene, scene.primary) >= known, 20, "caught up")
