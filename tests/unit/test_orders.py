"""What operators ask of a running daemon: refused by name, or carried out and waited for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pgvip import config_load
from pgvip.config import Config
from pgvip.core.decide import decide
from pgvip.core.knowledge import Decision, Knowledge, Trouble
from pgvip.core.model import Command, Heard, Inputs, Mode, Observations, Order, Pause, Settings
from pgvip.daemon import Daemon, LoopStats, Snapshot
from pgvip.errors import Exit
from pgvip.event_requests import EventRequests
from pgvip.events import Event, Level
from pgvip.journal.events import EventStore
from pgvip.orders import Orders
from tests.unit.config_text import edited
from tests.unit.core_world import NOW_S, Host, claiming, primary, record, standby


def config(settings: Settings) -> Config:
    """A configuration that sees the pair of the core's tests."""
    plain = config_load.parse(edited(), "db1")
    me, peer = replace(plain.me, name=settings.me), replace(plain.peer, name=settings.peer)
    return replace(plain, me=me, peer=peer, settings=settings)


def shot(host: Host, at_s: float = NOW_S) -> Snapshot:
    decision = decide(host.k, Inputs(host.seen), host.s, host.now_s)
    return Snapshot(config(host.s), decision, host.seen, at_s, LoopStats())


@dataclass
class Desk:
    """The operator's side of a daemon whose next snapshots are given."""

    now: Snapshot | None
    then: list[Snapshot] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    replies: list[dict[str, Any]] = field(default_factory=list)
    renewals: list[str] = field(default_factory=list)

    def ask(self, **request: Any) -> dict[str, Any]:
        desk = self

        class Loop:
            inbox = SimpleNamespace(put=desk._obey)

            @property
            def snapshot(self) -> Snapshot | None:
                return desk.now

        orders = Orders(cast("Daemon", Loop()), dict, lambda: self.renewals.append("keys"))
        orders.handle(request, self.replies.append)
        return self.replies[-1]

    def order(self, order: Order | str, text: str = "", **more: Any) -> dict[str, Any]:
        return self.ask(command="order", order=str(order), text=text, **{"wait_s": 0.5, **more})

    def _obey(self, command: object) -> None:
        """The loop takes the order and goes round: snapshots follow one another."""
        assert isinstance(command, Command)
        self.commands.append(command)

        def rounds() -> None:
            for snapshot in self.then:
                self.now = snapshot

        threading.Timer(0.02, rounds).start()


def refused(reply: Mapping[str, Any]) -> str:
    assert reply["ok"] is False
    assert reply["exit_code"] == Exit.REFUSED
    return str(reply["error"])


def test_before_the_first_round_there_is_no_answer() -> None:
    reply = Desk(None).ask(command="status")
    assert (reply["ok"], reply["exit_code"]) == (False, Exit.UNREACHABLE)


def test_status_is_the_document_of_the_newest_round() -> None:
    reply = Desk(shot(primary())).ask(command="status")
    assert reply["ok"] is True
    assert reply["status"]


@pytest.mark.parametrize("request_", [{"command": "dance"}, {}, {"command": "order", "order": "dance"}], ids=str)
def test_what_is_not_known_is_refused_by_name(request_: dict[str, Any]) -> None:
    assert "unknown" in refused(Desk(shot(primary())).ask(**request_))


def test_a_drill_is_told_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(shot(primary()))
    assert desk.ask(command="drill", text="begins")["ok"] is True
    assert "drill: begins" in capsys.readouterr().err
    assert "1 to 500 are wanted" in refused(desk.ask(command="drill"))
    assert "1 to 500 are wanted" in refused(desk.ask(command="drill", text="x" * 501))
    assert not desk.commands


def test_the_history_is_asked_for_in_numbers() -> None:
    assert "points is not" in refused(Desk(shot(primary())).ask(command="history", points="all"))


