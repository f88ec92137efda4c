"""The action threads: turns on the server, a stop that does not queue, every end a result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

import pytest

from pgvip.core.actions import (
    KINDS,
    Action,
    AddVip,
    FindEnd,
    KillPostgres,
    Promote,
    Rejoin,
    Result,
    StartPostgres,
    StopPostgres,
)
from pgvip.core.values import Lsn, Vip, WalPoint
from pgvip.daemon.action_threads import Outcome, Workshop
from pgvip.deadlines import now_s
from pgvip.errors import PostgresError, VipError

START, STOP, FIND = StartPostgres(standby=False, sync=True), StopPostgres(clean=False), FindEnd()
WAIT_S = 5.0


class Shop:
    """A workshop whose functions wait until they are let go, and note what happens."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self.log: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.interrupted = threading.Event()
        self.shop = Workshop(dict.fromkeys(KINDS, self._work), self._interrupt, self.inbox)

    def hold(self, kind: type[Action]) -> None:
        """Actions of this kind wait in their function until `release`."""
        self.gates[kind.__name__] = threading.Event()

    def release(self, kind: type[Action]) -> None:
        self.gates[kind.__name__].set()

    def has_begun(self, kind: type[Action]) -> threading.Event:
        return self.begun.setdefault(kind.__name__, threading.Event())

    def _work(self, action: Action) -> Outcome | None:
        name = type(action).__name__
        self.log.append(f"begin {name}")
        self.has_begun(type(action)).set()
        if name in self.gates:
            assert self.gates[name].wait(WAIT_S)
        self.log.append(f"end {name}")
        return None

    def _interrupt(self, action: StopPostgres) -> None:
        self.log.append("interrupt")
        self.interrupted.set()
        for gate in self.gates.values():
            gate.set()

    def result(self) -> Result:
        result = self.inbox.get(timeout=WAIT_S)
        assert isinstance(result, Result)
        return result


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    for gate in made.gates.values():
        gate.set()


def one(function: Callable[[Action], Outcome | None], action: Action) -> Result:
    """The result of one action that is done by `function`."""
    inbox: SimpleQueue[object] = SimpleQueue()
    Workshop({type(action): function}, lambda _action: None, inbox).start(action)
    result = inbox.get(timeout=WAIT_S)
    assert isinstance(result, Result)
    with pytest.raises(Empty):
        inbox.get(timeout=0.02)
    return result


def test_an_action_that_works_ends_in_one_good_result() -> None:
    began_s = now_s()
    result = one(lambda _action: None, AddVip(Vip.PRIMARY))
    assert (result.action, result.ok, result.text, result.point) == (AddVip(Vip.PRIMARY), True, "", None)
    assert began_s <= result.at_s <= now_s()


def test_what_an_action_tells_is_in_its_result() -> None:
    point = WalPoint(3, Lsn(7))
    result = one(lambda _action: Outcome("found", point), FIND)
    assert (result.text, result.point) == ("found", point)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (VipError("could not add it", "no such device", "See ip link."), "could not add it; DETAIL: no such device"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (VipError(""), "VipError"),
    ],
    ids=str,
)
def test_an_error_is_a_bad_result_that_says_why(failure: Exception, text: str) -> None:
    def fails(_action: Action) -> None:
        raise failure

    result = one(fails, AddVip(Vip.PRIMARY))
    assert not result.ok
    assert text in result.text
    assert "\n" not in result.text


def test_an_endless_error_is_cut_to_what_a_message_can_carry() -> None:
    def fails(_action: Action) -> None:
        raise VipError("x" * 100_000)

    assert len(one(fails, AddVip(Vip.PRIMARY)).text) <= 2000


def test_starting_an_action_does_not_wait_for_it(shop: Shop) -> None:
    shop.hold(AddVip)
    began_s = now_s()
    shop.shop.start(AddVip(Vip.PRIMARY))
    assert now_s() - began_s < 2.0
    assert shop.has_begun(AddVip).wait(WAIT_S)
    assert shop.inbox.empty()
    shop.release(AddVip)
    assert shop.result().ok


