"""Asynchronous replication: what a takeover may lose is bounded, counted and listed; the right to one is a lease."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tests.lab.fence import AGENT, DEVICE
from tests.lab.hosts import Host
from tests.lab.lab import HOSTS
from tests.lab.nodes import wait_until
from tests.lab.pair import Options, Sections
from tests.lab.scene import Scene

LEASE_S = 6.0
FENCE_S = 3.0
LATE_S = 3.0
"""How much later than its end a lease may be seen to have ended: a renewal on its way, a look at the status."""
RENEWED_S = 2.0
"""How old a lease may be while it is renewed all the time."""


def short_lease(lag_s_max: float = LEASE_S) -> Sections:
    """A lease that ends within a test's patience; the fence's time-outs must fit into it."""
    found: dict[str, Mapping[str, Any]] = {"replication": {"lag_s_max": lag_s_max}}
    for name in HOSTS:
        method = {"agent": str(AGENT), "options": {"ip": DEVICE, "plug": name}, "timeout_s": FENCE_S}
        found[f"hosts.{name}"] = {"fencing": [method]}
    return found


with_short_lease = pytest.mark.pair(mode="async", overrides=short_lease())


def may_take_over(scene: Scene) -> bool:
    """What the standby says of its own right."""
    return scene.pair.status(scene.standby)["me"]["eligible"] is True


def lose_the_lease(scene: Scene) -> None:
    """Wait until the lease has ended since the scene's fault; it ends neither too early nor too late."""
    assert may_take_over(scene), "there was no lease to lose"
    wait_until(lambda: not may_take_over(scene), LEASE_S + LATE_S, "the lease ended", every_s=0.2)
    assert time.monotonic() - scene.struck_s > LEASE_S - RENEWED_S


def freeze_daemon(host: Host) -> int:
    """Stop the daemon alone; its process id, for its return."""
    daemon = host.service_pid("pgvip")
    os.kill(daemon, signal.SIGSTOP)
    return daemon


@with_short_lease
def test_what_a_takeover_loses_is_counted_and_listed(scene: Scene) -> None:
    cut_s = scene.strike()
    scene.switch.cut("alpha", "beta", port=5432)
    wait_until(lambda: len(scene.writer.acknowledged(cut_s)) > 10, 10, "writes that the standby does not have", 0.01)
    scene.fence.failures[scene.primary.name].stay_off = True
    scene.primary.power_off()
    scene.switch.heal()
    scene.wait_roles(standby="primary_standby")
    lost = scene.lost(scene.standby)
    assert lost, "nothing has diverged: the scene proves nothing"
    scene.primary.boot(start_daemon=False)
    said = scene.pair.pgvip(scene.primary, "rejoin", "--dry-run", "--json").stdout
    planned = json.loads(said)
    assert (planned["way"], planned["exact"]) == ("rewind", True), planned
    assert "nothing rejoins before it runs" in planned["waits"]
    asked = scene.pair.pgvip(scene.primary, "rejoin", "--dry-run", "--clone").stdout
    assert "would get a new copy of" in asked, asked
    refused = scene.pair.pgvip(scene.standby, "rejoin", "--dry-run", check=False)
    assert (refused.returncode, "only a confirmed standby can rejoin" in refused.stderr) == (5, True), refused
    scene.fence.soothe()
    scene.pair.start_services(scene.primary)
    scene.finish(swapped=True, lost_max=len(lost))
    directory = max((scene.primary.directory / "state/saved").iterdir())
    found = json.loads((directory / "lost.json").read_text())
    assert found["commits"] >= len(lost), found
    assert found["followed"] == scene.standby.name
    assert (planned["diverged_bytes"], planned["transactions"]) == (found["bytes"], found["commits"])
    assert "would be left as it is: it streams" in scene.pair.pgvip(scene.primary, "rejoin", "--dry-run").stdout
    assert found["files"], "no WAL was kept"
    assert {path.name for path in directory.iterdir()} >= {*found["files"], "lost.txt"}
    assert f"with {found['commits']} lost transactions" in scene.primary.log()
    told = json.loads(scene.pair.pgvip(scene.primary, "lost-writes", "latest", "--json", "--transactions", "0").stdout)
    assert (told["set"], told["commits"]) == (directory.name, found["commits"])
    # One more commit may have been flushed when the power went, before its client was told.
    assert told["tables"]["postgres public.lab_rows"]["inserted"] - len(lost) in (0, 1), told
    assert len(told["transactions"]) == found["commits"]
    said = scene.pair.pgvip(scene.primary, "lost-writes").stdout
    assert f"{directory.name}: {found['commits']} transaction" in said, said
    assert "has lost no writes" in scene.pair.pgvip(scene.standby, "lost-writes").stdout


