"""The kernel's side of a watchdog device (drivers/watchdog/watchdog_dev.c), for tests: it bites by the clock."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field
from pathlib import Path

from pgvip.system.watchdog import CAN_MAGICCLOSE, CAN_SETTIMEOUT, GETSUPPORT, GETTIMEOUT, SETOPTIONS, SETTIMEOUT


@dataclass
class FakeWatchdog:
    """One device. `step_s`: times are rounded up to a multiple of it. `bitten()` once it was not fed in time.

    `silent`: its kernel does not say in sysfs whether it can be disarmed (no CONFIG_WATCHDOG_SYSFS).
    """

    there: bool = True
    busy: bool = False
    nowayout: bool = False
    silent: bool = False
    options: int = CAN_SETTIMEOUT | CAN_MAGICCLOSE
    step_s: int = 1
    timeout_s: int = 60
    broken: set[str] = field(default_factory=set)
    now_s: float = 0.0
    armed: bool = False
    fed_s: float = 0.0
    feeds: int = 0
    opened: bool = False
    calls: list[str] = field(default_factory=list)
    _letter: bool = False

    def bitten(self) -> bool:
        return self.armed and self.now_s - self.fed_s > self.timeout_s

    def dies(self) -> None:
        """The process that has it ends: closed without the letter."""
        if self.opened:
            self._letter = False
            self.close(7)

    # --- what a driver does -----------------------------------------------------------------------------

    def open(self, path: Path) -> int:
        self._call("open")
        if not self.there:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        if self.busy or self.opened:
            raise OSError(errno.EBUSY, "Device or resource busy", str(path))
        self.opened = self.armed = True
        self._letter = False
        self.fed_s = self.now_s
        return 7

    def ioctl(self, descriptor: int, request: int, data: bytearray) -> None:
        assert descriptor == 7
        self._call({GETSUPPORT: "support", SETTIMEOUT: "set", GETTIMEOUT: "get", SETOPTIONS: "stop"}[request])
        if request == GETSUPPORT:
            data[:] = struct.pack("=II32s", self.options, 0, b"Fake Watchdog")
            return
        if request == SETOPTIONS:
            if self.nowayout:
                raise OSError(errno.EBUSY, "Device or resource busy")
            self.armed = False
            return
        if request == SETTIMEOUT:
            (wanted_s,) = struct.unpack("=i", data)
            self.timeout_s = -(-wanted_s // self.step_s) * self.step_s
            self.fed_s = self.now_s
        data[:] = struct.pack("=i", self.timeout_s)

    def write(self, descriptor: int, data: bytes) -> None:
        assert descriptor == 7
        self._call("write")
        self._letter = b"V" in data
        self.fed_s = self.now_s
        self.feeds += 1

    def close(self, descriptor: int) -> None:
        assert descriptor == 7
        self._call("close")
        self.opened = False
        if (self._letter or not self.options & CAN_MAGICCLOSE) and not self.nowayout:
            self.armed = False
        self.fed_s = self.now_s  # "watchdog did not stop!": it is fed once more

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise OSError(errno.EIO, "Input/output error")
