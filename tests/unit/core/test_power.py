"""The peer's power: when it is switched on again, by whom it was switched off, and who leaves it off."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import AddVip, PowerOn, Result, WriteState
from pgvip.core.messages import Command, Order
from pgvip.core.observations import Observation
from pgvip.core.values import NEVER, Mode, Override, Pause, Vip
from tests.unit.core_world import NOW_S, Host, attempt, claiming, failing, primary, record, saw, standby


def test_the_peer_is_switched_on_again_only_when_no_claim_is_open_and_not_in_a_pause() -> None:
    claimed = claiming(primary())
    off = claimed.done(attempt(claimed))
    assert not off.running(PowerOn)
    assert off.durable(pause=Pause(1, active=True)).written().running(PowerOn) is True
    assert off.written().running(PowerOn)
    assert not primary().knows(power_pending=True).durable(pause=Pause(1, active=True)).round().running(PowerOn)


def test_the_peer_is_not_switched_on_into_the_fence_of_a_claim_that_has_ended() -> None:
    ended = claiming(primary()).told(after_s=0.1)
    assert ended.k.fencing.claim is None
    old = attempt(ended)
    off = ended.knows(power_pending=True).round()
    assert not off.running(PowerOn)
    assert off.done(old).running(PowerOn)


def test_what_the_peer_said_before_its_power_was_cut_does_not_mean_that_it_is_on() -> None:
    off = primary().knows(peer_off=True)
    assert off.told().k.power.peer_off, "the same boot: it was on its way when the power went"
    assert not off.told(boot_id="boot-b-2", run_id="run-b-2").k.power.peer_off


def test_a_peer_fenced_just_as_it_said_its_first_word_is_switched_on_again() -> None:
    """The word came with the fence's result, or after it: this host forgot that it had switched the peer off."""
    claimed = claiming(primary())
    word = claimed.next_message(boot_id="boot-b-2", run_id="run-b-2")
    later = claimed.at(claimed.now_s + 1).knows(round_s=claimed.now_s + 1)
    result = Result(attempt(claimed), ok=True, at_s=later.now_s)
    together = later.round(results=[result], messages=[word])
    after = later.round(results=[result]).round(messages=[word])
    for host in (together, after):
        assert host.k.intent.writing is not None
        alone = host.written()
        assert alone.record.mode is Mode.SOLO
        assert alone.running(PowerOn)


def test_an_operator_s_word_is_not_used_when_the_peer_is_heard() -> None:
    claimed = claiming(primary()).at(NOW_S + 1).knows(round_s=NOW_S + 1)
    command = Command(Order.FENCE_CONFIRMED)
    assert claimed.round(commands=[command]).started(WriteState)
    heard = claimed.round(commands=[command], messages=[claimed.next_message()])
    assert not heard.started(WriteState)
    assert heard.k.fencing.claim is None


def test_the_peer_is_switched_on_when_a_fence_that_failed_has_done_its_work_all_the_same() -> None:
    """Else a lease that ends during a slow fence leaves the pair without a primary, and nobody to bring one."""
    failed = claiming(standby(sync=False))
    failed = failed.done(attempt(failed), ok=False)
    ended = failed.knows(grant=None).round(after_s=1)
    assert ended.k.fencing.claim is None
    assert ended.last is not None
    assert "fence" in ended.last.wake
    off = ended.sees(fence=saw("off", ended.now_s))
    assert off.round().running(PowerOn)
    assert not off.durable(pause=Pause(1, active=True)).round().running(PowerOn)
    off = off.knows(roused=True)
    assert off.round().running(PowerOn)
    assert not off.knows(doubt_s=NEVER).round().running(PowerOn), "it was not this host's fence"
    before = failed.k.power.doubt_s - 1
    assert not ended.sees(fence=saw("off", before)).round().running(PowerOn), "seen before the fence"
    assert not ended.sees(fence=saw("on", ended.now_s)).round().running(PowerOn)
    assert not off.told().running(PowerOn), "the peer is heard"


