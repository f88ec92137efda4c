"""A primary's server that ends without a shutdown: what counts as a crash, for how long, and who hears of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.changes import CRASHES
from pgvip.core.intake import CRASHES_MAX
from pgvip.core.knowledge import GiveUp
from pgvip.core.messages import Heard, Want
from pgvip.core.values import NEVER, Vip
from tests.unit.core_world import NOW_S, Host, primary, standby

GIVING_UP = GiveUp("hand-over-database", Want.HANDOVER, 4, "boot-b", NOW_S - 1)


def noted(host: Host) -> tuple[float, tuple[float, ...]]:
    """Since when the server is down after a crash, and when servers crashed."""
    database = host.round().k.database
    return database.crashed_since_s, database.crashes


def test_a_server_that_ends_without_a_shutdown_is_counted_once() -> None:
    crashed = primary().knows(crashes=(NOW_S - 50,)).down()
    assert noted(crashed) == (NOW_S, (NOW_S - 50, NOW_S))
    later = crashed.round()
    later = later.at(NOW_S + 1).knows(round_s=NOW_S + 1)
    assert noted(later) == (NOW_S, (NOW_S - 50, NOW_S))


NO_CRASH: dict[str, Host] = {
    "an orderly stop": primary().down(clean=True),
    "a standby's orderly stop": primary().down().processes(control_state="shut down in recovery"),
    "a server that this process has not seen alive": primary().down().knows(postmaster_since_s=NEVER),
    "a server that lives": primary(),
    "a standby's": standby().down(),
    "one that has not served": primary().durable(served=False).down(),
    "one whose role is being given up": primary().down().knows(giving_up=GIVING_UP),
}


@pytest.mark.parametrize("what", NO_CRASH)
def test_what_is_no_crash(what: str) -> None:
    assert noted(NO_CRASH[what]) == (NEVER, ())


def test_a_crash_is_over_when_the_server_is_read_write_again_or_the_role_is_another_s() -> None:
    since_s = NOW_S - 5
    assert noted(primary().knows(crashed_since_s=since_s)) == (NEVER, ())
    assert noted(standby().knows(crashed_since_s=since_s)) == (NEVER, ())
    assert noted(standby().down().knows(crashed_since_s=since_s)) == (NEVER, ())
    recovering = primary().database(in_recovery=True).knows(crashed_since_s=since_s)
    assert noted(recovering) == (since_s, ())


def test_a_server_that_is_not_read_write_without_having_crashed_has_not_crashed() -> None:
    assert noted(primary().database(in_recovery=True)) == (NEVER, ())


def test_a_crash_is_remembered_for_ten_minutes_and_only_so_many_are() -> None:
    old = (NOW_S - 600, NOW_S - 599.9)
    assert noted(primary().knows(crashes=old)) == (NEVER, (NOW_S - 599.9,))
    many = tuple(NOW_S - 100 + number for number in range(30))
    assert CRASHES_MAX == 20
    assert noted(primary().knows(crashes=many)) == (NEVER, many[-20:])


def test_the_peer_is_told_how_long_ago_and_counts_from_when_it_was_told() -> None:
    assert primary().knows(crashes=(NOW_S - 9, NOW_S - 1)).round().message.crashes == (9.0, 1.0)
    heard = standby().hears(crashes=(30.0,)).k.peer.heard
    assert heard is not None
    host = standby().knows(heard=Heard(heard.message, NOW_S - 1), crashes=(NOW_S - 7,))
    assert host.facts.crash_ages_s == {"a": (31.0,), "b": (7.0,)}


def text(host: Host) -> str:
    last = host.round().last
    assert last is not None
    return next((one.text for one in last.warnings if one.name == "crashing"), "")


def test_crashes_of_both_hosts_within_ten_minutes_are_a_warning() -> None:
    host = primary().knows(crashes=(NOW_S - 9, NOW_S - 1))
    assert CRASHES == 3
    assert text(host) == text(host.hears(crashes=(600.0,))) == ""
    words = "PostgreSQL ended without a shutdown 2 times on a and 1 times on b in the last 10 minutes"
    assert text(host.hears(crashes=(599.9,))) == words
    assert "3 times on a in" in text(primary().knows(crashes=(NOW_S - 9, NOW_S - 2, NOW_S - 1)))


def test_crashes_before_the_hold_off_do_not_keep_the_role_here() -> None:
    crashed = primary().down().knows(crashes=(NOW_S - 50, NOW_S - 1), checked=dict.fromkeys(Vip, (NOW_S, "")))
    assert crashed.hears(crashes=(59.9,)).chosen()[0].name == "none"
    assert crashed.hears(crashes=(60.0,)).chosen()[0].name == "hand-over-database"


def test_an_older_daemon_s_message_has_no_crashes() -> None:
    heard = primary().k.peer.heard
    assert heard is not None
    assert replace(heard.message).crashes == ()
