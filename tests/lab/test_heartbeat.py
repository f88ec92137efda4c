"""A primary whose heartbeat row cannot be written: `status` and `check` say so, with PostgreSQL's reason."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.hosts import SOCKET_DIRECTORY
from tests.lab.nodes import wait_until
from tests.lab.scene import Scene

TOLD_WITHIN_S = 30.0
LOCKED_S = 40.0
"""Long enough for ten sessions, were none of them ended."""
LOCK = "begin; alter sequence pgvip.heartbeat cache 1; select pg_sleep(300)"
SESSIONS = "select count(*) from pg_stat_activity where usename = 'pgvip'"


def told(scene: Scene) -> dict[str, str]:
    """Texts of the warnings that the primary's status carries, by name."""
    return {warning["name"]: warning["text"] for warning in scene.pair.status(scene.primary)["warnings"]}


def checked(scene: Scene) -> tuple[str, str]:
    """What `pgvip check` says of the heartbeat."""
    said = scene.pair.pgvip(scene.primary, "check", "--json", "--only", "heartbeat", check=False).stdout
    [found] = json.loads(said)["checks"]
    return found["level"], found["text"]


def see_the_warning(scene: Scene, reason: str) -> None:
    scene.strike()
    wait_until(lambda: "heartbeat-failing" in told(scene), TOLD_WITHIN_S, "the warning", every_s=0.2)
    took_s = time.monotonic() - scene.struck_s
    print(f"warning after {took_s:.1f} s: {told(scene)}")
    assert took_s < TOLD_WITHIN_S
    assert reason in told(scene)["heartbeat-failing"]
    level, text = checked(scene)
    assert level == "WARNING"
    assert reason in text


def see_it_end(scene: Scene) -> None:
    wait_until(lambda: "heartbeat-failing" not in told(scene), 20, "the warning ends")
    assert checked(scene)[0] == "OK"
    scene.finish(swapped=False)


def test_the_schema_is_dropped(scene: Scene) -> None:
    assert checked(scene)[0] == "OK"
    scene.primary.sql("drop schema pgvip cascade")
    see_the_warning(scene, "does not exist")  # the schema, or since version 17 the relation
    refused = scene.pair.pgvip(scene.standby, "init", check=False)
    assert f"{scene.primary.name} is its primary" in refused.stderr
    assert "roles, schema" in scene.pair.pgvip(scene.primary, "init").stdout
    see_it_end(scene)


def test_the_right_is_revoked(scene: Scene) -> None:
    scene.primary.sql("revoke update on sequence pgvip.heartbeat from pgvip")
    see_the_warning(scene, "permission denied for sequence heartbeat")
    scene.primary.sql("grant update on sequence pgvip.heartbeat to pgvip")
    see_it_end(scene)


@pytest.mark.timeout(300)
def test_the_row_is_locked_and_no_sessions_pile_up(scene: Scene) -> None:
    before = int(scene.primary.sql(SESSIONS))
    locker = scene.primary.popen(["psql", "-Xq", "-h", SOCKET_DIRECTORY, "-c", LOCK], user="postgres")
    try:
        see_the_warning(scene, "canceling statement due to lock timeout")
        most = before
        while time.monotonic() - scene.struck_s < LOCKED_S:
            most = max(most, int(scene.primary.sql(SESSIONS)))
        print(f"sessions of pgvip: {before} before, {most} at most beside the lock")
        assert most <= before + 2
    finally:
        scene.primary.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'begin; alter%'")
        locker.wait(20)
    see_it_end(scene)
