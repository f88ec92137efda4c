"""With `pair.mode = "observe"` the record in memory follows who is seen read-write."""

from __future__ import annotations

from pgvip.core.actions import KINDS
from pgvip.core.observed_record import DONE, follow
from pgvip.core.values import Durable, Mode
from tests.unit.core_world import TERM, primary, standby


def test_a_standby_that_somebody_promoted_is_the_primary_of_a_new_record() -> None:
    host = standby().database(in_recovery=False).hears(read_write=False)
    k = follow(host.facts, "now")
    assert k is not None
    record = k.durable.record
    assert record is not None
    assert (record.primary, record.mode, record.sync) == ("b", Mode.SOLO, False)
    assert record.term == TERM + 1
    assert k.confirmed
    assert k.durable.served
    assert not k.promotion.unverified


def test_the_first_record_is_that_of_the_host_that_is_read_write() -> None:
    host = primary().knows(durable=Durable()).hears(read_write=False, record=None)
    k = follow(host.facts, "now")
    assert k is not None
    assert k.durable.record is not None
    assert k.durable.record.primary == "a"


def test_who_follows_its_record_or_is_not_read_write_keeps_it() -> None:
    assert follow(primary().facts, "now") is None
    assert follow(standby().facts, "now") is None
    assert follow(primary().knows(durable=Durable()).database(in_recovery=True).facts, "now") is None


def test_two_hosts_that_are_read_write_are_reported_and_make_no_record() -> None:
    host = standby().database(in_recovery=False).hears(read_write=True)
    assert follow(host.facts, "now") is None


def test_what_was_under_way_under_the_old_record_has_ended() -> None:
    k = follow(standby().database(in_recovery=False).hears(read_write=False).facts, "now")
    assert k is not None
    assert not k.busy
    assert k.grants.grant is None
    assert k.clock == standby().k.clock


def test_actions_that_count_as_done_are_known_ones() -> None:
    assert set(DONE) < set(KINDS)


def test_every_action_has_words() -> None:
    assert [kind for kind in KINDS if not kind.properties.words] == []
