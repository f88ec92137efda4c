"""A process that was stopped, or a machine that was paused: old sights and leases count for nothing afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgvip.core import intake
from pgvip.core.actions import Fence, Rejoin
from pgvip.core.decide import decide
from pgvip.core.messages import Request
from pgvip.core.round import Round
from pgvip.core.settings import Inputs
from pgvip.core.values import NEVER
from tests.unit.core_world import NOW_S, Host, failing, grant, primary, standby

SLEPT_S = 60.0


def stepped(host: Host, for_s: float, step_s: float = 0.5) -> Host:
    """The host after rounds in which its peer goes on to be silent."""
    for _ in range(round(for_s / step_s)):
        host = host.at(host.now_s + step_s).round()
    return host


@pytest.mark.parametrize("healthy", [primary, standby])
def test_after_a_sleep_silence_counts_from_the_awakening(healthy: Callable[[], Host]) -> None:
    host = healthy().round().sleeps(SLEPT_S)
    # All looks of before are old; the first new ones are there, and the one at the peer ran out of time meanwhile.
    woken = host.at(host.now_s).silence(SLEPT_S).sees(peer_own=failing(None, host.now_s, 1)).round()
    assert not woken.facts.peer_silent
    assert woken.started(Fence) is None
    assert woken.k.fencing.waiting == ""
    later = stepped(woken, woken.s.dead_after_s - 0.5)
    assert later.k.fencing.claim is None
    assert stepped(later, 1.5).k.fencing.claim is not None, "a peer that stays silent is fenced all the same"


def test_a_delay_that_was_slept_through_has_not_passed() -> None:
    waiting = standby().silence().round()
    assert waiting.k.fencing.waiting == "take-over-by-fence"
    woken = waiting.sleeps(SLEPT_S)
    assert woken.at(woken.now_s).round().k.fencing.claim is None


def test_a_delay_that_was_slept_through_begins_anew() -> None:
    waiting = standby().told(cannot="StopPostgres: D state")
    assert waiting.k.fencing.waiting == "take-over-by-fence-cannot"
    woken = waiting.sleeps(SLEPT_S)
    woken = woken.at(woken.now_s).round(messages=[woken.next_message()])
    assert woken.k.fencing.claim is None
    assert woken.k.fencing.waiting_since_s == woken.now_s
    assert woken.told(after_s=woken.s.fence_delay_s).started(Fence)


LASTING = ("unfollowed_since_s", "unstreamed_since_s", "behind_since_s", "blocked_since_s", "unflushed_since_s")


@pytest.mark.parametrize("name", LASTING)
def test_nothing_is_known_to_have_lasted_through_a_sleep(name: str) -> None:
    host = primary().knows(round_s=NOW_S - SLEPT_S, **dict.fromkeys(LASTING, NOW_S - 99))
    r = Round(host.k.copy(), Inputs(host.seen), host.s, host.now_s)
    intake.awake(r)
    assert getattr(r.k.database, name) == NEVER


def test_a_standby_is_not_said_to_be_down_for_as_long_as_this_host_slept() -> None:
    host = primary().round().replica(state="catchup").round()
    woken = host.sleeps(SLEPT_S).at(host.now_s + SLEPT_S).told()
    assert woken.message.request is None
    later = woken.told(after_s=woken.s.standby_down_s)
    assert isinstance(later.message.request, Request)


def test_a_standby_is_not_rebuilt_for_as_long_as_it_slept() -> None:
    host = standby().database(streaming=False).round()
    woken = host.sleeps(SLEPT_S).at(host.now_s + SLEPT_S).told()
    assert woken.started(Rejoin) is None
    assert woken.told(after_s=woken.s.stuck_s).started(Rejoin) is not None


def test_rounds_that_come_a_little_late_are_no_sleep() -> None:
    host = primary().round()
    late = host.sleeps(0.9 * host.s.dead_after_s / 2)
    assert late.at(late.now_s).round().k.clock.awake_s == host.k.clock.awake_s


def test_a_lease_from_before_a_clock_jump_is_not_taken_again() -> None:
    """The primary repeats its grant with every heartbeat: dropping it once would last for half a second."""
    host = standby(sync=False)
    old = grant(echo_s=host.now_s - 1, expires_s=host.now_s + 30)
    host = host.told(grant=old)
    assert host.k.grants.grant == old
    jumped = decide(host.k, Inputs(host.seen, jumped=True), host.s, host.now_s)
    assert jumped.knowledge.grants.grant is None
    after = Host(jumped.knowledge, host.seen, host.s, host.now_s).told(after_s=0.1, grant=old)
    assert after.k.grants.grant is None
    same = grant(echo_s=host.now_s, expires_s=host.now_s + 30)
    assert after.told(grant=same).k.grants.grant is None, "nor one that began at that very time"
    new = grant(echo_s=after.now_s, expires_s=after.now_s + 30)
    assert after.told(grant=new).k.grants.grant == new


def test_a_time_without_rounds_is_more_than_two_heartbeats_and_half_the_time_to_silence() -> None:
    def woke(gap_s: float, heartbeat_s: float) -> bool:
        host = primary().configured(heartbeat_s=heartbeat_s).knows(round_s=NOW_S - gap_s)
        return host.round().k.clock.awake_s == NOW_S

    assert [woke(gap_s, 0.5) for gap_s in (1.4, 1.5, 1.6)] == [False, False, True]
    assert [woke(gap_s, 1.0) for gap_s in (1.6, 2.0, 2.1)] == [False, False, True]
    assert primary().round().k.clock.awake_s == NEVER, "a daemon's first round follows upon nothing"
