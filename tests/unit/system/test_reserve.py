"""What was set aside is there when everything else is used up."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgvip.system.reserve import Reserve, raise_limit

LIMIT = 200


@pytest.fixture
def limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def use_up() -> list[int]:
    used = []
    try:
        while True:
            used.append(os.dup(2))
    except OSError:
        return used


@pytest.mark.usefixtures("limited")
def test_the_reserve_is_lent_when_nothing_is_left_and_taken_back() -> None:
    reserve = Reserve()
    reserve.keep(20)
    used = use_up()
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.pipe()
        for _ in range(2):
            with reserve.lent(), reserve.lent():
                for descriptor in os.pipe():
                    os.close(descriptor)
            with pytest.raises(OSError, match="Too many open files"):
                os.pipe()
    finally:
        reserve.close()
        for descriptor in used:
            os.close(descriptor)


@pytest.mark.usefixtures("limited")
def test_nothing_is_lent_while_there_is_enough() -> None:
    reserve = Reserve()
    reserve.keep(5)
    kept = set(Path("/proc/self/fd").iterdir())
    with reserve.lent():
        assert set(Path("/proc/self/fd").iterdir()) == kept
    reserve.close()


@pytest.mark.usefixtures("limited")
def test_the_soft_limit_is_raised() -> None:
    raise_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
