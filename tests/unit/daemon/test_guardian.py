"""The watchdog: armed while the host has the right to serve, fed only by rounds, disarmed only in order."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pgvip.config import load
from pgvip.config.model import Config, WatchdogConfig
from pgvip.core.actions import Guard
from pgvip.daemon import guardian
from pgvip.daemon.guardian import Guardian
from pgvip.deadlines import wait_until
from pgvip.errors import ProbeError
from pgvip.system import watchdog
from pgvip.system.watchdog import Facts, Watchdog
from tests.unit.config_text import edited
from tests.unit.fake_watchdog import FakeWatchdog

FEED, GIVE, LOST, FREE = Guard.FEED, Guard.GIVE, Guard.LOST, Guard.FREE


@dataclass
class Dog:
    """A guardian beside a simulated device; `clock` is the time of both."""

    config: Config
    marker: Path
    device: FakeWatchdog = field(default_factory=FakeWatchdog)
    logged: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.guardian = self.another()

    def another(self, **changes: object) -> Guardian:
        """The next process's."""
        wanted = replace(self.config.watchdog, **changes)  # type: ignore[arg-type]  # fields by their names
        config = replace(self.config, watchdog=wanted)
        self.guardian = Guardian(config, self._log, self.marker, self.device)
        return self.guardian

    def _log(self, event: str, text: str) -> None:
        self.logged.append((event, text))

    def round(self, guard: Guard, after_s: float = 0.0) -> None:
        """One round of the loop, followed by the guardian."""
        self.device.now_s += after_s
        assert not self.device.bitten(), "the host was reset"
        done = self.guardian._rounds
        self.guardian.alive(guard)
        wait_until(lambda: self.guardian._done > done, 5.0, every_s=0.001, what="the guardian follows")
        with self.guardian._lock:
            pass  # what the round asked for has been done

    def rounds(self, guard: Guard, for_s: float) -> None:
        for _ in range(int(for_s / 0.5)):
            self.round(guard, 0.5)

    def idle(self, for_s: float) -> None:
        """The loop stands still."""
        self.device.now_s += for_s

    def said(self) -> str:
        return "\n".join(text for _, text in self.logged)


@pytest.fixture
def dog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dog]:
    plain = load.parse(edited(), "db1")
    config = replace(plain, watchdog=WatchdogConfig("required", tmp_path / "watchdog0", 15))
    made = Dog(config, tmp_path / "watchdog-armed")
    monkeypatch.setattr(guardian, "now_s", lambda: made.device.now_s)
    monkeypatch.setattr(
        watchdog,
        "look",
        lambda _path: Facts(made.device.there, None if made.device.silent else made.device.nowayout),
    )
    made.guardian.start()
    yield made
    made.guardian.close()


def test_it_is_armed_with_its_time_while_the_right_stands(dog: Dog) -> None:
    dog.round(FREE)
    assert not dog.device.armed
    dog.round(FEED)
    assert (dog.device.armed, dog.device.timeout_s) == (True, 15)
    assert dog.marker.exists()
    dog.rounds(FEED, 120.0)
    assert dog.device.armed


