"""Every retry and time-limit policy.

Time is CLOCK_BOOTTIME: it goes on while the host is suspended and knows nothing of wall-clock steps.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from tenacity import RetryError, Retrying, retry_if_exception_type, retry_if_result

from pgvip.errors import ActionError, PgvipError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

POLL_S = 0.01
"""How often a condition is checked while it is awaited: well under what a client notices."""


def now_s() -> float:
    """Seconds on the host's CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Deadline:
    """A point in time after which nobody waits any more."""

    __slots__ = ("at_s",)

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(now_s() + seconds)

    def left_s(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at_s - now_s())

    @property
    def expired(self) -> bool:
        """True when no time is left."""
        return now_s() >= self.at_s

    def sooner_s(self, seconds: float) -> float:
        """The shorter of `seconds` and what is left: a limit for one step of several."""
        return min(seconds, self.left_s())


def wait_until(
    condition: Callable[[], T | None],
    deadline_s: float,
    every_s: float = POLL_S,
    what: str = "a condition",
    error: type[PgvipError] = ActionError,
) -> T:
    """Check `condition` until it returns something (None and False mean: not yet).

    It is checked once at least, and once more when the time is over. `deadline_s` is in seconds from
    now; when they have passed, `error` says that `what` did not happen.
    """
    deadline = Deadline.after(deadline_s)
    retrying = Retrying(
        retry=retry_if_result(lambda result: result is None or result is False),
        stop=lambda _: deadline.expired,
        wait=lambda _: max(0.001, deadline.sooner_s(every_s)),
    )
    try:
        result = retrying(condition)
    except RetryError:
        raise error(f"timed out: {what}", f"It did not happen within {deadline_s:g} s.") from None
    assert result is not None  # the policy above returns no None; this tells mypy
    return result


def retry(
    call: Callable[[], T],
    *,
    on: type[Exception] | tuple[type[Exception], ...] = PgvipError,
    attempts: int = 3,
    pause_s: float = 0.1,
    deadline_s: float = 10.0,
) -> T:
    """Call again after an error of the kinds `on`, bounded in number and in time; the last error is raised."""
    deadline = Deadline.after(deadline_s)
    retrying = Retrying(
        retry=retry_if_exception_type(on),
        stop=lambda state: state.attempt_number >= attempts or deadline.expired,
        wait=lambda _: deadline.sooner_s(pause_s),
        reraise=True,
    )
    return retrying(call)
