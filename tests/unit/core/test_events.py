"""What an event tells programs besides its words."""

from __future__ import annotations

from pgvip.core.actions import AddVip, Fence, WriteState
from pgvip.core.messages import Order
from pgvip.core.values import Durable, Mode, Vip
from tests.unit.core_world import NOW_S, attempt, claiming, primary, record, role_wish, standby


def test_the_event_of_a_role_says_why() -> None:
    host = primary(cause="take-over-by-fence").knows(confirmed=False)
    assert host.round().said("role") == {"old": "primary", "new": "none", "cause": "take-over-by-fence"}
    assert primary().durable(record=None).round().said("role")["cause"] == ""


def test_an_order_and_what_follows_from_it_are_told_by_name() -> None:
    assert primary().order(Order.SWITCHOVER).said("order") == {"order": "switchover"}
    asked = primary().told(request=role_wish(reason="take-over-by-order"))
    assert asked.k.consent.giving_up is not None
    assert asked.said("giving-up") == {"change": asked.k.consent.giving_up.change}
    intent = primary(Mode.SOLO).round()
    assert intent.said("intent") == {"change": "pair"}


def test_an_action_that_failed_is_told_in_words() -> None:
    host = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "")}).round()
    failed = host.done(host.must_start(AddVip), ok=False, text="no such interface")
    assert failed.said("action-failed") == {"action": "AddVip"}
    assert failed.last is not None
    assert [note.text for note in failed.last.notes] == ["could not raise the primary VIP: no such interface"]


def test_a_claim_each_try_of_it_and_the_new_record_are_told() -> None:
    begun = claiming(standby())
    assert begun.said("claim") == {"change": "take-over-by-fence", "why": "silence", "tries": "1"}
    failed = begun.done(attempt(begun), ok=False, text="no answer")
    assert failed.said("fence-failed") == {"peer": "a", "tries": "1"}
    again = failed.round(after_s=failed.s.fence_retry_s)
    assert again.said("claim") == {"change": "take-over-by-fence", "tries": "2"}
    assert again.k.fencing.claim is not None
    assert again.k.fencing.claim.tries == 2
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
