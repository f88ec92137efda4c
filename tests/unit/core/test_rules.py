"""Rules that docs/protocol.md marks, m 1 to m 7: terms, confirming, claiming. Leave one out and its test turns red."""

from __future__ import annotations

from typing import Any

import pytest

from pgvip.core.actions import DropVip, Fence, WriteState
from pgvip.core.values import Durable, Mode
from tests.unit.core_world import (
    SOLO_B,
    Host,
    attempt,
    claiming,
    failing,
    grant,
    primary,
    record,
    saw,
    solo_wish,
    standby,
    stubborn,
)

# --- m 1: parity --------------------------------------------------------------------------------------------


def test_m1_a_record_is_of_the_writers_parity_and_above_everything_heard() -> None:
    mine = claiming(primary())
    assert mine.done(attempt(mine)).must_start(WriteState).durable.record == record(
        "a", Mode.SOLO, 6, cause="solo-by-fence", at="2026-01-01T00:00:00+00:00"
    )
    theirs = claiming(standby())
    new = theirs.done(attempt(theirs)).must_start(WriteState).durable.record
    assert new is not None
    assert (new.term, new.primary) == (5, "b")


def test_m1_consent_too_is_written_with_the_own_parity() -> None:
    host = standby().holds().told(request=solo_wish())
    new = host.must_start(WriteState).durable.record
    assert new is not None
    assert (new.term, new.primary, new.mode, new.from_term) == (5, "a", Mode.SOLO, None)


# --- m 2, m 3: confirming -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [primary(), standby()], ids=["primary", "standby"])
def test_m2_only_an_answer_to_this_boots_question_confirms(host: Host) -> None:
    old_question = f"{host.k.who.boot_id}/{host.k.who.run_id}"
    booted = host.reboots().round()
    assert booted.message.question
    assert booted.message.question != old_question
    for answer in ("", old_question, booted.message.question + "x"):
        late = booted.told(answer=answer)
        assert not late.k.confirmed
        assert not late.message.confirmed
    assert booted.told(answer=booted.message.question).k.confirmed


def test_m2_an_answer_that_names_a_higher_term_confirms_once_that_is_adopted() -> None:
    booted = primary().reboots().round()
    heard = booted.told(answer=booted.message.question, record=SOLO_B, read_write=True)
    assert not heard.k.confirmed
    assert heard.written().k.confirmed


def test_m2_an_older_question_of_the_same_boot_does_not_confirm_a_later_record() -> None:
    """A record adopted from an announcement is newer than the answer's: the answer was about less."""
    booted = standby().reboots().round()
    adopted = booted.told(answer="", record=record("a", Mode.SOLO, 6)).written()
    assert adopted.record.term == 6
    assert not adopted.k.confirmed


def test_m3_neither_a_question_nor_an_announcement_confirms_who_receives_it() -> None:
    booted = primary().reboots().round()
    assert not booted.told(question="boot-b/run-b", confirmed=False).k.confirmed
    assert not booted.told(confirmed=True, question="", eligible=True).k.confirmed


def test_any_host_with_a_record_answers_confirmed_or_not() -> None:
    booted = primary().reboots().told(question="boot-b/run-9")
    assert not booted.k.confirmed
    assert booted.message.answer == "boot-b/run-9"
    lost = primary().durable(record=None).told(question="boot-b/run-9", confirmed=False)
    assert lost.message.answer == ""


def test_silence_confirms_only_a_solo_primary() -> None:
    for host in (primary(), standby(), standby(Mode.SOLO)):
        quiet = host.reboots()
        for _ in range(20):
            quiet = quiet.round(after_s=1.0)
        assert not quiet.k.confirmed
    solo = primary(Mode.SOLO).reboots().round(after_s=2.9)
    assert not solo.k.confirmed
    assert solo.round(after_s=0.2).k.confirmed


