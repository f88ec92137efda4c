"""The heartbeat, word for word: what a peer acts upon must be what this host is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.knowledge import Trouble
from pgvip.core.model import (
    AddressFree,
    Message,
    Mode,
    Order,
    Override,
    PeerDatabase,
    Request,
    Stopped,
    Vip,
    WalPoint,
    Want,
)
from pgvip.core.values import Pause
from tests.unit.core_world import (
    HERE,
    NOW_S,
    PAIR_ID,
    POSTMASTER,
    SYSTEM_ID,
    Host,
    claiming,
    failing,
    grant,
    primary,
    record,
    saw,
    solo_wish,
    standby,
)

RESUMED = Pause(2, active=False, reason="done", at="then")


def marked(host: Host) -> Host:
    """With what a healthy host has of its own."""
    host = host.configured(digest="d1", version="1.2", override=Override.PRIMARY).durable(pause=RESUMED)
    return host.sees(gateway=saw("192.0.2.1", NOW_S - 0.5))


def plain(me: str) -> Message:
    """What both hosts of the healthy pair say alike."""
    return Message(
        pair_id=PAIR_ID, system_id=SYSTEM_ID, host=me, boot_id=f"boot-{me}", run_id=f"run-{me}", seq=1, sent_s=NOW_S,
        record=record(), confirmed=True, invite_term=4, postmaster=POSTMASTER[me], database_ok=True,
        point=WalPoint(1, HERE), gateway_ok=True, gateway_age_s=0.5, pause=RESUMED, override=Override.PRIMARY,
        digest="d1", version="1.2",
    )  # fmt: skip


def test_the_whole_word_of_a_primary() -> None:
    free = AddressFree(4, "boot-b")
    said = replace(plain("a"), grant=grant("b"), address_free=free, read_write=True, vips=("primary",))
    assert marked(primary()).round().message == said


def test_the_whole_word_of_a_standby() -> None:
    said = replace(
        plain("b"), eligible=True, in_recovery=True, streaming=True, replay_lag_s=1.5, vips=("standby",), hold="both"
    )
    assert marked(standby().durable(hold="both")).database(replay_lag_s=1.5).round().message == said


def test_the_word_of_a_host_whose_database_is_gone() -> None:
    said = marked(standby()).down().round().message
    assert (said.postmaster, said.point, said.replay_lag_s, said.database_ok) == ("", None, 0.0, False)
    assert not said.eligible


def test_each_heartbeat_has_the_next_number() -> None:
    host = primary()
    numbers = []
    for _ in range(3):
        host = host.round()
        numbers.append(host.message.seq)
    assert numbers == [1, 2, 3]


def test_a_host_that_shuts_down_says_so() -> None:
    assert not standby().round().message.leaving
    assert standby().order(Order.SHUTDOWN).message.leaving


def test_addresses_are_not_named_while_nobody_has_looked() -> None:
    assert primary(Mode.SOLO).round().message.vips == ("primary", "standby")
    assert primary().sees(held=failing()).round().message.vips == ()


def test_a_gateway_that_does_not_answer_has_no_age() -> None:
    said = primary().sees(gateway=failing("192.0.2.1")).round().message
    assert (said.gateway_ok, said.gateway_age_s) == (False, 0.0)


# --- requests, questions ------------------------------------------------------------------------------------


def test_a_request_for_the_role_names_term_boot_postmaster_and_eligibility() -> None:
    asked = standby().told(invite="hand-over-switchover", invite_term=4).message.request
    assert asked == Request(Want.HANDOVER, 4, "boot-b", POSTMASTER["b"], eligible=True, reason="take-over-by-consent")


def test_a_request_to_serve_alone_claims_no_eligibility() -> None:
    asked = primary().knows(unfollowed_since_s=NOW_S - 60).replica(state="catchup").round().message.request
    assert asked == Request(Want.SOLO, 4, "boot-a", POSTMASTER["a"], eligible=False, reason="solo-by-consent")


def test_nothing_is_requested_without_a_reason_to() -> None:
    assert primary().round().message.request is None
    assert standby().round().message.request is None
    assert claiming(standby()).message.request is None


def test_an_answer_echoes_the_question_unless_this_host_claims_or_writes_or_has_no_record() -> None:
    asked = "boot-a-2/run-a-2"
    assert standby().told(question=asked).message.answer == asked
    assert standby().told(question="").message.answer == ""
    giving = standby().holds().told(question=asked, request=solo_wish())
    assert giving.k.writing is not None
    assert giving.message.answer == ""
    assert standby().durable(record=None).told(question=asked).message.answer == ""
    assert standby().knows(alarm="they differ").told(question=asked).message.answer == ""


# --- what this host cannot give up --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["WriteState", "StopPostgres", "DropVip(primary)", "DropVip(standby)"])
def test_whatever_a_give_up_takes_may_be_what_cannot_be_done(name: str) -> None:
    stuck = standby().knows(trouble={name: Trouble(3, NOW_S + 60, "stuck")})
    assert stuck.told(request=solo_wish()).message.cannot == f"{name}: stuck"
    assert stuck.round().message.cannot == "", "nobody asks for it"
    twice = standby().knows(trouble={name: Trouble(2, NOW_S + 60, "stuck")})
    assert twice.told(request=solo_wish()).message.cannot == ""


def test_a_start_that_fails_keeps_nobody_from_giving_up() -> None:
    stuck = standby().knows(trouble={"StartPostgres": Trouble(9, NOW_S + 60, "no")})
    assert stuck.told(request=solo_wish()).message.cannot == ""


# --- probes that should look at once ------------------------------------------------------------------------


def test_once_two_heartbeats_are_missing_the_peer_s_database_is_asked_at_once() -> None:
    asked_before = saw(PeerDatabase(in_recovery=True), NOW_S - 2)
    host = primary().sees(peer_own=asked_before, peer_vip=asked_before)

    def kicked(age_s: float, asked_s: float = -2.0) -> set[str]:
        heard = host.k.heard
        assert heard is not None
        quiet = host.knows(heard=replace(heard, at_s=NOW_S - age_s), round_s=NOW_S)
        quiet = quiet.sees(peer_own=saw(PeerDatabase(in_recovery=True), NOW_S + asked_s))
        last = quiet.round().last
        assert last is not None
        return {name for name in last.kick if name.startswith("peer")}

    assert kicked(1.1) == {"peer_own", "peer_vip", "peer_port"}
    assert kicked(1.0) == set()
    assert kicked(1.1, asked_s=-1.1) == set(), "it was asked since"
    never = primary().knows(heard=None).round().last
    assert never is not None
    assert "peer_own" not in never.kick, "there is nobody to miss"


def test_the_own_database_is_looked_at_when_the_peer_waits_for_its_position() -> None:
    host = standby().told(stopped=Stopped(4, WalPoint(1, HERE)))
    assert host.last is not None
    assert "database" in host.last.kick
    assert Vip.STANDBY in host.view.held


def test_what_cannot_be_given_up_is_said_although_nobody_asks_any_more() -> None:
    giving = standby().told(request=solo_wish())
    stuck = giving.knows(trouble={"DropVip(standby)": Trouble(3, NOW_S + 60, "stuck")})
    assert stuck.told(request=None).message.cannot == "DropVip(standby): stuck"


def test_a_give_up_without_a_clean_stop_has_only_the_time_of_a_consent() -> None:
    giving = standby().told(request=solo_wish())
    assert giving.round(after_s=9.9).message.cannot == ""
    assert "takes too long" in giving.round(after_s=10.0).message.cannot


def test_a_host_that_has_not_looked_yet_names_no_server() -> None:
    assert primary().sees(processes=failing(), database=failing()).round().message.postmaster == ""


def test_an_action_that_failed_twice_is_an_operator_s_concern() -> None:
    once = primary().knows(trouble={"AddVip(primary)": Trouble(1, NOW_S + 60, "no")})
    assert "action-failing" not in once.round().concerns()
    twice = primary().knows(trouble={"AddVip(primary)": Trouble(2, NOW_S + 60, "no")})
    assert "action-failing" in twice.round().concerns()


def test_a_host_whose_peer_is_alone_by_choice_says_why_it_is_never_eligible() -> None:
    beside = standby().configured(peer_override=Override.PRIMARY_STANDBY)
    assert "alone-by-choice" in beside.round().concerns()
    itself = primary().configured(override=Override.PRIMARY_STANDBY)
    assert "alone-by-choice" not in itself.round().concerns()


def test_a_role_that_is_handed_back_is_asked_for_without_a_claim_to_be_eligible() -> None:
    asked = standby(Mode.SOLO).told(invite="hand-back", invite_term=4).message.request
    assert asked == Request(Want.HANDOVER, 4, "boot-b", POSTMASTER["b"], eligible=False, reason="take-back")


def test_a_record_that_cannot_be_written_keeps_also_from_beginning_to_give_up() -> None:
    writing = standby().order(Order.PAUSE).knows(trouble={"WriteState": Trouble(3, NOW_S + 60, "stuck")})
    assert writing.message.cannot == ""
    told = writing.told(request=solo_wish())
    assert told.k.yielding is None
    assert told.message.cannot == "WriteState: stuck"


def test_a_database_that_takes_no_new_connection_is_not_well() -> None:
    hung = primary().sees(connection=failing(value=True))
    assert hung.view.responding
    assert not hung.round().message.database_ok
