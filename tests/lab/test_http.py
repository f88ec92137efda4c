"""HTTP of a real pair as a load balancer, a Prometheus and a person see it, over the network of the VIPs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.lab.hosts import PROGRAMS, Host
from tests.lab.network import PRIMARY_VIP, STANDBY_VIP
from tests.lab.nodes import end_process, wait_until
from tests.lab.scene import Scene

PORT = 8433
PRIMARY_CHECKS = ["/primary", "/leader", "/read-write"]
STANDBY_CHECKS = ["/standby", "/replica?lag=16MB&replication_state=streaming", "/sync"]
BOTH_CHECKS = ["/read-only", "/health", "/readiness", "/liveness"]
NO_CHECKS = ["/async"]
CHECKS = [*PRIMARY_CHECKS, *STANDBY_CHECKS, *BOTH_CHECKS, *NO_CHECKS]


@dataclass(frozen=True)
class Answer:
    """One answer to one of the watched checks."""

    number: int
    status: int
    sent_s: float
    answered_s: float


class Web:
    """What the lab's client sees of the two daemons' HTTP."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.client = scene, scene.lab.client

    def ask(self, *urls: str) -> dict[str, tuple[int, str]]:
        output = self.client.run([sys.executable, PROGRAMS / "client_http.py", "once", *urls]).stdout
        return {url: (answer[0], answer[1]) for url, answer in json.loads(output).items()}

    def checks(self, place: Host | str) -> dict[str, int]:
        """The status of every check at a host's own address, or at a VIP."""
        address = place if isinstance(place, str) else place.address
        urls = {f"http://{address}:{PORT}{path}": path for path in CHECKS}
        return {urls[url]: status for url, (status, _) in self.ask(*urls).items()}

    def wait_checks(self, place: Host | str, yes: list[str]) -> None:
        """Wait until just these give 200 and the others 503."""
        wanted = {path: 200 if path in yes else 503 for path in CHECKS}
        wait_until(lambda: self.checks(place) == wanted, 15, f"{yes} at {place}: now {self.checks(place)}", 0.2)

    def wait_alive(self, host: Host) -> None:
        wait_until(lambda: self.checks(host)["/liveness"] == 200, 15, f"HTTP of {host.name}")

    def body(self, host: Host, path: str) -> str:
        [(status, body)] = self.ask(f"http://{host.address}:{PORT}{path}").values()
        assert status == 200, body
        return body


@pytest.fixture
def web(scene: Scene) -> Iterator[Web]:
    """HTTP opened to the network on both hosts by a reload, and closed by another."""
    pair, before = scene.pair, scene.pair.options
    made = Web(scene)
    try:
        reload(scene, replace(before, overrides={**before.overrides, "http": {"listen": "all"}}))
        for host in pair.hosts.values():
            made.wait_alive(host)
        yield made
    finally:
        for host in pair.hosts.values():
            host.boot()
        reload(scene, before)


def reload(scene: Scene, options: Any) -> None:
    scene.pair.write_config(options)
    for host in scene.pair.hosts.values():
        wait_until(partial(host.service_pid, "pgvip"), 20, f"daemon of {host.name}")
        os.kill(host.service_pid("pgvip"), signal.SIGHUP)


def watched(log: Path) -> list[Answer]:
    rows = [line.split() for line in log.read_text().splitlines() if line.count(" ") == 3]
    return [Answer(int(row[0]), int(row[1]), float(row[2]), float(row[3])) for row in rows]


def overlaps(answers: list[Answer]) -> list[tuple[Answer, Answer, Answer]]:
    """Where one host said yes, then the other, then the first again without a no between: both at once."""
    found, last = [], dict[int, Answer]()
    yes_before: Answer | None = None
    for answer in answers:
        if answer.status == 200:
            other = last.get(1 - answer.number)
            if yes_before and yes_before.number != answer.number and other is not None and other.status == 200:
                earlier = last.get(answer.number)
                if earlier is not None and earlier.status == 200 and earlier.sent_s < other.sent_s:
                    found.append((earlier, other, answer))
            yes_before = answer
        last[answer.number] = answer
    return found