def test_systemd_is_told_of_each_round(dog: Dog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        dog.guardian.alive(FREE)
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_a_loop_that_stands_still_does_not_feed_it(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.idle(14.0)
    assert not dog.device.bitten()
    dog.idle(2.0)
    assert dog.device.bitten()


def test_it_is_fed_no_oftener_than_it_needs(dog: Dog) -> None:
    dog.round(FEED)
    for _ in range(100):
        dog.round(FEED, 0.05)
    assert dog.device.feeds <= 6


def test_it_is_disarmed_once_the_right_is_given_up_in_deed(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.rounds(GIVE, 60.0)  # a clean stop may take long, and nobody gains before its end
    assert dog.marker.exists()
    dog.round(FREE)
    assert not dog.device.armed
    assert not dog.device.opened
    assert not dog.marker.exists()
    dog.idle(100.0)
    dog.round(FREE)
    assert "disarmed: the write right is given up" in dog.said()


def test_a_right_that_is_lost_and_not_given_up_resets_the_host(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    for _ in range(20):
        dog.round(LOST, 0.5)
    assert "not fed" in dog.said()
    dog.idle(6.0)
    assert dog.device.bitten()


def test_a_right_given_up_in_time_resets_nothing(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.rounds(LOST, 5.0)
    dog.round(FREE)
    assert not dog.device.armed


def test_what_is_being_given_up_is_not_armed_anew(dog: Dog) -> None:
    dog.rounds(GIVE, 2.0)
    dog.rounds(LOST, 2.0)
    assert "open" not in dog.device.calls


# --- the daemon comes and goes -----------------------------------------------------------------------------


def test_a_daemon_that_leaves_in_order_disarms_it_and_the_next_one_arms_it(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.guardian.close()
    assert not dog.device.armed
    dog.idle(500.0)
    dog.another().start()
    dog.round(FEED)
    assert dog.device.armed


def test_one_that_leaves_without_having_given_up_what_it_lost_does_not(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.round(LOST)
    dog.guardian.close()
    assert dog.device.armed
    assert dog.marker.exists()


def test_a_daemon_that_dies_must_be_back_in_time(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.device.dies()
    dog.idle(10.0)
    dog.another().start()
    dog.rounds(FEED, 60.0)
    assert dog.device.armed
    dog.device.dies()
    dog.idle(16.0)
    assert dog.device.bitten()


def test_what_a_dead_daemon_left_armed_is_disarmed_when_there_is_nothing_to_guard(dog: Dog) -> None:
    dog.rounds(FEED, 5.0)
    dog.device.dies()
    dog.another().start()
    dog.rounds(LOST, 5.0)
    assert not dog.device.opened, "to open it would feed it"
    dog.round(FREE)
    assert not dog.device.armed


@pytest.mark.parametrize("mode", ["off", "if-present"])
def test_also_when_the_configuration_has_changed_meanwhile(dog: Dog, mode: str) -> None:
    dog.rounds(FEED, 5.0)
    dog.device.dies()
    dog.another(mode=mode).start()
    if mode == "off":
        assert not dog.device.armed
    else:
        dog.rounds(FEED, 60.0)
        assert dog.device.armed


def test_one_that_was_left_armed_and_cannot_be_opened_ends_no_daemon(dog: Dog) -> None:
    """The section was removed meanwhile, and the usual device is somebody else's: the daemon never came up."""
    dog.rounds(FEED, 5.0)
    dog.device.dies()

    dog.device.busy = True
    dog.another(mode="off").start()
    assert "failed: " in dog.said()
    assert dog.marker.exists(), "the next daemon tries it again"


# --- what a device may be --------------------------------------------------------------------------------------


def test_a_look_tests_it_once_and_leaves_it_disarmed(dog: Dog) -> None:
    assert dog.guardian.look()
    assert dog.device.calls[0] == "open"
    assert (dog.device.armed, dog.device.opened, dog.marker.exists()) == (False, False, False)
    calls = len(dog.device.calls)
    assert dog.guardian.look()
    assert len(dog.device.calls) == calls
    dog.round(FEED)
    assert dog.guardian.look()
    assert dog.device.armed


@pytest.mark.parametrize(
    ("break_", "words"),
    [
        (lambda device: setattr(device, "there", False), "there is no"),
        (lambda device: setattr(device, "busy", True), "in use by another program"),
        (lambda device: device.broken.add("support"), "is no watchdog"),
        (lambda device: device.broken.add("get"), "does not answer as one"),
        (lambda device: setattr(device, "step_s", 64), "makes 64 s of watchdog.timeout_s = 15"),
        (lambda device: device.broken.add("open"), "cannot be opened"),
    ],
)
def test_a_device_that_will_not_do_is_named_and_not_left_armed(
    dog: Dog, break_: Callable[[FakeWatchdog], object], words: str
) -> None:
    break_(dog.device)
    with pytest.raises(ProbeError, match=words):
        dog.guardian.look()
    dog.round(FEED)
    assert not dog.device.armed
    assert not dog.device.opened
    assert words in dog.said()
    tries = dog.device.calls.count("open")
    dog.rounds(FEED, 2.0)
    assert dog.device.calls.count("open") == tries, "not tried again at once"


def test_a_device_that_comes_later_is_used(dog: Dog) -> None:
    dog.device.there = False
    dog.round(FEED)
    dog.device.there = True
    dog.rounds(FEED, 10.0)
    assert dog.device.armed


def test_a_time_that_the_driver_rounds_within_the_limits_will_do(dog: Dog) -> None:
    dog.device.step_s = 10
    dog.round(FEED)
    assert dog.device.timeout_s == 20
    assert "20 s" in dog.said()


def test_a_device_with_one_time_only_is_taken_by_that(dog: Dog) -> None:
    dog.device.options &= ~watchdog.CAN_SETTIMEOUT
    dog.device.timeout_s = 20
    dog.round(FEED)
    assert dog.device.armed
    assert dog.device.timeout_s == 20


def test_where_one_need_not_be_nothing_is_missed(dog: Dog) -> None:
    dog.device.there = False
    dog.another(mode="if-present").start()
    assert dog.guardian.look() is False
    dog.rounds(FEED, 10.0)
    assert dog.logged == []


def test_one_that_cannot_be_disarmed_is_left_alone_unless_it_is_required(dog: Dog) -> None:
    dog.device.nowayout = True
    dog.another(mode="if-present").start()
    with pytest.raises(ProbeError, match="nowayout"):
        dog.guardian.look()
    dog.rounds(FEED, 10.0)
    assert "open" not in dog.device.calls


def test_one_that_cannot_be_disarmed_is_fed_for_good_where_it_is_required(dog: Dog) -> None:
    dog.device.nowayout = True
    assert dog.guardian.look()
    assert "open" not in dog.device.calls, "a test would arm it for good"
    dog.rounds(FEED, 10.0)
    dog.rounds(FREE, 60.0)
    assert dog.device.armed
    assert "cannot be disarmed" in dog.said()
    dog.rounds(FEED, 20.0)


def test_one_that_may_be_lasting_is_not_opened_to_find_out(dog: Dog) -> None:
    """A kernel without CONFIG_WATCHDOG_SYSFS says nothing: a test would reset the host, boot after boot."""
    dog.device.silent = dog.device.nowayout = True
    dog.another(mode="if-present").start()
    with pytest.raises(ProbeError, match="is not said by its kernel"):
        dog.guardian.look()
    dog.rounds(FEED, 10.0)
    assert "open" not in dog.device.calls
    assert dog.another(mode="required").look()
    assert "open" not in dog.device.calls


def test_one_that_turns_out_to_be_lasting_is_fed_for_good(dog: Dog) -> None:
    dog.device.silent = dog.device.nowayout = True
    dog.rounds(FEED, 5.0)
    dog.rounds(FREE, 60.0)
    assert dog.device.armed
    assert dog.device.calls.count("stop") == 1, "the kernel writes a line for each"
    dog.rounds(FEED, 20.0)


def test_one_of_which_the_kernel_says_nothing_is_disarmed_where_it_can_be(dog: Dog) -> None:
    dog.device.silent = True
    dog.rounds(FEED, 5.0)
    dog.round(FREE)
    assert (dog.device.armed, dog.device.opened, dog.marker.exists()) == (False, False, False)
    dog.rounds(FEED, 5.0)
    dog.device.broken.add("stop")  # an old driver knows no such order
    dog.round(FREE)
    assert (dog.device.armed, dog.device.opened) == (False, False)


@pytest.mark.parametrize("silent", [False, True])
def test_a_lasting_one_whose_time_does_not_fit_is_said_and_fed(dog: Dog, *, silent: bool) -> None:
    """Closed without being disarmed, it would reset the host each time that it is about to serve."""
    dog.device.silent, dog.device.nowayout, dog.device.step_s = silent, True, 64
    dog.round(FEED)
    assert "makes 64 s" in dog.said()
    dog.rounds(FEED, 100.0)
    dog.rounds(FREE, 100.0)
    assert dog.device.armed
    assert dog.device.calls.count("open") == 1
    with pytest.raises(ProbeError, match="makes 64 s"):
        dog.guardian.look()


def test_a_feed_that_fails_is_said_once_and_tried_again(dog: Dog) -> None:
    dog.rounds(FEED, 3.0)
    dog.device.broken.add("write")
    for _ in range(6):
        dog.round(FEED, 1.6)
    assert dog.said().count("could not be fed") == 1
    dog.device.broken.clear()
    dog.rounds(FEED, 30.0)


def test_a_driver_that_blocks_holds_up_no_round(dog: Dog, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, inside = threading.Event(), threading.Event()

    def stuck(_descriptor: int, _data: bytes) -> None:
        inside.set()
        assert gate.wait(10)

    dog.round(FEED)
    monkeypatch.setattr(dog.device, "write", stuck)
    dog.device.now_s += 5
    for _ in range(1000):
        dog.guardian.alive(FEED)  # returns at once
    assert inside.wait(5)
    dog.guardian.alive(FEED)
    gate.set()


# --- the device itself -------------------------------------------------------------------------------------------


def test_the_requests_are_those_of_the_kernel() -> None:
    """linux/watchdog.h: _IOR('W', 0, struct watchdog_info), _IOR('W', 4 and 7, int), _IOWR('W', 6, int)."""

    def code(direction: int, number: int, size: int) -> int:
        return direction << 30 | size << 16 | ord("W") << 8 | number

    assert code(2, 0, 40) == watchdog.GETSUPPORT
    assert code(3, 6, 4) == watchdog.SETTIMEOUT
    assert code(2, 7, 4) == watchdog.GETTIMEOUT
    assert code(2, 4, 4) == watchdog.SETOPTIONS


def test_a_file_that_is_no_watchdog_is_refused_by_the_real_kernel(tmp_path: Path) -> None:
    plain = tmp_path / "watchdog"
    plain.write_bytes(b"precious")
    with pytest.raises(ProbeError, match="is no watchdog"):
        Watchdog(plain, watchdog.Kernel())
    assert plain.read_bytes() == b"precious", "nothing is written into it"
    with pytest.raises(ProbeError, match="there is no"):
        Watchdog(tmp_path / "none", watchdog.Kernel())


def test_a_feed_never_writes_the_letter(tmp_path: Path) -> None:
    written: list[bytes] = []

    class Recorder(FakeWatchdog):
        def write(self, descriptor: int, data: bytes) -> None:
            written.append(data)
            super().write(descriptor, data)

    opened = Watchdog(tmp_path, Recorder())
    opened.feed()
    opened.disarm()
    assert b"V" not in written[0]
    assert written[1] == b"V"


def test_what_sysfs_says(tmp_path: Path) -> None:
    assert watchdog.look(tmp_path / "none", tmp_path) == Facts(there=False)
    (tmp_path / "plain").touch()
    assert watchdog.look(tmp_path / "plain", tmp_path) == Facts(there=True, nowayout=False)
    assert watchdog.look(Path("/dev/null"), tmp_path) == Facts(there=True, nowayout=None)
    place = tmp_path / "dev/char/1:3"
    place.mkdir(parents=True)
    (place / "nowayout").write_text("1\n")
    (place / "bootstatus").write_text("0x20\n")
    assert watchdog.look(Path("/dev/null"), tmp_path) == Facts(there=True, nowayout=True, was_reset=True)
    (place / "bootstatus").unlink()
    (place / "nowayout").write_text("0\n")
    assert watchdog.look(Path("/dev/null"), tmp_path) == Facts(there=True, nowayout=False)
