"""What is taken in, and what is not: messages beside others, answers, how long something has been so, consent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.model import (
    NEVER,
    AddVip,
    DropVip,
    Durable,
    Fence,
    Lsn,
    Mode,
    Order,
    PowerOn,
    StopPostgres,
    Vip,
    WriteState,
)
from pgvip.core.rights import standby_address
from tests.unit.core_world import (
    HERE,
    NOW_S,
    SOLO_B,
    Host,
    attempt,
    claiming,
    failing,
    primary,
    record,
    role_wish,
    saw,
    solo_wish,
    standby,
)

# --- messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [{"seq": 1}, {"pair_id": "another"}], ids=["an old one", "a foreign one"])
def test_a_message_behind_one_that_does_not_count_counts(bad: dict[str, object]) -> None:
    host = standby().told()
    good = host.next_message(gateway_ok=False)
    told = host.round(messages=[host.next_message(**bad), good])
    assert told.k.heard is not None
    assert told.k.heard.message == good


def test_a_number_counts_once() -> None:
    host = standby().told()
    assert host.k.heard is not None
    twin = replace(host.k.heard.message, gateway_ok=False)
    assert host.round(messages=[twin]).k.heard == host.k.heard


def test_a_lower_record_does_not_hide_a_higher_one_that_was_heard() -> None:
    told = standby().told(record=record("a", Mode.SOLO, 8)).told(record=record("a", Mode.SOLO, 6))
    assert told.k.heard_record == record("a", Mode.SOLO, 8)


def test_since_when_a_gateway_answers_the_peer_is_counted_from_the_first_word_of_it() -> None:
    first = primary().knows(heard=None).told(gateway_ok=True, gateway_age_s=0.5)
    later = first.told(after_s=3.0, gateway_ok=True, gateway_age_s=0.1)
    lost = later.told(after_s=1.0, gateway_ok=False)
    again = lost.told(after_s=1.0, gateway_ok=True, gateway_age_s=0.25)
    other = again.told(after_s=1.0, boot_id="boot-b-2", run_id="run-b-2", gateway_ok=True, gateway_age_s=0.0)
    broken = other.told(after_s=3.1, boot_id="boot-b-2", run_id="run-b-2", gateway_ok=True, gateway_age_s=0.5)
    since = [host.k.heard.gateway_since_s for host in (first, later, again, other, broken) if host.k.heard]
    assert since == [NOW_S - 0.5, NOW_S - 0.5, NOW_S + 4.75, NOW_S + 6.0, pytest.approx(NOW_S + 8.6)]


def test_another_action_s_success_neither_means_power_nor_a_rejoin() -> None:
    host = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "")}, peer_off=True, rejoin_clone=True).round()
    raised = host.done(host.must_start(AddVip))
    assert raised.k.peer_off
    assert raised.k.rejoin_clone


def test_a_power_on_that_failed_leaves_the_peer_off() -> None:
    host = primary().knows(peer_off=True, running=(PowerOn(),))
    assert host.done(PowerOn(), ok=False).k.peer_off
    assert not host.done(PowerOn()).k.peer_off


# --- confirmation -------------------------------------------------------------------------------------------


def test_the_first_record_of_all_is_confirmed_like_any_other() -> None:
    asked = standby(term=0).reboots().round()
    assert asked.message.question
    assert not asked.k.confirmed
    assert asked.told(answer=asked.message.question).k.confirmed


def solo_boot() -> Host:
    return primary(Mode.SOLO).reboots().round()


def test_a_solo_primary_that_hears_nothing_waits_for_the_whole_time() -> None:
    assert not solo_boot().round(after_s=2.9).k.confirmed
    assert solo_boot().round(after_s=3.0).k.confirmed


def test_a_solo_primary_is_not_confirmed_by_silence_of_a_peer_that_has_a_record() -> None:
    word: dict[str, Any] = {"answer": "", "record": record("a", Mode.SOLO)}
    assert not solo_boot().told(**word).round(after_s=9.0).k.confirmed
    assert solo_boot().told(answer="", record=None).round(after_s=9.0).k.confirmed


@pytest.mark.parametrize("arp", [saw("02:00:00:00:00:99"), failing()], ids=["somebody answers", "nobody asked"])
def test_a_solo_primary_is_not_confirmed_by_silence_when_the_address_is_not_known_to_be_free(arp: object) -> None:
    assert not solo_boot().sees(arp_primary=arp).round(after_s=9.0).k.confirmed  # type: ignore[arg-type]  # either kind


def test_nobody_else_is_confirmed_by_silence() -> None:
    for host in (primary(), standby(), standby(Mode.SOLO)):
        assert not host.reboots().round().round(after_s=60.0).k.confirmed


@pytest.mark.parametrize(
    "held_up",
    [{"alarm": "they differ"}, {"heard_record": record("a", Mode.SOLO, 6)}, {"writing": Durable(record())}],
    ids=lambda held_up: next(iter(held_up)),
)
def test_an_answer_confirms_once_nothing_stands_against_it(held_up: dict[str, object]) -> None:
    answered = standby().knows(confirmed=False, answered_term=4)
    assert answered.round().k.confirmed
    assert not answered.knows(**held_up).round().k.confirmed


def test_adopting_confirms_nobody() -> None:
    """But for a forced record, and that by its operator's word."""
    told = primary().durable(complete=True).knows(confirmed=False).holds().told(record=record("a", Mode.SOLO, 6))
    written = told.done(WriteState(told.must_start(WriteState).durable))
    assert written.k.durable.record == record("a", Mode.SOLO, 6)
    assert not written.k.confirmed


