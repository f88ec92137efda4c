"""A standby whose daemon is silent and that flushes nothing: in sync, its primary could not commit for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgvip.core.actions import Fence
from pgvip.core.following import daemon_silent, unflushed_s
from pgvip.core.knowledge import Why
from pgvip.core.observations import PeerDatabase
from pgvip.core.values import NEVER, Lsn, Mode, Pause
from tests.unit.core_world import HERE, NOW_S, SYSTEM_ID, Alter, Host, primary, saw, standby


def unfollowed() -> Host:
    """A primary beside a standby whose daemon is silent and that flushes nothing, while its database answers."""
    seen = saw(PeerDatabase(in_recovery=True, system_id=SYSTEM_ID))
    host = primary().replica(flush_lsn=Lsn(HERE - 8)).silence(11.0).sees(peer_own=seen)
    return host.knows(unflushed_since_s=NOW_S - 11)


def test_a_standby_that_does_not_follow_beside_a_silent_daemon_is_fenced() -> None:
    claiming = unfollowed().round()
    assert claiming.must_start(Fence)
    assert claiming.k.fencing.claim is not None
    assert claiming.k.fencing.claim.why is Why.UNFOLLOWED
    assert claiming.round(after_s=1.0).message.claiming, "its database may answer on and on"


@pytest.mark.parametrize("sign", [lambda h: h.told(), lambda h: h.database_moved(h.now_s).round()], ids=["word", "wal"])
def test_a_claim_for_not_following_ends_when_the_daemon_is_heard_or_wal_is_flushed(sign: Alter) -> None:
    later = unfollowed().round()
    later = later.at(later.now_s + 0.5).knows(round_s=later.now_s + 0.5)
    assert later.round().message.claiming
    assert not sign(later).message.claiming


QUIET: dict[str, Alter] = {
    "its daemon was heard": lambda h: h.hears(),
    "it flushes": lambda h: h.database_moved(NOW_S - 1),
    "it has all that there is": lambda h: h.replica(flush_lsn=HERE).database_moved(NOW_S - 99),
    "for a moment": lambda h: h.knows(unflushed_since_s=NOW_S - 9),
    "this host has just begun to look": lambda h: h.knows(awake_s=NOW_S - 9),
    "its own database does not answer": lambda h: h.sees(database=replace(h.seen.database, at_s=NOW_S - 9)),
    "a pause": lambda h: h.durable(pause=Pause(1, active=True)),
}


@pytest.mark.parametrize("why", QUIET)
def test_a_standby_beside_a_silent_daemon_is_left_alone(why: str) -> None:
    assert not QUIET[why](unfollowed()).round().started(Fence)


SILENT_S: dict[str, tuple[Alter, bool]] = {
    "heard just now": (lambda h: h, False),
    "silent for as long as makes a peer silent": (lambda h: heard(h, 3.0), True),
    "silent for less": (lambda h: heard(h, 2.9), False),
    "never heard": (lambda h: h.knows(heard=None), True),
    "by a daemon that started a moment ago": (
        lambda h: h.knows(heard=None, who=replace(h.k.who, started_s=NOW_S - 2.9)), False),
    "by a daemon that started before that": (
        lambda h: h.knows(heard=None, who=replace(h.k.who, started_s=NOW_S - 3.0)), True),
    "after a time without rounds": (lambda h: h.knows(heard=None, awake_s=NOW_S - 2.9), False),
}  # fmt: skip


def heard(host: Host, age_s: float) -> Host:
    word = host.k.peer.heard
    assert word is not None
    return host.knows(heard=replace(word, at_s=NOW_S - age_s))


@pytest.mark.parametrize("when", SILENT_S)
def test_a_daemon_is_silent_when_a_process_that_listened_has_not_heard_it(when: str) -> None:
    change, silent = SILENT_S[when]
    assert daemon_silent(change(primary()).facts) is silent


UNFLUSHED_S: dict[str, tuple[Alter, float]] = {
    "for as long as there is something to flush": (lambda h: h, 11.0),
    "nothing is there to flush": (lambda h: h.knows(unflushed_since_s=NEVER), 0.0),
    "the own database does not answer": (lambda h: h.sees(database=replace(h.seen.database, at_s=NOW_S - 9)), 0.0),
    "it flushed something since": (lambda h: h.database_moved(NOW_S - 4), 4.0),
    "it flushed something just now": (lambda h: h.database_moved(NOW_S), 0.0),
    "this daemon has started since": (lambda h: h.knows(who=replace(h.k.who, started_s=NOW_S - 5)), 5.0),
    "no rounds came meanwhile": (lambda h: h.knows(awake_s=NOW_S - 6), 6.0),
}


@pytest.mark.parametrize("why", UNFLUSHED_S)
def test_for_how_long_a_standby_has_flushed_nothing(why: str) -> None:
    change, since_s = UNFLUSHED_S[why]
    assert unflushed_s(change(unfollowed()).facts) == since_s


def test_what_is_unflushed_is_counted_from_when_there_is_something_to_flush() -> None:
    assert primary().round().k.database.unflushed_since_s == NEVER
    assert primary().replica(flush_lsn=Lsn(HERE - 8)).round().k.database.unflushed_since_s == NOW_S
    assert primary().database(replica=None).round().k.database.unflushed_since_s == NOW_S
    assert primary(Mode.SOLO).database(replica=None).round().k.database.unflushed_since_s == NEVER
    assert standby().database(replica=None).round().k.database.unflushed_since_s == NEVER