def test_actions_on_the_server_take_turns(shop: Shop) -> None:
    shop.hold(FindEnd)
    shop.shop.start(FIND)
    assert shop.has_begun(FindEnd).wait(WAIT_S)
    shop.shop.start(START)
    assert not shop.has_begun(StartPostgres).wait(0.05)
    shop.release(FindEnd)
    assert [shop.result().action, shop.result().action] == [FIND, START]
    assert shop.log == ["begin FindEnd", "end FindEnd", "begin StartPostgres", "end StartPostgres"]


def test_a_kill_waits_for_nobody_and_what_waited_for_its_turn_is_not_done_after_it(shop: Shop) -> None:
    """The lease is over: a server that starts now would write beside the peer's."""
    shop.hold(FindEnd)
    shop.shop.start(FIND)
    assert shop.has_begun(FindEnd).wait(WAIT_S)
    shop.shop.start(START)
    shop.shop.start(KillPostgres())
    assert shop.result().action == KillPostgres()
    shop.release(FindEnd)
    assert shop.result().action == FIND
    waited = shop.result()
    assert (waited.action, waited.ok) == (START, False)
    shop.shop.start(START)
    assert shop.result().ok, "one that is ordered later"


def test_addresses_do_not_wait_for_the_server(shop: Shop) -> None:
    shop.hold(Rejoin)
    shop.shop.start(Rejoin())
    assert shop.has_begun(Rejoin).wait(WAIT_S)
    shop.shop.start(AddVip(Vip.STANDBY))
    assert shop.result().action == AddVip(Vip.STANDBY)


@pytest.mark.parametrize("waiting", [START, Promote(), Rejoin()], ids=lambda action: type(action).__name__)
def test_a_stop_ends_what_a_hanging_action_waits_for(shop: Shop, waiting: Action) -> None:
    shop.hold(type(waiting))
    shop.shop.start(waiting)
    assert shop.has_begun(type(waiting)).wait(WAIT_S)
    shop.shop.start(STOP)
    assert shop.interrupted.wait(WAIT_S)
    assert [shop.result().action, shop.result().action] == [waiting, STOP]
    assert shop.log[-2:] == ["begin StopPostgres", "end StopPostgres"]


def test_a_stop_of_an_idle_server_interrupts_nothing(shop: Shop) -> None:
    shop.shop.start(STOP)
    assert shop.result().ok
    assert "interrupt" not in shop.log


def test_a_start_that_still_waits_when_a_stop_is_ordered_never_begins(shop: Shop) -> None:
    """It would otherwise undo the verified stop, since nobody promises the order of their turns."""
    shop.hold(FindEnd)
    shop.shop.start(FIND)
    assert shop.has_begun(FindEnd).wait(WAIT_S)
    shop.shop.start(START)
    shop.shop.start(STOP)
    results = {type(result.action): result for result in (shop.result(), shop.result(), shop.result())}
    assert not results[StartPostgres].ok
    assert results[StopPostgres].ok
    assert "begin StartPostgres" not in shop.log


def test_a_start_after_a_stop_works(shop: Shop) -> None:
    shop.shop.start(STOP)
    assert shop.result().ok
    shop.shop.start(START)
    assert shop.result().ok


def test_the_server_is_free_again_after_a_failure() -> None:
    inbox: SimpleQueue[object] = SimpleQueue()

    def fails(_action: Action) -> None:
        raise PostgresError("it did not start")

    shop = Workshop({StartPostgres: fails}, lambda _action: None, inbox)
    for _ in range(3):
        shop.start(START)
        result = inbox.get(timeout=WAIT_S)
        assert isinstance(result, Result)
        assert not result.ok


def test_an_action_that_no_thread_can_do_has_failed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    shop.shop.start(FIND)
    result = shop.result()
    assert (result.action, result.ok) == (FIND, False)
    assert "no thread for the action: can't start new thread; see the limits of the daemon" in result.text
