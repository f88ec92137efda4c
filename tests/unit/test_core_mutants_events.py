"""What an event tells programs besides its words, and the small times of what came last: pauses, isolation, claims."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from pgvip.core import salvage
from pgvip.core.converge import NOTICED_S
from pgvip.core.knowledge import FenceOrder, Veto, Yield
from pgvip.core.model import (
    NEVER,
    AddVip,
    AskVeto,
    Durable,
    Fence,
    Inputs,
    Mode,
    Order,
    Pause,
    PowerOn,
    StartPostgres,
    Vip,
    Want,
    WriteState,
)
from pgvip.core.round import Round
from tests.unit.core_world import (
    NOW_S,
    Host,
    attempt,
    claiming,
    failing,
    primary,
    record,
    role_wish,
    saw,
    standby,
)

# --- events -----------------------------------------------------------------------------------------------


def test_an_order_and_what_follows_from_it_are_told_by_name() -> None:
    assert primary().order(Order.SWITCHOVER).said("order") == {"order": "switchover"}
    asked = primary().told(request=role_wish(reason="take-over-by-order"))
    assert asked.k.yielding is not None
    assert asked.said("yield") == {"change": asked.k.yielding.change}
    intent = primary(Mode.SOLO).round()
    assert intent.said("intent") == {"change": "pair"}


def test_an_action_that_failed_is_told_by_its_name() -> None:
    host = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "")}).round()
    failed = host.done(host.must_start(AddVip), ok=False, text="no such interface")
    assert failed.said("action-failed") == {"action": "AddVip"}
    assert failed.last is not None
    assert [note.text for note in failed.last.notes] == ["AddVip: no such interface"]


def test_a_claim_each_try_of_it_and_the_new_record_are_told() -> None:
    begun = claiming(standby())
    assert begun.said("claim") == {"change": "take-over-by-fence", "why": "silence", "tries": "1"}
    failed = begun.done(attempt(begun), ok=False, text="no answer")
    assert failed.said("fence-failed") == {"peer": "a", "tries": "1"}
    again = failed.round(after_s=failed.s.fence_retry_s)
    assert again.said("claim") == {"change": "take-over-by-fence", "tries": "2"}
    assert again.k.claim is not None
    assert again.k.claim.tries == 2
    fenced = again.done(attempt(again))
    written = fenced.written()
    assert written.said("record") == {
        "old_term": "4",
        "new_term": "5",
        "mode": "solo",
        "primary": "b",
        "cause": "take-over-by-fence",
    }
    assert written.record.term == 5


def test_a_first_record_has_no_old_term() -> None:
    host = standby().durable(record=None)
    first = Durable(record("a", Mode.PAIR, 4))
    told = host.knows(writing=first, running=(WriteState(first),)).written()
    assert told.said("record")["old_term"] == ""


def test_a_fence_that_belongs_to_no_claim_fails_without_a_number() -> None:
    fence = Fence("run-b/1")
    host = standby().knows(running=(fence,)).done(fence, ok=False, text="no answer")
    assert host.said("fence-failed") == {"peer": "a", "tries": ""}


# --- a pause ------------------------------------------------------------------------------------------------


def test_a_pause_that_ends_by_itself_says_who_ended_it_and_when() -> None:
    paused = primary().durable(pause=Pause(3, active=True, until="2025-12-31T23:00:00+00:00", host="a"))
    ended = paused.round()
    assert ended.k.writing is not None
    assert ended.k.writing.pause == Pause(4, active=False, at="2026-01-01T00:00:00+00:00", by="its end", host="a")


@pytest.mark.parametrize(
    ("pause", "words"),
    [
        (Pause(1, active=True), "automatic action is paused: no reason given"),
        (Pause(1, active=True, reason="new disks"), "automatic action is paused: new disks"),
        (
            Pause(1, active=True, reason="new disks", by="ann", until="2026-02-01T00:00:00+00:00"),
            "automatic action is paused by ann, until 2026-02-01T00:00:00+00:00: new disks",
        ),
    ],
    ids=["bare", "a reason", "all"],
)
def test_a_pause_is_told_with_what_is_known_of_it(pause: Pause, words: str) -> None:
    host = primary().durable(pause=pause).round()
    assert host.last is not None
    assert words in [concern.text for concern in host.last.concerns]


# --- isolation --------------------------------------------------------------------------------------------


def alone(for_s: float) -> Host:
    host = primary().configured(isolation_demote_s=20.0).silence(for_s)
    return host.sees(gateway=failing("192.0.2.1", NOW_S - for_s))


def test_isolation_begins_at_its_limit_and_is_told_once() -> None:
    begun = alone(20.0).round()
    assert begun.k.isolated
    assert begun.last is not None
    words = {note.event: note.text for note in begun.last.notes}
    assert words["isolation"] == (
        "no gateway and no answer from b by any path for 20 s: this primary stops its server and drops its addresses"
    )
    again = begun.round(after_s=1.0)
    assert again.last is not None
    assert "isolation" not in [note.event for note in again.last.notes]


def test_it_ends_when_an_answer_has_lasted_and_is_told_once() -> None:
    host = alone(60.0).round().down(clean=True).knows(running=())
    answered = host.sees(gateway=saw("192.0.2.1", host.now_s)).round()
    assert answered.k.contact_since_s == NOW_S
    ended = answered.round(after_s=answered.s.dead_after_s)
    assert not ended.k.isolated
    assert ended.last is not None
    words = {note.event: note.text for note in ended.last.notes}
    assert words["contact"] == "this primary is not isolated any more and may serve again"
    after = ended.round(after_s=0.1)
    assert after.last is not None
    assert "contact" not in [note.event for note in after.last.notes]


@pytest.mark.parametrize(("rounds", "counts"), [(0.0, True), (2.0, True), (2.5, False)])
def test_the_peer_s_word_is_contact_for_two_rounds(rounds: float, counts: bool) -> None:
    host = alone(60.0).round().down(clean=True).knows(running=()).configured(interval_s=0.5)
    heard = host.k.heard
    assert heard is not None
    host = host.knows(heard=replace(heard, at_s=NOW_S - rounds * host.s.interval_s))
    assert (host.round().k.contact_since_s > NEVER) is counts


# --- smaller things -----------------------------------------------------------------------------------------


def test_a_stop_by_somebody_else_is_left_alone_for_a_short_while_and_no_longer() -> None:
    assert NOTICED_S == 0.3
    stopped = standby().down(clean=True)
    assert not stopped.knows(stopped_since_s=NOW_S - 0.25).round().started(StartPostgres)
    assert stopped.knows(stopped_since_s=NOW_S - 0.3125).round().started(StartPostgres)


def test_each_try_has_a_name_of_its_own() -> None:
    first = claiming(standby())
    failed = first.done(attempt(first), ok=False, text="no answer")
    second = failed.round(after_s=failed.s.fence_retry_s)
    assert attempt(first).attempt == f"{first.k.who.run_id}/1"
    assert attempt(second).attempt == f"{first.k.who.run_id}/2"


def test_an_order_to_power_off_waits_for_what_is_being_written_and_for_a_claim() -> None:
    solo = primary(Mode.SOLO).hears(database_ok=False).durable(kept_off=True)
    solo = solo.knows(fence_order=FenceOrder(NOW_S + 60, off=True))
    assert solo.round().started(Fence)
    writing = replace(solo.k.durable, complete=True)
    assert not solo.knows(writing=writing, running=(WriteState(writing),)).round().started(Fence)


def test_a_peer_is_not_switched_on_while_something_is_written() -> None:
    owed = standby().knows(grant=None, power_owed=True)
    assert owed.round().running(PowerOn)
    writing = replace(owed.k.durable, complete=True)
    assert not owed.knows(writing=writing, running=(WriteState(writing),)).round().running(PowerOn)


def test_a_salvage_is_not_complete_while_nothing_is_heard_of_the_winner() -> None:
    host = primary(sync=False).down().knows(heard=None)
    inputs = Inputs(host.seen, wall="2026-01-01T00:00:00+00:00")
    asked = Yield("take-over-by-order", Want.HANDOVER, 4, "boot-b", NOW_S)
    assert not salvage.complete(Round(copy(host.k), inputs, host.s, NOW_S), asked)


def test_a_pause_and_a_question_say_nothing_that_was_not_said() -> None:
    assert Pause() == Pause(0, active=False, reason="", at="", until="", by="", host="")
    assert Veto("run-a/1", NOW_S).refused == ""


def test_the_first_question_about_a_takeover_has_no_answer_yet() -> None:
    host = standby().sees(veto=saw(value=True)).silence().round()
    host.must_start(AskVeto)
    assert host.k.veto is not None
    assert host.k.veto.refused == ""