def test_an_alarm_keeps_from_being_confirmed() -> None:
    asked = standby().reboots().round().knows(alarm="they differ")
    assert not asked.told(answer=asked.message.question).k.confirmed


# --- how long something has been so -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "since_s"),
    [
        (primary(), NEVER),
        (primary().replica(state="catchup"), NOW_S),
        (primary().hears(streaming=False), NOW_S),
        (primary().database(replica=None), NOW_S),
        (primary().knows(heard=None), NEVER),
        (primary().replica(flush_lsn=Lsn(HERE - 9)).configured(lag_bytes_max=8), NEVER),
        (primary(sync=False).replica(flush_lsn=Lsn(HERE - 9)).configured(lag_bytes_max=8), NOW_S),
        (primary(sync=False).replica(flush_lsn=Lsn(HERE - 8)).configured(lag_bytes_max=8), NEVER),
        (primary(Mode.SOLO).database(replica=None), NEVER),
        (standby(), NEVER),
        (primary().down(), NEVER),
    ],
)
def test_since_when_a_pair_is_not_followed(host: Host, since_s: float) -> None:
    assert host.round().k.unfollowed_since_s == since_s
    if since_s == NOW_S:
        assert host.knows(unfollowed_since_s=NOW_S - 1).round().k.unfollowed_since_s == NOW_S - 1


@pytest.mark.parametrize(
    ("host", "since_s"),
    [
        (standby(), NEVER),
        (standby().database(streaming=False), NOW_S),
        (primary(), NEVER),
        (standby().down(), NEVER),
    ],
)
def test_since_when_a_standby_does_not_stream(host: Host, since_s: float) -> None:
    assert host.round().k.unstreamed_since_s == since_s


@pytest.mark.parametrize(
    ("host", "since_s"),
    [
        (primary(), NEVER),
        (standby(), NEVER),
        (primary().durable(served=False), NOW_S),
        (primary().durable(served=False, complete=True), NEVER),
        (primary().durable(served=False).knows(confirmed=False), NEVER),
    ],
)
def test_since_when_a_role_cannot_be_served(host: Host, since_s: float) -> None:
    assert host.round().k.blocked_since_s == since_s


def test_a_server_has_caught_up_once_the_standby_has_its_recovered_end() -> None:
    new = primary().processes(postmaster="101:5").database(postmaster="101:5").knows(caught_up="")
    assert new.round().k.caught_up == "101:5"
    assert new.database(recovered_end=Lsn(HERE + 1)).round().k.caught_up == ""
    assert new.database(replica=None).round().k.caught_up == ""
    alone = primary(Mode.SOLO).processes(postmaster="101:5").database(postmaster="101:5", replica=None)
    assert alone.knows(caught_up="").round().k.caught_up == "101:5"
    assert standby().round().k.caught_up == ""


# --- consent ------------------------------------------------------------------------------------------------


def test_a_host_without_the_role_gives_it_to_nobody() -> None:
    for host in (primary().knows(confirmed=False), primary().knows(alarm="they differ")):
        assert host.told(request=role_wish(reason="take-over-by-order")).k.yielding is None
    assert standby().told(request=role_wish(boot_id="boot-a", reason="take-over-by-order")).k.yielding is None


def test_what_is_given_up_has_the_name_of_the_change() -> None:
    def change(host: Host) -> str:
        assert host.k.yielding is not None
        return host.k.yielding.change

    assert change(standby().told(request=solo_wish())) == "solo-by-consent"
    assert change(standby().told(request=replace(solo_wish(), reason="mode-change"))) == "mode-change"
    assert change(standby().told(request=replace(solo_wish(), reason=""))) == "solo-by-consent"
    assert change(primary().told(request=role_wish(reason="take-over-by-order"))) == "hand-over-switchover"
    assert change(primary().down().told(request=role_wish())) == "hand-over-database"


def test_a_role_is_not_given_unasked() -> None:
    assert primary().told(request=role_wish(reason="because")).k.yielding is None
    assert primary().told(request=role_wish(reason="take-over-by-order", eligible=False)).k.yielding is None


def test_a_server_that_hangs_is_not_asked_for_a_clean_stop() -> None:
    hung = primary().sees(connection=failing(value=True))
    assert hung.round().message.invite
    assert hung.told(request=role_wish()).must_start(StopPostgres) == StopPostgres(clean=False)


def test_while_something_is_written_or_heard_nothing_new_is_given_up() -> None:
    heard = standby().knows(heard_record=record("a", Mode.SOLO, 8))
    assert heard.told(request=solo_wish()).k.yielding is None
    giving = standby().told(request=solo_wish())
    assert giving.told(request=solo_wish()).k.yielding == giving.k.yielding


