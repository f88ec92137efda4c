"""The pre-checks of a switchover: a case for each finding, good and bad."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.changes import HAND_OVER_SWITCHOVER, TAKE_OVER_BY_ORDER
from pgvip.core.conditions import unmet
from pgvip.core.knowledge import Switchover
from pgvip.core.settings import Settings
from pgvip.core.values import Lsn, Mode, Override, Pause
from pgvip.orders.prechecks import CHECKS, Facts, Finding, Level, Readiness, Side, refused, switchover
from tests.unit.core_world import NOW_S, Alter, Host, failing, heard_from, primary, record, settings, standby

BASE = Readiness(
    host="", pgvip="1", digest="d", version=15, in_recovery=False, lsn=Lsn(1000), replay_lsn=Lsn(1000),
    replay_paused=False, senders_max=10, senders=1, slots_max=10, slots=1, peer_slot=True, logical_slots="",
    replica_state="streaming", replica_sync="sync", checksums=True, wal_log_hints=False, archive_failing="",
    archive_ready=0, sessions=3, oldest_s=0.0, prepared=0, fence="",
)  # fmt: skip


def ready(host: str, **changes: Any) -> Readiness:
    standby = {"in_recovery": True, "replica_state": "", "replica_sync": ""} if host == "b" else {}
    return replace(BASE, **{"host": host, **standby, **changes})


def side(host: str, about: dict[str, Any] | None = None, **changes: Any) -> Side:
    return Side(host, heard_from(host, record(), **(about or {})), ready(host, **changes))


def facts(**changes: Any) -> Facts:
    """A healthy pair as its primary "a" sees it."""
    return replace(Facts(settings("a"), side("a"), side("b")), **changes)


def levels(given: Facts) -> dict[str, Level]:
    """The worst level of each check."""
    order = [*Level]
    found: dict[str, Level] = {}
    for one in switchover(given):
        found[one.name] = max(found.get(one.name, Level.OK), one.level, key=order.index)
    return found


def test_a_healthy_pair_passes_every_check() -> None:
    found = switchover(facts())
    assert {one.level for one in found} == {Level.OK, Level.INFO}
    assert [one.name for one in found if one.level is Level.INFO] == ["sessions"]
    assert len(found) > len(CHECKS)
    assert all(one.text for one in found)
    assert refused(found) == ()


def test_the_standby_sees_the_same() -> None:
    seen = Facts(settings("b"), side("b"), side("a"))
    assert seen.primary.name == "a"
    assert levels(seen) == levels(facts())


CASES: dict[str, tuple[str, Level, bool, Facts]] = {
    "unconfirmed": ("record", Level.FAILED, True, facts(me=side("a", {"confirmed": False}))),
    "no record": ("record", Level.FAILED, True, facts(me=side("a", {"record": None}))),
    "solo": ("record", Level.FAILED, True, facts(me=side("a", {"record": record(mode=Mode.SOLO)}))),
    "busy": ("record", Level.FAILED, True, facts(changing="b is being fenced")),
    "silent": ("peer-daemon", Level.FAILED, True, facts(peer=replace(side("b"), message=None))),
    "other term": ("peer-daemon", Level.FAILED, True, facts(peer=side("b", {"record": record(term=2)}))),
    "paused": ("pause", Level.FAILED, True, facts(peer=side("b", {"pause": Pause(1, active=True)}))),
    "hold": ("hold", Level.FAILED, True, facts(peer=side("b", {"hold": "wrote"}))),
    "leaving": ("leaving", Level.FAILED, True, facts(peer=side("b", {"leaving": True}))),
    "no watchdog": ("eligible", Level.FAILED, True, facts(peer=side("b", {"eligible": False, "guarded": False}))),
    "primary mute": ("primary-database", Level.FAILED, True, facts(me=replace(side("a"), ready=None, why="down"))),
    "standby mute": ("standby-database", Level.FAILED, True, facts(peer=replace(side("b"), ready=None, why="down"))),
    "standby writes": ("standby-database", Level.FAILED, True, facts(peer=side("b", in_recovery=False))),
    "versions": ("postgresql-version", Level.FAILED, True, facts(peer=side("b", version=16))),
    "detached": ("streaming", Level.FAILED, True, facts(me=side("a", replica_state=""))),
    "catching up": ("streaming", Level.FAILED, True, facts(me=side("a", replica_state="catchup"))),
    "receives nothing": ("streaming", Level.FAILED, True, facts(peer=side("b", {"streaming": False}))),
    "not eligible": ("eligible", Level.FAILED, True, facts(peer=side("b", {"eligible": False}))),
    "replay paused": ("replay", Level.FAILED, True, facts(peer=side("b", replay_paused=True))),
    "far behind": ("lag-received", Level.FAILED, False, facts(me=side("a", lsn=Lsn(1001 + (16 << 20))))),
    "replays late": ("lag-replayed", Level.FAILED, False, facts(peer=side("b", {"replay_lag_s": 61.0}))),
    "wrong line": ("settings", Level.FAILED, False, facts(peer=side("b", wrong_settings="x line 3: typo"))),
    "archive fails": ("archive", Level.WARNING, False, facts(me=side("a", archive_failing="0001"))),
    "archive waits": ("archive", Level.WARNING, False, facts(me=side("a", archive_ready=16))),
    "archive backlog": ("archive", Level.WARNING, False, facts(me=side("a", archive_ready=128))),
    "late WAL client": ("wal-clients", Level.WARNING, False, facts(me=side("a", late_clients="pg_receivewal (pid 7)"))),
    "reader": ("replay-blocked", Level.WARNING, False, facts(peer=side("b", replay_blockers="bob in shop (pid 7)"))),
    "no sender": ("wal-senders", Level.FAILED, False, facts(peer=side("b", senders=10))),
    "one sender": ("wal-senders", Level.WARNING, False, facts(peer=side("b", senders=9))),
    "no slot": ("slots", Level.FAILED, False, facts(peer=side("b", slots=10, peer_slot=False))),
    "logical": ("logical-slots", Level.WARNING, False, facts(me=side("a", logical_slots="cdc, sub"))),
    "no rewind": ("rewind", Level.WARNING, False, facts(peer=side("b", checksums=False))),
    "no fencing": ("fencing", Level.INFO, False, facts(me=side("a", fence="none"))),
    "fence mute": ("fencing", Level.WARNING, False, facts(peer=side("b", fence="no answer"))),
    "files differ": ("configuration", Level.WARNING, False, facts(peer=side("b", {"digest": "x"}))),
    "old pgvip": ("pgvip-version", Level.WARNING, False, facts(peer=side("b", {"version": "0"}))),
    "no gateway": ("gateway", Level.FAILED, False, facts(peer=side("b", {"gateway_ok": False}))),
    "long": ("long-transactions", Level.INFO, False, facts(me=side("a", oldest_s=60.0))),
    "prepared": ("prepared-transactions", Level.INFO, False, facts(me=side("a", prepared=1))),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_found_and_nothing_else(case: str) -> None:
    name, level, hard, given = CASES[case]
    found = [one for one in switchover(given) if one.name == name and one.level is level]
    assert found, levels(given)
    assert found[0].hard is hard
    if level in (Level.FAILED, Level.WARNING):
        assert found[0].hint
    healthy = levels(facts())
    others = {other for other, seen in levels(given).items() if seen is not healthy.get(other, Level.OK)}
    assert others - {name} <= ({"lag-replayed"} if case == "far behind" else set())


def held(host: Host) -> Host:
    return host.durable(hold="both wrote") if host.facts.standby else host.hears(hold="both wrote")


def leaves(host: Host) -> Host:
    return host.knows(leaving=True) if host.facts.standby else host.hears(leaving=True)


def unguarded(host: Host) -> Host:
    if host.facts.primary:
        return host.hears(eligible=False, guarded=False)
    return host.configured(watchdog_required=True).sees(watchdog=failing())


WRONG: dict[str, Alter] = {
    "paused": lambda h: h.durable(pause=Pause(1, active=True)),
    "unconfirmed": lambda h: h.knows(confirmed=False),
    "records differ": lambda h: h.knows(confirmed=False, alarm="they differ"),
    "leaving": leaves,
    "hold": held,
    "no grant": lambda h: h.knows(grant=None) if h.facts.standby else h.hears(eligible=False),
    "no watchdog": unguarded,
}
"""What keeps a standby from taking the role, on the standby itself and as its primary hears of it."""


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("place", ["standby", "primary"])
def test_what_the_core_would_not_do_is_refused_before_it_is_ordered(case: str, place: str) -> None:
    host = (standby() if place == "standby" else primary()).knows(switchover=Switchover(NOW_S, NOW_S + 60))
    row = TAKE_OVER_BY_ORDER if place == "standby" else HAND_OVER_SWITCHOVER
    assert unmet(row.when, host.facts) == ()
    wrong = WRONG[case](host)
    missing = unmet(row.when, wrong.facts)
    me, peer = side(host.me), side(host.peer)
    given = Facts(wrong.s, replace(me, message=wrong.round().message), replace(peer, message=wrong.facts.peer))
    failed = refused(switchover(given), force=True)
    assert missing
    assert failed, levels(given)
    if case in ("leaving", "hold", "no watchdog"):
        assert missing[0].text.partition(":")[0] == failed[0].text.partition(":")[0]


@pytest.mark.parametrize(
    ("mine", "theirs", "bad"),
    [
        (Override.AUTO, Override.AUTO, False),
        (Override.PRIMARY, Override.AUTO, True),
        (Override.AUTO, Override.STANDBY, True),
        (Override.STANDBY, Override.PRIMARY, False),
        (Override.PRIMARY_STANDBY, Override.AUTO, True),
    ],
)
def test_a_role_that_would_go_back_by_itself(mine: Override, theirs: Override, *, bad: bool) -> None:
    given = facts(settings=replace(Settings("a", "b", True), override=mine, peer_override=theirs))
    assert ("role-override" in levels(given)) is bad


def test_only_what_is_not_hard_can_be_forced() -> None:
    soft, hard = Finding("x", Level.FAILED, "t"), Finding("y", Level.FAILED, "t", hard=True)
    fine = Finding("z", Level.WARNING, "t", hard=True)
    assert refused((soft, hard, fine)) == (soft, hard)
    assert refused((soft, hard, fine), force=True) == (hard,)


def test_slots_that_both_have_are_not_lost() -> None:
    both = facts(me=side("a", logical_slots="cdc, sub"), peer=side("b", logical_slots="cdc, sub"))
    assert "logical-slots" not in levels(both)
    assert levels(facts(peer=side("b", checksums=False, wal_log_hints=True)))["rewind"] is Level.OK
    assert levels(facts(peer=side("b", slots=10)))["slots"] is Level.OK
