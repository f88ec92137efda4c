"""A promotion is verified by where its new timeline forks, and a recovery target is taken away before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import AddVip, Promote, Rejoin, StartPostgres, StopPostgres
from pgvip.core.knowledge import Promotion
from pgvip.core.messages import Order
from pgvip.core.observations import Observation
from pgvip.core.values import Mode, Vip
from tests.unit.core_world import NO_VIPS, NOW_S, SOLO_B, Host, primary, standby

MISSING = "the promotion left timeline 1 at 0/900, before 0/1000, which had been flushed"
TARGET = "recovery_target_name = 'old'"


def promoting() -> Host:
    """The standby has taken the role, and is being promoted."""
    host = standby().durable(record=replace(SOLO_B, primary="b"), served=True, complete=True).holds()
    host = host.knows(heard=None, checked={Vip.PRIMARY: (host.now_s, "")}).round()
    assert host.started(Promote)
    return host


def read_write(host: Host) -> Host:
    return host.database(in_recovery=False, streaming=False)


def checked(host: Host) -> Host:
    return host.knows(checked={Vip.PRIMARY: (host.now_s, "")})


def test_nothing_is_served_before_it_was_seen_where_the_promotion_forked() -> None:
    seen = read_write(promoting()).round()
    assert not seen.started(AddVip)
    assert not seen.message.read_write, "the peer's data are not rebuilt from it either"
    good = checked(seen).done(Promote())
    assert good.started(AddVip) == AddVip(Vip.PRIMARY)
    assert good.message.read_write


def test_a_promotion_that_forks_early_serves_nothing_and_waits_for_an_operator() -> None:
    early = checked(read_write(promoting())).done(Promote(), text=MISSING)
    assert not early.started(AddVip)
    assert early.must_start(StopPostgres) == StopPostgres(clean=False)
    early = early.written()
    assert (early.k.durable.hold, early.k.durable.lacks) == (MISSING, True)
    assert "promote --force" in early.warnings()["early-fork"]
    assert "hold" not in early.warnings()
    assert early.message.hold == MISSING
    assert early.round().k.promotion.lacks == "", "it is written"
    down = early.down().round()
    assert not down.started(StartPostgres), "it is not started again"


def test_a_promotion_is_not_verified_by_its_failure() -> None:
    failed = checked(read_write(promoting())).done(Promote(), ok=False, text="no answer")
    assert failed.k.promotion.unverified
    assert not failed.started(AddVip)
    assert not failed.facts.verified


UNVERIFIED: dict[str, Host] = {
    "begun": primary().knows(unverified=True),
    "left something out": primary().knows(lacks=MISSING),
    "left something out, as is written": primary().durable(lacks=True),
    "under way": primary().knows(running=(Promote(),)),
}


@pytest.mark.parametrize("state", UNVERIFIED)
def test_each_of_these_alone_keeps_a_promotion_from_counting(state: str) -> None:
    assert primary().facts.verified
    assert not UNVERIFIED[state].facts.verified


def test_it_is_written_as_soon_as_another_write_has_ended() -> None:
    host = read_write(promoting()).knows(writing=promoting().k.durable)
    early = host.done(Promote(), text=MISSING)
    assert early.k.durable.lacks is False
    assert early.message.hold == ""
    assert not early.started(AddVip)
    later = early.knows(writing=None).round()
    assert later.k.intent.writing is not None
    assert later.k.intent.writing.lacks


@pytest.mark.parametrize("serves", [True, False])
def test_a_daemon_that_starts_verifies_a_promotion_unless_its_address_is_up(serves: bool) -> None:
    host = primary(Mode.SOLO).daemon_restarts()
    host = host if serves else host.sees(held=replace(host.seen.held, value=NO_VIPS))
    again = host.round()
    assert (again.started(Promote) is None) is serves
    assert again.k.promotion.unverified is not serves


def test_a_hold_for_missing_data_ends_by_force_or_where_the_other_is_primary() -> None:
    lacking = primary(Mode.SOLO).durable(hold=MISSING, lacks=True).down()
    assert lacking.order(Order.CLEAR_HOLD).k.intent.writing is None
    forced = lacking.order(Order.FORCE_PROMOTE, "without-fence")
    assert forced.k.intent.writing is not None
    assert (forced.k.intent.writing.hold, forced.k.intent.writing.lacks) == ("", False)
    other = standby(Mode.SOLO).durable(hold=MISSING, lacks=True)
    assert not other.hears(confirmed=True).processes(standby_signal=False).round().started(Rejoin)
    cleared = other.order(Order.CLEAR_HOLD)
    assert cleared.k.intent.writing is not None
    assert not cleared.k.intent.writing.lacks


# --- a standby's server that becomes read-write by itself or by hand ---------------------------------------------


def text_of(host: Host, name: str) -> str:
    assert host.last is not None
    return next((warning.text for warning in host.last.warnings if warning.name == name), "")


def stray(host: Host, times: int = 1, **seen: object) -> Host:
    """The standby after its server became read-write so many times, each soon after its start."""
    for number in range(times):
        new = f"{900 + number}:1"
        host = host.processes(postmaster=new, standby_signal=False, control_state="in production")
        host = host.database(postmaster=new, in_recovery=False, streaming=False, **seen)
        host = host.knows(postmaster_since_s=host.now_s - 3, running=()).round()
    return host


def test_a_standby_s_server_that_became_read_write_is_stopped_at_once() -> None:
    host = stray(standby())
    assert host.must_start(StopPostgres) == StopPostgres(clean=False)
    assert host.said("stray") == {}
    assert "pgvip rejoin" in host.warnings()["stray"]
    assert "StopPostgres" not in {type(action).__name__ for action in standby().round().actions}


def test_a_primary_s_server_that_is_read_write_without_the_right_is_no_stray() -> None:
    host = primary().knows(confirmed=False).round()
    assert host.must_start(StopPostgres)
    assert host.k.promotion == Promotion()


def test_it_is_counted_once_for_each_server_and_says_what_made_it() -> None:
    host = stray(standby(), recovery_target=TARGET)
    assert host.round().k.promotion.strays == 1
    assert f"became read-write without the right to it, 1 times in a row ({TARGET})" in text_of(host, "stray")
    by_hand = stray(standby()).k.promotion
    assert by_hand.stray_why == "somebody promoted it, or started it without standby.signal"


def test_a_server_that_is_stopped_before_it_was_asked_is_counted_too() -> None:
    """It promotes itself while it starts: the end of the start makes old what the database said meanwhile."""
    host = standby().processes(postmaster="900:1", standby_signal=False, control_state="in production")
    host = host.sees(database=Observation()).knows(running=()).round()
    assert host.must_start(StopPostgres) == StopPostgres(clean=False)
    assert host.k.promotion.strays == 1
    assert host.round().k.promotion.strays == 1


def test_after_three_in_a_row_its_data_are_not_rebuilt_until_an_operator_orders_it() -> None:
    def rebuilt(host: Host) -> Host:
        down = host.down().processes(standby_signal=False, control_state="shut down").knows(running=())
        return down.hears(read_write=True, confirmed=True).round()

    assert rebuilt(stray(standby(Mode.SOLO), 2)).started(Rejoin)
    third = rebuilt(stray(standby(Mode.SOLO), 3))
    assert not third.started(Rejoin)
    assert text_of(third, "stray").endswith("; it is not rejoined again")
    assert third.order(Order.REJOIN).k.promotion == Promotion()


def test_a_standby_that_has_streamed_for_a_while_is_no_more_suspected() -> None:
    host = standby().knows(stray="900:1", strays=2, stray_why="x", postmaster_since_s=NOW_S - 59)
    assert host.round().k.promotion.strays == 2
    assert host.knows(postmaster_since_s=NOW_S - 60).round().k.promotion == Promotion()
    late = stray(standby().knows(strays=2)).knows(strays=2, stray="", postmaster_since_s=NOW_S - 60)
    assert late.round().k.promotion.strays == 1


def test_a_server_that_answers_when_it_is_first_seen_has_not_run_for_long() -> None:
    """What it was before is not forgotten, and it counts as one more when it leaves recovery."""
    down = standby().down().knows(stray="900:1", strays=2, stray_why="x").round()
    seen = down.processes(postmaster="901:1").database(postmaster="901:1").round()
    assert seen.facts.streams
    assert seen.k.promotion.strays == 2
    opened = seen.processes(postmaster="901:1", standby_signal=False, control_state="in production")
    opened = opened.database(postmaster="901:1", in_recovery=False, streaming=False).knows(running=())
    assert opened.round().k.promotion.strays == 3


def test_a_server_at_a_recovery_target_is_restarted_and_not_promoted() -> None:
    host = standby().durable(record=replace(SOLO_B, primary="b"), served=True, complete=True).knows(heard=None)
    at = host.database(recovery_target=TARGET).round()
    assert at.started(StopPostgres)
    assert not at.started(Promote)
    again = host.database(recovery_target=TARGET).knows(restarted_for=(TARGET,) * 3).round()
    assert again.started(Promote), "it comes back with every start: the fork says what is lost, and it is not served"


def test_a_standby_at_a_recovery_target_is_restarted_three_times_while_its_primary_serves() -> None:
    host = standby().database(recovery_target=TARGET)
    first = host.round()
    assert first.must_start(StopPostgres) == StopPostgres(clean=True)
    assert first.k.promotion.restarted_for == (TARGET,)
    unasked = standby().sees(database=Observation())
    assert not unasked.round().started(StopPostgres), "a server that has not been asked has no target"
    assert not host.silence(1.0).hears(read_write=False).round().started(StopPostgres)
    twice = host.knows(restarted_for=(TARGET,)).round()
    assert twice.started(StopPostgres), "somebody started it himself meanwhile"
    third = host.knows(restarted_for=("another", TARGET, TARGET)).round()
    assert third.k.promotion.restarted_for == (TARGET,) * 3
    assert not host.knows(restarted_for=(TARGET,) * 3).round().started(StopPostgres)
    gone = standby().knows(restarted_for=(TARGET,) * 3).round()
    assert gone.k.promotion.restarted_for == (), "the next one is another"
