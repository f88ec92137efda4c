"""What operators order of a real pair: maintenance in a pause, switchovers that are called off, failover, power."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from pgvip.errors import Exit
from tests.lab.hosts import DATA_DIRECTORY, SOCKET_DIRECTORY, Host
from tests.lab.nodes import wait_until
from tests.lab.pair import PGVIP, Pair
from tests.lab.postgres import bin_directory
from tests.lab.scene import Scene

SHORT = {"postgresql": {"stop_timeout_s": 4.0}, "timing": {"stop_s": 5.0, "consent_s": 4.0}}
"""Time limits at which a switchover that cannot come about is called off soon."""
pytestmark = pytest.mark.pair(overrides=SHORT)


def restart(host: Host) -> None:
    """As an administrator does for a minor upgrade."""
    argv = [bin_directory("") / "pg_ctl", "-D", DATA_DIRECTORY, "-m", "fast", "-w", "restart", "-l", "/dev/null"]
    host.run(argv, user="postgres", timeout_s=60)


def process(host: Host, title: str) -> int:
    """The process of the host's server whose title has these words."""
    return next(one.pid for one in host.processes("postgres") if title in one.command)


def busy(host: Host) -> int:
    """The process of a session that holds nothing but itself: who stands still in a commit holds up checkpoints too."""
    psql = [bin_directory("") / "psql", "-h", SOCKET_DIRECTORY, "-d", "template1", "-c", "select pg_sleep(600)"]
    host.popen(psql, user="postgres")
    wait_until(lambda: any("template1 [local] SELECT" in one.command for one in host.processes("postgres")), 10, "busy")
    return process(host, "template1 [local] SELECT")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def saved_pause(host: Host) -> dict[str, object]:
    """The pause as the host has it on its disk."""
    pause: dict[str, object] = json.loads((host.directory / "state/record.json").read_text())["body"]["pause"]
    return pause


# --- a pause ------------------------------------------------------------------------------------------------


def test_minor_upgrade_in_a_pause(scene: Scene) -> None:
    pair = scene.pair
    pair.pgvip(scene.standby, "pause", "--for", "1h", "--reason", "minor upgrade")
    for host in (scene.primary, scene.standby):
        status = pair.status(host)
        assert (status["pause"]["reason"], status["pause"]["host"]) == ("minor upgrade", scene.standby.name)
        assert "paused" in {warning["name"] for warning in status["warnings"]}
    scene.strike()
    for host in (scene.standby, scene.primary):
        postmaster = host.postmaster()
        restart(host)
        assert host.postmaster() not in {0, postmaster}
    scene.stays(3, primary="primary", standby="standby")
    pair.pgvip(scene.primary, "resume")
    scene.finish(swapped=False, outage_max_s=5)
    assert scene.fenced(scene.primary) + scene.fenced(scene.standby) == 0


def test_a_pause_ends_by_itself_also_for_a_host_that_was_off(scene: Scene) -> None:
    pair = scene.pair
    pair.pgvip(scene.primary, "pause", "--for", "6s", "short")
    wait_until(lambda: pair.status(scene.standby)["pause"]["active"], 15, "the other host knows of it")
    scene.standby.stop_service("pgvip")
    wait_until(lambda: not pair.status(scene.primary)["pause"]["active"], 15, "the pause ends")
    pair.start_services(scene.standby)
    wait_until(lambda: not saved_pause(scene.standby)["active"], 15, "it ends on the other host too")
    scene.wait_roles(primary="primary", standby="standby")
    assert not pair.status(scene.standby)["pause"]["active"]
    scene.finish(swapped=False)


def crash(host: Host) -> None:
    """As a bug of an extension does: one backend ends by a signal, and with it every session."""
    os.kill(busy(host), signal.SIGKILL)


def test_crash_in_a_pause_is_an_outage_of_seconds(scene: Scene) -> None:
    """Nobody else would start the server again before `resume`."""
    pair, primary = scene.pair, scene.primary
    pair.pgvip(primary, "pause", "--for", "1h", "--reason", "maintenance")
    wait_until(lambda: primary.sql("show restart_after_crash") == "on", 10, "PostgreSQL restarts itself")
    wait_until(lambda: scene.standby.sql("show restart_after_crash") == "on", 10, "the standby's, too")
    scene.strike()
    crash(primary)
    assert scene.wait_writes() < 10
    scene.stays(2, primary="primary", standby="standby")
    pair.pgvip(primary, "resume")
    wait_until(lambda: primary.sql("show restart_after_crash") == "off", 10, "pgvip decides again")
    scene.finish(swapped=False)


