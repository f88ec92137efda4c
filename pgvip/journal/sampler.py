"""Writes the monitoring history: a thread of its own, which reads the newest snapshot every few seconds.

The loop never waits for it. Where the disk takes nothing, the history has a gap and nothing else happens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pgvip.journal.samples import Sample, SampleStore, sample_of

if TYPE_CHECKING:
    from pgvip.config.model import Config

OFF_S = 10.0
"""How often it is looked whether a history that was switched off is wanted again."""
GAP = 3
"""After so many intervals without a sample, the next covers one interval and has no rate."""


class Sampler:
    """Samples until the process ends.

    `status`: the status document; `age_s`: how old what it says is. `config` is asked again each time: a reload changes
    the pace.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        status: Callable[[], dict[str, Any]],
        age_s: Callable[[], float],
        log: Callable[[str, str], None],
    ) -> None:
        self._config, self._status, self._age_s, self._log = config, status, age_s, log
        self._before: Sample | None = None
        self._store: tuple[int, SampleStore] | None = None
        self._failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; at most the sample under way is waited for."""
        self._closing.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        while not self._closing.wait(self._pause_s()):
            if self._config().monitor.keep_days:
                self.record(time.time())

    def _pause_s(self) -> float:
        """On whole intervals of the wall clock, so that the samples of the two hosts can be compared."""
        monitor = self._config().monitor
        return monitor.interval_s - time.time() % monitor.interval_s if monitor.keep_days else OFF_S

    def record(self, at: float) -> None:
        """Keep one sample of this moment (`at`: unix time); the first of several failures is reported."""
        span_s, before = self._config().monitor.interval_s, self._before
        if self._age_s() > span_s:  # the daemon has just started, or its loop hangs
            return
        if before is not None and not 0 < at - before.at <= GAP * span_s:
            before = None
        sample = sample_of(self._status(), at, at - before.at if before else span_s, before)
        self._before = sample
        try:
            self._files().append(sample)
        except OSError as failure:
            if not self._failing:
                self._log("history-failed", f"could not keep a sample of the replication history: {failure}")
            self._failing = True
        else:
            self._failing = False

    def _files(self) -> SampleStore:
        config = self._config()
        days = config.monitor.keep_days
        if self._store is None or self._store[0] != days:
            self._store = days, SampleStore(config.paths.samples, days)
        return self._store[1]
