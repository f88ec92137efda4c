"""The loop with its outside replaced by a recorder: what wakes it, what it starts, says and keeps."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

import pytest

from pgvip.config import load
from pgvip.config.model import Config
from pgvip.core.actions import Action, Guard, Result, StopPostgres, WriteState
from pgvip.core.messages import Command, Heard, Message, Order
from pgvip.core.observations import Observations, Processes
from pgvip.core.settings import Identity
from pgvip.core.values import NEVER, BootFacts, Durable, Grant, Mode, Override, Record
from pgvip.daemon.loop import EAGER_S, Daemon, Leave, LinkChanged, Outside, Received, Reload
from pgvip.daemon.probe_threads import Probed
from pgvip.deadlines import now_s
from pgvip.state import codec
from pgvip.status.snapshot import Snapshot
from tests.knowing import knowing
from tests.unit.config_text import edited

PAIR_ID, SYSTEM_ID = "orders-1", "7000000000000000001"
RECORD = Record(PAIR_ID, SYSTEM_ID, 4, "db1", Mode.PAIR, sync=True)
SLOW_S = 5.0
"""A heartbeat that no test waits for."""


@dataclass
class Recorder:
    """The world as the loop sees it: it notes what is asked of it."""

    config: Config
    started: list[Action] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    kept: list[BootFacts] = field(default_factory=list)
    keeps: bool = True
    logged: list[tuple[str, str]] = field(default_factory=list)
    rounds_at_s: list[float] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    reloaded: Config | None = None
    busy_s: float = 0.0

    def outside(self) -> Outside:
        return Outside(
            start=self.started.append,
            wake=self.woken.append,
            send=lambda text: self.sent.append(codec.from_json(Message, text)),
            keep=self._keep,
            log=lambda event, text: self.logged.append((event, text)),
            alive=self._alive,
            reload=self._reload,
            note=lambda note: self.logged.append((note.event, note.text)),
            ended=self.snapshots.append,
        )

    def _reload(self) -> None:
        self.config = self.reloaded or self.config

    def _keep(self, facts: BootFacts) -> bool:
        self.kept.append(facts)
        return self.keeps

    def _alive(self, _guard: Guard) -> None:
        self.rounds_at_s.append(now_s())
        if self.busy_s:
            time.sleep(self.busy_s)  # stands for work in the loop: what is measured is that it is noticed


def configured(heartbeat_s: float = SLOW_S) -> Config:
    plain = load.parse(edited(), "db1")
    return replace(plain, settings=replace(plain.settings, heartbeat_s=heartbeat_s))


def peer_says(**changes: Any) -> Received:
    message = Message(PAIR_ID, SYSTEM_ID, "db2", "boot-2", "run-2", 1, now_s(), RECORD, confirmed=True)
    return Received(codec.to_json(replace(message, **changes)))


@dataclass
class Bench:
    """A daemon that runs in this (the main) thread while another one acts on it."""

    recorder: Recorder
    daemon: Daemon
    inbox: SimpleQueue[object]

    @property
    def snapshot(self) -> Snapshot | None:
        """Of the last round."""
        return self.recorder.snapshots[-1] if self.recorder.snapshots else None

    def run(self, act: Callable[[], object]) -> None:
        """Run the loop while `act` runs; then tell it to leave."""
        failures: list[BaseException] = []

        def body() -> None:
            try:
                self.rounds(1)
                act()
            except BaseException as failure:  # noqa: BLE001 - handed to the test below
                failures.append(failure)
            finally:
                self.inbox.put(Leave())

        thread = threading.Thread(target=body)
        thread.start()
        self.daemon.run()
        thread.join(10)
        if failures:
            raise failures[0]

    def rounds(self, count: int, within_s: float = 3.0) -> float:
        """Wait for so many rounds in all; how long it took."""
        return self.wait(lambda: len(self.recorder.rounds_at_s) >= count, within_s)

    def wait(self, holds: Callable[[], object], within_s: float = 15.0) -> float:
        began_s = now_s()
        while not holds():
            assert now_s() - began_s < within_s, "it did not come about"
            time.sleep(0.001)  # polled with a deadline
        return now_s() - began_s

    def wakes(self, event: object, within_s: float = 2.0) -> bool:
        """Whether this event brings a round at once, in a loop whose heartbeat is far away."""
        before = len(self.recorder.rounds_at_s)
        self.inbox.put(event)
        deadline_s = now_s() + within_s
        while now_s() < deadline_s:
            if len(self.recorder.rounds_at_s) > before:
                return True
            time.sleep(0.001)  # polled with a deadline
        return False


@pytest.fixture
def bench() -> Iterator[Bench]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}
    yield make()
    for number, handler in kept.items():
        signal.signal(number, handler)


def make(heartbeat_s: float = SLOW_S, durable: Durable | None = None, facts: BootFacts | None = None) -> Bench:
    recorder = Recorder(config=configured(heartbeat_s))
    who = Identity("boot-1", "run-1", now_s(), PAIR_ID, SYSTEM_ID)
    inbox: SimpleQueue[object] = SimpleQueue()
    durable, facts = durable or Durable(RECORD, served=True), facts or BootFacts()
    daemon = Daemon(lambda: recorder.config, inbox, recorder.outside(), who=who, durable=durable, facts=facts)
    return Bench(recorder, daemon, inbox)


def looked(name: str, value: object = None, reason: str = "") -> Probed:
    return Probed(name, value, reason, now_s())


# --- what wakes the loop --------------------------------------------------------------------------------------


def test_urgent_events_bring_a_round_at_once(bench: Bench) -> None:
    up = Processes(installed=True, postmaster="10:1")

    def act() -> None:
        assert bench.wakes(peer_says())
        assert bench.wakes(peer_says(seq=2, gateway_ok=True))
        assert bench.wakes(looked("gateway", "192.0.2.1"))
        assert bench.wakes(looked("gateway", reason="no answer"))
        assert bench.wakes(looked("gateway", "192.0.2.1"))
        assert bench.wakes(looked("processes", up))
        assert bench.wakes(looked("processes", replace(up, postmaster="")))
        assert bench.wakes(looked("connection", reason="refused"))
        assert bench.wakes(looked("connection", reason="refused"))
        assert bench.wakes(Command(Order.CANCEL_SWITCHOVER))
        assert bench.wakes(LinkChanged(up=True))
        assert bench.wakes(Reload())

    bench.run(act)


def test_what_changes_nothing_waits_for_the_heartbeat(bench: Bench) -> None:
    def act() -> None:
        assert bench.wakes(peer_says())
        assert bench.wakes(looked("gateway", "192.0.2.1"))
        assert not bench.wakes(looked("gateway", "192.0.2.1"), within_s=0.15)
        assert not bench.wakes(peer_says(seq=2), within_s=0.15)
        assert bench.wakes(looked("gateway", reason="no answer"))
        assert not bench.wakes(looked("gateway", reason="no answer"), within_s=0.15)
        assert not bench.wakes(looked("a-chore", reason="of no interest to the core"), within_s=0.15)

    bench.run(act)
    assert ("chore-failed", "a-chore: of no interest to the core") in bench.recorder.logged


def test_without_events_the_loop_goes_round_with_the_heartbeat() -> None:
    bench = make(heartbeat_s=0.05)
    bench.run(lambda: bench.wait(lambda: len(bench.recorder.rounds_at_s) >= 6))
    gaps = [b - a for a, b in zip(bench.recorder.rounds_at_s, bench.recorder.rounds_at_s[1:], strict=False)]
    assert sum(gaps[:4]) >= 0.15  # four heartbeats, with room for a late first one
    assert len(bench.recorder.sent) >= 5


def test_many_events_are_one_round(bench: Bench) -> None:
    def act() -> None:
        before = len(bench.recorder.rounds_at_s)
        bench.recorder.busy_s = 0.1
        assert bench.wakes(Reload())
        bench.recorder.busy_s = 0.0
        for number in range(50):
            bench.inbox.put(looked("gateway", f"192.0.2.{number}"))
        bench.wait(bench.inbox.empty)
        bench.rounds(before + 2)
        assert len(bench.recorder.rounds_at_s) <= before + 4

    bench.run(act)


# --- signals ----------------------------------------------------------------------------------------------------


def test_sighup_reloads_and_the_new_settings_hold_at_once(bench: Bench) -> None:
    old = bench.recorder.config

    def act() -> None:
        bench.recorder.reloaded = replace(old, settings=replace(old.settings, override=Override.STANDBY))
        os.kill(os.getpid(), signal.SIGHUP)
        bench.wait(lambda: bench.snapshot and bench.snapshot.config is bench.recorder.reloaded)
        assert bench.snapshot is not None
        assert bench.snapshot.decision.message.override is Override.STANDBY

    bench.run(act)
    assert bench.recorder.config is bench.recorder.reloaded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_leave_ends_the_loop_and_changes_nothing(bench: Bench, number: signal.Signals) -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    timer.start()
    began_s = now_s()
    bench.daemon.run()
    timer.join()
    assert now_s() - began_s < 3.0
    assert not [action for action in bench.recorder.started if type(action).__name__.startswith(("Stop", "Drop"))]


# --- what it gives on ----------------------------------------------------------------------------------------------


def test_results_reach_the_core_once_and_make_the_probes_concerned_look(bench: Bench) -> None:
    def act() -> None:
        bench.inbox.put(Command(Order.PAUSE, "a test"))
        bench.wait(lambda: bench.recorder.started)
        action = bench.recorder.started[0]
        assert isinstance(action, WriteState)
        assert bench.wakes(Result(action, ok=True, at_s=now_s()))
        bench.wait(lambda: bench.snapshot and bench.snapshot.decision.knowledge.durable.pause.active)

    bench.run(act)
    assert len([action for action in bench.recorder.started if isinstance(action, WriteState)]) == 1


def test_a_result_makes_the_probes_run_that_see_what_was_done(bench: Bench) -> None:
    """Else the next decision would go by what was seen before it."""
    stop = StopPostgres(clean=False)
    assert "processes" in stop.properties.probes

    def act() -> None:
        assert "processes" not in bench.recorder.woken
        assert bench.wakes(Result(stop, ok=True, at_s=now_s()))

    bench.run(act)
    assert set(stop.properties.probes) <= set(bench.recorder.woken)


@pytest.mark.usefixtures("bench")  # puts the signals back
def test_a_round_makes_the_probes_run_that_the_core_asks_for() -> None:
    """Two heartbeats are missing: the peer's database is asked at once."""
    bench = make(heartbeat_s=0.2)

    def act() -> None:
        bench.inbox.put(peer_says())
        bench.wait(lambda: any(one.decision.wake for one in bench.recorder.snapshots))

    bench.run(act)
    assert {"peer_own", "peer_vip"} <= set(bench.recorder.woken)


