"""A probe or an action that fails in any way is a failed observation and a warning; the daemon continues."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from pgvip.core.actions import KINDS, Action, AddVip, Result, WriteState
from pgvip.core.values import Durable, Vip
from pgvip.daemon.action_threads import Outcome, Workshop
from pgvip.daemon.internal_errors import InternalErrors
from pgvip.daemon.probe_threads import Probe, Probed, ProbeThread
from pgvip.errors import ProbeError, VipError
from pgvip.events.event_table import EVENTS
from pgvip.state.record import InDoubtError

WAIT_S = 5.0
NAME = "internal-error"
FAULTS: list[Callable[[], BaseException]] = [
    lambda: IndexError("list index out of range"),
    lambda: AssertionError("a probe's own"),
    lambda: RecursionError("maximum recursion depth exceeded"),
    MemoryError,
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    lambda: KeyError("x"),
]


class World:
    """The two runners, and what they report."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self.logged: list[tuple[str, str]] = []
        self.faults = InternalErrors(lambda event, text: self.logged.append((event, text)))
        self.failure: BaseException | None = None
        self.crashed = threading.Event()
        self.probe = ProbeThread(Probe("database", self._work, lambda: 60.0), self.inbox, self.faults)
        functions = dict.fromkeys(KINDS, lambda _action: self._work())
        self.shop = Workshop(functions, lambda _stop: None, self.inbox, faults=self.faults)

    def _work(self) -> Outcome:
        if self.failure is not None:
            raise self.failure
        return Outcome()

    def look(self, failure: BaseException | None) -> Probed:
        self.failure = failure
        self.probe.wake()
        looked = self.inbox.get(timeout=WAIT_S)
        assert isinstance(looked, Probed)
        return looked

    def act(self, failure: BaseException | None, action: Action) -> Result:
        self.failure = failure
        self.shop.start(action)
        result = self.inbox.get(timeout=WAIT_S)
        assert isinstance(result, Result)
        return result


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.probe.close()


def begin(world: World) -> None:
    world.probe.start()
    assert isinstance(world.inbox.get(timeout=WAIT_S), Probed)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_probe_that_fails_in_any_way_has_looked_and_failed(world: World, fault: Callable[[], BaseException]) -> None:
    begin(world)
    looked = world.look(fault())
    assert looked.value is None
    assert looked.reason.startswith(f"internal error in probe database: {type(fault()).__name__}")
    [warning] = world.faults.warnings()
    assert (warning.name, warning.text) == (NAME, looked.reason)
    assert world.look(None).reason == ""
    assert world.faults.warnings() == ()


@pytest.mark.parametrize("fault", FAULTS)
def test_an_action_that_fails_in_any_way_has_failed(world: World, fault: Callable[[], BaseException]) -> None:
    result = world.act(fault(), AddVip(Vip.PRIMARY))
    assert not result.ok
    assert result.text.startswith(f"internal error in action AddVip: {type(fault()).__name__}")
    assert [one.name for one in world.faults.warnings()] == [NAME]
    assert not world.act(VipError("no such interface"), AddVip(Vip.PRIMARY)).ok
    assert world.faults.warnings() == ()


def test_what_is_foreseen_is_no_internal_error(world: World) -> None:
    begin(world)
    assert world.look(ProbeError("nobody answers")).reason == "nobody answers"
    assert world.look(OSError()).reason == "OSError"
    assert world.faults.warnings() == ()


def test_where_a_fault_arose_is_logged_once_for_each_text(world: World) -> None:
    begin(world)
    for text in ("one", "one", "two", "two"):
        world.look(IndexError(text))
    assert [event for event, _text in world.logged] == ["work-crash", "work-crash"]
    assert "_work" in world.logged[0][1]
    assert {"work-crash", NAME} <= set(EVENTS)


def test_the_text_of_a_fault_is_short_and_on_one_line(world: World) -> None:
    begin(world)
    reason = world.look(ValueError("x\n" * 5000)).reason
    assert len(reason) < 600
    assert "\n" not in reason


@pytest.mark.parametrize("fault", [InDoubtError("old or new"), TypeError("in the middle of writing")])
def test_a_record_in_doubt_ends_the_daemon(
    world: World, fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever went on would act by a record that may not be the one on the disk."""
    crashed: SimpleQueue[object] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda failure: crashed.put(failure.exc_value))
    world.failure = fault
    world.shop.start(WriteState(Durable()))
    assert crashed.get(timeout=WAIT_S) is fault
    assert world.inbox.empty()
