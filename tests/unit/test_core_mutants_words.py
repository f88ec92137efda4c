"""Words that outlive a version, and what a value says that was given nothing: silence is never a promise."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import StrEnum
from pathlib import Path

import pytest

from pgvip.core.changes import TABLE, By, Part
from pgvip.core.knowledge import Claim, Knowledge, Why, Yield
from pgvip.core.model import (
    NEVER,
    START,
    BootFacts,
    Command,
    Database,
    Durable,
    Identity,
    Inputs,
    Lsn,
    Message,
    Mode,
    Note,
    Observation,
    Observations,
    Order,
    Override,
    Pause,
    PeerDatabase,
    Processes,
    Promote,
    Rejoin,
    Replica,
    Request,
    Result,
    Role,
    Settings,
    Vip,
    WalPoint,
    Want,
)
from tests.unit.core_world import NOW_S, primary, record, settings

SAMPLE = Path(__file__).parents[2] / "conf" / "pgvip.toml"

WORDS: dict[type[StrEnum], str] = {
    Mode: "pair solo",
    Role: "primary standby primary_standby none",
    Vip: "primary standby",
    Override: "auto primary standby primary_standby",
    Want: "solo handover",
    Order: "switchover cancel-switchover pause resume force-promote fence-confirmed clear-hold shutdown stay rejoin "
    "failover fence-off power-on",
    Part: "primary standby any",
    By: "invite request fence own arbiter nothing",
}


@pytest.mark.parametrize("words", WORDS, ids=lambda kind: kind.__name__)
def test_records_messages_and_orders_keep_their_words(words: type[StrEnum]) -> None:
    """An older daemon's record is read, and an older peer understood: these words stay."""
    assert [word.value for word in words] == WORDS[words].split()


def test_every_row_and_every_condition_has_a_name_of_its_own() -> None:
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    conditions = {condition.name: condition for row in TABLE for condition in row.when}
    assert all(conditions[condition.name] is condition for row in TABLE for condition in row.when)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", name) for name in [*names, *conditions])


# --- what is said by saying nothing -------------------------------------------------------------------------

PROMISES = (
    "confirmed", "claiming", "question", "answer", "request", "invite", "invite_term", "cannot", "stopped",
    "has_checkpoint", "grant", "address_free", "eligible", "postmaster", "read_write", "in_recovery", "database_ok",
    "streaming", "replay_lag_s", "point", "gateway_ok", "gateway_age_s", "vips", "hold", "digest", "version",
    "leaving",
)  # fmt: skip


def test_a_message_that_says_nothing_promises_and_asks_nothing() -> None:
    empty = Message("pair", "7", "b", "boot-b", "run-b", 1, NOW_S, None)
    assert [name for name in PROMISES if getattr(empty, name)] == []
    assert (empty.pause, empty.override, empty.echo_s) == (Pause(), Override.AUTO, NEVER)
    told = primary().knows(heard=None).round(messages=[Message("pair-1", "7000000000000000001", *EMPTY)])
    assert told.k.heard is not None
    assert told.k.yielding is None
    assert told.message.answer == ""


EMPTY = ("b", "boot-b", "run-b", 1, NOW_S, None)


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


def test_a_daemon_that_starts_knows_nothing() -> None:
    k = Knowledge(Identity("boot-a", "run-a", NOW_S), Durable())
    moments = [field.name for field in fields(k) if field.name.endswith("_s")]
    assert len(moments) > 10
    assert {name: getattr(k, name) for name in moments if getattr(k, name) != NEVER} == {}
    others = [field.name for field in fields(k) if field.name not in ("who", "durable", "answered_term", "role")]
    assert [name for name in others if name not in moments and getattr(k, name)] == []
    assert (k.answered_term, k.role) == (-1, Role.NONE)
    assert (k.who.pair_id, k.who.system_id) == ("", "")


def test_a_claim_and_a_give_up_begin_at_their_beginning() -> None:
    claim = Claim("solo-by-fence", 4, Why.SILENCE, takeover=False, attempt="x", since_s=NOW_S)
    assert (claim.tries, claim.retry_at_s, claim.fenced) == (1, NEVER, False)
    give_up = Yield("hand-over-switchover", Want.HANDOVER, 4, "boot-b", NOW_S)
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
    other = PeerDatabase(in_recovery=None)
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


# --- settings -----------------------------------------------------------------------------------------------


def test_what_operators_are_told_of_the_defaults_is_what_the_core_takes() -> None:
    sample = SAMPLE.read_text(encoding="utf-8").partition("\n[monitor]")[0]  # which has an interval_s of its own
    told = dict(re.findall(r"^# (\w+) = ([\d.]+)", sample, re.MULTILINE))
    default = settings()
    names = [field.name for field in fields(Settings) if isinstance(field.default, int | float)]
    numbers = [name for name in names if not isinstance(getattr(default, name), bool)]
    assert {name: float(told[name]) for name in numbers} == {name: float(getattr(default, name)) for name in numbers}


def test_what_is_not_configured_is_in_force() -> None:
    default = settings()
    assert (default.sync, default.fencing, default.rejoin_clone, default.archive) == (True, True, True, True)
    assert (default.override, default.peer_override) == (Override.AUTO, Override.AUTO)
    assert (default.digest, default.version) == ("", "")
