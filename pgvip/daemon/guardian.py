"""Arms, feeds and disarms the watchdog, on a thread of its own, by what each round of the loop says.

Fed only after a round has really gone by. Armed while this host has the write right, disarmed once that is seen to be
given up or the daemon ends in order. A daemon that dies leaves it armed, so the next one has the device's time to come
back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pgvip.config.model import Config
from pgvip.config.rules import watchdog_limits_s
from pgvip.core.actions import Guard
from pgvip.deadlines import now_s
from pgvip.errors import ProbeError
from pgvip.system import service, watchdog
from pgvip.system.reserve import RESERVE
from pgvip.system.watchdog import Kernel, Port, Watchdog

AGAIN_S = 5.0
"""Between two tries to arm a device that could not be armed."""
CLOSE_S = 2.0
"""For a feed under way when the daemon leaves; a driver that takes longer is left to its device's time."""


class Guardian:
    """The keeper of one device. `log(event, text)`; `marker`: a file of this boot that is there while it is armed."""

    def __init__(
        self, config: Config, log: Callable[[str, str], None], marker: Path, port: Port | None = None
    ) -> None:
        self._wanted, self._limits_s = config.watchdog, watchdog_limits_s(config)
        self._log, self._marker, self._port = log, marker, port or Kernel()
        self._device: Watchdog | None = None
        self._lasting = False  # the device that is open cannot be disarmed
        self._misfit: ProbeError | None = None  # and has a time that does not fit
        self._left = marker.exists()  # an earlier process of this boot armed it, and died
        self._guard, self._rounds, self._done = Guard.FREE, 0, 0
        self._fed_s = self._retry_s = float("-inf")
        self._timeout_s = 0
        self._said = ""
        self._tested = False
        self._closing = False
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin. With the watchdog switched off, one that an earlier process left armed is disarmed."""
        if self._wanted.mode != "off":
            if watchdog.look(self._wanted.device).was_reset:
                self._log("watchdog-reset", f"the last reset of this host was made by {self._wanted.device}")
            self._thread.start()
        elif self._left:
            try:
                self._release("the watchdog is switched off by the configuration")
            except ProbeError as failure:  # the device of that time may be another one: it is not known any more
                self._failed(failure)

    def alive(self, guard: Guard) -> None:
        """A round has gone by, which is reported to systemd's watchdog too. Never waits: called by the loop."""
        service.notify("WATCHDOG=1")
        self._guard = guard
        self._rounds += 1
        self._wake.set()

    def look(self) -> bool:
        """It is armed, or could be; False where there is none and none is required. ProbeError says why not."""
        with self._lock:
            if self._misfit is not None:
                raise self._misfit
            if self._device is not None:
                return True
            facts = watchdog.look(self._wanted.device)
            if not facts.there and self._wanted.mode == "if-present":
                return False
            if facts.there and facts.nowayout is not False and self._wanted.mode == "if-present":
                known = "cannot be disarmed" if facts.nowayout else "is not said by its kernel to be one to disarm"
                raise ProbeError(f"{self._wanted.device} {known} (nowayout): left alone unless required")
            if facts.nowayout is False and not (self._tested or self._left):
                self._open()  # a test: without the right nothing stays armed
                self._release("")
                self._tested = True
            elif not facts.there:
                self._tested = False
                raise ProbeError(f"there is no {self._wanted.device}")
            return True

    @property
    def armed(self) -> bool:
        """The device counts now."""
        return self._device is not None

    def close(self) -> None:
        """The daemon leaves in order: nothing moves by that, so the host is not reset either.

        One that has lost its right and has not given it up yet stays armed: the next daemon has the device's time.
        """
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
        if not self._lock.acquire(timeout=CLOSE_S):
            return
        try:
            if self._device is not None and self._guard is not Guard.LOST:
                self._release("the daemon leaves")
        finally:
            self._lock.release()

    # --- the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            if self._closing or self._rounds == self._done:
                continue
            self._done, guard = self._rounds, self._guard
            with self._lock, RESERVE.lent():
                try:
                    self._follow(guard)
                except ProbeError as failure:
                    self._failed(failure)

    def _follow(self, guard: Guard) -> None:
        """What one round asks for."""
        if guard is Guard.FREE:
            if self._device is not None or self._left:
                self._free()
        elif guard is Guard.LOST:
            self._withhold()
        elif self._device is not None:
            self._feed()
        elif guard is Guard.FEED or self._left:
            self._arm()

    def _arm(self) -> None:
        if now_s() < self._retry_s:
            return
        facts = watchdog.look(self._wanted.device)
        if self._wanted.mode == "if-present" and not self._left and (not facts.there or facts.nowayout is not False):
            return
        device = self._open()
        self._marker.touch(mode=0o600)
        self._left, self._fed_s = False, now_s()
        lasting = "; it cannot be disarmed (nowayout)" if facts.nowayout else ""
        weak = "" if device.magic_close else "; it ends with the daemon (no magic close)"
        self._say(f"armed: {device.path} ({device.name}), {self._timeout_s} s{lasting}{weak}")

    def _open(self) -> Watchdog:
        """Open it with its time; ProbeError, and it is disarmed again, when that time does not fit."""
        device = Watchdog(self._wanted.device, self._port)
        self._device, self._lasting = device, False
        wanted_s, (low_s, high_s) = self._wanted.timeout_s, self._limits_s
        try:
            self._timeout_s = device.set_timeout(wanted_s)
        except ProbeError:
            self._release("")
            raise
        if not low_s <= self._timeout_s <= high_s:
            what = f"{device.path} makes {self._timeout_s} s of watchdog.timeout_s = {wanted_s}"
            misfit = ProbeError(f"{what}, which is not between {low_s:g} and {high_s:g}")
            if self._lasts():
                self._misfit = misfit  # and fed all the same: closed now, it would reset the host
            else:
                self._release("")
            raise misfit
        return device

    def _lasts(self) -> bool:
        """The open device cannot be disarmed: by what the kernel says, or else by an order that it stand still."""
        if self._device is not None and not self._lasting:
            known = watchdog.look(self._wanted.device).nowayout
            self._lasting = not self._device.may_stop() if known is None else known
        return self._lasting

    def _feed(self) -> None:
        at_s = now_s()
        if self._device is not None and at_s - self._fed_s >= min(1.0, self._timeout_s / 10):
            self._device.feed()
            self._fed_s = at_s
            self._said = ""

    def _withhold(self) -> None:
        if self._device is not None or self._left:
            left_s = self._timeout_s or self._wanted.timeout_s
            self._say(f"not fed: this host has lost its right and not given it up yet; it is reset within {left_s} s")

    def _free(self) -> None:
        """Seen to be given up. A device that cannot be disarmed is fed for as long as the daemon lives."""
        if self._device is None:
            self._open()
        if self._lasts():
            self._feed()
        else:
            self._release("the write right is given up")

    def _release(self, why: str) -> None:
        """Disarm. `why`: "" after a test."""
        device, self._device = self._device or Watchdog(self._wanted.device, self._port), None
        try:
            device.disarm()
        finally:
            self._left = False
            self._marker.unlink(missing_ok=True)
        if why:
            self._say(f"disarmed: {why}")

    def _failed(self, failure: ProbeError) -> None:
        self._retry_s, self._tested = now_s() + AGAIN_S, False
        self._say(f"failed: {failure.message}{': ' + failure.detail if failure.detail else ''}")

    def _say(self, text: str) -> None:
        """Once, until something else is to be said."""
        if text != self._said:
            self._said = text
            self._log("watchdog", text)