def test_crash_while_the_daemons_are_stopped_is_an_outage_of_seconds(scene: Scene) -> None:
    for host in (scene.standby, scene.primary):
        host.stop_service("pgvip")
    scene.strike()
    crash(scene.primary)
    assert scene.wait_writes() < 10
    for host in (scene.standby, scene.primary):
        scene.pair.start_services(host)
    wait_until(lambda: scene.primary.sql("show restart_after_crash") == "off", 20, "pgvip decides again")
    scene.finish(swapped=False)


# --- switchovers ----------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing_and_names_every_check(scene: Scene) -> None:
    answer = json.loads(scene.pair.pgvip(scene.standby, "switchover", "--dry-run", "--json").stdout)
    assert answer["ok"], answer
    levels = {one["name"]: one["level"] for one in answer["checks"]}
    assert {name for name, level in levels.items() if level != "ok"} <= {"sessions"}
    assert len(levels) >= 16
    scene.standby.sql("select pg_wal_replay_pause()")
    scene.wait_roles(primary="primary", standby="none")  # reads there would grow older; else it were so only later
    refused = scene.pair.pgvip(scene.primary, "switchover", "--json", check=False)
    scene.standby.sql("select pg_wal_replay_resume()")
    assert refused.returncode == Exit.REFUSED
    failed = {one["name"] for one in json.loads(refused.stdout)["checks"] if one["level"] == "failed"}
    assert "replay" in failed
    scene.finish(swapped=False, outage_max_s=1)


def test_scheduled_switchover_outlives_its_daemon(scene: Scene) -> None:
    pair = scene.pair
    pair.pgvip(scene.standby, "switchover", "--at", "+10s")
    assert pair.status(scene.standby)["scheduled"]["by"]
    scene.standby.stop_service("pgvip")
    pair.start_services(scene.standby)
    scene.stays(2, primary="primary", standby="standby")
    scene.wait_roles(primary="standby", standby="primary", deadline_s=40)
    wait_until(lambda: "schedule-done" in scene.standby.log(), 40, "it is told")
    assert pair.status(scene.standby)["scheduled"] is None
    scene.finish(swapped=True)


def test_a_schedule_and_the_archiver_are_seen_on_both_hosts(scene: Scene) -> None:
    pair = scene.pair
    pair.pgvip(scene.standby, "switchover", "--at", "+1h")

    def tells(host: Host, part: str, by: str) -> bool:
        return bool((pair.status(host)[part] or {"host": ""})["host"] == by)

    def shown(part: str, by: str) -> None:
        """Both hosts tell of it as of the same host."""
        for host in (scene.primary, scene.standby):
            wait_until(partial(tells, host, part, by), 30, f"{host.name} tells of {part}")

    shown("scheduled", scene.standby.name)
    shown("archiving", scene.primary.name)
    for host in (scene.primary, scene.standby):
        text = pair.pgvip(host, "status").stdout
        assert f"on {scene.standby.name} at " in text
        assert f"{scene.primary.name}: no WAL file waits" in text
    refused = pair.pgvip(scene.primary, "switchover", "--cancel", check=False)
    assert refused.returncode == Exit.REFUSED
    pair.pgvip(scene.standby, "switchover", "--cancel")
    shown("scheduled", "")
    scene.finish(swapped=False)


