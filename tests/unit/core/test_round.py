"""What is under way, what failed and when it is tried again, and what an action is about."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from pgvip.core.actions import (
    KINDS,
    Action,
    AddVip,
    CheckVip,
    DropVip,
    PowerOn,
    Promote,
    SetSyncNames,
    StopPostgres,
    VipAction,
    WriteState,
)
from pgvip.core.observations import Observations
from pgvip.core.round import Round
from pgvip.core.settings import Inputs
from pgvip.core.values import Durable, Vip
from tests.knowing import PART_OF, PARTS, WHOLE
from tests.unit.core_world import NOW_S, Host, primary, record

ONE_EACH = (Promote(), StopPostgres(clean=True), PowerOn(), SetSyncNames(on=True))


def a_round(host: Host | None = None, after_s: float = 0.0) -> Round:
    host = host or primary()
    return Round(host.k.copy(), Inputs(Observations()), host.s, NOW_S + after_s)


# --- what is under way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ONE_EACH, ids=str)
def test_one_action_of_a_kind_is_under_way(action: Action) -> None:
    r = a_round()
    assert r.start(action)
    assert not r.start(action)
    assert r.actions == [action]
    assert r.k.work.running == (action,)


def test_a_hard_stop_waits_for_the_clean_one_to_end() -> None:
    r = a_round()
    assert r.start(StopPostgres(clean=True))
    assert not r.start(StopPostgres(clean=False))


@pytest.mark.parametrize("kind", [AddVip, DropVip, CheckVip])
def test_each_address_is_for_itself(kind: type[AddVip | DropVip | CheckVip]) -> None:
    r = a_round()
    assert r.start(kind(Vip.PRIMARY))
    assert r.start(kind(Vip.STANDBY))
    assert not r.start(kind(Vip.PRIMARY))


def test_actions_of_two_kinds_do_not_wait_for_each_other() -> None:
    r = a_round()
    assert all(r.start(action) for action in ONE_EACH)
    assert len(r.k.work.running) == len(ONE_EACH)


def test_one_write_is_under_way() -> None:
    r = a_round()
    assert r.write(Durable(record()))
    assert (r.k.intent.writing, r.k.intent.writing_since_s) == (Durable(record()), r.now_s)
    assert not r.write(Durable(record(term=6)))
    assert r.k.intent.writing == Durable(record())


def test_a_write_that_failed_too_short_a_time_ago_is_not_under_way() -> None:
    r = a_round()
    r.failed(WriteState(Durable()), "disk full")
    assert not r.write(Durable(record()))
    assert r.k.intent.writing is None


# --- what is known, and the facts drawn from it ------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_facts_are_drawn_anew_when_a_part_is_replaced_which_is_the_only_way_to_change_it(part: str) -> None:
    r = a_round()
    drawn = r.facts()
    assert r.facts() is drawn
    value = getattr(r.k, part)
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)
    setattr(r.k, part, replace(value))
    assert r.facts() is not drawn


@pytest.mark.parametrize("name", WHOLE)
def test_facts_are_drawn_anew_when_what_stands_in_no_part_is_replaced(name: str) -> None:
    r = a_round()
    drawn = r.facts()
    setattr(r.k, name, getattr(r.k, name))
    assert r.facts() is not drawn


def test_a_fact_is_computed_once_in_a_round() -> None:
    facts = a_round().facts()
    assert facts.crash_ages_s is facts.crash_ages_s


def test_whether_facts_are_to_be_drawn_anew_is_no_part_of_what_is_known() -> None:
    r = a_round()
    changed = [r.k.changed]
    r.facts()
    changed.append(r.k.changed)
    assert changed == [True, False]
    other = r.k.copy()
    other.role = r.k.role
    assert other.changed
    assert other == r.k
    assert "changed" not in repr(other)


def test_no_two_parts_have_a_field_of_one_name() -> None:
    """Nobody who reads a name has to ask of which part it is."""
    k = primary().k
    assert sum(len(fields(getattr(k, part))) for part in PARTS) == len(PART_OF)
    assert set(PARTS) | set(WHOLE) == {one.name for one in fields(k)} - {"changed"}


# --- what failed --------------------------------------------------------------------------------------------


def test_the_wait_after_a_failure_doubles_up_to_the_longest() -> None:
    for kind in KINDS:
        r, waits = a_round(), []
        made = object.__new__(kind)
        if isinstance(made, VipAction):
            made = kind(Vip.PRIMARY)  # type: ignore[call-arg]  # each of these takes an address
        first_s, longest_s = kind.properties.retry_s
        for _ in range(12):
            r.failed(made, "no")
            waits.append(r.k.work.failures[made.kind].retry_at_s - NOW_S)
        assert waits[0] == pytest.approx(first_s)
        assert waits[1] == pytest.approx(min(2 * first_s, longest_s))
        assert waits[2] == pytest.approx(min(4 * first_s, longest_s))
        assert waits[-1] == pytest.approx(longest_s)
        assert r.k.work.failures[made.kind].times == 12


def test_a_failed_action_is_started_again_when_its_wait_is_over_and_not_before() -> None:
    r = a_round()
    r.failed(Promote(), "no")
    assert not r.start(Promote())
    wait_s = Promote.properties.retry_s[0]
    host = primary().knows(failures=r.k.work.failures)
    assert not a_round(host, wait_s - 0.01).start(Promote())
    assert a_round(host, wait_s).start(Promote())


def test_a_success_ends_the_count_of_this_action_alone() -> None:
    r = a_round()
    r.failed(Promote(), "no")
    r.failed(DropVip(Vip.PRIMARY), "no")
    r.failed(DropVip(Vip.STANDBY), "no")
    r.worked(DropVip(Vip.PRIMARY))
    assert set(r.k.work.failures) == {Promote, DropVip(Vip.STANDBY)}
    r.failed(DropVip(Vip.PRIMARY), "once more")
    assert r.k.work.failures[DropVip(Vip.PRIMARY)].times == 1
    assert r.k.work.failures[DropVip(Vip.PRIMARY)].text == "once more"


def test_what_came_of_an_action_is_counted_by_the_core() -> None:
    host = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "")}).round()
    adding = host.must_start(AddVip)
    failed = host.done(adding, ok=False, text="no such device")
    assert failed.k.work.failures[AddVip(Vip.PRIMARY)].text == "no such device"
    assert failed.k.work.ended[Vip.PRIMARY] == failed.now_s
    again = failed.round(after_s=1.0)
    assert again.done(again.must_start(AddVip)).k.work.failures == {}


# --- terms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "heard", "term"), [(4, None, 6), (4, 60, 62), (4, 61, 62), (4, 3, 6), (None, None, 0), (None, 8, 10)]
)
def test_m1_a_new_term_is_above_the_own_and_everything_heard(own: int | None, heard: int | None, term: int) -> None:
    host = primary().durable(record=None if own is None else record(term=own))
    host = host.knows(heard_record=None if heard is None else record("b", term=heard))
    assert a_round(host).next_term() == term


# --- what is told -------------------------------------------------------------------------------------------


def test_a_log_line_keeps_its_words() -> None:
    r = a_round()
    r.note("event", "words")
    assert [(note.event, note.text) for note in r.notes] == [("event", "words")]
