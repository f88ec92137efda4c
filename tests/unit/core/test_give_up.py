"""What is given up and to whom: a role, an address or a say, and how the server is stopped for it."""

from __future__ import annotations

from dataclasses import replace

from pgvip.core.actions import StopPostgres, WriteState
from pgvip.core.messages import Order
from pgvip.core.observations import Observation
from pgvip.core.values import Mode
from tests.unit.core_world import NOW_S, SOLO_B, STALLED, Host, failing, primary, record, role_wish, solo_wish, standby

# --- what is given up, and to whom --------------------------------------------------------------------------


def test_a_host_without_the_role_gives_it_to_nobody() -> None:
    for host in (primary().knows(confirmed=False), primary().knows(alarm="they differ")):
        assert host.told(request=role_wish(reason="take-over-by-order")).k.consent.giving_up is None
    assert standby().told(request=role_wish(boot_id="boot-a", reason="take-over-by-order")).k.consent.giving_up is None


def test_what_is_given_up_has_the_name_of_the_change() -> None:
    def change(host: Host) -> str:
        assert host.k.consent.giving_up is not None
        return host.k.consent.giving_up.change

    assert change(standby().told(request=solo_wish())) == "solo-by-consent"
    assert change(standby().told(request=replace(solo_wish(), reason="mode-change"))) == "mode-change"
    assert change(standby().told(request=replace(solo_wish(), reason=""))) == "solo-by-consent"
    assert change(primary().told(request=role_wish(reason="take-over-by-order"))) == "hand-over-switchover"
    assert change(primary().down().told(request=role_wish())) == "hand-over-database"


def test_a_role_is_not_given_unasked() -> None:
    assert primary().told(request=role_wish(reason="because")).k.consent.giving_up is None
    assert primary().told(request=role_wish(reason="take-over-by-order", eligible=False)).k.consent.giving_up is None


def test_while_something_is_written_or_heard_nothing_new_is_given_up() -> None:
    heard = standby().knows(heard_record=record("a", Mode.SOLO, 8))
    assert heard.told(request=solo_wish()).k.consent.giving_up is None
    giving = standby().told(request=solo_wish())
    assert giving.told(request=solo_wish()).k.consent.giving_up == giving.k.consent.giving_up


def test_a_give_up_under_way_is_not_begun_anew_by_the_request_that_stands() -> None:
    giving = standby().told(request=solo_wish())
    later = giving.told(after_s=1.0, request=solo_wish())
    assert later.k.consent.giving_up == giving.k.consent.giving_up


def test_nothing_is_given_up_while_something_is_written() -> None:
    writing = standby().order(Order.PAUSE)
    assert writing.k.intent.writing is not None
    assert writing.told(request=solo_wish()).k.consent.giving_up is None


def test_whoever_gives_up_does_not_ask_for_the_role_in_the_same_breath() -> None:
    told = standby().told(request=solo_wish(), invite="hand-over-switchover", invite_term=4)
    assert told.k.consent.giving_up is not None
    assert told.message.request is None


def test_only_a_standby_of_a_pair_consents_to_solo() -> None:
    assert standby().told(request=solo_wish()).k.consent.giving_up is not None
    for host in (primary(), standby(Mode.SOLO), primary(Mode.SOLO).hears(streaming=False)):
        assert host.told(request=solo_wish(boot_id=f"boot-{host.peer}")).k.consent.giving_up is None


def test_consent_to_solo_ends_the_right_to_take_over_at_once() -> None:
    assert standby().told(request=solo_wish()).k.grants.grant is None
    assert primary().knows(grant=None).told(request=role_wish(reason="take-over-by-order")).k.grants.grant is None


# --- how the server is stopped for it -----------------------------------------------------------------------


def test_a_server_that_hangs_is_not_asked_for_a_clean_stop() -> None:
    hung = primary().sees(connection=failing(value=True))
    assert hung.round().message.invite
    assert hung.told(request=role_wish()).must_start(StopPostgres) == StopPostgres(clean=False)


def test_a_primary_that_commits_nothing_is_handed_over_whatever_else_it_answers() -> None:
    """Each fsync takes seconds, and no probe alone hangs: what clients cannot do is a failure."""
    stalled = primary().sees(heartbeat=STALLED)
    assert stalled.facts.responding
    assert stalled.round().message.invite
    assert stalled.told(request=role_wish()).must_start(StopPostgres) == StopPostgres(clean=False)
    alone = stalled.hears(eligible=False)
    assert not alone.round().message.invite
    assert not alone.round().started(StopPostgres), "a restart mends no disk"


def test_a_server_that_is_being_stopped_is_looked_at_before_it_is_stopped_again() -> None:
    giving = primary().told(request=role_wish(reason="take-over-by-order"))
    assert giving.must_start(StopPostgres)
    unseen = giving.knows(running=(), ended={"postgres": NOW_S + 1})
    assert not unseen.round().started(StopPostgres)


def test_a_server_that_was_not_looked_at_lately_is_stopped_before_its_role_is_adopted_away() -> None:
    """Not at once: after a start, or an action on it, the look comes first. A look that never comes is no excuse."""
    blind = primary().holds().sees(processes=Observation()).knows(heard_record=SOLO_B)

    def stops(host: Host) -> bool:
        assert not host.round().started(WriteState)
        return host.round().started(StopPostgres) == StopPostgres(clean=False)

    assert stops(blind)
    assert not stops(blind.knows(ended={"postgres": NOW_S - 2.9}))
    assert stops(blind.knows(ended={"postgres": NOW_S - 3.0}))
    assert stops(blind.knows(ended={"names": NOW_S}))
    assert not stops(blind.daemon_restarts().knows(heard_record=SOLO_B))


def test_a_stop_that_fails_is_not_asked_to_be_clean_again() -> None:
    giving = primary().told(request=role_wish(reason="take-over-by-order"))
    stop = giving.must_start(StopPostgres)
    assert stop.clean
    failed = giving.done(stop, ok=False, text="a backend does not end")
    assert failed.k.consent.giving_up is not None
    assert not failed.k.consent.giving_up.clean
    assert failed.round(after_s=0.5).must_start(StopPostgres) == StopPostgres(clean=False)
