"""The wait before a drill that is to begin later."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pgvip.deadlines import now_s
from pgvip.text.writing import duration, moment

LOOK_S = 20.0
"""The wall clock may be set: it is read this often (as for `switchover --at`)."""
TELL_S = 60.0
"""How often a wait reports that it goes on."""


@dataclass(frozen=True, slots=True)
class Begin:
    """When a drill begins. `left_s`: how long that is from now; `words`: how it is reported."""

    left_s: Callable[[], float]
    words: str


def at(begin: datetime) -> Begin:
    """At a time of the wall clock."""

    def left_s() -> float:
        return (begin - datetime.now(tz=UTC)).total_seconds()

    return Begin(left_s, f"at {moment(begin.isoformat())}")


def after(delay_s: float) -> Begin:
    """After so many seconds from now, whatever the wall clock shows."""
    until_s = now_s() + delay_s
    return Begin(lambda: until_s - now_s(), f"in {delay_s:g} s")


def wait(begin: Begin, say: Callable[[str], None]) -> None:
    """Return when the time has come; every TELL_S `say` hears how long it still is."""
    told_s = now_s()
    while (left_s := begin.left_s()) > 0:
        if now_s() - told_s >= TELL_S:
            told_s = now_s()
            say(f"    {duration(left_s)} to go")
        time.sleep(min(LOOK_S, left_s))