def test_boot_facts_are_kept_when_they_change_and_only_then(bench: Bench) -> None:
    def act() -> None:
        bench.wait(lambda: bench.recorder.sent)
        question = bench.recorder.sent[-1].question
        assert question
        assert bench.wakes(peer_says(answer=question))
        bench.wait(lambda: bench.recorder.kept)
        for number in range(2, 5):
            assert bench.wakes(peer_says(seq=number, gateway_ok=bool(number % 2)))

    bench.run(act)
    assert [replace(kept, offset_s=None) for kept in bench.recorder.kept] == [
        BootFacts(confirmed=True, confirmed_term=4, met=True)
    ]
    assert bench.recorder.kept[0].offset_s == pytest.approx(time.time() - now_s(), abs=1.0)


def test_clocks_that_jumped_between_two_processes_end_a_lease() -> None:
    """A machine that was paused while no daemon ran: how old the kept lease is cannot be known."""
    lease = Grant(4, "boot-1", "100:7", now_s(), now_s() + 60.0)
    offset_s = time.time() - now_s()
    for kept_s, holds in ((offset_s, True), (offset_s - 30.0, False)):
        facts = BootFacts(confirmed=True, confirmed_term=4, grant=lease, offset_s=kept_s)
        bench = make(facts=facts, durable=Durable(replace(RECORD, primary="db2")))
        bench.run(lambda: None)
        assert bench.snapshot is not None
        assert (bench.snapshot.decision.knowledge.grants.grant is not None) is holds