def test_a_fence_that_failed_is_forgotten_once_the_peer_has_lived_on_for_long() -> None:
    doubt = standby().knows(doubt_s=NOW_S)
    assert doubt.told(after_s=5).k.power.doubt_s == NOW_S
    assert doubt.told(after_s=60).k.power.doubt_s == NOW_S
    assert doubt.told(after_s=61).k.power.doubt_s == NEVER
    booted = doubt.told(after_s=5, boot_id="boot-a-2", run_id="run-a-2")
    assert booted.k.power.doubt_s == NOW_S, "it may come after the boot"


def test_a_late_fence_that_comes_after_the_peer_was_switched_on_is_mended_as_well() -> None:
    """A fence fails, the next one works, the peer is switched on; then the first one is carried out (seed 200082)."""
    first = claiming(standby())
    second = first.done(attempt(first), ok=False).round(after_s=5).round()
    off = second.done(attempt(second)).written().written()
    assert off.running(PowerOn)
    on = off.sees(fence=saw("off", off.now_s)).done(PowerOn())
    assert on.k.power.doubt_s > NEVER
    assert not on.round().running(PowerOn), "what was seen before the peer was switched on says nothing"
    again = on.round(after_s=20).silence().knows(awake_s=NEVER)
    assert again.sees(fence=saw("off", again.now_s)).round().running(PowerOn)


def test_a_daemon_that_restarts_before_it_has_switched_the_peer_on_does_so() -> None:
    fenced = claiming(standby())
    fenced = fenced.done(attempt(fenced)).written().written()
    restarted = fenced.daemon_restarts()
    later = restarted.silence().at(restarted.now_s + 30)
    assert later.sees(fence=saw("off", later.now_s)).round().running(PowerOn)
    under_way = claiming(standby()).daemon_restarts().knows(grant=None)
    under_way = under_way.silence().at(under_way.now_s + 30)
    seen = under_way.sees(fence=saw("off", under_way.now_s))
    assert seen.round().running(PowerOn), "its result went with the process"


def test_an_unconfirmed_host_switches_on_the_peer_whose_answer_it_needs() -> None:
    """Both hosts fenced each other; one is back, does not remember, and could wait for ever (seed 310325)."""
    for host in (primary(), standby()):
        waits = host.reboots().silence().knows(heard=None)
        waits = waits.at(waits.now_s + 30)
        assert not waits.round().running(PowerOn), "its power was not looked at"
        asks = waits.round().last
        assert asks is not None
        assert "fence" in asks.wake
        off = waits.sees(fence=saw("off", waits.now_s))
        assert off.round().running(PowerOn)
        assert not off.durable(pause=Pause(1, active=True)).round().running(PowerOn)
        assert not waits.sees(fence=saw("on", waits.now_s)).round().running(PowerOn)
        done = off.round().done(PowerOn())
        assert not done.sees(fence=saw("off", done.now_s + 1)).round().running(PowerOn), "somebody wants it off"
    with_solo = standby(Mode.SOLO).reboots().silence().knows(heard=None)
    with_solo = with_solo.at(with_solo.now_s + 30)
    assert with_solo.sees(fence=saw("off", with_solo.now_s)).round().running(PowerOn)


def test_a_solo_primary_switches_on_the_peer_that_it_has_not_met_since_its_own_boot() -> None:
    """It may have fenced it, and not remember (seed 1006853); but whom it has met, somebody else has switched off."""
    booted = primary(Mode.SOLO).reboots().silence().knows(heard=None)
    booted = booted.at(booted.now_s + 30)
    off = booted.sees(fence=saw("off", booted.now_s))
    assert off.round().running(PowerOn)
    assert not off.configured(override=Override.PRIMARY_STANDBY).round().running(PowerOn)
    met = booted.told().silence().at(booted.now_s + 60)
    for host in (met, met.daemon_restarts().silence().at(met.now_s + 60)):
        assert not host.sees(fence=saw("off", host.now_s)).round().running(PowerOn)


