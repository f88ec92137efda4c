"""Times and durations as types of command-line arguments."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pgvip.text import times
from pgvip.text.times import TimeError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def past(text: str) -> datetime:
    """Argument type: a time that is over."""
    return _read(lambda: times.past(text, _now()))


def coming(text: str) -> str:
    """Argument type: a time in the future, in the form in which the daemon keeps it."""
    return _read(lambda: times.wall(times.coming(text, _now())))


def duration(text: str) -> float:
    """Argument type: seconds of a duration."""
    return _read(lambda: times.duration_s(text))


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _read(read: Callable[[], T]) -> T:
    try:
        return read()
    except TimeError as error:
        more = error.detail or error.hint
        raise argparse.ArgumentTypeError(f"{error.message}. {more}" if more else error.message) from error
