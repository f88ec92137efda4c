"""The client of a drill: writes numbered rows through the primary VIP, and knows which of them were acknowledged."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from pgvip.core.values import Vip
from pgvip.deadlines import now_s, retry
from pgvip.errors import ProbeError, RefusedError
from pgvip.system import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgvip.config.model import Config
    from pgvip.system.sql import Session

CONNECT_S = 0.25
"""For one attempt: an address that moves answers nobody for a moment, and a new attempt is sooner than TCP's second."""
STATEMENT_S = 2.0
RETRY_S = 0.02
LOOK_S = 10.0
STOP_S = 10.0


class Writer:
    """A client with one session, in a thread of its own. Numbers begin with 1.

    `acknowledged`: the time (`now_s`) and the number of each row whose commit was acknowledged, in order.
    """

    def __init__(self, session: Session, run: str, rate: float) -> None:
        self._session, self._run_name, self._period_s = session, run, 1.0 / rate
        self.acknowledged: list[tuple[float, int]] = []
        self.failures = 0
        self.last_failure = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drill-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the row under way is waited for."""
        self._closing.set()
        self._thread.join(STOP_S)

    def wrote_since(self, at_s: float) -> bool:
        """True when a row that was acknowledged later than `at_s` is known."""
        return bool(self.acknowledged) and self.acknowledged[-1][0] > at_s

    def _run(self) -> None:
        due_s = now_s()
        for number in itertools.count(1):
            pause_s = self._period_s if self._write(number) else RETRY_S
            due_s = max(due_s + pause_s, now_s())
            if self._closing.wait(max(0.0, due_s - now_s())):
                break
        self._session.close()

    def _write(self, number: int) -> bool:
        try:
            self._session.connect(CONNECT_S)
            self._session.query("drill_write", (self._run_name, number), timeout_s=STATEMENT_S, reopen=False)
        except ProbeError as failure:
            self.failures += 1
            self.last_failure = f"{failure.message} {failure.detail}".strip()
            return False
        self.acknowledged.append((now_s(), number))
        return True


def make_writer(config: Config, run: str, rate: float) -> Writer:
    """Make a client of the primary VIP (not yet started)."""
    return Writer(sql.connect_client(config, primary_address(config)), run, rate)


def primary_address(config: Config) -> str:
    """Where a drill's client writes."""
    return str(config.vips[Vip.PRIMARY].ip)


def check_table(config: Config) -> None:
    """RefusedError when the primary has no table for drills, ProbeError when it does not answer."""
    with sql.connect_client(config, primary_address(config)) as session:
        ((ready,),) = session.query("drill_ready", timeout_s=LOOK_S)
    if not ready:
        raise RefusedError(
            "the table pgvip.drill does not exist, or role pgvip may not write it",
            "This pair was made by an older pgvip.",
            "Run pgvip init once more on the primary: it adds what is missing and changes nothing else.",
        )


def rows(config: Config, run: str) -> set[int]:
    """The numbers that the primary has now. ProbeError when it does not answer."""

    def look() -> set[int]:
        with sql.connect_client(config, primary_address(config)) as session:
            return {number for (number,) in session.query("drill_rows", (run,), timeout_s=LOOK_S)}

    return retry(look, on=ProbeError, attempts=5, pause_s=0.2, deadline_s=2 * LOOK_S)


def clean(config: Config, run: str) -> None:
    """Delete the rows of a drill."""
    with sql.connect_client(config, primary_address(config)) as session:
        session.query("drill_clean", (run,), timeout_s=LOOK_S)


def longest_gap_s(times: Sequence[float], since_s: float, until_s: float) -> float:
    """The longest time without an acknowledged row that ends after `since_s`; one that is open ends at `until_s`.

    >>> longest_gap_s([1.0, 2.0, 2.5, 5.5, 6.0], since_s=2.2, until_s=7.0)
    3.0
    >>> longest_gap_s([1.0, 2.0], since_s=2.2, until_s=7.0)
    5.0
    >>> longest_gap_s([], since_s=2.0, until_s=7.0)
    5.0
    """
    before = [at_s for at_s in times if at_s <= since_s][-1:] or [since_s]
    points = [*before, *(at_s for at_s in times if since_s < at_s <= until_s), until_s]
    return max(later - earlier for earlier, later in itertools.pairwise(points))
