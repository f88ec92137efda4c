"""`explain` on states made by hand: who takes over, what stands in the way, and what that is called."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pgvip.cli.explain import NAMES, render
from pgvip.core.actions import KINDS, AddVip, DropVip, Fence, Rejoin
from pgvip.core.changes import TABLE
from pgvip.core.rights import RIGHTS
from pgvip.core.values import Mode, Pause
from pgvip.explain.explanation import Explainer, explain
from pgvip.explain.needs import of_row
from pgvip.explain.scenarios import SCENARIOS
from tests.unit.core_world import NOW_S, Host, claiming, failing, primary, saw, standby, witnessed
from tests.unit.orders.test_order_table import snapshot_of

REPOSITORY = Path(__file__).parents[3]


def with_vips(host: Host) -> Host:
    """The other host tells which address it holds, as real ones do."""
    record = host.record
    other = "standby" if record.primary == host.me else "primary"
    if record.mode is Mode.SOLO:
        return host.hears(vips=() if record.primary == host.me else ("primary", "standby"))
    return host.hears(vips=(other,))


def told(host: Host) -> dict[str, Any]:
    made = snapshot_of(host)
    return explain(made.config, made.decision, made.seen, NOW_S, {"Fence": 1.0})


def scenario(host: Host, name: str, fence_s: float = 1.0) -> dict[str, Any]:
    made = snapshot_of(host)
    explainer = Explainer(made.config, made.decision, made.seen, NOW_S, {"Fence": fence_s})
    return explainer.scenario(next(one for one in SCENARIOS if one.name == name))


HEALTHY = [
    with_vips(host).sees(fence=saw("on"))
    for host in (primary(), standby(), primary(sync=False), standby(sync=False))
]


@pytest.mark.parametrize("host", HEALTHY, ids=["primary", "standby", "primary-async", "standby-async"])
def test_a_healthy_pair_is_explained_alike_by_both_hosts(host: Host) -> None:
    document = told(host)
    found = {one["name"]: one for one in document["scenarios"]}
    assert tuple(found) == NAMES == tuple(one.name for one in SCENARIOS)
    assert document["takeover_works"] is True
    stays = {"standby-host", "link"}
    assert {name: one["served_by"] for name, one in found.items()} == {n: "a" if n in stays else "b" for n in NAMES}
    assert not any(one["blockers"] for one in found.values())
    s = host.s
    least_s = s.dead_after_s + 1.0  # its device says at once that it is off: no fence_delay
    assert least_s <= found["primary-host"]["outage_s"] < least_s + 1.0
    assert found["primary-database"]["outage_s"] < 1.0
    assert found["standby-host"]["outage_s"] == (pytest.approx(s.dead_after_s + 1.0, abs=1.0) if s.sync else 0.0)
    for one in found.values():
        assert one["outage_max_s"] >= one["outage_s"]
        assert [step["at_s"] for step in one["steps"]] == sorted(step["at_s"] for step in one["steps"])
    assert "nothing" in found["switchover"]["loss"]
    assert ("lag_s_max" in found["primary-host"]["loss"]) is not s.sync
    assert found["primary-database"]["loss"].startswith("nothing")  # async: what the standby lacks is salvaged


@pytest.mark.parametrize("make", [primary, standby])
def test_with_a_witness_it_counts_with_lease_and_wait(make: Callable[[], Host]) -> None:
    host = witnessed(with_vips(make()), heard_s=0.2)
    lost = scenario(host.configured(fencing=False), "primary-host")
    assert not lost["blockers"]
    if make is standby:
        assert lost["served_by"] == "b"
        assert lost["outage_s"] == pytest.approx(host.s.loses_within_s * 1.1, abs=0.5)
    texts = [step["text"] for step in scenario(host, "link")["steps"]]
    assert "asks the witness for the term" in texts
    assert "has the term" in texts
    assert "learns that the term is a's" in texts
    assert scenario(host, "link")["served_by"] == "a"
    assert scenario(host, "standby-host")["outage_s"] == pytest.approx(host.s.dead_after_s, abs=0.5)


def test_the_steps_name_rows_of_the_table() -> None:
    rows = {row.name for row in TABLE}
    document = told(HEALTHY[0])
    changes = {
        one["name"]: [step["change"] for step in one["steps"] if step["change"]] for one in document["scenarios"]
    }
    assert set().union(*changes.values()) <= rows
    assert changes["primary-host"][0] == "take-over-by-fence"
    assert changes["primary-database"] == ["hand-over-database", "take-over-by-consent"]
    assert changes["standby-host"][0] == "solo-by-fence"
    assert changes["gateway"][0] == "hand-over-gateway"
    assert changes["switchover"][0] == "hand-over-switchover"
    texts = {one["name"]: [step["text"] for step in one["steps"]] for one in document["scenarios"]}
    assert "agrees, and gives the role up to b" in texts["switchover"]


def paused(host: Host) -> Host:
    pause = Pause(1, active=True, reason="maintenance")
    return host.durable(pause=pause).hears(pause=pause)


def fence_fails(host: Host) -> Host:
    return host.sees(fence=failing("on"))


BLOCKED: dict[str, tuple[Host, str, str]] = {
    "not eligible": (HEALTHY[1].knows(grant=None), "primary-host", "granted"),
    "not eligible, by the primary": (HEALTHY[0].hears(eligible=False).knows(given=None), "primary-host", "granted"),
    "no watchdog": (
        HEALTHY[1].configured(watchdog_required=True).sees(watchdog=failing()), "primary-host", "guarded"),
    "no watchdog, by the primary": (
        HEALTHY[0].configured(watchdog_required=True).hears(guarded=False, eligible=False), "primary-host", "guarded"),
    "no watchdog of the standby, for a hand-over": (
        HEALTHY[0].configured(watchdog_required=True).sees(watchdog=saw(value=True))
        .hears(guarded=False, eligible=False), "primary-database", "peer-guarded"),
    "paused": (paused(HEALTHY[1]), "primary-host", "not-paused"),
    "paused, by the primary": (paused(HEALTHY[0]), "primary-host", "not-paused"),
    "hold": (HEALTHY[1].durable(hold="term 5 took the role"), "primary-host", "no-hold"),
    "hold, by the primary": (HEALTHY[0].hears(hold="compare"), "primary-database", "peer-hold"),
    "no gateway": (HEALTHY[1].sees(gateway=failing("192.0.2.1")), "primary-host", "gateway"),
    "no gateway, by the primary": (HEALTHY[0].hears(gateway_ok=False), "primary-host", "gateway"),
    "no fencing": (HEALTHY[1].configured(fencing=False), "primary-host", "no-fencing"),
    "broken fence": (fence_fails(HEALTHY[1]), "primary-host", "fence-device"),
    "standby's database": (HEALTHY[0].hears(database_ok=False), "primary-database", "peer-database"),
    "silent standby": (HEALTHY[0].silence(), "primary-host", "peer-unknown"),
    "alone": (with_vips(primary(Mode.SOLO)), "primary-host", "pair"),
    "alone, the standby off": (with_vips(primary(Mode.SOLO)).silence(), "primary-host", "pair"),
    "alone, the standby's word": (with_vips(standby(Mode.SOLO)), "primary-host", "pair"),
    "standby cannot be fenced": (fence_fails(HEALTHY[0]), "standby-host", "fence-device"),
    "primary unhealthy": (HEALTHY[0].sees(gateway=failing("192.0.2.1")), "standby-host", "gateway"),
}


@pytest.mark.parametrize("case", BLOCKED)
def test_each_blocker_has_its_name_and_hint(case: str) -> None:
    host, name, blocker = BLOCKED[case]
    found = scenario(host, name)
    assert blocker in {one["name"] for one in found["blockers"]}, found
    assert all(one["text"] and one["hint"] for one in found["blockers"])
    assert found["served_by"] in (None, "a")
    assert not found["moves"]


@pytest.mark.parametrize("host", HEALTHY)
def test_a_pause_is_one_blocker_in_the_same_words_everywhere(host: Host) -> None:
    for name in ("primary-host", "primary-database"):
        blockers = scenario(paused(host), name)["blockers"]
        assert {(one["name"], one["text"]) for one in blockers} == {("not-paused", "automatic action is paused")}


def test_half_an_hour_is_not_played_where_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[bool] = []
    play = Explainer.play

    def noted(self: Explainer, one: Any, *, longest: bool = False) -> Any:
        played.append(longest)
        return play(self, one, longest=longest)

    monkeypatch.setattr(Explainer, "play", noted)
    assert scenario(HEALTHY[1].configured(fencing=False), "primary-host")["outage_max_s"] is None
    assert scenario(HEALTHY[1], "primary-host")["outage_max_s"] > 0
    assert played == [False, False, True]


def test_a_dead_database_without_a_taker_comes_back_in_place() -> None:
    found = scenario(HEALTHY[1].knows(grant=None), "primary-database")
    assert (found["served_by"], found["moves"]) == ("a", False)
    assert any("starts PostgreSQL again" in step["text"] for step in found["steps"])


def test_a_lease_that_ends_during_the_slowest_fence_is_no_takeover() -> None:
    host = with_vips(standby(sync=False)).configured(lag_s_max=20.0)
    grant = host.k.grants.grant
    assert grant is not None
    found = scenario(host.knows(grant=replace(grant, expires_s=NOW_S + 20.0)), "primary-host")
    assert found["moves"]
    assert found["outage_max_s"] is None


def test_a_stranger_on_the_address_keeps_the_winner_from_raising_it() -> None:
    host = HEALTHY[1].sees(arp_primary=saw("52:54:00:00:00:99"))
    stranger = host.hears(vips=())
    assert scenario(stranger, "primary-host")["served_by"] is None


def test_explaining_changes_nothing() -> None:
    made = snapshot_of(claiming(standby()))
    before = repr(made)
    Explainer(made.config, made.decision, made.seen, NOW_S, {}).scenario(SCENARIOS[0])
    assert repr(made) == before


def test_measured_times_count() -> None:
    quick, slow = (scenario(HEALTHY[1], "primary-host", fence_s)["outage_s"] for fence_s in (0.2, 9.0))
    assert 8.0 < slow - quick < 9.5


def test_each_condition_of_a_right_is_in_the_document_of_blockers() -> None:
    listed = set(re.findall(r"`([a-z-]+)`", (REPOSITORY / "docs" / "explain.md").read_text(encoding="utf-8")))
    wanted = {condition.name for name in ("solo", "takeover", "peer-ready") for condition in RIGHTS[name]}
    assert sorted(wanted - listed) == []


def test_a_row_that_holds_has_no_blocker() -> None:
    assert of_row(standby().silence().facts, "take-over-by-fence") == ()
    assert {one.name for one in of_row(standby().facts, "take-over-by-fence")} == {"peer-silent"}


def test_the_text_shows_steps_blockers_and_mends() -> None:
    text = "\n".join(render(told(HEALTHY[1].knows(grant=None))))
    assert "b would NOT take over now" in text
    assert "BLOCKER granted: b is not eligible: a has not said" in text
    assert "[take-over-by-fence]" not in text
    document = told(HEALTHY[1])
    text = "\n".join(render(document))
    assert "b would take over now, as seen by b" in text
    assert "If the primary's host a loses its power  [primary-host]" in text
    assert "raises the primary VIP" in text
    short = render(document, short=True)
    assert len(short) == 1 + len(document["scenarios"])
    assert all(line.startswith(f"  {one['name']}") for line, one in zip(short[1:], document["scenarios"], strict=True))




def test_both_fences_under_way_is_a_caution() -> None:
    slow, quick = (scenario(HEALTHY[0], "link", fence_s)["cautions"] for fence_s in (3.0, 0.3))
    assert any("fence_delay_s" in caution for caution in slow)
    assert not any("fence_delay_s" in caution for caution in quick)


def test_what_only_the_other_host_knows_is_said() -> None:
    by_primary, by_standby = (scenario(host, "primary-host")["cautions"] for host in HEALTHY[:2])
    assert any("pgvip fence test there" in caution for caution in by_primary)
    assert by_standby == []


def test_every_action_has_its_time_and_a_measured_one_counts_before_the_usual() -> None:
    made = snapshot_of(HEALTHY[0])
    times = Explainer(made.config, made.decision, made.seen, NOW_S, {"Fence": 0.7, "AddVip": 0.9}).times
    assert set(times.usual) == set(times.longest) == set(KINDS)
    assert (times.usual[Fence], times.usual[AddVip], times.longest[AddVip]) == (0.7, 0.9, 9.0)
    assert times.usual[DropVip] == DropVip.properties.usual_s
    assert times.longest[DropVip] == 3.0
    assert times.longest[Rejoin] == times.usual[Rejoin]


def test_where_the_peer_is_removed_it_is_said_that_nobody_takes_over() -> None:
    host = with_vips(primary(Mode.SOLO)).silence().durable(removed="2026-01-01T00:00:00+00:00")
    found = told(host)
    assert (found["removed"], found["takeover_works"]) == (True, False)
    for scenario in found["scenarios"]:
        assert [one["name"] for one in scenario["blockers"]] == ["not-removed"]
    assert found["scenarios"][0]["summary"] == "NOBODY would serve writes: b is removed: nobody takes over"
    assert "b is removed: nobody takes over" in render(found)[0]
