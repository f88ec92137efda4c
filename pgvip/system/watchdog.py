"""A watchdog device: resets this machine unless it is fed (Linux: Documentation/watchdog/watchdog-api.rst).

Opening it arms it. Closing it disarms it only after the letter V was written ("magic close"), and never with
`nowayout`. A process that dies closes it without the letter: it goes on, and whoever opens it again feeds it by that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pgvip.errors import ProbeError

GETSUPPORT = 0x80285700
SETTIMEOUT, GETTIMEOUT, SETOPTIONS = 0xC0045706, 0x80045707, 0x80045704
"""linux/watchdog.h, as asm-generic/ioctl.h encodes them (x86, arm64, s390x, riscv)."""
CAN_SETTIMEOUT, CAN_MAGICCLOSE, WAS_RESET = 0x0080, 0x0100, 0x0020
DISABLECARD = 1
_INFO = struct.Struct("=II32s")
_LEGACY = (10, 130)
"""Major and minor number of /dev/watchdog, the old name of the first device."""
SYSFS = Path("/sys")


class Port(Protocol):
    """The four system calls; tests stand a simulated kernel here."""

    def open(self, path: Path) -> int: ...

    def ioctl(self, descriptor: int, request: int, data: bytearray) -> None: ...

    def write(self, descriptor: int, data: bytes) -> None: ...

    def close(self, descriptor: int) -> None: ...


class Kernel:
    """The real ones. Each may block for seconds (a BMC behind its driver): never called on the loop's thread."""

    def open(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def ioctl(self, descriptor: int, request: int, data: bytearray) -> None:
        fcntl.ioctl(descriptor, request, data, True)

    def write(self, descriptor: int, data: bytes) -> None:
        os.write(descriptor, data)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a device without opening it. `nowayout`: it cannot be disarmed; None: the kernel does not say.

    `was_reset`: this boot came after a reset by it, as far as its driver says.
    """

    there: bool
    nowayout: bool | None = None
    was_reset: bool = False


class Watchdog:
    """An open device: armed. Every failure is a ProbeError."""

    def __init__(self, path: Path, port: Port) -> None:
        self.path, self._port = path, port
        try:
            self._descriptor = port.open(path)
        except OSError as failure:
            raise _unusable(path, failure) from failure
        try:
            options, _firmware, name = _INFO.unpack(self._ask(GETSUPPORT, bytearray(_INFO.size)))
        except ProbeError as failure:
            # What is no watchdog was not armed, and nothing is to be written into it.
            other = isinstance(failure.__cause__, OSError) and failure.__cause__.errno == errno.ENOTTY
            (self.abandon if other else self.disarm)()
            raise
        self._options: int = options
        self.name = name.split(b"\0")[0].decode(errors="replace")

    @property
    def magic_close(self) -> bool:
        """It goes on when the process that has it dies."""
        return bool(self._options & CAN_MAGICCLOSE)

    def set_timeout(self, seconds: int) -> int:
        """Ask for a time and return what it is now: a driver may round, or know one time only."""
        if self._options & CAN_SETTIMEOUT:
            self._ask(SETTIMEOUT, bytearray(struct.pack("=i", seconds)))
        (now,) = struct.unpack("=i", self._ask(GETTIMEOUT, bytearray(4)))
        return int(now)

    def feed(self) -> None:
        """It has its whole time again."""
        try:
            self._port.write(self._descriptor, b"\0")  # anything but the letter, which would allow the close
        except OSError as failure:
            raise ProbeError(f"{self.path} could not be fed", str(failure)) from failure

    def may_stop(self) -> bool:
        """Let it stand still; False where it never does again (nowayout). True of a driver that knows no such order."""
        try:
            self._port.ioctl(self._descriptor, SETOPTIONS, bytearray(struct.pack("=i", DISABLECARD)))
        except OSError as failure:
            return failure.errno != errno.EBUSY  # watchdog_stop() in drivers/watchdog/watchdog_dev.c
        return True

    def disarm(self) -> None:
        """Write the letter and close. It is closed in any case."""
        try:
            self._port.write(self._descriptor, b"V")
        except OSError as failure:
            raise ProbeError(f"{self.path} could not be disarmed", str(failure)) from failure
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without the letter: it goes on."""
        try:
            self._port.close(self._descriptor)
        except OSError as failure:
            raise ProbeError(f"{self.path} could not be closed", str(failure)) from failure

    def _ask(self, request: int, data: bytearray) -> bytearray:
        try:
            self._port.ioctl(self._descriptor, request, data)
        except OSError as failure:
            raise ProbeError(f"{self.path} is no watchdog, or does not answer as one", str(failure)) from failure
        return data


def look(path: Path, sysfs: Path = SYSFS) -> Facts:
    """What sysfs says of the device (CONFIG_WATCHDOG_SYSFS), without arming it."""
    try:
        status = path.stat()
    except OSError:
        return Facts(there=False)
    if not stat.S_ISCHR(status.st_mode):
        return Facts(there=True, nowayout=False)  # no watchdog at all, as an open finds out
    numbers = os.major(status.st_rdev), os.minor(status.st_rdev)
    place = sysfs / "class/watchdog/watchdog0"
    if numbers != _LEGACY:
        place = sysfs / "dev/char/{}:{}".format(*numbers)
    nowayout, reset = _number(place / "nowayout"), _number(place / "bootstatus")
    return Facts(True, None if nowayout is None else bool(nowayout), bool((reset or 0) & WAS_RESET))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii").strip(), 0)
    except (OSError, ValueError):
        return None


def _unusable(path: Path, failure: OSError) -> ProbeError:
    if isinstance(failure, FileNotFoundError):
        return ProbeError(f"there is no {path}", hint="Load its driver (softdog, where there is no hardware).")
    if failure.errno == errno.EBUSY:
        hint = "Is it systemd's (RuntimeWatchdogSec= in system.conf)? Name another device."
        return ProbeError(f"{path} is in use by another program", hint=hint)
    return ProbeError(f"{path} cannot be opened", str(failure))