@pytest.mark.parametrize("waits", [standby(Mode.SOLO), standby().knows(grant=None)], ids=["solo", "not eligible"])
def test_a_standby_switches_on_the_primary_whose_role_it_may_not_take(waits: Host) -> None:
    """It lost its power, and nothing else could end that outage (found by chaos, and by seed 4004301)."""
    waits = waits.silence().at(NOW_S + 30)
    off = waits.sees(fence=saw("off", waits.now_s))
    assert off.round().running(PowerOn)
    assert not off.durable(pause=Pause(1, active=True)).round().running(PowerOn)
    assert not waits.sees(fence=saw("on", waits.now_s)).round().running(PowerOn)
    assert not off.told().running(PowerOn), "the peer is heard"
    done = off.round().done(PowerOn())
    assert not done.sees(fence=saw("off", done.now_s + 1)).round().running(PowerOn), "somebody wants it off"


def test_another_action_s_success_neither_means_power_nor_a_rejoin() -> None:
    host = primary().holds().knows(checked={Vip.PRIMARY: (NOW_S, "")}, peer_off=True, rejoin_clone=True).round()
    raised = host.done(host.must_start(AddVip))
    assert raised.k.power.peer_off
    assert raised.k.orders.rejoin_clone


def test_a_power_on_that_failed_leaves_the_peer_off() -> None:
    host = primary().knows(peer_off=True, running=(PowerOn(),))
    assert host.done(PowerOn(), ok=False).k.power.peer_off
    assert not host.done(PowerOn()).k.power.peer_off


def waits_for_one_that_is_off() -> Host:
    """Booted, unconfirmed, its peer silent and seen off."""
    host = standby().reboots().knows(heard=None).at(NOW_S + 60)
    return host.sees(fence=saw("off", NOW_S + 60), peer_own=failing(since_s=NOW_S)).knows(round_s=NOW_S + 60)


def test_a_peer_that_is_off_and_needed_is_switched_on_once() -> None:
    host = waits_for_one_that_is_off().round()
    assert host.must_start(PowerOn)
    assert not host.done(PowerOn()).running(PowerOn)


def test_a_peer_that_is_off_is_left_off_where_nobody_waits_for_it() -> None:
    for host in (
        waits_for_one_that_is_off().sees(fence=saw("on", NOW_S + 60)),
        waits_for_one_that_is_off().sees(fence=saw("off", NOW_S - 1)),
        waits_for_one_that_is_off().durable(record=record("b", Mode.SOLO, 5)).knows(met=True),
    ):
        assert not host.round().started(PowerOn)


def test_a_primary_that_serves_does_not_need_its_standby_s_power() -> None:
    """Whoever switched it off may want it so; what this host fenced itself is another rule's."""
    serving = primary().configured(fencing=False).silence()
    assert not serving.sees(fence=saw("off", NOW_S)).round().started(PowerOn)


def test_what_the_fence_device_said_before_the_last_action_on_the_power_says_nothing() -> None:
    assert waits_for_one_that_is_off().round().started(PowerOn)
    assert not waits_for_one_that_is_off().knows(ended={"power": NOW_S + 60.1}).round().started(PowerOn)


def test_the_fence_device_is_asked_now_and_then_whether_a_needed_peer_is_off() -> None:
    def asked(fence: Observation[str]) -> bool:
        last = waits_for_one_that_is_off().sees(fence=fence).round().last
        assert last is not None
        return "fence" in last.wake

    assert asked(Observation())
    assert asked(saw("on", NOW_S + 54.9))
    assert not asked(saw("on", NOW_S + 55.0))
    assert not asked(Observation("on", NEVER, 1, NOW_S + 55.1, NOW_S + 50, "no"))


def test_a_peer_is_not_switched_on_while_something_is_written() -> None:
    pending = standby().knows(grant=None, power_pending=True)
    assert pending.round().running(PowerOn)
    writing = replace(pending.k.durable, complete=True)
    assert not pending.knows(writing=writing, running=(WriteState(writing),)).round().running(PowerOn)


def test_a_peer_that_an_operator_saw_dead_is_theirs_to_switch_on() -> None:
    host = claiming(standby()).order(Order.FENCE_CONFIRMED)
    for _ in range(3):
        assert not host.running(PowerOn)
        host = host.written() if host.k.intent.writing is not None else host.round()
    assert not host.k.power.peer_off
