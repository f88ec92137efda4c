"""Which path gives what, who must bring a password, and what is kept for the next viewer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from pgvip.deadlines import wait_until
from pgvip.errors import PgvipError
from pgvip.web import cache
from pgvip.web import site as site_module
from pgvip.web.cache import Background, Kept
from pgvip.web.health import CHECKS
from pgvip.web.http import Request
from pgvip.web.plots import RANGES
from pgvip.web.site import Site
from tests.unit.status.test_document import CONFIG, RECORD
from tests.unit.web_world import World, healthy, solo, standby

PROTECTED = ("/", "/fragment", "/status", "/cluster", "/metrics")
SECRET = b"dba:se:cret"


def status(site: Site, path: str, given: str = "") -> int:
    fields = {"authorization": given} if given else {}
    return site.respond(Request("GET", path, {}, fields), SECRET).status


def basic(text: bytes) -> str:
    return f"Basic {base64.b64encode(text).decode()}"


@pytest.mark.parametrize("path", PROTECTED)
def test_all_but_the_health_checks_ask_for_the_password(path: str) -> None:
    site = World().site()
    assert status(site, path) == 401
    bearer = basic(SECRET).replace("Basic", "Bearer")
    for wrong in ("Basic", "Basic %%%", bearer, basic(b"dba"), basic(b"dba:secret"), basic(b""), "Basic \xe9"):
        assert status(site, path, wrong) == 401, wrong
    assert status(site, path, basic(SECRET)) == 200
    assert status(site, path, basic(SECRET).replace("Basic", "basic")) == 200
    refused = site.respond(Request("GET", path), SECRET)
    assert ("WWW-Authenticate", 'Basic realm="pgvip", charset="UTF-8"') in refused.fields
    assert CONFIG.name not in refused.body.decode()


def test_load_balancers_need_no_password() -> None:
    site = World().site()
    for path in (*CHECKS, "/liveness"):
        assert status(site, path) in (200, 503), path


def test_paths() -> None:
    world = World()
    assert world.get("/primary/").status == 200
    assert world.site().respond(Request("OPTIONS", "*"), None).status == 200
    missing = world.get("/etc/passwd<script>")
    assert missing.status == 404
    assert json.loads(missing.body)["error"] == "there is nothing at /etc/passwd<script>"
    assert missing.kind == "application/json"


def test_status_is_what_the_command_prints() -> None:
    document = healthy()
    answer = World(document).get("/status")
    assert json.loads(answer.body) == document
    assert answer.kind == "application/json"


def test_the_version_of_the_keys_comes_first() -> None:
    for path in ("/status", "/cluster", "/primary", "/liveness", "/none"):
        assert World(healthy()).get(path).body.startswith(b'{"schema": 1, '), path
    assert World(None).get("/status").body.startswith(b'{"schema": 1, "error": ')
    assert b"\npgvip_schema_version{" in World(None).get("/metrics").body


def test_before_the_first_round_everything_says_so() -> None:
    world = World(None)
    assert world.get("/status").status == world.get("/cluster").status == 503
    assert "just started" in json.loads(world.get("/status").body)["error"]
    assert world.get("/metrics").status == world.get("/").status == 200
    assert b"pgvip_build_info" in world.get("/metrics").body
    assert b"pgvip_term" not in world.get("/metrics").body
    assert b"has just started" in world.get("/").body


def test_cluster_as_patroni_shows_it() -> None:
    found = json.loads(World(healthy()).get("/cluster").body)
    assert found["scope"] == "shop"
    leader, standing = found["members"]
    assert leader == {
        "name": "alpha", "role": "leader", "state": "running", "host": "10.0.0.1", "port": 5432, "timeline": 2,
    }  # fmt: skip
    assert (standing["role"], standing["state"], standing["lag"]) == ("sync_standby", "streaming", 100)
    behind, other = json.loads(World(standby()).get("/cluster").body)["members"]
    assert (behind["role"], behind["lag"], other["role"]) == ("sync_standby", 200, "leader")
    alone = json.loads(World(solo()).get("/cluster").body)["members"]
    assert [one["role"] for one in alone] == ["leader", "replica"]
    loose = json.loads(World(standby(None, record=replace(RECORD, sync=False))).get("/cluster").body)["members"]
    assert (loose[0]["role"], loose[0]["lag"]) == ("replica", "unknown")


def test_a_part_that_cannot_be_read_is_left_out() -> None:
    def fails(_count: float) -> list[dict[str, object]]:
        raise OSError("disk")

    sources = replace(World().sources(), events=fails, samples=fails)
    answer = Site(lambda: CONFIG, sources).respond(Request("GET", "/"), None)
    assert answer.status == 200
    assert b"Replication" in answer.body


def test_the_page_shows_the_time_that_the_link_names() -> None:
    for path in ("/", "/fragment"):
        world = World()
        answer = world.get(path, range="6h")
        assert (answer.status, world.ranges) == (200, [6 * 3600.0])
        assert b'href="?range=6h" aria-current="true"' in answer.body
        assert answer.body.count(b" aria-current=") == 1
        world.get(path)
        assert world.ranges[1:] == [900.0]
        for wrong in ("", "6H", "1e9", "<b>"):
            refused = world.get(path, range=wrong)
            assert (refused.status, json.loads(refused.body)["error"]) == (400, f'range is "{wrong}"')
            assert "15min, 1h, 6h, 24h, 7d, 30d" in json.loads(refused.body)["hint"]


def test_viewers_of_different_times_share_no_page_and_a_long_time_is_read_less_often() -> None:
    world = World()
    site = world.site()
    for name in ("24h", "15min", "24h", "15min"):
        body = site.respond(Request("GET", "/fragment", {"range": name}), None).body
        assert f'id="range-{name}" href="?range={name}" aria-current="true"'.encode() in body
    assert world.ranges == [86_400.0, 900.0]
    fresh = [one.fresh_s for one in RANGES.values()]
    assert fresh == sorted(fresh)
    assert (fresh[0], fresh[-1]) == (4.0, 30.0)


# --- what is kept -------------------------------------------------------------------------------------


def test_many_viewers_cost_one_page() -> None:
    world = World()
    site = world.site()
    for _ in range(5):
        site.respond(Request("GET", "/fragment"), None)
    assert world.asked == ["status"]


def test_what_is_kept_is_made_again_when_it_is_old() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    always, long = Kept(make, fresh_s=0.0), Kept(make, fresh_s=60.0)
    assert [always.get(), always.get(), long.get(), long.get()] == [1, 2, 3, 3]


def test_a_viewer_does_not_wait_for_ever_for_anothers_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAKING_S", 0.05)
    begun, release = threading.Event(), threading.Event()

    def make() -> str:
        begun.set()
        release.wait(5.0)
        return "made"

    page = Kept(make, fresh_s=60.0)
    first = threading.Thread(target=page.get)
    first.start()
    assert begun.wait(5.0)
    with pytest.raises(PgvipError, match="another client"):
        page.get()
    release.set()
    first.join(5.0)
    assert page.get() == "made"


def test_a_page_that_no_thread_can_make_anew_is_shown_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    page = Background(lambda: "made", "nothing", fresh_s=0.0, wait_s=5.0, name="test")
    assert page.get() == "made"
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert [page.get(), page.get()] == ["made", "made"]


def soon(condition: Callable[[], object]) -> None:
    wait_until(lambda: condition() or None, 5.0, what="a condition", error=PgvipError)


def test_what_is_made_beside_is_shown_only_for_its_own_state_of_things() -> None:
    made: list[int] = []
    release = threading.Event()

    def make() -> str:
        release.wait(5.0)
        made.append(1)
        return f"made {len(made)}"

    beside = Background(make, "none", fresh_s=60.0, wait_s=0.0, name="background")
    assert beside.get("pair") == beside.get("pair") == "none"  # and it is made once
    release.set()
    soon(lambda: beside.get("pair") == "made 1")
    assert beside.get("pair") == "made 1"
    release.clear()
    assert beside.get("solo") == "none"
    release.set()
    soon(lambda: beside.get("solo") == "made 2")
    assert len(made) == 2


def test_what_is_made_beside_is_waited_for_and_no_longer_than_that() -> None:
    made: list[int] = []
    hang, release = threading.Event(), threading.Event()

    def make() -> int:
        if hang.is_set():
            release.wait(10.0)
        made.append(1)
        return len(made)

    beside = Background(make, 0, fresh_s=0.0, wait_s=5.0, name="background")
    assert [beside.get(), beside.get()] == [1, 2]
    beside._wait_s = 0.05
    hang.set()
    assert [beside.get(), beside.get()] == [2, 2]  # the newest there is
    assert len([thread for thread in threading.enumerate() if thread.name == "background"]) == 1
    hang.clear()
    release.set()
    soon(lambda: beside.get() >= 3)


def test_an_explanation_is_not_shown_for_another_state_of_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_module, "FRESH_S", 0.0)
    monkeypatch.setattr(site_module, "READ_S", 0.0)
    world = World(explained={"scenarios": [{"name": "a", "title": "it rains", "summary": "wet"}]})
    site = world.site()

    def text() -> str:
        return site.respond(Request("GET", "/"), None).body.decode()

    soon(lambda: "it rains" in text())
    world.document, world.explained = solo(), {"scenarios": [{"name": "a", "title": "it snows", "summary": "white"}]}
    assert "it rains" not in text()
    soon(lambda: "it snows" in text())
