"""The protocol's own values."""

from __future__ import annotations

import doctest
from dataclasses import fields
from enum import StrEnum

import pytest

from pgvip.core import rights, values
from pgvip.core.actions import Promote, Rejoin, Result
from pgvip.core.changes import By, Part
from pgvip.core.knowledge import Claim, GiveUp, Veto, Why
from pgvip.core.messages import Command, Message, Order, Request, Want
from pgvip.core.observations import Database, Observation, Observations, PeerDatabase, Processes, Replica
from pgvip.core.settings import Inputs, Note
from pgvip.core.values import NEVER, START, BootFacts, Durable, Grant, Lsn, Mode, Override, Pause, Role, Vip, WalPoint
from tests.unit.core_world import NOW_S, primary, record


@pytest.mark.parametrize("module", [values, rights], ids=lambda module: module.__name__)
def test_the_examples_in_the_documentation_are_true(module: object) -> None:
    done = doctest.testmod(module)  # type: ignore[arg-type]  # a module, as the parameter says
    assert (done.failed, done.attempted > 0) == (0, True)


@pytest.mark.parametrize("text", ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_a_position_is_written_as_it_was_read(text: str) -> None:
    assert str(Lsn.parse(text)) == text


@pytest.mark.parametrize("text", ["", "16", "x/y", "16-B3"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Lsn.parse(text)


def test_positions_compare_across_the_slash() -> None:
    assert Lsn.parse("1/0") > Lsn.parse("0/FFFFFFFF")
    assert str(WalPoint(3, Lsn.parse("1/0"))) == "3:1/0"


def test_two_records_have_the_same_rights_by_primary_mode_and_sync_alone() -> None:
    plain = record()
    assert plain.same_rights(record(cause="x", at="y", from_term=3, handover=WalPoint(1, Lsn(1))))
    assert not plain.same_rights(record("b"))
    assert not plain.same_rights(record(mode=Mode.SOLO))
    assert not plain.same_rights(record(sync=False))


def test_a_grant_in_sync_has_no_end() -> None:
    assert Grant(1, "boot", "1:1").expires_s is None


def test_an_observation_keeps_its_last_value_and_counts_failures_since() -> None:
    never: Observation[int] = Observation()
    assert (never.at_s, never.ok(), never.fresh(0.0, 1e9)) == (NEVER, False, False)
    good = never.succeeded(7, 10.0)
    assert (good.ok(), good.fresh(12.0, 2.0), good.fresh(12.1, 2.0)) == (True, True, False)
    bad = good.failed("refused", 11.0).failed("refused again", 12.0)
    assert (bad.value, bad.at_s, bad.failures, bad.failing_since_s, bad.failed_at_s) == (7, 10.0, 2, 11.0, 12.0)
    assert bad.reason == "refused again"
    assert good.failed("no answer", 11.0, 9.5).failed("no answer", 12.5, 11.0).tried_s == 9.5
    assert not bad.ok()
    assert bad.succeeded(8, 13.0) == Observation(8, 13.0)


@pytest.mark.parametrize(
    ("state", "clean"), [("shut down", True), ("shut down in recovery", False), ("in production", False), ("", False)]
)
def test_only_a_primary_that_was_shut_down_is_clean(state: str, clean: bool) -> None:
    assert Processes(control_state=state).clean is clean


# --- what is said by saying nothing -------------------------------------------------------------------------


def test_a_pause_and_a_question_say_nothing_that_was_not_said() -> None:
    assert Pause() == Pause(0, active=False, reason="", at="", until="", by="", host="")
    assert Veto("run-a/1", NOW_S).refused == ""


PROMISES = (
    "confirmed", "claiming", "question", "answer", "request", "invite", "invite_term", "cannot", "stopped",
    "has_checkpoint", "grant", "address_free", "eligible", "postmaster", "read_write", "in_recovery", "database_ok",
    "streaming", "replay_lag_s", "point", "gateway_ok", "gateway_age_s", "vips", "hold", "digest", "version",
    "leaving", "revoked", "unfit", "failing", "failing_hint", "failing_unseen",
    "crashes",
)  # fmt: skip


EMPTY = ("b", "boot-b", "run-b", 1, NOW_S, None)


def test_a_message_that_says_nothing_promises_and_asks_nothing() -> None:
    empty = Message("pair", "7", "b", "boot-b", "run-b", 1, NOW_S, None)
    assert [name for name in PROMISES if getattr(empty, name)] == []
    assert (empty.pause, empty.override, empty.echo_s) == (Pause(), Override.AUTO, NEVER)
    told = primary().knows(heard=None).round(messages=[Message("pair-1", "7000000000000000001", *EMPTY)])
    assert told.k.peer.heard is not None
    assert told.k.consent.giving_up is None
    assert told.message.answer == ""


def test_a_request_an_order_and_a_pause_that_say_nothing_more() -> None:
    asked = Request(Want.SOLO, 4, "boot-a")
    assert (asked.postmaster, asked.eligible, asked.reason) == ("", False, "")
    assert Command(Order.PAUSE).text == ""
    assert (Pause().serial, Pause().active, Pause().reason, Pause().at) == (0, False, "", "")
    assert (record().cause, record().at, record().from_term, record().handover) == ("", "", None, None)


def test_a_host_without_a_disk_has_nothing() -> None:
    empty = Durable()
    assert (empty.record, empty.served, empty.complete, empty.hold, empty.handbacks) == (None, False, False, "", 0)
    assert empty.pause == Pause()
    kept = BootFacts()
    assert (kept.confirmed, kept.confirmed_term, kept.grant, kept.address_term, kept.doubt_s) == (
        False, 0, None, -1, NEVER,
    )  # fmt: skip


def test_a_claim_and_a_give_up_begin_at_their_beginning() -> None:
    claim = Claim("solo-by-fence", 4, Why.SILENCE, takeover=False, attempt="x", since_s=NOW_S)
    assert (claim.tries, claim.retry_at_s, claim.fenced) == (1, NEVER, False)
    give_up = GiveUp("hand-over-switchover", Want.HANDOVER, 4, "boot-b", NOW_S)
    assert (give_up.clean, give_up.stopped, give_up.stopped_at_s) == (False, None, NEVER)


def test_nothing_seen_is_nothing_known() -> None:
    blank: Observation[str] = Observation()
    assert (blank.value, blank.at_s, blank.failures, blank.failed_at_s, blank.failing_since_s, blank.reason) == (
        None, NEVER, 0, NEVER, NEVER, "",
    )  # fmt: skip
    assert all(getattr(Observations(), field.name) == blank for field in fields(Observations))
    files = Processes()
    assert (files.installed, files.system_id, files.postmaster, files.left) == (False, "", "", 0)
    assert (files.standby_signal, files.control_state, files.checkpoint) == (False, "", None)
    other = PeerDatabase(in_recovery=False)
    assert (other.timeline, other.system_id) == (0, "")
    assert (START, str(START)) == (0, "0/0")


def test_a_server_of_which_only_the_position_is_known_promises_nothing() -> None:
    server = Database("1:1", in_recovery=True, point=WalPoint(1, Lsn(8)))
    said = [field.name for field in fields(server) if field.name not in ("postmaster", "in_recovery", "point")]
    assert [name for name in said if getattr(server, name) and name != "moved_at_s"] == []
    assert server.moved_at_s == NEVER
    replica = Replica("streaming", "sync", Lsn(8), Lsn(8))
    assert (replica.flush_lag_s, replica.replay_lag_s) == (0.0, 0.0)


def test_a_round_of_which_nothing_is_said_has_nothing_in_it() -> None:
    empty = Inputs(Observations())
    assert (empty.messages, empty.results, empty.commands, empty.wall, empty.jumped) == ((), (), (), "", False)
    result = Result(Promote(), True, NOW_S)
    assert (result.text, result.point) == ("", None)
    assert not Rejoin().clone
    assert Note("event", "words").fields == ()


# --- words that outlive a version ---------------------------------------------------------------------------


WORDS: dict[type[StrEnum], str] = {
    Mode: "pair solo",
    Role: "primary standby primary_standby none",
    Vip: "primary standby",
    Override: "auto primary standby primary_standby",
    Want: "solo handover",
    Order: "switchover cancel-switchover pause resume force-promote fence-confirmed clear-hold shutdown stay rejoin "
    "failover fence-off power-on remove-peer add-peer",
    Part: "primary standby any",
    By: "invite request fence own witness nothing",
    Why: "silence unfollowed unheard cannot order operator",
}


@pytest.mark.parametrize("words", WORDS, ids=lambda kind: kind.__name__)
def test_records_messages_and_orders_keep_their_words(words: type[StrEnum]) -> None:
    """An older daemon's record is read, and an older peer understood: these words stay."""
    assert [word.value for word in words] == WORDS[words].split()