def test_a_give_up_under_way_is_not_begun_anew_by_the_request_that_stands() -> None:
    giving = standby().told(request=solo_wish())
    later = giving.told(after_s=1.0, request=solo_wish())
    assert later.k.yielding == giving.k.yielding


def test_the_standby_address_is_nobody_s_while_it_is_given_up_or_before_it_is_confirmed() -> None:
    assert standby_address(standby().view)
    assert not standby_address(standby().told(request=solo_wish()).view)
    assert not standby_address(standby().knows(confirmed=False).view)
    assert not standby_address(standby().knows(alarm="they differ").view)


def test_nothing_is_given_up_while_something_is_written() -> None:
    writing = standby().order(Order.PAUSE)
    assert writing.k.writing is not None
    assert writing.told(request=solo_wish()).k.yielding is None


def test_whoever_gives_up_does_not_ask_for_the_role_in_the_same_breath() -> None:
    told = standby().told(request=solo_wish(), invite="hand-over-switchover", invite_term=4)
    assert told.k.yielding is not None
    assert told.message.request is None


def test_a_server_that_is_being_stopped_is_looked_at_before_it_is_stopped_again() -> None:
    giving = primary().told(request=role_wish(reason="take-over-by-order"))
    assert giving.must_start(StopPostgres)
    unseen = giving.knows(running=(), ended={"postgres": NOW_S + 1})
    assert not unseen.round().started(StopPostgres)


# --- adopting -----------------------------------------------------------------------------------------------


def test_a_primary_that_becomes_one_of_a_pair_keeps_its_own_address() -> None:
    told = primary(Mode.SOLO).told(record=record("a", Mode.PAIR, 6))
    assert [action for action in told.actions if isinstance(action, DropVip)] == [DropVip(Vip.STANDBY)]


def test_a_role_that_was_taken_is_given_up_the_hard_way() -> None:
    assert primary().told(record=SOLO_B).must_start(StopPostgres) == StopPostgres(clean=False)


def test_what_was_held_back_by_an_operator_s_word_stays_held_back() -> None:
    held = standby().durable(hold="both wrote").holds().told(record=record("a", Mode.SOLO, 6))
    assert held.must_start(WriteState).durable.hold == "both wrote"


# --- a fence that is tried again ----------------------------------------------------------------------------


def test_a_second_fence_is_an_attempt_of_its_own() -> None:
    host = claiming(primary())
    first = attempt(host)
    failed = host.done(first, ok=False)
    assert not failed.round(after_s=4.9).started(Fence)
    again = failed.round(after_s=5.1)
    assert again.k.claim is not None
    assert (again.k.claim.tries, again.k.fence_s) == (2, again.now_s)
    assert again.must_start(Fence).attempt == again.k.claim.attempt != first.attempt


# --- what an operator is told -------------------------------------------------------------------------------


def test_the_event_of_a_role_says_why() -> None:
    host = primary(cause="take-over-by-fence").knows(confirmed=False)
    assert host.round().said("role") == {"old": "primary", "new": "none", "cause": "take-over-by-fence"}
    assert primary().durable(record=None).round().said("role")["cause"] == ""


NOT_TOLD: dict[str, tuple[Host, str]] = {
    "fence-failing, at the first try": (claiming(standby()), "fence-failing"),
    "cannot-fence, of a solo primary": (primary(Mode.SOLO).configured(fencing=False).silence(), "cannot-fence"),
    "primary-lost, before it was confirmed": (
        standby().knows(grant=None, confirmed=False).silence(),
        "primary-lost",
    ),
    "database-down, of a standby": (standby(Mode.SOLO).down(), "database-down"),
    "database-down, of a pair that hands over": (primary().down(), "database-down"),
    "database-down, before it was confirmed": (primary(Mode.SOLO).knows(confirmed=False).down(), "database-down"),
    "database-down, of one that runs": (primary(Mode.SOLO), "database-down"),
    "alone, while the standby is welcome": (primary(Mode.SOLO), "alone"),
    "alone, of a pair": (primary(), "alone"),
    "alone, while the peer is away": (primary(Mode.SOLO).knows(heard=None), "alone"),
    "hand-backs, of one that serves": (primary().durable(handbacks=9), "hand-backs"),
    "lag, of a primary": (primary().database(replay_lag_s=99.0), "lag"),
    "lag, of the standby of a solo primary": (standby(Mode.SOLO).database(replay_lag_s=99.0), "lag"),
    "vip-answers, of a pair": (
        primary().reboots().sees(arp_primary=saw("02:00:00:00:00:99")),
        "vip-answers",
    ),
    "not-served, at once": (
        standby(me="a", term=5).durable(record=record("a", Mode.PAIR, 6)).knows(blocked_since_s=NOW_S - 2.9),
        "not-served",
    ),
}


@pytest.mark.parametrize("case", NOT_TOLD)
def test_a_concern_is_not_raised_where_it_is_not_due(case: str) -> None:
    host, name = NOT_TOLD[case]
    assert name not in host.round().concerns()