def test_a_solo_primary_is_not_confirmed_by_silence_while_its_address_answers_or_was_not_asked_about() -> None:
    solo = primary(Mode.SOLO).reboots()
    for arp in (saw("02:00:00:00:00:99"), failing(), failing("")):
        quiet = solo.sees(arp_primary=arp)
        for _ in range(20):
            quiet = quiet.round(after_s=1.0)
        assert not quiet.k.confirmed
    assert "vip-answers" in solo.sees(arp_primary=saw("02:00:00:00:00:99")).round(after_s=9.0).warnings()


def test_a_solo_primary_that_hears_a_higher_term_gives_in() -> None:
    booted = primary(Mode.SOLO).reboots().told(record=SOLO_B, answer="")
    assert booted.must_start(WriteState).durable.record == SOLO_B
    assert not booted.round(after_s=5.0).k.confirmed


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


def test_nobody_but_a_solo_primary_is_confirmed_by_silence() -> None:
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


# --- m 4 to m 7: claiming -----------------------------------------------------------------------------------


def test_m4_a_claimer_answers_nothing() -> None:
    host = stubborn(primary())
    asked = host.told(question="boot-b-2/run-b-2", cannot="StopPostgres: D state")
    assert asked.k.fencing.claim is not None
    assert asked.message.answer == ""


def test_m4_a_claimer_consents_to_nothing() -> None:
    host = stubborn(standby())
    asked = host.told(request=solo_wish(), cannot="StopPostgres: D state")
    assert asked.k.fencing.claim is not None
    assert asked.k.consent.giving_up is None
    assert not asked.started(DropVip)


def test_m4_nothing_is_answered_while_the_claims_record_is_being_written() -> None:
    host = stubborn(primary())
    writing = host.done(attempt(host))
    assert writing.k.intent.writing is not None
    assert writing.told(question="q", cannot="StopPostgres: D state").message.answer == ""


def test_m5_only_the_open_claims_own_attempt_counts() -> None:
    first = claiming(primary())
    old = attempt(first)
    ended = first.told(after_s=0.1)
    assert ended.k.fencing.claim is None
    again = ended.silence().round(after_s=4.0)
    again = again if again.k.fencing.claim else again.silence().round()
    assert again.k.fencing.claim is not None
    assert again.k.fencing.claim.attempt != old.attempt
    late = again.done(old)
    assert late.k.intent.writing is None
    assert late.k.fencing.claim is not None
    assert not late.k.fencing.claim.fenced


def test_m5_a_new_process_has_no_claim_and_ignores_old_results() -> None:
    host = claiming(primary())
    old = attempt(host)
    fresh = host.daemon_restarts().silence()
    assert fresh.k.fencing.claim is None
    late = fresh.knows(running=(old,)).done(old)
    assert late.k.intent.writing is None


def test_m5_attempts_of_two_processes_differ() -> None:
    first = claiming(primary())
    second = first.daemon_restarts().silence().round(after_s=4.0)
    assert attempt(first).attempt != attempt(second).attempt


def test_m6_the_result_is_void_when_the_right_is_gone() -> None:
    host = claiming(primary())
    fence = attempt(host)
    for lost in (
        host.sees(gateway=failing("192.0.2.1")),
        host.knows(confirmed=False),
        host.down(),
        host.sees(connection=failing(value=True)),
    ):
        done = lost.done(fence)
        assert done.k.fencing.claim is None
        assert not done.started(WriteState)


def test_m6_the_result_is_void_when_the_record_is_another() -> None:
    host = stubborn(standby())
    fence = attempt(host)
    moved = host.durable(record=record("a", Mode.PAIR, 8)).knows(grant=grant("b", 8))
    done = moved.done(fence)
    assert done.k.fencing.claim is None
    assert not done.started(WriteState)


def test_m6_a_lease_must_still_run_when_the_fence_is_confirmed() -> None:
    host = standby(sync=False)
    in_time = claiming(host.knows(grant=grant("b", expires_s=host.now_s + 0.6)))
    assert in_time.done(attempt(in_time)).started(WriteState)
    too_late = in_time.at(in_time.now_s + 0.6)
    assert not too_late.done(attempt(too_late)).started(WriteState)