# --- what cannot work is refused before it is ordered ----------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "order", "words"),
    [
        (primary().knows(confirmed=False), Order.SWITCHOVER, "no confirmed record"),
        (primary().durable(record=None), Order.SWITCHOVER, "no confirmed record"),
        (primary(Mode.SOLO), Order.SWITCHOVER, "no standby is eligible"),
        (primary().hears(eligible=False), Order.SWITCHOVER, "no standby is eligible"),
        (standby().knows(grant=None).hears(eligible=False), Order.SWITCHOVER, "no standby is eligible"),
        (standby(), Order.FENCE_CONFIRMED, "no claim is open"),
        (standby(), Order.CLEAR_HOLD, "not on hold"),
    ],
    ids=str,
)
def test_an_order_that_cannot_work_is_refused_and_not_given(host: Host, order: Order, words: str) -> None:
    desk = Desk(shot(host))
    assert words in refused(desk.order(order))
    assert desk.commands == []


def test_a_reason_too_long_to_be_told_to_the_peer_is_refused() -> None:
    desk = Desk(shot(primary()))
    assert "too long" in refused(desk.order(Order.PAUSE, "x" * 501))
    assert desk.commands == []


def test_a_wait_that_is_no_number_ends_the_request_and_not_the_daemon() -> None:
    desk = Desk(shot(primary()))
    assert "wait_s" in refused(desk.order(Order.PAUSE, wait_s="long"))
    assert desk.commands == []


def test_a_dry_run_says_what_would_be_done_and_orders_nothing() -> None:
    desk = Desk(shot(primary()))
    reply = desk.order(Order.SWITCHOVER, dry_run=True)
    assert reply == {"ok": True, "text": "dry run: switchover: a stops cleanly, b becomes primary"}
    forced = desk.order(Order.FORCE_PROMOTE, dry_run=True)
    assert "after fencing b" in forced["text"]
    assert "without fencing" in desk.order(Order.FORCE_PROMOTE, "without-fence", dry_run=True)["text"]
    assert desk.commands == []


def test_a_forced_promotion_that_cannot_fence_must_be_told_so() -> None:
    desk = Desk(shot(standby().configured(fencing=False)))
    assert "cannot be fenced first" in refused(desk.order(Order.FORCE_PROMOTE))
    assert "--without-fence" in desk.replies[-1]["hint"]
    assert desk.commands == []
    assert "without fencing" in desk.order(Order.FORCE_PROMOTE, "without-fence", wait_s=0)["text"]


def test_the_forced_order_says_what_may_be_lost() -> None:
    assert "commits that only b has are lost here" in Desk(shot(primary())).order(Order.FORCE_PROMOTE, wait_s=0)["text"]


# --- outcomes ------------------------------------------------------------------------------------------------------


def after(host: Host, **changes: Any) -> Snapshot:
    return shot(host.knows(**changes) if changes else host, NOW_S + 2)


def test_a_switchover_is_over_when_the_new_primary_writes() -> None:
    moved = standby(Mode.SOLO, me="a", term=5).hears(read_write=False)
    desk = Desk(shot(primary()), [after(moved)])
    assert "timed out" in desk.order(Order.SWITCHOVER)["error"]
    desk = Desk(shot(primary()), [after(moved), after(moved.hears(read_write=True))])
    assert desk.order(Order.SWITCHOVER) == {"ok": True, "text": "b is primary (term 5)"}
    assert desk.commands == [Command(Order.SWITCHOVER)]
    assert desk.replies[0] == {"progress": "switchover: a stops cleanly, b becomes primary"}


def test_a_switchover_that_was_called_off_is_refused() -> None:
    desk = Desk(shot(primary()), [after(primary())])
    assert "called off" in refused(desk.order(Order.SWITCHOVER))


def test_a_pause_is_over_when_both_hosts_have_it() -> None:
    pause = Pause(1, active=True)
    mine = primary().durable(pause=pause)
    assert "timed out" in Desk(shot(primary()), [after(mine)]).order(Order.PAUSE)["error"]
    both = mine.hears(pause=pause)
    assert Desk(shot(primary()), [after(both)]).order(Order.PAUSE)["text"] == "paused on both hosts"
    alone = mine.knows(heard=Heard(heard_message(mine), NOW_S - 60))
    assert "b does not answer" in Desk(shot(primary()), [after(alone)]).order(Order.PAUSE)["text"]