def test_facts_of_this_boot_outlive_the_process() -> None:
    bench = make(facts=BootFacts(confirmed=True, confirmed_term=4))
    bench.run(lambda: None)
    assert bench.recorder.sent[0].confirmed
    assert not bench.recorder.kept


def test_facts_that_could_not_be_kept_are_tried_again_and_the_loop_goes_on(bench: Bench) -> None:
    """A full /run ended the daemon in the round in which it would have begun a takeover."""
    bench.recorder.keeps = False

    def act() -> None:
        assert bench.wakes(peer_says(answer="boot-1/run-1"))
        bench.wait(lambda: any(message.confirmed for message in bench.recorder.sent))
        for number, keeps in enumerate((False, True, True), 2):
            bench.recorder.keeps = keeps
            assert bench.wakes(peer_says(seq=number, gateway_ok=bool(number % 2)))

    bench.run(act)
    assert len(bench.recorder.kept) == 3, "not kept twice, then kept, and no more"


def test_facts_are_kept_before_they_are_told() -> None:
    order: list[str] = []
    bench = make()
    plain = bench.recorder.outside()

    def send(text: str) -> None:
        if codec.from_json(Message, text).confirmed:
            order.append("tell")

    def keep(_facts: BootFacts) -> bool:
        order.append("keep")
        return True

    outside = replace(plain, keep=keep, send=send)
    bench.daemon._outside = outside

    def act() -> None:
        question = "boot-1/run-1"
        assert bench.wakes(peer_says(answer=question))

    bench.run(act)
    assert order[:2] == ["keep", "tell"]


