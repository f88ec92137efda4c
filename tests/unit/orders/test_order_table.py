"""What operators ask of a running daemon: refused by name, or carried out and waited for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pgvip.actions.fence import SETTLE_S, Answer
from pgvip.config import load
from pgvip.config.model import Config
from pgvip.core.actions import AddVip, PowerOn, Promote, Rejoin
from pgvip.core.decide import decide
from pgvip.core.knowledge import Decision, Failures, FenceOrder, Knowledge, Switchover
from pgvip.core.messages import Command, Heard, Order, Stopped
from pgvip.core.observations import Observations
from pgvip.core.settings import Inputs, Settings
from pgvip.core.values import Lsn, Mode, Pause, Vip, WalPoint
from pgvip.errors import Exit, ProbeError
from pgvip.events.event_table import Event, Level
from pgvip.explain.answers import GOOD_S, Explanations
from pgvip.journal.event_store import EventStore
from pgvip.journal.requests import EventRequests
from pgvip.link.operator_socket import failure
from pgvip.orders.desk import Desk as Context
from pgvip.orders.order_table import Orders
from pgvip.orders.prechecks import Readiness
from pgvip.state import codec
from pgvip.status.document import Live, document
from pgvip.status.snapshot import LoopStats, Newest, Snapshot
from tests.unit.config_text import edited
from tests.unit.core_world import HERE, NOW_S, Host, claiming, failing, primary, record, standby
from tests.unit.orders.test_prechecks import ready


def config(settings: Settings) -> Config:
    """A configuration that sees the pair of the core's tests."""
    plain = load.parse(edited(), "db1")
    me, peer = replace(plain.me, name=settings.me), replace(plain.peer, name=settings.peer)
    return replace(plain, me=me, peer=peer, settings=settings)


def snapshot_of(host: Host, at_s: float = NOW_S) -> Snapshot:
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
    drills: int = 0
    questions: list[str] = field(default_factory=list)
    mute: tuple[str, ...] = ()
    checkpoint: dict[str, Any] = field(default_factory=lambda: {"ok": True, "took_s": 0.1})

    def ask(self, **request: Any) -> dict[str, Any]:
        desk = self

        class Given(Newest):
            def get(self) -> Snapshot | None:
                return desk.look()

        class Inbox:
            def put(self, command: Command, /) -> None:
                desk._obey(command)

        newest = Given()
        made = Context(newest, Inbox(), self._peer, lambda config, _fence: self._ready(config.me.name))
        orders = Orders(
            made, lambda: document(newest.sure(), Live()), lambda: self.renewals.append("keys"), read_drill=self._drill
        )
        orders.handle(request, self.replies.append)
        return self.replies[-1]

    def _drill(self) -> None:
        self.drills += 1

    def _ready(self, name: str) -> Readiness:
        if name in self.mute:
            raise ProbeError(f"{name} does not answer")
        return ready(name)

    def _peer(self, request: Mapping[str, Any], _timeout_s: float) -> Mapping[str, Any]:
        self.questions.append(request["ask"])
        if request["ask"] == "checkpoint":
            return self.checkpoint
        assert self.now is not None
        try:
            return {"ok": True, "readiness": codec.encode(self._ready(self.now.config.peer.name))}
        except ProbeError as error:
            return failure(error)

    def order(self, order: Order | str, text: str = "", **more: Any) -> dict[str, Any]:
        return self.ask(command="order", order=str(order), text=text, **{"wait_s": 0.5, **more})

    def want(self, what: str, **more: Any) -> dict[str, Any]:
        """Ask as the commands do: "fence off", "switchover", or a plain order."""
        command, _, action = what.partition(" ")
        if command in ("switchover", "failover", "promote", "fence"):
            return self.ask(command=command, action=action, **{"wait_s": 0.5, **more})
        return self.order(command, **more)

    def sure(self, what: str, **more: Any) -> dict[str, Any]:
        """The same after the operator's word was given."""
        plan = self.want(what, dry_run=True)
        return self.want(what, word=plan.get("confirm", ""), **more)

    def _obey(self, command: object) -> None:
        """The loop takes the order; whoever looks from now on sees one round after the other."""
        assert isinstance(command, Command)
        self.commands.append(command)

    def look(self) -> Snapshot | None:
        if self.commands and self.then:
            self.now = self.then.pop(0)
        return self.now