def heard_message(host: Host) -> Any:
    assert host.k.heard is not None
    return host.k.heard.message


def test_a_forced_promotion_is_over_when_this_host_writes() -> None:
    forced = primary(Mode.SOLO, me="b", term=1_000_005)
    forced = forced.durable(record=record("b", Mode.SOLO, 1_000_005, cause="forced; a was not fenced"))
    desk = Desk(shot(standby()), [after(forced)])
    said = desk.order(Order.FORCE_PROMOTE)["text"]
    assert said == "b is primary alone (term 1000005, forced; a was not fenced)"
    failed = Desk(shot(standby()), [after(standby())]).order(Order.FORCE_PROMOTE)
    assert "could not be fenced" in refused(failed)
    assert "--without-fence" in failed["hint"]


def test_a_rejoin_is_over_when_this_host_follows_again() -> None:
    old = standby()
    later_s = NOW_S + 1.5
    looked = old.sees(
        database=replace(old.seen.database, at_s=later_s), processes=replace(old.seen.processes, at_s=later_s)
    )
    followed = after(looked, ended={"postgres": NOW_S + 1})
    assert Desk(shot(old), [followed]).order(Order.REJOIN, "clone")["text"] == "b follows a"
    assert "timed out" in Desk(shot(old), [after(old)]).order(Order.REJOIN)["error"]
    failed = after(old, trouble={"Rejoin": Trouble(1, NOW_S + 9, "the disk is full")})
    assert "could not rejoin" in refused(Desk(shot(old), [failed]).order(Order.REJOIN))
    assert "only a confirmed standby" in refused(Desk(shot(primary())).order(Order.REJOIN))


def test_orders_without_an_outcome_are_answered_at_once() -> None:
    desk = Desk(shot(standby().durable(hold="both wrote")))
    assert desk.order(Order.CLEAR_HOLD) == {"ok": True, "text": "clear-hold"}
    claimed = Desk(shot(claiming(standby())))
    assert claimed.order(Order.FENCE_CONFIRMED)["ok"] is True
    assert claimed.commands == [Command(Order.FENCE_CONFIRMED)]


# --- the fence device ----------------------------------------------------------------------------------------------


def test_without_fencing_the_fence_is_not_asked() -> None:
    assert 'fencing = "none"' in refused(Desk(shot(primary().configured(fencing=False))).ask(command="fence"))


def test_an_unknown_action_of_the_fence_is_refused() -> None:
    assert "unknown fence action" in refused(Desk(shot(primary())).ask(command="fence", action="explode"))


def test_the_pair_of_these_tests_is_what_it_says() -> None:
    snapshot = shot(primary())
    assert isinstance(snapshot.decision, Decision)
    assert isinstance(snapshot.decision.knowledge, Knowledge)
    assert snapshot.decision.message.record == record()
    assert snapshot.seen != Observations()


def test_new_keys_are_read_when_they_were_made() -> None:
    desk = Desk(None)
    assert desk.ask(command="renew-keys")["ok"]
    assert desk.renewals == ["keys"]


def test_events_are_answered_from_the_store(tmp_path: Path) -> None:
    """A daemon without a history knows no such command."""
    store = EventStore(tmp_path, "a", "b", lambda _name, _text: None)
    store.start()
    store.append(Event("link", Level.INFO, "up", "2026-01-01T00:00:00.000Z", "a"))
    replies: list[dict[str, Any]] = []
    loop = cast("Daemon", SimpleNamespace(snapshot=None))
    orders = Orders(loop, dict, lambda: None, {"events": EventRequests(store).answer})
    orders.handle({"command": "events", "limit": 5}, replies.append)
    orders.handle({"command": "events", "limit": -5}, replies.append)
    Orders(loop, dict, lambda: None).handle({"command": "events"}, replies.append)
    store.close()
    assert [event["text"] for event in replies[0]["events"]] == ["up"]
    assert [reply["ok"] for reply in replies] == [True, False, False]
    assert replies[1]["error"] == "limit is -5"
    assert "unknown command" in replies[2]["error"]
