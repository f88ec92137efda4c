"""Probe threads and arrivals with real threads, real processes and a network namespace."""

from __future__ import annotations

import errno
import subprocess
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

import pytest

from pgvip.daemon.probe_threads import Arrivals, Probe, Probed, ProbeThread
from pgvip.deadlines import now_s, wait_until
from pgvip.errors import ProbeError
from pgvip.system import processes
from pgvip.system.processes import ProcessRef
from tests.unit.namespaces import inside, ip, namespace

WAIT_S = 5.0


class Probes:
    """Makes probe threads and ends them."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self.made: list[ProbeThread] = []

    def start(self, name: str, look: Callable[[], object], period_s: float = 60.0) -> ProbeThread:
        thread = ProbeThread(Probe(name, look, lambda: period_s), self.inbox)
        self.made.append(thread)
        thread.start()
        return thread

    def looked(self, within_s: float = WAIT_S) -> Probed:
        looked = self.inbox.get(timeout=within_s)
        assert isinstance(looked, Probed)
        return looked


@pytest.fixture
def probes() -> Iterator[Probes]:
    made = Probes()
    yield made
    for thread in made.made:
        thread.close()


# --- probes ---------------------------------------------------------------------------------------------------


def test_a_look_is_as_old_as_the_moment_at_which_it_began(probes: Probes) -> None:
    gate = threading.Event()
    began_s = now_s()
    probes.start("slow", lambda: gate.wait(WAIT_S))
    with pytest.raises(Empty):
        probes.inbox.get(timeout=0.1)
    later_s = now_s()
    gate.set()
    looked = probes.looked()
    assert (looked.name, looked.value, looked.reason) == ("slow", True, "")
    assert began_s <= looked.at_s < later_s


def test_of_a_look_that_failed_it_is_known_when_it_began(probes: Probes) -> None:
    gate = threading.Event()

    def times_out() -> None:
        gate.wait(WAIT_S)
        raise ProbeError("no answer")

    began_s = now_s()
    probes.start("slow", times_out)
    with pytest.raises(Empty):
        probes.inbox.get(timeout=0.1)
    later_s = now_s()
    gate.set()
    looked = probes.looked()
    assert looked.reason == "no answer"
    assert began_s <= looked.tried_s < later_s <= looked.at_s


def test_a_probe_that_hangs_delays_no_other(probes: Probes) -> None:
    gate = threading.Event()
    probes.start("hanging", lambda: gate.wait(WAIT_S))
    probes.start("quick", lambda: 1, period_s=0.01)
    assert [probes.looked().name for _ in range(5)] == ["quick"] * 5
    gate.set()


def test_a_kick_makes_it_look_at_once(probes: Probes) -> None:
    thread = probes.start("slow-paced", lambda: 1)
    probes.looked()
    began_s = now_s()
    thread.wake()
    probes.looked()
    assert now_s() - began_s < 3.0
    with pytest.raises(Empty):
        probes.inbox.get(timeout=0.05)


def test_a_kick_during_a_look_makes_it_look_once_more(probes: Probes) -> None:
    gate, begun = threading.Event(), threading.Event()

    def look() -> int:
        begun.set()
        assert gate.wait(WAIT_S)
        return 1

    thread = probes.start("slow", look)
    assert begun.wait(WAIT_S)
    thread.wake()
    thread.wake()
    gate.set()
    assert probes.looked().value == 1
    assert probes.looked().value == 1
    with pytest.raises(Empty):
        probes.inbox.get(timeout=0.05)


def test_the_pace_is_asked_anew_each_time(probes: Probes) -> None:
    periods = iter([0.01, 0.01, 60.0])
    thread = ProbeThread(Probe("paced", lambda: 1, lambda: next(periods)), probes.inbox)
    probes.made.append(thread)
    thread.start()
    for _ in range(3):
        probes.looked()
    with pytest.raises(Empty):
        probes.inbox.get(timeout=0.1)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ProbeError("no answer"), "no answer"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (ProbeError(""), "ProbeError"),
        (OSError(), "OSError"),
    ],
    ids=repr,
)
def test_a_failure_is_an_observation_with_its_reason(probes: Probes, failure: Exception, reason: str) -> None:
    def look() -> None:
        raise failure

    probes.start("failing", look, period_s=0.01)
    for _ in range(2):
        looked = probes.looked()
        assert looked.value is None
        assert reason in looked.reason


def test_a_lack_of_this_host_is_said_apart_from_the_reason(probes: Probes) -> None:
    def look() -> None:
        raise ProbeError("no database answers") from OSError(errno.EMFILE, "Too many open files")

    probes.start("poor", look)
    assert probes.looked().lack == "Too many open files"


def test_a_closed_probe_looks_no_more(probes: Probes) -> None:
    thread = probes.start("closed", lambda: 1, period_s=0.01)
    probes.looked()
    thread.close()
    thread._thread.join(WAIT_S)
    assert not thread._thread.is_alive()


# --- what arrives by itself ----------------------------------------------------------------------------------


class Events:
    """Arrivals that count what they tell."""

    def __init__(self) -> None:
        self.ends = threading.Semaphore(0)
        self.addresses = threading.Semaphore(0)
        self.arrivals = Arrivals(lambda name: {"processes": self.ends, "held": self.addresses}[name].release())
        self.arrivals.start()


def identity(child: subprocess.Popen[bytes]) -> ProcessRef:
    found = processes.ref_of(child.pid)
    assert found is not None
    return found


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_the_end_of_the_postmaster_is_told_at_once(child: subprocess.Popen[bytes]) -> None:
    events = Events()
    events.arrivals.watch_postmaster(identity(child))
    assert not events.ends.acquire(timeout=0.1)
    began_s = now_s()
    child.kill()
    assert events.ends.acquire(timeout=WAIT_S)
    assert now_s() - began_s < 2.0
    assert not events.ends.acquire(timeout=0.05)


def test_a_postmaster_that_ended_before_it_was_watched_is_told(child: subprocess.Popen[bytes]) -> None:
    events = Events()
    name = identity(child)
    child.kill()
    child.wait()
    events.arrivals.watch_postmaster(name)
    assert events.ends.acquire(timeout=WAIT_S)


def test_another_process_under_the_same_pid_is_not_the_postmaster(child: subprocess.Popen[bytes]) -> None:
    events = Events()
    events.arrivals.watch_postmaster(ProcessRef(child.pid, "1"))
    assert events.ends.acquire(timeout=WAIT_S)


def test_only_the_postmaster_watched_last_is_told(child: subprocess.Popen[bytes]) -> None:
    events = Events()
    second = subprocess.Popen(["sleep", "60"])
    try:
        events.arrivals.watch_postmaster(identity(child))
        wait_until(lambda: events.arrivals._watched == identity(child), WAIT_S)
        events.arrivals.watch_postmaster(identity(second))
        wait_until(lambda: events.arrivals._watched == identity(second), WAIT_S)
        child.kill()
        child.wait()
        assert not events.ends.acquire(timeout=0.1)
    finally:
        second.kill()
        second.wait()
    assert events.ends.acquire(timeout=WAIT_S)


def test_no_postmaster_is_watched_when_there_is_none(child: subprocess.Popen[bytes]) -> None:
    events = Events()
    events.arrivals.watch_postmaster(identity(child))
    wait_until(lambda: events.arrivals._watched, WAIT_S)
    events.arrivals.watch_postmaster(None)
    wait_until(lambda: not events.arrivals._watched, WAIT_S)
    child.kill()
    assert not events.ends.acquire(timeout=0.1)


def test_a_change_of_addresses_is_told_at_once() -> None:
    with namespace() as host, inside(host):
        events = Events()
        assert not events.addresses.acquire(timeout=0.05)
        began_s = now_s()
        ip("address", "add", "192.0.2.10/32", "dev", "lo", namespace=host)
        assert events.addresses.acquire(timeout=WAIT_S)
        assert now_s() - began_s < 2.0