def refused(reply: Mapping[str, Any]) -> str:
    assert reply["ok"] is False
    assert reply["exit_code"] == Exit.REFUSED
    return str(reply["error"])


def test_before_the_first_round_there_is_no_answer() -> None:
    reply = Desk(None).ask(command="status")
    assert (reply["ok"], reply["exit_code"]) == (False, Exit.UNREACHABLE)


def test_status_is_the_document_of_the_newest_round() -> None:
    reply = Desk(snapshot_of(primary())).ask(command="status")
    assert reply["ok"] is True
    assert reply["status"]


@pytest.mark.parametrize("request_", [{"command": "dance"}, {}, {"command": "order", "order": "dance"}], ids=str)
def test_what_is_not_known_is_refused_by_name(request_: dict[str, Any]) -> None:
    assert "unknown" in refused(Desk(snapshot_of(primary())).ask(**request_))


def test_a_drill_is_told_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk(snapshot_of(primary()))
    assert desk.ask(command="drill", text="begins")["ok"] is True
    assert "drill: begins" in capsys.readouterr().err
    assert desk.drills == 1, "what it found is read at once"
    assert "1 to 500 are wanted" in refused(desk.ask(command="drill"))
    assert "1 to 500 are wanted" in refused(desk.ask(command="drill", text="x" * 501))
    assert not desk.commands


def test_the_history_is_asked_for_in_numbers() -> None:
    assert "points is not" in refused(Desk(snapshot_of(primary())).ask(command="history", points="all"))


def test_the_requests_are_a_table_that_others_add_to() -> None:
    orders = Orders(Context(Newest(), SimpleQueue()), dict, lambda: None)
    orders.handlers["dance"] = lambda request, _reply: {"text": f"danced {request['how']}"}
    replies: list[dict[str, Any]] = []
    orders.handle({"command": "dance", "how": "well"}, replies.append)
    assert replies == [{"ok": True, "text": "danced well"}]


# --- what cannot work is refused before it is ordered ----------------------------------------------------------

PAUSED = Pause(1, active=True)
UNGUARDED = standby().configured(watchdog_required=True).sees(watchdog=failing())
"""Its watchdog is required and cannot be used."""