@pytest.mark.pair(mode="async")
def test_a_dead_server_on_a_living_host_loses_nothing(scene: Scene) -> None:
    """The stream has ended before it; what it did not carry reaches the standby through the archive."""
    [receiver] = [process for process in scene.standby.processes("postgres") if "walreceiver" in process.command]
    scene.switch.cut("alpha", "beta", port=5432)
    os.kill(receiver.pid, signal.SIGTERM)
    cut_s = time.monotonic()
    wait_until(lambda: len(scene.writer.acknowledged(cut_s)) > 10, 10, "writes that the standby does not have", 0.01)
    scene.strike()
    os.kill(scene.primary.postmaster(), signal.SIGKILL)
    scene.switch.heal()
    scene.finish(swapped=True, outage_max_s=8)
    assert scene.fenced(scene.primary) == 0
    assert f"salvaged: {scene.standby.name} has all WAL of {scene.primary.name}" in scene.primary.log()


@with_short_lease
def test_a_frozen_daemon_lets_the_lease_end_and_renews_it_on_its_return(scene: Scene) -> None:
    scene.strike()
    daemon = freeze_daemon(scene.primary)
    try:
        lose_the_lease(scene)
        assert scene.pair.roles() == {scene.primary.name: "primary", scene.standby.name: "standby"}
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_until(lambda: may_take_over(scene), 10, "the lease renewed", every_s=0.2)
    scene.finish(swapped=False)
    assert scene.fenced(scene.primary) == 0


@with_short_lease
def test_no_takeover_after_the_lease_has_ended(scene: Scene) -> None:
    """The primary went on without its daemon for longer than the limit: what it acknowledged is not to be lost.

    Its standby switches it on instead, once its fence device works and says that it is off.
    """
    scene.fence.failures[scene.primary.name].fail_next = 1000
    scene.strike()
    freeze_daemon(scene.primary)
    lose_the_lease(scene)
    scene.primary.power_off()
    scene.stays(6, standby="standby")
    assert not scene.standby.writable()
    said = scene.pair.pgvip(scene.standby, "status").stdout
    assert "pgvip promote --force" in said, said
    scene.fence.soothe()
    wait_until(scene.primary.is_on, 60, "switched on by its standby")
    assert scene.fenced(scene.primary) == 0
    scene.finish(swapped=False)


@with_short_lease
def test_a_fence_that_is_not_confirmed_within_the_lease_is_given_up(scene: Scene) -> None:
    scene.fence.failures[scene.primary.name].fail_next = 1000
    scene.strike()
    scene.primary.cut()
    wait_until(lambda: scene.fence.failures[scene.primary.name].fail_next < 1000, 10, "a fence tried", 0.02)
    lose_the_lease(scene)
    scene.fence.soothe()
    scene.stays(4, standby="standby")
    assert scene.fenced(scene.primary) == 0
    scene.primary.heal()
    scene.finish(swapped=False)


@with_short_lease
def test_a_fence_that_works_after_the_lease_has_ended_leaves_no_host_off(scene: Scene) -> None:
    scene.fence.failures[scene.primary.name].delay_s = LEASE_S + 2
    scene.strike()
    scene.primary.cut()
    wait_until(lambda: not scene.primary.is_on(), LEASE_S + 10, "off, too late for a takeover", 0.02)
    scene.fence.soothe()
    scene.primary.heal()
    scene.finish(swapped=False)


@pytest.mark.pair(mode="async", overrides={"replication": {"lag_bytes_max": 1_000_000}})
def test_a_standby_too_many_bytes_behind_leaves_the_pair_until_it_has_caught_up(scene: Scene) -> None:
    [receiver] = [process for process in scene.standby.processes("postgres") if "walreceiver" in process.command]
    os.kill(receiver.pid, signal.SIGSTOP)
    try:
        scene.primary.sql("create table heap as select g, repeat('x', 100) from generate_series(1, 50000) g")
        scene.wait_roles(primary="primary_standby", standby="none")
        assert not may_take_over(scene)
        scene.reader.wait_success()
        scene.stays(2, primary="primary_standby")
    finally:
        os.kill(receiver.pid, signal.SIGCONT)
    scene.finish(swapped=False, outage_max_s=2)
    assert scene.fenced(scene.standby) == 0
    scene.primary.sql("drop table heap")


@with_short_lease
def test_a_lease_too_short_for_the_fence_is_refused_and_the_old_one_stays(scene: Scene) -> None:
    pair, options = scene.pair, scene.pair.options
    try:
        pair.write_config(Options(mode="async", overrides=short_lease(2.0)))
        answer = pair.pgvip(scene.standby, "config", "check", check=False)
        assert answer.returncode == 3
        assert "replication.lag_s_max = 2.0: is too short to fence" in answer.stdout + answer.stderr
        os.kill(scene.standby.service_pid("pgvip"), signal.SIGHUP)
        wait_until(lambda: "reload-failed" in scene.standby.log(), 10, "the daemon says so")
        assert may_take_over(scene)
    finally:
        pair.write_config(options)
    scene.finish(swapped=False)
