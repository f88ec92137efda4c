"""`pgvip restart`: each host's PostgreSQL is another one in the end, and clients notice no more than is said.

The commands are those of docs/procedures/rolling-restart.md.
"""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from typing import Any

import pytest

from tests.lab.hosts import DATA_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.pages import commands
from tests.lab.pair import PGVIP
from tests.lab.scene import Scene

OUTAGE_MAX_S = 5.0
LIMIT = "max_locks_per_transaction"
"""No other test of a pair that may be shared with this file changes it; by default 64."""
PAGE = [words[2:] for _, words in commands("rolling-restart")]
PLAN, PENDING, ROLLING, RUN, CONTINUE = PAGE
"""Each command's words after `pgvip restart`."""


def restarted(scene: Scene, host: Host, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scene.pair.pgvip(host, "restart", *words, "--json", timeout_s=300).stdout)
    return found


def did(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["host"], step["do"]) for step in found["steps"]]


def set_everywhere(scene: Scene, line: str) -> None:
    for host in (scene.primary, scene.standby):
        host.sql(f"alter system set {line}")
        host.sql("select pg_reload_conf()")
    name = line.partition(" ")[0]
    pending = f"select pending_restart from pg_settings where name = '{name}'"
    wait_until(lambda: scene.primary.sql(pending) == "t", 10, "it waits for a restart")


def test_a_raised_limit_by_a_rolling_restart_is_one_switchover(scene: Scene) -> None:
    first, second = scene.primary, scene.standby
    refused = scene.pair.pgvip(first, "restart", "--rolling", "--pending", check=False)
    assert refused.returncode == 5
    assert "no setting waits" in refused.stderr
    set_everywhere(scene, f"{LIMIT} = 123")
    before = {host.name: host.postmaster() for host in (first, second)}
    plan = restarted(scene, first, *PLAN)
    assert did(plan) == [(second.name, "cycle"), (first.name, "switchover")]
    assert {host.name: host.postmaster() for host in (first, second)} == before
    scene.strike()
    assert did(restarted(scene, first, *PENDING)) == did(plan)
    assert not before.items() & {host.name: host.postmaster() for host in (first, second)}.items()
    assert {host.sql(f"show {LIMIT}") for host in (first, second)} == {"123"}
    scene.finish(swapped=True, outage_max_s=OUTAGE_MAX_S)
    assert scene.fenced(first) + scene.fenced(second) == 0


@pytest.mark.nightly
def test_a_lowered_limit_restarts_the_primary_first(scene: Scene) -> None:
    first, second = scene.primary, scene.standby
    set_everywhere(scene, f"{LIMIT} = 50")
    scene.strike()
    assert scene.pair.pgvip(second, "restart", "--rolling", "--pending", check=False).returncode == 5
    done = restarted(scene, first, *PENDING)
    assert did(done) == [(first.name, "in-place"), (second.name, "cycle")]
    assert {host.sql(f"show {LIMIT}") for host in (first, second)} == {"50"}
    scene.finish(swapped=False, outage_max_s=2 * OUTAGE_MAX_S)


@pytest.mark.nightly
def test_a_command_runs_while_postgresql_is_down(scene: Scene) -> None:
    first, second = scene.primary, scene.standby
    scene.strike()
    command = f"test ! -e {DATA_DIRECTORY}/postmaster.pid"
    for host, steps in ((second, ["down", "command", "up"]), (first, ["switchover", "down", "command", "up"])):
        assert did(restarted(scene, host, *RUN[:-1], command)) == [(host.name, step) for step in steps]
    failed = scene.pair.pgvip(first, "restart", *RUN[:-1], "exit 7", check=False, timeout_s=120)
    assert failed.returncode == 1
    scene.finish(swapped=True, outage_max_s=OUTAGE_MAX_S)


@pytest.mark.nightly
def test_an_interrupted_restart_goes_on(scene: Scene) -> None:
    """The operator's shell ends while the standby is down."""
    first, second = scene.primary, scene.standby
    before = {host.name: host.postmaster() for host in (first, second)}
    scene.strike()
    first.popen([PGVIP, "restart", *ROLLING, "--back"])
    wait_until(lambda: second.postmaster() == 0, 60, "the standby is down", every_s=0.01)
    os.kill(next(one.pid for one in first.processes() if "restart --rolling" in one.command), signal.SIGKILL)
    refused = scene.pair.pgvip(first, "restart", check=False)
    assert "--continue" in refused.stderr
    wait_until(partial(follows, second), 60, "the standby is started all the same")
    scene.pair.wait_healthy()
    assert did(restarted(scene, first, *CONTINUE)) == [(first.name, "switchover"), (second.name, "switchover")]
    assert not before.items() & {host.name: host.postmaster() for host in (first, second)}.items()
    scene.finish(swapped=False, outage_max_s=OUTAGE_MAX_S)


def follows(host: Host) -> bool:
    return host.sql("select pg_is_in_recovery()", check=False) == "t"