class Ordered:
    """A switchover that is ordered while the primary's checkpointer stands still, so that there is time to interfere.

    `interfere` is called once the pre-checks are through and nothing has changed yet; `hint` when it is decided.
    """

    def __init__(
        self, scene: Scene, on: Host, interfere: Callable[[], None], hint: Callable[[], None] = lambda: None
    ) -> None:
        checkpointer = process(scene.primary, "checkpointer")
        with stopped(checkpointer):
            running = on.popen([PGVIP, "switchover", "--wait", "60"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert running.stdout is not None
            self.lines = []
            for line in running.stdout:
                self.lines.append(line)
                if "checkpoint on" in line:
                    break
            scene.strike()
            interfere()
        for line in running.stdout:
            self.lines.append(line)
            if "is being promoted" in line or "called off" in line:
                hint()
        self.code = running.wait(90)
        self.said = "".join(self.lines)


def test_called_off_when_the_standbys_daemon_stands_still(scene: Scene) -> None:
    """Nothing has been stopped yet: nobody notices."""
    daemon = scene.standby.service_pid("pgvip")
    ordered = Ordered(scene, scene.primary, lambda: os.kill(daemon, signal.SIGSTOP))
    os.kill(daemon, signal.SIGCONT)
    assert ordered.code == Exit.REFUSED, ordered.said
    assert "called off" in ordered.said
    scene.finish(swapped=False, outage_max_s=3)


def test_called_off_when_the_standby_dies(scene: Scene) -> None:
    ordered = Ordered(scene, scene.primary, scene.standby.power_off)
    assert ordered.code == Exit.REFUSED, ordered.said
    scene.wait_roles(primary="primary_standby")
    scene.finish(swapped=False, outage_max_s=15)


@pytest.mark.parametrize("on", ["primary", "standby"])
def test_cut_stream_while_it_stops(scene: Scene, on: str) -> None:
    """The standby cannot get the shutdown checkpoint. In sync it has every commit all the same."""
    primary, standby = scene.primary, scene.standby
    host = primary if on == "primary" else standby
    ordered = Ordered(
        scene, host, lambda: scene.switch.cut(primary.name, standby.name, port=5432), scene.switch.heal
    )
    assert ordered.code == Exit.OK, ordered.said
    scene.finish(swapped=True, outage_max_s=20)
    assert scene.fenced(primary) + scene.fenced(standby) == 0


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=pytest.mark.pair(mode=mode, overrides=SHORT)) for mode in ("sync", "async")]
)
def test_a_session_that_is_stopped_holds_up_no_clean_stop(scene: Scene, mode: str) -> None:
    """It is woken, and ends with its server; in async, where an unclean stop is called off, all the same."""
    backend = busy(scene.primary)
    ordered = Ordered(scene, scene.primary, lambda: os.kill(backend, signal.SIGSTOP))
    assert ordered.code == Exit.OK, f"{mode}: {ordered.said}"
    assert "called off" not in ordered.said
    scene.finish(swapped=True, outage_max_s=15)
    assert scene.fenced(scene.primary) == 0


def test_checkpoint_that_does_not_end_changes_nothing(scene: Scene) -> None:
    with stopped(process(scene.primary, "checkpointer")):
        refused = scene.pair.pgvip(scene.standby, "switchover", "--wait", "2", check=False)
    assert refused.returncode == Exit.FAILED, refused.stderr
    assert "checkpoint" in refused.stderr
    scene.finish(swapped=False, outage_max_s=1)


# --- failover and power -------------------------------------------------------------------------------------------


def refuses(pair: Pair, host: Host, *words: str) -> str:
    done = pair.pgvip(host, *words, check=False)
    assert done.returncode == Exit.REFUSED, done.stdout + done.stderr
    return done.stderr


def test_failover_by_order(scene: Scene) -> None:
    pair = scene.pair
    assert "ordered on the standby" in refuses(pair, scene.primary, "failover")
    assert "pgvip switchover does that" in refuses(pair, scene.standby, "failover")
    scene.strike()
    pair.pgvip(scene.standby, "failover", "--yes", "lab")
    scene.wait_roles(standby="primary_standby")
    scene.finish(swapped=True, outage_max_s=5)
    assert (scene.fenced(scene.primary), scene.fenced(scene.standby)) == (1, 0)


def test_host_that_was_ordered_off_stays_off(scene: Scene) -> None:
    pair = scene.pair
    assert "is the primary" in refuses(pair, scene.standby, "fence", "off", "--yes", scene.primary.name)
    assert "the name of the host" in refuses(pair, scene.primary, "fence", "off", "--yes", "lab")
    scene.strike()
    pair.pgvip(scene.primary, "fence", "off", "--yes", scene.standby.name)
    assert "power is on" not in pair.pgvip(scene.primary, "status").stdout
    scene.wait_roles(primary="primary_standby")
    assert scene.writer.outage_s(scene.struck_s) < 1.5, "commits waited for the standby"
    scene.primary.stop_service("pgvip")
    pair.start_services(scene.primary)
    end_s = time.monotonic() + 12.0
    while time.monotonic() < end_s:
        assert not scene.standby.is_on()
    assert pair.status(scene.primary)["local"]["kept_off"]
    pair.pgvip(scene.primary, "fence", "on")
    scene.finish(swapped=False, deadline_s=90)
    assert not pair.status(scene.primary)["local"]["kept_off"]


def test_nothing_is_forced_on_a_healthy_pair(scene: Scene) -> None:
    for host in (scene.primary, scene.standby):
        assert "nothing has to be forced" in refuses(scene.pair, host, "promote", "--force", "--yes", "lab")
    scene.finish(swapped=False, outage_max_s=1)
