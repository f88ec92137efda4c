"""The lease of a pair with a witness, the wait of the winner, and what of both outlives a daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pgvip.core import lease
from pgvip.core.actions import DropVip, Guard, KillPostgres, StartPostgres, StopPostgres, WriteState
from pgvip.core.decide import begin, boot_facts, decide
from pgvip.core.knowledge import Claim, GiveUp, Why
from pgvip.core.messages import Want
from pgvip.core.rights import standby_address, takes_from_me, write_right
from pgvip.core.settings import Inputs
from pgvip.core.values import NEVER, BootFacts, Durable, Lease, Mode, Pause, Record, Vip
from tests.unit.core_world import NOW_S, TERM, WITNESS_ID, Host, primary, record, standby, witnessed


def jumps(host: Host) -> Host:
    """The same after a round in which its two clocks have moved apart."""
    decision = decide(host.k, Inputs(host.seen, jumped=True), host.s, host.now_s)
    return replace(host, k=decision.knowledge, last=decision)


def winner(host: Host, **changes: object) -> Host:
    """The same with an open claim."""
    claim = Claim("x", TERM, Why.UNHEARD, takeover=False, attempt="", since_s=NOW_S - 1, won=True, waits=True)
    return host.knows(claim=replace(claim, **changes))  # type: ignore[arg-type]  # by name


# --- without a witness, and in solo -----------------------------------------------------------------------


def test_without_a_witness_rights_last() -> None:
    host = primary().silence()
    assert lease.leased(host.facts)
    assert lease.let_go(host.facts)
    assert lease.may_claim(host.facts)
    assert not lease.register_used(host.durable(claimed_term=TERM).facts)
    assert not lease.unheard(host.facts)
    assert host.round().message.echo_boot == ""


def test_in_solo_there_is_no_lease() -> None:
    assert lease.leased(witnessed(primary(Mode.SOLO)).knows(lease=None).facts)


# --- the lease --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [primary, standby])
def test_rights_last_for_lease_s_after_what_the_peer_has_heard_was_sent(make: Callable[[], Host]) -> None:
    host = witnessed(make(), heard_s=4.4)
    assert lease.leased(host.facts)
    assert not lease.leased(witnessed(make(), heard_s=4.5).facts)
    assert not lease.leased(host.knows(lease=None).facts)
    assert not lease.leased(host.knows(lease=Lease(TERM - 1, NOW_S)).facts)


def test_a_lease_is_what_the_write_right_and_the_standby_address_rest_on() -> None:
    over = {"lease": None}
    assert write_right(witnessed(primary()).facts)
    assert not write_right(witnessed(primary()).knows(**over).facts)
    assert standby_address(witnessed(standby()).facts)
    assert not standby_address(witnessed(standby()).knows(**over).facts)


def test_a_message_prolongs_the_lease_by_what_it_echoes_and_not_by_when_it_comes() -> None:
    host = witnessed(primary(), heard_s=4.0)
    assert host.told(echo_boot="boot-a", echo_s=NOW_S - 2.0).k.witness.lease == Lease(TERM, NOW_S - 2.0)
    assert host.told(echo_boot="boot-a", echo_s=NOW_S - 4.3).k.witness.lease == Lease(TERM, NOW_S - 4.0)


@pytest.mark.parametrize(
    "change",
    [
        {"claiming": True},
        {"echo_boot": "boot-a0"},
        {"echo_boot": ""},
        {"echo_s": NOW_S + 1.0},
        {"record": record("a", Mode.PAIR, TERM - 1, witness_id=WITNESS_ID)},
        {"record": None},
    ],
    ids=str,
)
def test_an_echo_of_a_claimer_of_another_boot_or_of_another_term_prolongs_nothing(change: dict[str, Any]) -> None:
    host = witnessed(primary(), heard_s=4.0)
    told: dict[str, Any] = {"echo_boot": "boot-a", "echo_s": NOW_S - 1.0} | change
    assert host.told(**told).k.witness.lease == Lease(TERM, NOW_S - 4.0)


def test_a_host_echoes_what_it_heard_last_and_nothing_while_it_claims() -> None:
    host = witnessed(standby()).told(sent_s=77.0)
    assert (host.message.echo_boot, host.message.echo_s) == ("boot-a", 77.0)
    assert host.message.lease_s == 5.3
    claiming = witnessed(standby()).silence().round().round(after_s=0.5)
    assert claiming.message.claiming
    assert (claiming.message.echo_boot, claiming.message.echo_s) == ("", NEVER)


def test_a_lease_begins_with_the_pair_that_this_host_writes() -> None:
    host = witnessed(primary(Mode.SOLO)).round()
    new = host.must_start(WriteState).durable.record
    assert new is not None
    assert new.mode is Mode.PAIR
    done = host.written()
    assert done.k.witness.lease == Lease(new.term, done.now_s)


def test_a_host_that_adopts_a_pair_has_no_lease_before_an_echo() -> None:
    new = record("a", Mode.PAIR, TERM + 2, witness_id=WITNESS_ID)
    adopted = witnessed(standby(Mode.SOLO)).told(record=new).written()
    assert adopted.record == new
    assert not lease.leased(adopted.facts)


# --- its end ----------------------------------------------------------------------------------------------


def test_at_its_end_the_server_is_killed_and_the_address_dropped_at_once() -> None:
    host = witnessed(primary(), heard_s=4.5).silence().durable(claimed_term=TERM).knows(lost_term=TERM).round()
    assert host.started(KillPostgres)
    assert host.started(DropVip) == DropVip(Vip.PRIMARY)
    assert host.k.witness.killed
    assert "lease-over" in host.warnings()


def test_a_clean_stop_that_is_under_way_is_not_waited_for() -> None:
    giving_up = GiveUp("hand-over-switchover", Want.HANDOVER, TERM, "boot-b", NOW_S - 4, clean=True)
    host = witnessed(primary(), heard_s=5.0).silence().knows(giving_up=giving_up, running=(StopPostgres(clean=True),))
    host = host.round()
    assert host.k.consent.giving_up is None
    assert host.started(KillPostgres)


def test_a_server_that_was_killed_for_it_is_started_again_here_once_the_peer_is_heard() -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(killed=True)
    back = host.told(echo_boot="boot-a", echo_s=NOW_S - 0.1)
    assert back.k.intent.row == "none"
    assert back.started(StartPostgres) == StartPostgres(standby=False, sync=True)
    assert back.k.database.crashes == ()


def test_a_kill_that_is_under_way_is_not_forgotten_by_what_was_seen_before() -> None:
    host = witnessed(primary(), heard_s=4.5).silence().durable(claimed_term=TERM).knows(lost_term=TERM).round()
    assert host.round().k.witness.killed
    back = host.told(echo_boot="boot-a", echo_s=NOW_S - 0.1)
    assert back.k.witness.killed
    assert not back.done(KillPostgres()).knows(ended={}).round().k.witness.killed, "it is seen up again"


def test_a_blocked_primary_without_a_lease_starts_no_server() -> None:
    host = witnessed(primary().down(), heard_s=60.0).silence().knows(lost_term=TERM).round()
    assert not host.started(StartPostgres)


def test_whoever_has_won_its_term_needs_no_lease() -> None:
    host = witnessed(standby(), heard_s=60.0)
    assert lease.leased(winner(host).facts)
    assert not lease.leased(winner(host, won=False).facts)
    assert not lease.leased(winner(host, term=TERM - 2).facts)
    assert not lease.leased(winner(host, why=Why.ORDER).facts)


# --- the wait ---------------------------------------------------------------------------------------------


def test_a_winner_waits_for_lease_and_stop_with_the_margin_since_it_heard_the_peer() -> None:
    host = witnessed(standby()).silence(2.0)
    assert lease.wait_end_s(host.facts) == pytest.approx(NOW_S - 2.0 + 5.3 * 1.1)
    assert not lease.waited(host.facts)
    assert lease.waited(host.at(NOW_S + 4.1).facts)


def test_the_longer_time_of_both_hosts_counts() -> None:
    assert lease.wait_end_s(witnessed(standby()).hears(lease_s=20.0).facts) == pytest.approx(NOW_S + 22.0)
    assert lease.wait_end_s(witnessed(standby()).hears(lease_s=2.0).facts) == pytest.approx(NOW_S + 5.83)


def test_a_process_that_has_just_started_waits_from_its_start() -> None:
    host = witnessed(standby()).silence(60.0)
    young = host.knows(who=replace(host.k.who, started_s=NOW_S - 1.0), heard=None)
    assert lease.wait_end_s(young.facts) == pytest.approx(NOW_S - 1.0 + 5.83)


def test_what_is_heard_during_a_claim_does_not_lengthen_the_wait() -> None:
    host = winner(witnessed(standby()), since_s=NOW_S - 3.0).hears()
    assert lease.wait_end_s(host.facts) == pytest.approx(NOW_S - 3.0 + 5.83)


def test_the_standby_address_is_taken_when_the_peer_has_let_go() -> None:
    alone = witnessed(primary(Mode.SOLO)).holds(Vip.PRIMARY).silence(2.0)
    assert not standby_address(alone.facts)
    assert standby_address(alone.at(NOW_S + 4.1).round().facts)
    assert standby_address(witnessed(primary(Mode.SOLO)).round().facts), "the peer has adopted the record"
    assert standby_address(alone.knows(peer_off=True).round().facts), "the peer is off"
    told = alone.hears(claiming=True)
    assert not standby_address(told.round().facts)


def test_the_next_round_begins_when_a_lease_or_a_wait_ends() -> None:
    assert lease.due_s(primary().facts) == float("inf")
    assert lease.due_s(witnessed(primary(), heard_s=1.0).facts) == NOW_S + 3.5
    assert lease.due_s(witnessed(primary(), heard_s=9.0).facts) == float("inf")
    waiting = winner(witnessed(standby(), heard_s=9.0).silence(2.0), takeover=True, since_s=NOW_S)
    assert lease.due_s(waiting.facts) == pytest.approx(NOW_S + 3.83)
    alone = witnessed(primary(Mode.SOLO)).silence(2.0)
    assert lease.due_s(alone.facts) == pytest.approx(NOW_S + 3.83)
    assert lease.due_s(alone.knows(free_term=TERM).facts) == float("inf")
    assert witnessed(primary(), heard_s=1.0).round().last.due_s == NOW_S + 3.5  # type: ignore[union-attr]  # it decided


# --- restarts ---------------------------------------------------------------------------------------------


def test_a_lease_outlives_the_daemon_and_not_the_boot() -> None:
    host = witnessed(primary()).knows(free_term=TERM)
    assert boot_facts(host.k).lease == Lease(TERM, NOW_S - 1.0)
    who = replace(host.k.who, run_id="run-a2", started_s=NOW_S)
    again = replace(host, k=begin(who, host.k.durable, boot_facts(host.k)))
    assert lease.leased(again.facts)
    assert again.k.witness.free_term == TERM
    rebooted = begin(replace(who, boot_id="boot-a2"), host.k.durable, BootFacts())
    assert (rebooted.witness.lease, rebooted.witness.free_term) == (None, -1)


def restarted(host: Host, lease_s: float) -> Host:
    """The same after a restart of its daemon with another lease_s in its file."""
    facts = boot_facts(host.k, host.s.lease_s)
    who = replace(host.k.who, run_id="run-2", started_s=host.now_s)
    return replace(host, k=begin(who, host.k.durable, facts), last=None).configured(lease_s=lease_s)


def test_a_longer_lease_counts_from_the_first_message_that_says_so() -> None:
    """The peer waits by what it has heard: until then the old one."""
    host = restarted(witnessed(primary(), heard_s=1.0), 30.0)
    assert lease.leased(host.facts)
    assert lease.lease_end_s(host.facts) == NOW_S + 3.5
    old = host.told(echo_boot="boot-a", echo_s=NOW_S - 0.5)
    assert lease.lease_end_s(old.facts) == NOW_S + 4.0, "sent by the process before"
    again = restarted(old, 30.0)
    assert lease.lease_end_s(again.facts) == NOW_S + 4.0, "nor does a second restart tell the peer"
    told = old.at(NOW_S + 1.0).told(echo_boot="boot-a", echo_s=NOW_S + 0.5)
    assert lease.lease_end_s(told.facts) == NOW_S + 30.5
    assert lease.lease_end_s(restarted(told, 4.5).facts) == NOW_S + 5.0, "a shorter one counts at once"


def test_the_longer_lease_of_the_peer_outlives_a_restart_of_the_daemon_that_heard_it() -> None:
    host = restarted(witnessed(standby()).hears(lease_s=20.0), 4.5)
    assert host.k.peer.heard is None
    assert lease.wait_end_s(host.facts) == pytest.approx(NOW_S + 22.0)
    assert boot_facts(host.k).peer_lasts == 20.0
    shorter = restarted(witnessed(standby()).hears(lease_s=2.0), 4.5)
    assert lease.wait_end_s(shorter.facts) == pytest.approx(NOW_S + 5.83)


@pytest.mark.parametrize(
    ("heard_s", "killed"), [(4.4, False), (4.5, True), (60.0, True)], ids=["in time", "late", "very late"]
)
def test_a_primary_s_daemon_that_starts_when_its_lease_is_over_kills_the_server(heard_s: float, killed: bool) -> None:
    """The other host may be about to serve: it cannot be asked first (docs/dev/witness.md)."""
    host = witnessed(primary(), heard_s=heard_s).daemon_restarts().round()
    assert bool(host.started(KillPostgres)) is killed


def test_a_daemon_of_a_host_that_serves_alone_may_start_as_late_as_it_likes() -> None:
    host = witnessed(primary(Mode.SOLO), heard_s=600.0).daemon_restarts().round()
    assert not host.started(KillPostgres)
    assert write_right(host.facts)


# --- what the loser keeps ---------------------------------------------------------------------------------

TAKEN = record("b", Mode.SOLO, TERM + 1, witness_id=WITNESS_ID)


def test_a_loser_that_gave_up_in_time_keeps_no_hold() -> None:
    assert not takes_from_me(witnessed(primary(sync=False), heard_s=60.0).facts, TAKEN)
    assert takes_from_me(primary(sync=False).facts, TAKEN), "without a witness it has not consented"


def test_a_loser_that_was_late_keeps_a_hold_in_async_only() -> None:
    late = {"late": True}
    assert takes_from_me(witnessed(primary(sync=False), heard_s=60.0).knows(**late).facts, TAKEN)
    assert not takes_from_me(witnessed(primary(), heard_s=60.0).knows(**late).facts, TAKEN)


@pytest.mark.parametrize(("heard_s", "late"), [(4.0, False), (5.2, False), (5.4, True)])
def test_a_primary_is_late_that_can_write_when_the_time_to_give_up_is_over(heard_s: float, late: bool) -> None:
    assert witnessed(primary(), heard_s=heard_s).silence().round().k.witness.late is late


def test_a_jump_of_the_clocks_leaves_two_heartbeats_of_the_lease() -> None:
    host = jumps(witnessed(primary(), heard_s=0.1))
    assert lease.lease_end_s(host.facts) == pytest.approx(NOW_S + 1.0)
    assert host.told(echo_boot="boot-a", echo_s=NOW_S).k.witness.lease == Lease(TERM, NOW_S)
    old = jumps(witnessed(primary(), heard_s=4.4))
    assert lease.lease_end_s(old.facts) == pytest.approx(NOW_S + 0.1)
    assert jumps(primary()).k.witness.lease is None


def test_a_primary_that_has_just_booted_is_not_late() -> None:
    assert not witnessed(primary().reboots(), heard_s=60.0).knows(lease=None).silence().round().k.witness.late


def test_a_pause_ends_no_lease_and_keeps_none() -> None:
    host = witnessed(primary(), heard_s=4.5).silence().durable(pause=Pause(1, active=True)).knows(lost_term=TERM)
    ended = host.round()
    assert ended.started(KillPostgres)
    assert ended.last is not None
    assert ended.last.guard is Guard.LOST, "a watchdog resets the host when that fails"


def test_records_of_one_term_name_one_witness() -> None:
    plain = Record("p", "s", 4, "a", Mode.PAIR, sync=True)
    assert not plain.same_rights(replace(plain, witness_id="w"))
    assert Durable().claimed_term == -1
