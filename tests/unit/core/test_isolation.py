"""A primary that hears nothing from anywhere: when it gives up, what it does then, and when it serves again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import DropVip, StartPostgres, StopPostgres
from pgvip.core.observations import PeerDatabase
from pgvip.core.rights import entitled, write_right
from pgvip.core.values import NEVER, Mode, Pause, Vip
from tests.unit.core_world import NOW_S, SOLO_B, SYSTEM_ID, Host, failing, heard_from, primary, role_wish, saw, standby

LIMIT_S = 20.0


def alone(for_s: float, host: Host | None = None, **settings: float) -> Host:
    """A primary that has had no sign of life from anywhere for `for_s`."""
    host = (host or primary()).configured(**{"isolation_demote_s": LIMIT_S, **settings})
    return host.silence(for_s).sees(gateway=failing("192.0.2.1", NOW_S - for_s))


def isolated(host: Host | None = None) -> Host:
    gone = alone(60.0, host).round()
    assert gone.k.isolation.isolated
    return gone


# --- when -----------------------------------------------------------------------------------------------


def test_it_gives_up_after_the_stated_time_and_not_before() -> None:
    assert not alone(LIMIT_S - 0.5).round().k.isolation.isolated
    assert alone(LIMIT_S + 0.5).round().k.isolation.isolated


def test_the_last_sign_of_life_counts_whichever_it_was() -> None:
    gone = alone(60.0)
    late = gone.sees(gateway=failing("192.0.2.1", NOW_S - LIMIT_S + 1))
    assert not late.round().k.isolation.isolated
    assert not gone.database_moved(NOW_S - LIMIT_S + 1).round().k.isolation.isolated


@pytest.mark.parametrize("times", ["started_s", "awake_s"])
def test_what_was_not_listened_to_was_not_silent(times: str) -> None:
    gone = alone(60.0)
    since_s = NOW_S - LIMIT_S + 1
    gone = gone.knows(awake_s=since_s) if times == "awake_s" else gone.knows(who=replace(gone.k.who, started_s=since_s))
    assert not gone.round().k.isolation.isolated


def test_a_gateway_or_the_peer_alone_keeps_it() -> None:
    host = primary().configured(isolation_demote_s=LIMIT_S)
    assert not host.silence(60.0).round().k.isolation.isolated, "the gateway answers"
    assert not host.sees(gateway=failing("192.0.2.1", NOW_S - 60)).round().k.isolation.isolated, "the peer answers"


def test_a_probe_that_says_nothing_is_no_silence_of_the_gateway() -> None:
    hangs = primary().configured(isolation_demote_s=LIMIT_S).silence(60.0).sees(gateway=saw("192.0.2.1", NOW_S - 60))
    assert not hangs.round().k.isolation.isolated


def test_a_probe_of_the_peer_that_says_nothing_is_no_silence_either() -> None:
    hangs = alone(60.0).sees(peer_own=saw(PeerDatabase(in_recovery=True, system_id=SYSTEM_ID), NOW_S - 60))
    assert not hangs.round().k.isolation.isolated


@pytest.mark.parametrize(
    "host",
    [
        alone(60.0, isolation_demote_s=0.0),
        alone(60.0, primary(Mode.SOLO)),
        alone(60.0, standby()),
        alone(60.0, primary().durable(pause=Pause(1, active=True))),
    ],
    ids=["switched off", "solo", "standby", "paused"],
)
def test_where_it_does_not_apply(host: Host) -> None:
    after = host.round()
    assert not after.k.isolation.isolated
    assert not after.started(StopPostgres)


def test_it_begins_at_its_limit_and_is_told_once() -> None:
    begun = alone(20.0).round()
    assert begun.k.isolation.isolated
    assert begun.last is not None
    words = {note.event: note.text for note in begun.last.notes}
    assert words["isolation"] == (
        "no gateway and no answer from b by any path for 20 s: this primary stops its server and drops its addresses"
    )
    again = begun.round(after_s=1.0)
    assert again.last is not None
    assert "isolation" not in [note.event for note in again.last.notes]


# --- what it does -------------------------------------------------------------------------------------------


def test_it_stops_its_server_cleanly_and_drops_its_address() -> None:
    host = isolated()
    assert not write_right(host.facts)
    assert host.must_start(StopPostgres) == StopPostgres(clean=True)
    assert host.must_start(DropVip) == DropVip(Vip.PRIMARY)
    assert host.warnings()["isolated"] == "repair its network; it serves again by itself"
    assert not host.message.read_write or host.running(StopPostgres)


def test_a_stop_that_does_not_come_to_an_end_is_followed_by_a_kill() -> None:
    failed = isolated().done(StopPostgres(clean=True), ok=False, text="timed out")
    later = failed.round(after_s=1.0)
    assert later.must_start(StopPostgres) == StopPostgres(clean=False)


def test_a_server_that_hangs_is_killed_at_once() -> None:
    assert isolated(primary().sees(connection=failing(value=True))).must_start(StopPostgres).clean is False


def test_who_has_no_right_for_another_reason_is_still_killed() -> None:
    """There somebody else may gain: it takes no time."""
    differs = primary().knows(alarm="both hosts have a record of term 4, and they differ").round()
    assert differs.must_start(StopPostgres) == StopPostgres(clean=False)


def test_it_starts_nothing_while_it_is_isolated() -> None:
    down = isolated().down(clean=True).round(after_s=1.0)
    assert down.k.isolation.isolated
    assert not down.started(StartPostgres)
    orphans = isolated().down().processes(left=2).knows(running=()).round(after_s=1.0)
    assert orphans.must_start(StopPostgres) == StopPostgres(clean=False)


def test_its_record_and_its_standing_in_the_pair_stay() -> None:
    host = isolated()
    assert entitled(host.facts)
    assert host.record == primary().record
    assert host.k.intent.writing is None
    never = isolated(primary().durable(served=False, complete=True)).round()
    assert never.k.database.blocked_since_s == NEVER


# --- and afterwards -------------------------------------------------------------------------------------------


def back(host: Host, after_s: float) -> Host:
    """The gateway answers again, for `after_s`."""
    first = host.knows(running=()).sees(gateway=saw("192.0.2.1", host.now_s)).round()
    return first.round(after_s=after_s)


def test_it_serves_again_once_something_has_answered_for_a_while() -> None:
    down = isolated().down(clean=True)
    early = back(down, primary().s.dead_after_s - 0.5)
    assert early.k.isolation.isolated
    served = back(down, primary().s.dead_after_s + 0.1)
    assert not served.k.isolation.isolated
    assert served.must_start(StartPostgres) == StartPostgres(standby=False, sync=True)


def test_an_answer_that_does_not_last_is_none() -> None:
    down = isolated().down(clean=True)
    answered = down.knows(running=()).sees(gateway=saw("192.0.2.1", NOW_S)).round()
    assert answered.k.isolation.contact_since_s == NOW_S
    gone = answered.sees(gateway=failing("192.0.2.1", NOW_S - 60)).round(after_s=2.0)
    assert gone.k.isolation.contact_since_s == NEVER
    assert back(gone, primary().s.dead_after_s - 0.5).k.isolation.isolated


def test_it_consents_as_before_as_soon_as_the_peer_is_heard() -> None:
    down = isolated().down(clean=True).knows(running=())
    wish = role_wish(reason="take-over-by-order")
    asked = down.round(messages=[down.next_message(request=wish)])
    assert asked.k.consent.giving_up is not None


@pytest.mark.parametrize("event", ["higher term", "pause"])
def test_what_it_does_not_apply_to_any_more_ends_it(event: str) -> None:
    down = isolated().down(clean=True).knows(running=())
    if event == "pause":
        assert not down.durable(pause=Pause(2, active=True)).round().k.isolation.isolated
        return
    taken = down.round(messages=[heard_from("b", SOLO_B, seq=9)])
    while taken.k.intent.writing is None:
        taken = taken.holds().round(after_s=0.1)
    assert not taken.written().round().k.isolation.isolated


def test_it_ends_when_an_answer_has_lasted_and_is_told_once() -> None:
    host = alone(60.0).round().down(clean=True).knows(running=())
    answered = host.sees(gateway=saw("192.0.2.1", host.now_s)).round()
    assert answered.k.isolation.contact_since_s == NOW_S
    ended = answered.round(after_s=answered.s.dead_after_s)
    assert not ended.k.isolation.isolated
    assert ended.last is not None
    words = {note.event: note.text for note in ended.last.notes}
    assert words["contact"] == "this primary is not isolated any more and may serve again"
    after = ended.round(after_s=0.1)
    assert after.last is not None
    assert "contact" not in [note.event for note in after.last.notes]


@pytest.mark.parametrize(("rounds", "counts"), [(0.0, True), (2.0, True), (2.5, False)])
def test_the_peer_s_word_is_contact_for_two_rounds(rounds: float, counts: bool) -> None:
    host = alone(60.0).round().down(clean=True).knows(running=()).configured(interval_s=0.5)
    heard = host.k.peer.heard
    assert heard is not None
    host = host.knows(heard=replace(heard, at_s=NOW_S - rounds * host.s.interval_s))
    assert (host.round().k.isolation.contact_since_s > NEVER) is counts
