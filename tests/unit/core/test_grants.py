"""When a primary grants the right to take over, to whom, and how a lease is renewed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import ConfirmGrant
from pgvip.core.rights import eligible
from pgvip.core.values import Grant, Override
from tests.unit.core_world import NOW_S, POSTMASTER, primary, standby


def granted(sync: bool, **given: float) -> ConfirmGrant | None:
    host = primary(sync=sync).knows(given=None)
    if given:
        old = Grant(4, "boot-b", POSTMASTER["b"], NOW_S - 9, None if sync else NOW_S + 51)
        host = host.knows(given=old, **given)
    return host.hears(sent_s=NOW_S - 0.1).round().started(ConfirmGrant)


def test_in_sync_a_grant_has_no_end_and_is_made_once() -> None:
    key = Grant(4, "boot-b", POSTMASTER["b"], NOW_S - 0.1, None)
    assert granted(sync=True) == ConfirmGrant(key, sync=True)
    assert granted(sync=True, given_at_s=NOW_S - 60) is None


def test_in_async_a_lease_counts_from_the_peer_s_own_clock_and_is_renewed_in_time() -> None:
    key = Grant(4, "boot-b", POSTMASTER["b"], NOW_S - 0.1, NOW_S - 0.1 + 60.0)
    assert granted(sync=False) == ConfirmGrant(key, sync=False)
    assert granted(sync=False, given_at_s=NOW_S - 4.9) is None
    assert granted(sync=False, given_at_s=NOW_S - 5.0) == ConfirmGrant(key, sync=False)


def test_a_short_lease_is_renewed_ten_times_before_it_ends() -> None:
    host = primary(sync=False).configured(lag_s_max=20.0)
    old = Grant(4, "boot-b", POSTMASTER["b"], NOW_S, NOW_S + 20.0)
    assert not host.knows(given=old, given_at_s=NOW_S - 1.9).round().started(ConfirmGrant)
    assert host.knows(given=old, given_at_s=NOW_S - 2.0).round().started(ConfirmGrant)


NOT_GRANTED = [{"postmaster": ""}, {"in_recovery": False}, {"unfit": "its replay is paused"}]


@pytest.mark.parametrize("word", NOT_GRANTED, ids=str)
def test_nothing_is_granted_to_a_peer_that_runs_no_standby_or_is_not_fit(word: dict[str, object]) -> None:
    assert primary().knows(given=None).round().started(ConfirmGrant)
    assert not primary().knows(given=None).hears(**word).round().started(ConfirmGrant)


def test_a_postmaster_that_was_seen_long_ago_proves_no_grant() -> None:
    """The probe of the processes hangs with the disk: another postmaster may have taken the place meanwhile."""
    host = standby()
    assert eligible(host.facts)
    assert not eligible(host.sees(processes=replace(host.seen.processes, at_s=NOW_S - 21)).facts)


def test_a_primary_that_is_alone_by_choice_grants_nothing() -> None:
    chosen = primary().knows(given=None).configured(override=Override.PRIMARY_STANDBY)
    assert not chosen.round().started(ConfirmGrant)