def test_a_load_balancer_sees_one_primary_through_switchover_and_power_off(web: Web) -> None:
    scene = web.scene
    log = scene.lab.directory / "http-watch.log"
    urls = [f"http://{host.address}:{PORT}/primary" for host in (scene.primary, scene.standby)]
    watcher = web.client.popen([sys.executable, PROGRAMS / "client_http.py", "watch", log, *urls])
    web.wait_checks(scene.primary, PRIMARY_CHECKS + BOTH_CHECKS)
    web.wait_checks(scene.standby, STANDBY_CHECKS + BOTH_CHECKS)
    web.wait_checks(PRIMARY_VIP, PRIMARY_CHECKS + BOTH_CHECKS)
    web.wait_checks(STANDBY_VIP, STANDBY_CHECKS + BOTH_CHECKS)

    scene.strike()
    scene.pair.pgvip(scene.primary, "switchover")
    scene.wait_roles(primary="standby", standby="primary")
    scene.pair.wait_healthy()
    web.wait_checks(scene.standby, PRIMARY_CHECKS + BOTH_CHECKS)
    web.wait_checks(scene.primary, STANDBY_CHECKS + BOTH_CHECKS)
    web.wait_checks(PRIMARY_VIP, PRIMARY_CHECKS + BOTH_CHECKS)

    scene.fence.failures[scene.primary.name].stay_off = True
    scene.primary.power_off()
    scene.wait_roles(standby="primary_standby")
    for place in (scene.standby, PRIMARY_VIP, STANDBY_VIP):
        web.wait_checks(place, PRIMARY_CHECKS + BOTH_CHECKS)
    assert set(web.checks(scene.primary).values()) == {0}
    assert watcher.poll() is None
    answers = watched(log)
    assert {200, 503} <= {one.status for one in answers if one.number == 0}
    assert {200, 503} <= {one.status for one in answers if one.number == 1}
    assert not overlaps(answers)
    scene.fence.soothe()
    scene.primary.boot()
    scene.finish(swapped=True)


def test_metrics_status_and_page_of_a_real_pair(web: Web) -> None:
    scene = web.scene
    pairs = ((scene.primary, scene.standby, "primary"), (scene.standby, scene.primary, "standby"))
    for host, peer, role in pairs:
        families = list(text_string_to_metric_families(web.body(host, "/metrics")))
        values = {one.name: one.value for family in families for one in family.samples}
        assert values["pgvip_serves_primary"] == (role == "primary")
        assert values["pgvip_serves_standby"] == (role == "standby")
        assert values["pgvip_peer_seen_age_seconds"] < 5
        assert values["pgvip_replication_streaming"] == values["pgvip_replication_sync"] == 1
        assert values["pgvip_loop_rounds_total"] > 10
        assert values["process_resident_memory_bytes"] > 10_000_000
        page = web.body(host, "/")
        for word in (host.name, peer.name, PRIMARY_VIP, STANDBY_VIP, "may take over"):
            assert word in page, word
        status = json.loads(web.body(host, "/status"))
        assert status.keys() == scene.pair.status(host).keys()
        assert status["http"]["listening"] == [f"0.0.0.0:{PORT}"]
        members = json.loads(web.body(host, "/cluster"))["members"]
        assert [one["name"] for one in members] == [host.name, peer.name]


def test_a_port_in_use_is_a_warning_and_comes_back(web: Web) -> None:
    scene = web.scene
    holder = scene.standby.popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    taken = {**scene.pair.options.overrides, "http": {"listen": "all", "port": PORT + 1}}
    reload(scene, replace(scene.pair.options, overrides=taken))
    wait_until(lambda: warned(scene), 10, "the warning")
    assert "http-failed: cannot listen on 0.0.0.0:8434: Address already in use" in scene.standby.log()
    end_process(holder)
    wait_until(lambda: not warned(scene), 15, "no warning any more")
    assert scene.pair.status(scene.standby)["http"]["listening"] == [f"0.0.0.0:{PORT + 1}"]


HOLD = f"""
import socket, time
held = socket.create_server(("0.0.0.0", {PORT + 1}))
print("ready", flush=True)
time.sleep(600)
"""


def warned(scene: Scene) -> bool:
    return "http-failed" in [one["name"] for one in scene.pair.status(scene.standby)["warnings"]]
