"""The synchronous names in force: as soon as they are wrong, nothing that was granted counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import ConfirmGrant, SetSyncNames
from pgvip.core.conditions import unmet
from pgvip.core.decide import begin, boot_facts
from pgvip.core.messages import Revoked
from pgvip.core.rights import PEER_READY
from pgvip.core.values import NEVER, Mode
from tests.unit.core_world import NOW_S, Host, grant, primary, role_wish, standby


def cleared() -> Host:
    return primary().database(sync_names="").round()


@pytest.mark.parametrize("wrong", [{"sync_names": ""}, {"sync_names": "other", "foreign_names": True}], ids=str)
def test_wrong_names_are_set_again_and_the_grant_is_withdrawn(wrong: dict[str, object]) -> None:
    host = primary().database(**wrong).round()
    assert host.must_start(SetSyncNames).on
    assert host.message.grant is None
    assert host.message.revoked == Revoked("boot-b", NOW_S)
    assert not host.started(ConfirmGrant)
    assert "sync-names" in host.warnings()
    assert "unwaited" in host.warnings()


def test_names_that_are_not_needed_withdraw_nothing() -> None:
    for host in (primary(Mode.SOLO).database(sync_names=""), primary(sync=False).database(sync_names="")):
        assert host.round().message.revoked is None


def test_only_a_grant_that_began_later_counts_and_ends_the_warning() -> None:
    again = cleared().done(SetSyncNames(on=True)).database(sync_names="peer")
    assert not again.round().started(ConfirmGrant), "the peer has said nothing since"
    asked = again.told()
    key = asked.must_start(ConfirmGrant).key
    assert key.echo_s > NOW_S
    assert "unwaited" in asked.warnings()
    proved = asked.done(ConfirmGrant(key, sync=True))
    assert proved.message.grant == key
    assert proved.k.grants.given_at_s == proved.now_s
    assert "unwaited" not in proved.warnings()


def test_a_proof_that_was_under_way_counts_no_more() -> None:
    old = ConfirmGrant(grant("b", echo_s=NOW_S), sync=True)
    host = primary().knows(given=None, running=(old,)).database(sync_names="").round()
    late = host.done(old)
    assert late.k.grants.given is None
    assert late.k.grants.unwaited
    right = host.done(SetSyncNames(on=True)).database(sync_names="peer").done(old)
    assert right.k.grants.given is None, "also when the names are right by now"
    assert right.k.grants.unwaited


def test_the_standby_drops_its_grant_and_takes_none_that_is_as_old() -> None:
    host = standby().knows(grant=grant("b", echo_s=NOW_S - 5))
    told = host.told(revoked=Revoked("boot-b", NOW_S - 1))
    assert not told.message.eligible
    assert "revoked" in [note.event for note in (told.last.notes if told.last else ())]
    assert not told.told(grant=grant("b", echo_s=NOW_S - 1), revoked=None).message.eligible
    assert told.told(grant=grant("b", echo_s=NOW_S), revoked=Revoked("boot-b", NOW_S - 1)).message.eligible


def events(host: Host) -> set[str]:
    return {note.event for note in host.last.notes} if host.last else set()


@pytest.mark.parametrize(("began_s", "kept"), [(NOW_S - 2, False), (NOW_S - 1, False), (NOW_S - 0.9, True)])
def test_a_grant_that_began_after_the_last_one_that_is_withdrawn_stands(began_s: float, kept: bool) -> None:
    told = standby().knows(grant=grant("b", echo_s=began_s)).told(revoked=Revoked("boot-b", NOW_S - 1))
    assert told.message.eligible is kept
    assert ("revoked" in events(told)) is not kept


def test_a_standby_without_a_grant_has_none_withdrawn() -> None:
    told = standby().knows(grant=None).told(revoked=Revoked("boot-b", NOW_S - 1))
    assert told.k.grants.revoked_s == NOW_S - 1
    assert "revoked" not in events(told)


def test_where_nothing_was_withdrawn_a_grant_needs_no_time() -> None:
    assert standby().knows(grant=None).told(grant=grant("b", echo_s=NEVER)).message.eligible


def test_only_the_primary_of_a_pair_withdraws() -> None:
    revoked = Revoked("boot-b", NOW_S - 1)
    assert primary().knows(revoked=revoked).round().message.revoked == revoked
    for host in (primary(Mode.SOLO), standby(), standby(Mode.SOLO)):
        assert host.knows(revoked=revoked).round().message.revoked is None


def test_what_was_withdrawn_stays_withdrawn_over_a_restart_of_the_standby_s_daemon() -> None:
    told = standby().told(revoked=Revoked("boot-b", NOW_S - 1))
    k = begin(replace(told.k.who, run_id="run-2"), told.k.durable, boot_facts(told.k))
    assert k.grants.revoked_s == NOW_S - 1


def test_what_is_withdrawn_from_another_boot_is_not_this_one_s() -> None:
    assert standby().told(revoked=Revoked("boot-b-0", NOW_S + 9)).message.eligible


def test_a_primary_whose_commits_were_not_waited_for_gives_its_role_to_nobody() -> None:
    host = cleared()
    assert [one.name for one in unmet(PEER_READY, host.facts)] == ["peer-eligible"]
    asked = host.told(request=role_wish(reason="take-over-by-order"), eligible=True)
    assert asked.k.consent.giving_up is None
    assert primary().told(request=role_wish(reason="take-over-by-order")).k.consent.giving_up is not None