@pytest.mark.parametrize(
    ("host", "request_", "words"),
    [
        (primary().knows(confirmed=False), "switchover", "no confirmed record"),
        (primary().durable(record=None), "switchover", "no confirmed record"),
        (primary(Mode.SOLO), "switchover", "serves alone"),
        (primary().hears(eligible=False), "switchover", "b is not eligible"),
        (standby().knows(grant=None), "switchover", "b is not eligible"),
        (primary().durable(pause=PAUSED), "switchover", "paused"),
        (primary().knows(heard=None), "switchover", "does not answer"),
        (claiming(standby()), "switchover", "a change is under way"),
        (primary(), "failover", "ordered on the standby"),
        (standby().knows(grant=None), "failover", "not eligible"),
        (standby(sync=False).knows(grant=None), "failover", "not eligible"),
        (standby().durable(pause=PAUSED), "failover", "paused"),
        (standby().durable(hold="x"), "failover", "on hold"),
        (standby(Mode.SOLO), "failover", "serves alone"),
        (standby().knows(confirmed=False), "failover", "no confirmed record"),
        (standby().configured(fencing=False), "failover", 'fencing = "none"'),
        (standby().sees(gateway=failing()), "failover", "no gateway"),
        (standby().knows(leaving=True), "failover", "b is shutting down"),
        (standby().knows(leaving=True), "switchover", "b is shutting down"),
        (primary().knows(leaving=True), "fence off", "a is shutting down"),
        (UNGUARDED, "failover", "may not begin to serve without its watchdog"),
        (UNGUARDED, "switchover", "may not begin to serve without its watchdog"),
        (primary().hears(eligible=False, guarded=False), "switchover", "b may not begin to serve without its watchdog"),
        (standby().down(), "failover", "does not run as a standby"),
        (standby(), "fence confirm", "no claim is open"),
        (standby(), "fence off", "is the primary"),
        (primary().durable(pause=PAUSED), "fence off", "paused"),
        (primary().knows(confirmed=False), "fence off", "no confirmed record"),
        (primary().configured(fencing=False), "fence off", 'fencing = "none"'),
        (primary().sees(gateway=failing()), "fence off", "no gateway"),
        (claiming(standby()), "fence on", "being fenced"),
        (claiming(standby()), "fence off", "a change is under way"),
        (primary().configured(fencing=False), "fence status", 'fencing = "none"'),
        (primary(), "fence explode", "unknown fence action"),
        (primary(), "promote", "nothing has to be forced"),
        (standby(), "promote", "nothing has to be forced"),
        (standby().silence().configured(fencing=False), "promote", "cannot be fenced first"),
        (standby(), "clear-hold", "not on hold"),
        (primary(), "rejoin", "only a confirmed standby"),
        (claiming(standby()), "pause", "a change is under way"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.me,
)
def test_an_order_that_cannot_work_is_refused_and_not_given(host: Host, request_: str, words: str) -> None:
    desk = Desk(snapshot_of(host))
    assert words in refused(desk.want(request_))
    assert desk.commands == []


def test_a_reason_too_long_to_be_told_to_the_peer_is_refused() -> None:
    desk = Desk(snapshot_of(primary()))
    assert "too long" in refused(desk.order(Order.PAUSE, "x" * 501))
    assert "too long" in refused(desk.order(Order.PAUSE, by="x" * 501))
    assert desk.commands == []


@pytest.mark.parametrize("command", ["pause", "switchover", "failover"])
@pytest.mark.parametrize("wait", ["long", True, None])
def test_a_wait_that_is_no_number_ends_the_request_and_not_the_daemon(command: str, wait: object) -> None:
    desk = Desk(snapshot_of(standby().silence() if command == "failover" else primary()))
    assert "wait_s" in refused(desk.want(command, wait_s=wait))
    assert desk.commands == []


@pytest.mark.parametrize(
    ("host", "request_", "text"),
    [
        (primary(), "switchover", "dry run: switchover: a stops cleanly, b becomes primary"),
        (standby(), "switchover", "dry run: switchover: a stops cleanly, b becomes primary"),
        (standby(), "failover", "dry run: failover: b has a powered off"),
        (standby().silence(), "promote", "forced promotion of b after fencing a"),
        (primary(), "fence off", "b, the standby, is powered off; a serves alone"),
        (primary(Mode.SOLO), "fence off", "a serves on alone"),
        (primary(), "fence on", "b is switched on"),
        (primary(), "pause", "dry run: pause"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.me,
)
def test_a_dry_run_says_what_would_be_done_and_orders_nothing(host: Host, request_: str, text: str) -> None:
    desk = Desk(snapshot_of(host))
    reply = desk.want(request_, dry_run=True)
    assert reply["ok"], reply
    assert text in reply["text"]
    assert desk.commands == []
    assert "checkpoint" not in desk.questions


# --- what an operator must know, and type ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "request_", "word", "warning"),
    [
        (standby(), "failover", "pair", "pgvip switchover does that"),
        (standby().silence(), "promote", "pair", "a is powered off first"),
        (primary(), "fence off", "b", "stays off until pgvip fence on"),
        (claiming(standby()), "fence confirm", "a", "both may write"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.me,
)
def test_what_takes_power_or_data_needs_its_word(host: Host, request_: str, word: str, warning: str) -> None:
    desk = Desk(snapshot_of(host))
    assert desk.now is not None
    word = desk.now.config.name if word == "pair" else word
    plan = desk.want(request_, dry_run=True)
    assert plan["confirm"] == word
    assert warning in plan["warning"]
    for wrong in ("", word.upper() + "x"):
        assert "this needs" in refused(desk.want(request_, word=wrong))
    assert desk.commands == []
    assert desk.want(request_, word=word, wait_s=0)["ok"]
    assert len(desk.commands) == 1


def test_a_failover_from_a_primary_that_does_not_answer_needs_no_word() -> None:
    desk = Desk(snapshot_of(standby().silence()))
    assert desk.want("failover", dry_run=True)["confirm"] == ""
    assert desk.want("failover", wait_s=0)["ok"]
    assert desk.commands == [Command(Order.FAILOVER)]


def test_the_primary_itself_is_powered_off_only_by_force_and_right() -> None:
    desk = Desk(snapshot_of(standby()))
    plan = desk.want("fence off", force=True, dry_run=True)
    assert "b becomes primary" in plan["text"]
    assert "no acknowledged commit is lost" in plan["warning"]
    assert "not eligible" in refused(Desk(snapshot_of(standby().knows(grant=None))).want("fence off", force=True))


@pytest.mark.parametrize("number", range(7))
def test_a_forced_promotion_says_what_may_be_lost(number: int) -> None:
    host, words = LOSSES[number]
    warning = Desk(snapshot_of(host)).want("promote", dry_run=True)["warning"]
    for word in words:
        assert word in warning


LOSSES: list[tuple[Host, list[str]]] = [
    (standby().silence(), ["b has WAL up to 0/1000", "a was at 0/1000", "1 min 0 s ago", "all of it is here"]),
    (standby().hears(point=WalPoint(1, Lsn(0x1100))).silence(), ["256 bytes of it are missing here"]),
    (standby().hears(point=WalPoint(2, Lsn(0x1100))).silence(), ["on another history"]),
    (standby().hears(point=None).silence(), ["How much is lost cannot be known"]),
    (standby().silence(), ["synchronous", "no acknowledged commit is lost"]),
    (standby().knows(grant=None).silence(), ["not eligible: acknowledged commits may be lost"]),
    (standby(sync=False).knows(grant=None).silence(), ["Nothing bounds the loss"]),
]


def test_a_forced_promotion_that_cannot_fence_must_be_told_so() -> None:
    desk = Desk(snapshot_of(standby().silence().configured(fencing=False)))
    assert "--without-fence" in desk.want("promote")["hint"]
    plan = desk.want("promote", without_fence=True, dry_run=True)
    assert "without fencing" in plan["text"]
    assert "NOT fenced" in plan["warning"]
    assert desk.want("promote", without_fence=True, word=plan["confirm"], wait_s=0)["ok"]
    assert desk.commands == [Command(Order.FORCE_PROMOTE, "without-fence")]


def test_a_healthy_pair_is_forced_only_by_an_operator_who_insists() -> None:
    for host in (primary(), standby()):
        assert Desk(snapshot_of(host)).want("promote", although_healthy=True, dry_run=True)["ok"]


# --- outcomes ------------------------------------------------------------------------------------------------------


def after(host: Host, at_s: float = NOW_S + 2, **changes: Any) -> Snapshot:
    return snapshot_of(host.knows(**changes) if changes else host, at_s)


BOTH = ("primary", "standby")


def moved(mode: Mode = Mode.SOLO, term: int = 5, **told: Any) -> Host:
    """The old primary "a" as the standby of "b"."""
    host = standby(mode, me="a", term=term)
    return host.hears(**{"read_write": True, "vips": BOTH, **told})


def test_a_switchover_is_over_when_the_new_primary_serves_and_the_old_one_follows() -> None:
    desk = Desk(snapshot_of(standby()))
    start = primary(Mode.SOLO, me="b", term=5).hears(read_write=False)
    paired = primary(me="b", term=7).hears(eligible=True, vips=("standby",))
    desk.then = [after(start.holds()), after(start), after(paired, NOW_S + 3)]
    reply = desk.want("switchover", wait_s=5)
    assert reply["ok"], reply
    assert re.fullmatch(r"b is primary \(term 5\), [\d.]+ s after the order; a follows", reply["text"])
    assert desk.questions == ["readiness", "checkpoint"]
    assert desk.commands == [Command(Order.SWITCHOVER)]
    progress = [one["progress"] for one in desk.replies if "progress" in one]
    assert progress[0] == "switchover: a stops cleanly, b becomes primary"
    assert {one["name"] for one in reply["checks"]} >= {"record", "eligible"}


def test_a_new_primary_without_its_address_does_not_serve_yet() -> None:
    desk = Desk(snapshot_of(standby()), [after(primary(Mode.SOLO, me="b", term=5).holds())])
    assert "timed out" in refused(desk.want("switchover"))
    assert desk.commands == [Command(Order.SWITCHOVER), Command(Order.CANCEL_SWITCHOVER)]


def test_a_switchover_that_was_called_off_is_refused() -> None:
    stopped = standby().hears(read_write=False, stopped=Stopped(4, WalPoint(1, HERE)))
    asking = standby().knows(switchover=Switchover(NOW_S, NOW_S + 60))
    desk = Desk(snapshot_of(standby()), [after(stopped), after(asking)])
    reply = desk.want("switchover", wait_s=5)
    assert "called off" in refused(reply)
    assert reply["detail"]


def test_a_checkpoint_that_does_not_end_stops_nothing() -> None:
    desk = Desk(snapshot_of(standby()), checkpoint={"ok": False, "error": "the checkpoint did not come to its end"})
    reply = desk.want("switchover")
    assert (reply["ok"], reply["exit_code"]) == (False, Exit.FAILED)
    assert "checkpoint" in reply["error"]
    assert desk.commands == []


@pytest.mark.parametrize("mute", ["a", "b"])
def test_a_server_that_cannot_be_asked_is_not_switched(mute: str) -> None:
    desk = Desk(snapshot_of(standby()), mute=(mute,))
    reply = desk.want("switchover", force=True)
    assert "could not be asked" in refused(reply)
    assert desk.commands == []


def test_a_pause_is_over_when_both_hosts_have_it() -> None:
    pause = Pause(1, active=True, until="2999")
    mine = primary().durable(pause=pause)
    assert "timed out" in Desk(snapshot_of(primary()), [after(mine)]).order(Order.PAUSE)["error"]
    both = mine.hears(pause=pause)
    assert Desk(snapshot_of(primary()), [after(both)]).order(Order.PAUSE)["text"] == "paused on both hosts until 2999"
    alone = mine.knows(heard=Heard(heard_message(mine), NOW_S - 60))
    assert "b does not answer" in Desk(snapshot_of(primary()), [after(alone)]).order(Order.PAUSE)["text"]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (primary().knows(switchover=Switchover(NOW_S, NOW_S + 60)).hears(eligible=False), "a switchover was ordered"),
        (standby().knows(grant=None, fence_order=FenceOrder(NOW_S + 60, off=False)), "a fence of a was ordered"),
        (primary(Mode.SOLO).knows(running=(Promote(),)), "a is being promoted"),
        (primary(Mode.SOLO).knows(running=(AddVip(Vip.PRIMARY),)), "a raises the primary address"),
        (primary().down(clean=True), ""),
    ],
    ids=["ordered", "fence", "promotion", "address", "down"],
)
def test_a_pause_comes_not_in_the_middle_of_a_change(host: Host, words: str) -> None:
    reply = Desk(snapshot_of(host)).order(Order.PAUSE, wait_s=0)
    assert reply["ok"] is not bool(words), reply
    assert words in reply.get("error", "")


def test_a_pause_carries_its_end_and_who_ordered_it() -> None:
    desk = Desk(snapshot_of(primary()))
    until = "2999-01-01T00:00:00.000+00:00"
    said = desk.order(Order.PAUSE, "disks", until=until, by="ann", wait_s=0)["text"]
    assert said == "pause until 2999-01-01 00:00:00 UTC: disks"
    assert desk.commands == [Command(Order.PAUSE, "disks", until, "ann")]
    for wrong in ("soon", "2999-01-01", "2001-01-01T00:00:00.000+00:00"):
        assert refused(Desk(snapshot_of(primary())).order(Order.PAUSE, until=wrong))


def heard_message(host: Host) -> Any:
    assert host.k.peer.heard is not None
    return host.k.peer.heard.message


def test_a_forced_promotion_is_over_when_this_host_writes() -> None:
    forced = primary(Mode.SOLO, me="b", term=1_000_005)
    forced = forced.durable(record=record("b", Mode.SOLO, 1_000_005, cause="forced; a was not fenced"))
    quiet = standby().silence()
    said = Desk(snapshot_of(quiet), [after(forced)]).sure("promote")["text"]
    assert said == "b is primary alone (term 1000005, forced; a was not fenced)"
    failed = Desk(snapshot_of(quiet), [after(quiet)]).sure("promote")
    assert "could not be fenced" in refused(failed)
    assert "--without-fence" in failed["hint"]


def test_a_failover_is_over_when_this_host_writes_or_its_fence_has_failed() -> None:
    new = primary(Mode.SOLO, me="b", term=5)
    assert Desk(snapshot_of(standby()), [after(new)]).sure("failover")["text"] == "b is primary (term 5)"
    assert "was not powered off" in refused(Desk(snapshot_of(standby()), [after(standby())]).sure("failover"))
    waiting = standby().knows(fence_order=FenceOrder(NOW_S + 60, off=False))
    assert "timed out" in refused(Desk(snapshot_of(standby()), [after(waiting)]).sure("failover"))


def test_a_fence_by_order_is_over_when_the_peer_is_off() -> None:
    alone = primary(Mode.SOLO, term=6).knows(heard=None)
    off = Desk(snapshot_of(primary()), [after(alone, peer_off=True)]).sure("fence off")
    assert off["text"] == "b is off and stays off; a serves alone (term 6)"
    assert "was not powered off" in refused(Desk(snapshot_of(primary()), [after(primary())]).sure("fence off"))


def test_the_peer_is_on_when_its_device_has_taken_the_order() -> None:
    alone = primary(Mode.SOLO)
    done = after(alone, ended={"power": NOW_S + 1})
    assert "being switched on" in Desk(snapshot_of(alone), [done]).want("fence on")["text"]
    failed = after(alone, ended={"power": NOW_S + 1}, failures={PowerOn: Failures(1, NOW_S, "no answer")})
    assert "could not switch" in refused(Desk(snapshot_of(alone), [failed]).want("fence on"))


def test_a_rejoin_is_over_when_this_host_follows_again() -> None:
    old = standby()
    later_s = NOW_S + 1.5
    looked = old.sees(
        database=replace(old.seen.database, at_s=later_s), processes=replace(old.seen.processes, at_s=later_s)
    )
    followed = after(looked, ended={"postgres": NOW_S + 1})
    assert Desk(snapshot_of(old), [followed]).order(Order.REJOIN, "clone")["text"] == "b follows a"
    assert "timed out" in Desk(snapshot_of(old), [after(old)]).order(Order.REJOIN)["error"]
    failed = after(old, failures={Rejoin: Failures(1, NOW_S + 9, "the disk is full")})
    assert "could not rejoin" in refused(Desk(snapshot_of(old), [failed]).order(Order.REJOIN))


def test_orders_without_an_outcome_are_answered_at_once() -> None:
    desk = Desk(snapshot_of(standby().durable(hold="both wrote")))
    assert desk.order(Order.CLEAR_HOLD) == {"ok": True, "text": "clear-hold"}
    claimed = Desk(snapshot_of(claiming(standby())))
    assert claimed.want("fence confirm", word="a")["ok"] is True
    assert claimed.commands == [Command(Order.FENCE_CONFIRMED)]


# --- the fence device ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("took_s", "power", "works"), [(0.1, "on", True), (5.0, "off", True), (5.1, "on", False), (0.1, "", False)]
)
def test_every_method_is_asked_and_timed(
    took_s: float, power: str, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = (Answer("ipmi", "on", "", 0.2, 10.0), Answer("outlet", power, "no answer", took_s, 10.0))
    monkeypatch.setattr("pgvip.actions.fence.survey", lambda _config: answers)
    reply = Desk(snapshot_of(primary())).want("fence status")
    assert [one["method"] for one in reply["methods"]] == ["ipmi", "outlet"]
    assert [one["works"] for one in reply["methods"]] == [True, works]
    assert reply["worst_s"] == 3 + 0.5 + 2 * (2 * 10 + SETTLE_S)
    tested = Desk(snapshot_of(primary())).want("fence test")
    assert tested["ok"] is works
    assert ("exit_code" in tested) is not works


def test_the_pair_of_these_tests_is_what_it_says() -> None:
    snapshot = snapshot_of(primary())
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
    desk = Context(Newest(), SimpleQueue())
    orders = Orders(desk, dict, lambda: None, more={"events": EventRequests(store).answer})
    orders.handle({"command": "events", "limit": 5}, replies.append)
    orders.handle({"command": "events", "limit": -5}, replies.append)
    Orders(desk, dict, lambda: None).handle({"command": "events"}, replies.append)
    store.close()
    assert [event["text"] for event in replies[0]["events"]] == ["up"]
    assert [reply["ok"] for reply in replies] == [True, False, False]
    assert replies[1]["error"] == "limit is -5"
    assert "unknown command" in replies[2]["error"]


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_is_played_once_for_all_who_ask_meanwhile() -> None:
    newest = Newest()
    newest.put(snapshot_of(standby()))
    explanations = Explanations(newest, {})
    first = explanations.document()
    assert first["takeover_works"] is True
    assert explanations.answer({}, lambda _line: None)["explain"] is first
    newest.put(snapshot_of(standby().knows(grant=None), NOW_S + GOOD_S))
    assert explanations.document()["takeover_works"] is False
