"""Runs the probes: each in a thread of its own, at its own pace; the loop never waits for one.

What a probe sees goes into the inbox as `Probed`. A second thread waits on file descriptors for facts that
arrive by themselves (the postmaster's pidfd, netlink) and wakes the probe that observes them.
"""

from __future__ import annotations

import math
import os
import selectors
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue

from pgvip.daemon.internal_errors import InternalErrors
from pgvip.deadlines import now_s
from pgvip.errors import PgvipError
from pgvip.system import netlink, processes
from pgvip.system.processes import ProcessRef
from pgvip.system.reserve import RESERVE, lack_of


@dataclass(frozen=True, slots=True)
class Probed:
    """One probe's outcome: `reason` is empty on success. `lack`: what this host lacked to run it, "" for nothing.

    `tried_s`: when a look that failed began.
    """

    name: str
    value: object
    reason: str
    at_s: float
    lack: str = ""
    tried_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Probe:
    """What to call, and how long after one look the next begins (seconds, asked again each time).

    `again_s`: the same after a look that failed; None: as after any other.
    """

    name: str
    look: Callable[[], object]
    period_s: Callable[[], float]
    again_s: float | None = None


Inbox = SimpleQueue[object]


class ProbeThread:
    """One probe in its thread. A look that hangs makes its observation old, and nothing else.

    `faults`: where one that fails in no foreseen way is reported; it is a failed look like any other.
    """

    def __init__(self, probe: Probe, inbox: Inbox, faults: InternalErrors | None = None) -> None:
        self.probe = probe
        self._inbox = inbox
        self._faults = faults or InternalErrors()
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"probe-{probe.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Run at once (or once more, if a run is under way)."""
        self._wake.set()

    def close(self) -> None:
        self._closing = True
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            looked = self._look()
            self._inbox.put(looked)
            again_s = self.probe.again_s if looked.reason else None
            self._wake.wait(self.probe.period_s() if again_s is None else again_s)

    def _look(self) -> Probed:
        began_s, what = now_s(), f"probe {self.probe.name}"
        try:
            with RESERVE.lent():
                value, reason = self.probe.look(), ""
        except (PgvipError, OSError) as failure:
            value, reason = None, failure.message if isinstance(failure, PgvipError) else str(failure)
            reason = reason or type(failure).__name__
            if lack := lack_of(failure):
                return Probed(self.probe.name, None, reason, now_s(), lack)
        except Exception as fault:  # noqa: BLE001 - one of the two runners: what nobody foresaw ends no daemon
            return Probed(self.probe.name, None, self._faults.failed(what, fault), now_s(), lack_of(fault))
        self._faults.ended(what)
        # The value is as old as the moment at which the look began: never newer than what it saw.
        return Probed(self.probe.name, value, reason, now_s() if reason else began_s, tried_s=began_s)


class ProbeThreads:
    """All probes, each in its thread; `wake` reaches them by name."""

    def __init__(self, inbox: Inbox, faults: InternalErrors | None = None) -> None:
        self._inbox, self._faults = inbox, faults
        self._threads: dict[str, ProbeThread] = {}

    def start(self, probes: Iterable[Probe]) -> None:
        """Begin to look."""
        self._threads = {probe.name: ProbeThread(probe, self._inbox, self._faults) for probe in probes}
        for thread in self._threads.values():
            thread.start()

    def wake(self, name: str) -> None:
        """Let a probe run at once; one that is not configured does not."""
        if name in self._threads:
            self._threads[name].wake()


class Arrivals:
    """Waits for the postmaster's end and for address changes, and wakes the probe that sees them."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake_probe = wake
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watched: ProcessRef | None = None
        self._wanted: ProcessRef | None = None
        self._pidfd = -1
        self._addresses = netlink.AddressWatch()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)

    def start(self) -> None:
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._selector.register(self._addresses, selectors.EVENT_READ)
        self._thread.start()

    def watch_postmaster(self, postmaster: ProcessRef | None) -> None:
        """Wait for the end of this very process; None for none. From any thread."""
        if postmaster != self._wanted:
            self._wanted = postmaster
            os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._wake:
                    os.eventfd_read(self._wake)
                    self._rewatch()
                    break  # the rest of this batch may name a descriptor that was closed and opened anew
                if key.fd == self._pidfd:
                    self._unwatch()
                    self._wake_probe("processes")
                elif self._addresses.read():
                    self._wake_probe("held")

    def _rewatch(self) -> None:
        wanted = self._wanted
        if wanted == self._watched:
            return
        self._unwatch()
        if wanted is None:
            return
        with RESERVE.lent():
            descriptor = processes.open_pidfd(wanted)
        if descriptor is None:
            self._wake_probe("processes")
            return
        self._pidfd, self._watched = descriptor, wanted
        self._selector.register(descriptor, selectors.EVENT_READ)

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self._selector.unregister(self._pidfd)
            os.close(self._pidfd)
        self._pidfd, self._watched = -1, None