def test_m6_any_change_of_the_record_ends_the_claim() -> None:
    host = stubborn(primary())
    adopted = host.told(record=record("a", Mode.SOLO, 5)).written()
    assert adopted.record.term == 5
    assert adopted.k.fencing.claim is None


def test_m7_a_claim_for_silence_ends_when_the_peer_is_heard_and_only_then_it_answers() -> None:
    host = claiming(primary())
    failed = host.done(attempt(host), ok=False, text="timed out")
    assert failed.k.fencing.claim is not None
    asked = failed.told(question="boot-b/run-b")
    assert asked.k.fencing.claim is None
    assert asked.message.answer == "boot-b/run-b"
    assert not asked.message.claiming


@pytest.mark.parametrize("sign", ["query", "wal"])
def test_m7_every_sign_of_life_that_counts_ends_a_claim_for_silence(sign: str) -> None:
    host = claiming(standby()).at(1002.0)
    if sign == "query":
        host = host.sees(peer_own=saw(host.seen.peer_own.value, 1002.0))
    else:
        host = host.database(moved_at_s=1002.0)
    assert host.round().k.fencing.claim is None


def test_m7_what_a_frozen_kernel_answers_ends_no_claim() -> None:
    host = claiming(standby()).at(1002.0)
    host = host.sees(arp_primary=saw("02:00:00:00:00:01", 1002.0))
    assert host.round().k.fencing.claim is not None


def test_a_claim_for_cannot_stands_until_the_peer_says_that_it_has() -> None:
    host = stubborn(primary())
    assert host.told(cannot="StopPostgres: D state").k.fencing.claim is not None
    assert host.told(cannot="").k.fencing.claim is None


def test_a_failed_fence_is_tried_again_later_with_a_new_attempt() -> None:
    host = claiming(primary())
    failed = host.done(attempt(host), ok=False, text="timed out")
    assert not failed.started(WriteState)
    assert not failed.silence().round(after_s=4.0).started(Fence)
    again = failed.round(after_s=5.1)
    assert again.must_start(Fence).attempt != attempt(host).attempt


def test_the_claim_begins_before_the_fence_and_the_standby_waits_first() -> None:
    host = standby().silence().round()
    assert not host.started(Fence)
    assert not host.message.claiming
    early = host.round(after_s=0.4)
    assert not early.started(Fence)
    assert early.round(after_s=0.1).must_start(Fence)
    assert primary().silence().round().must_start(Fence)


def test_the_standby_checks_its_reasons_again_when_the_delay_ends() -> None:
    host = standby().silence().round()
    assert not host.told(after_s=0.6).started(Fence)
    gone = host.sees(gateway=failing("192.0.2.1")).round(after_s=0.6)
    assert not gone.started(Fence)
    back = gone.sees(gateway=saw("192.0.2.1", gone.now_s)).round()
    assert not back.started(Fence), "the delay begins anew"


def test_a_second_fence_is_an_attempt_of_its_own() -> None:
    host = claiming(primary())
    first = attempt(host)
    failed = host.done(first, ok=False)
    assert not failed.round(after_s=4.9).started(Fence)
    again = failed.round(after_s=5.1)
    assert again.k.fencing.claim is not None
    assert (again.k.fencing.claim.tries, again.k.power.fence_s) == (2, again.now_s)
    assert again.must_start(Fence).attempt == again.k.fencing.claim.attempt != first.attempt


def test_a_claim_ends_when_a_higher_record_is_heard() -> None:
    claimed = claiming(standby()).knows(heard_record=record("a", Mode.SOLO, 6)).round()
    assert claimed.k.fencing.claim is None
    assert not claimed.done(attempt(claimed)).started(WriteState)


def test_m5_each_try_of_a_claim_has_a_name_of_its_own() -> None:
    first = claiming(standby())
    failed = first.done(attempt(first), ok=False, text="no answer")
    second = failed.round(after_s=failed.s.fence_retry_s)
    assert attempt(first).attempt == f"{first.k.who.run_id}/1"
    assert attempt(second).attempt == f"{first.k.who.run_id}/2"