def test_a_message_that_is_no_message_is_logged_and_dropped(bench: Bench) -> None:
    def act() -> None:
        bench.inbox.put(Received("{"))
        bench.wait(lambda: [event for event, _ in bench.recorder.logged if event == "bad-message"])
        assert bench.wakes(peer_says())

    bench.run(act)


def test_a_heartbeat_is_sent_anew_when_the_link_comes_up(bench: Bench) -> None:
    def act() -> None:
        before = len(bench.recorder.sent)
        assert bench.wakes(LinkChanged(up=True))
        bench.wait(lambda: len(bench.recorder.sent) > before)

    bench.run(act)
    assert {"peer_own", "peer_vip"} <= set(bench.recorder.woken)


def test_a_change_of_the_processes_makes_the_database_be_looked_at(bench: Bench) -> None:
    def act() -> None:
        assert bench.wakes(looked("processes", Processes(installed=True, postmaster="10:1")))

    bench.run(act)
    assert {"database", "connection"} <= set(bench.recorder.woken)


# --- keeping time -----------------------------------------------------------------------------------------------------


def test_a_probe_that_this_host_could_not_run_is_no_failure_of_what_it_observes(bench: Bench) -> None:
    def act() -> None:
        bench.inbox.put(Probed("connection", None, "no database answers", now_s(), "Too many open files"))
        bench.inbox.put(peer_says(postmaster="9:9"))
        bench.wait(lambda: bench.snapshot is not None and bench.snapshot.seen.connection.lack)

    bench.run(act)
    assert bench.snapshot is not None
    assert bench.snapshot.seen.connection.failures == 0


def test_since_when_an_answer_has_been_waited_for_is_known_of_the_first_look_that_failed(bench: Bench) -> None:
    def act() -> None:
        for tried_s in (now_s() - 2.0, now_s() - 1.0):
            tried.append(tried_s)
            bench.inbox.put(Probed("connection", None, "no answer", now_s(), tried_s=tried_s))
        bench.wait(lambda: bench.snapshot is not None and bench.snapshot.seen.connection.failures == 2)

    tried: list[float] = []
    bench.run(act)
    assert bench.snapshot is not None
    assert bench.snapshot.seen.connection.tried_s == tried[0]


def test_the_longest_round_is_measured(bench: Bench) -> None:
    def act() -> None:
        bench.recorder.busy_s = 0.12
        assert bench.wakes(Reload())
        bench.recorder.busy_s = 0.0
        assert bench.wakes(Reload())

    bench.run(act)
    snapshot = bench.snapshot
    assert snapshot is not None
    assert 120 <= snapshot.stats.longest_ms < 1000
    assert snapshot.stats.rounds >= 2


def test_the_snapshot_is_the_last_round(bench: Bench) -> None:
    def act() -> None:
        assert bench.wakes(looked("gateway", "192.0.2.1"))

    bench.run(act)
    snapshot = bench.snapshot
    assert snapshot is not None
    assert snapshot.seen.gateway.value == "192.0.2.1"
    assert snapshot.seen == replace(Observations(), gateway=snapshot.seen.gateway)
    assert snapshot.decision.message.record == RECORD
    assert NEVER < snapshot.at_s <= now_s()


def test_an_unknown_event_is_a_mistake_of_the_program(bench: Bench) -> None:
    bench.inbox.put("what is this")
    with pytest.raises(AssertionError, match="unknown event"):
        bench.daemon.run()


def test_a_silence_is_measured_in_small_steps() -> None:
    bench = make(heartbeat_s=1.0)
    now = now_s()
    for quiet_s, paced in ((0.5, 1.0), (2.5, EAGER_S), (60.0, 1.0)):
        heard = Heard(codec.from_json(Message, peer_says().text), now - quiet_s)
        bench.daemon._knowledge = knowing(bench.daemon._knowledge, heard=heard)
        assert bench.daemon._pace_s(now) == paced
