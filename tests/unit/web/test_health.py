"""The health checks: who gives 200, by document, age and parameters; and a reason with every 503."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.observations import Database, Observation, Processes
from pgvip.core.values import NEVER, Lsn, Mode, WalPoint
from pgvip.web.health import CHECKS, LIVE_S
from tests.unit.status.test_document import NOW_S, PRIMARY, RECORD
from tests.unit.web_world import PRIMARY_SAYS, STANDBY, Document, World, healthy, primary, says, solo, standby

ALL = {*CHECKS, "/liveness"}
PRIMARIES = {"/primary", "/leader", "/master", "/read-write"}
ANY_SERVER = {"/read-only", "/read-only-sync", "/health", "/readiness", "/liveness"}
STANDBYS = {"/standby", "/replica"}
SYNC = {"/sync", "/synchronous"}
ASYNC = {"/async", "/asynchronous"}
ASYNC_RECORD = replace(RECORD, sync=False)


def yes(document: Document, **changes: Any) -> set[str]:
    """The checks that give 200; each of the others gives 503 and its reason."""
    world = World(document, **changes)
    answers = {path: world.get(path) for path in ALL}
    for path, answer in answers.items():
        told = json.loads(answer.body)
        assert answer.status in (200, 503), path
        assert told["ok"] is (answer.status == 200)
        assert bool(told["reason"]) is (answer.status == 503), path
    return {path for path, answer in answers.items() if answer.status == 200}


def test_each_role_has_its_checks() -> None:
    assert yes(healthy()) == PRIMARIES | ANY_SERVER
    assert yes(standby()) == STANDBYS | SYNC | ANY_SERVER
    assert yes(standby(record=ASYNC_RECORD)) == STANDBYS | ASYNC | (ANY_SERVER - {"/read-only-sync"})


def test_the_survivor_is_primary_and_readable_and_no_replica() -> None:
    assert yes(solo()) == PRIMARIES | ANY_SERVER


def test_no_right_no_primary() -> None:
    """Confirmation, the hand-over condition, and a sync pair's restart: as for the primary VIP."""
    assert not yes(primary(says(), confirmed=False)) & PRIMARIES
    unserved = primary(says(), served=False, record=replace(RECORD, from_term=2))
    assert unserved["role"] == "primary"
    assert not yes(unserved) & PRIMARIES
    assert json.loads(World(unserved).get("/primary").body)["reason"] == "alpha does not have the write right"

    def restarted(knowledge: Any) -> None:
        knowledge.database = replace(knowledge.database, caught_up="4:4")

    behind = Observation(replace(database(), recovered_end=Lsn(950)), NOW_S)
    waiting = primary(says(), seen=replace(PRIMARY, database=behind), change=restarted)
    assert waiting["rights"] == {"write": True, "serve": False}
    assert "before its standby has caught up" in json.loads(World(waiting).get("/primary").body)["reason"]
    assert not yes(waiting) & PRIMARIES
    assert yes(waiting) >= {"/health", "/liveness"}
    unheld = replace(PRIMARY, database=behind, held=Observation(frozenset(), NOW_S))
    assert primary(says(), seen=unheld)["rights"]["serve"] is False


def database() -> Database:
    assert PRIMARY.database.value is not None
    return PRIMARY.database.value


def test_a_dead_or_hung_server_serves_nobody() -> None:
    dead = replace(PRIMARY, processes=Observation(Processes(installed=True), NOW_S))
    assert yes(primary(says(), seen=dead)) == {"/liveness"}
    stuck = Observation(value=True, at_s=NOW_S - 20, failures=5, failed_at_s=NOW_S, failing_since_s=NOW_S - 19)
    assert yes(primary(says(), seen=replace(PRIMARY, connection=stuck))) == {"/liveness"}
    down = replace(STANDBY, processes=Observation(Processes(installed=True, standby_signal=True), NOW_S))
    assert yes(standby(seen=down)) == {"/liveness"}


def test_a_read_write_server_that_the_record_calls_standby_is_neither() -> None:
    wrong = replace(STANDBY, database=Observation(replace(standby_database(), in_recovery=False), NOW_S))
    assert not yes(standby(seen=wrong)) & (PRIMARIES | STANDBYS)


def test_disks_that_take_no_writes_are_no_health() -> None:
    late = Observation(value=True, at_s=NOW_S - 60, failures=1, failed_at_s=NOW_S, failing_since_s=NOW_S - 1)
    found = yes(primary(says(), seen=replace(PRIMARY, disks=late)))
    assert "/health" not in found
    assert "/primary" in found


@pytest.mark.parametrize("document", [healthy(), standby(), solo()])
def test_a_loop_that_stands_still_serves_nobody(document: Document) -> None:
    assert yes(document, age_s=3.1) == {"/liveness"}
    assert yes(document, age_s=2.9) > {"/liveness"}
    assert yes(document, age_s=LIVE_S - 0.1) == {"/liveness"}
    assert yes(document, age_s=LIVE_S + 0.1) == set()


def test_before_the_first_round() -> None:
    world = World(None)
    for path in ALL:
        assert world.get(path).status == 503, path
    assert "just started" in json.loads(world.get("/primary").body)["reason"]


def standby_database() -> Database:
    assert STANDBY.database.value is not None
    return STANDBY.database.value


@pytest.mark.parametrize("path", ["/replica", "/standby", "/read-only", "/sync"])
def test_lag_is_measured_by_replay_and_the_limit_is_included(path: str) -> None:
    world = World(standby())  # 200 bytes not replayed, 100 not received
    assert world.get(path, lag="200").status == 200
    assert world.get(path, lag="199").status == 503
    assert world.get(path, lag="1kB").status == 200
    assert world.get(path, lag="100", mode="write").status == 200
    assert world.get(path, lag="99", mode="write").status == 503


def test_lag_that_is_not_known_is_too_much() -> None:
    assert World(standby(None)).get("/replica").status == 200
    assert World(standby(None)).get("/replica", lag="1TB").status == 503
    other = replace(PRIMARY_SAYS, point=WalPoint(3, Lsn(1000)))
    assert World(standby(other)).get("/replica", lag="1TB").status == 503


def test_replication_state() -> None:
    world = World(standby())
    assert world.get("/replica", replication_state="streaming").status == 200
    assert world.get("/replica", replication_state="in archive recovery").status == 503
    quiet = replace(standby_database(), streaming=False, moved_at_s=NEVER)
    still = replace(STANDBY, database=Observation(quiet, NOW_S))
    world = World(standby(seen=still))
    assert world.get("/replica").status == 200
    assert world.get("/replica", replication_state="streaming").status == 503
    assert world.get("/replica", replication_state="in archive recovery").status == 200
    assert world.get("/sync").status == 503
    assert world.get("/readiness", lag="1TB").status == 503


def test_readiness_has_a_limit_of_its_own() -> None:
    world = World(standby(), lag_bytes_max=199)  # of the configuration; the replay is 200 bytes behind
    assert world.get("/readiness").status == 503
    assert world.get("/readiness", mode="write").status == 200
    assert world.get("/readiness", lag="200").status == 200
    assert World(healthy()).get("/readiness", lag="0").status == 200


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("/replica", {"lag": "much"}, "lag='much'"),
        ("/replica", {"lag": "-1"}, "lag='-1'"),
        ("/replica", {"lag": "1", "mode": "half"}, "mode='half'"),
        ("/replica", {"mode": "half"}, "mode=apply or mode=write"),
        ("/replica", {"lag": ""}, "lag=16MB"),
        ("/read-only", {"replication_state": "stopped"}, "replication_state='stopped'"),
        ("/readiness", {"lag": "banana"}, "lag='banana'"),
        ("/replica", {"tag_key": "x"}, "'tag_key'"),
        ("/primary", {"lag": "1"}, "'lag'"),
        ("/health", {"x": ""}, "'x'"),
    ],
)
@pytest.mark.parametrize("document", [standby(), healthy(), solo(), primary(None)])
def test_a_wrong_parameter_is_named_whatever_the_role(
    document: Document, path: str, query: dict[str, str], named: str
) -> None:
    answer = World(document).get(path, **query)
    assert answer.status == 400
    assert named in json.loads(answer.body)["reason"]


def test_a_solo_record_makes_no_synchronous_standby() -> None:
    left = standby(record=replace(RECORD, mode=Mode.SOLO))
    assert "/async" in yes(left)
    assert "/sync" not in yes(left)
