"""An explanation lets the loop go on, and is there in time on a busy host."""

from __future__ import annotations

import time

import pytest

from pgvip.explain.answers import BREATHE_EVERY_S, Breath


def test_a_breath_is_taken_by_cpu_time_and_not_by_the_number_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    breaths: list[float] = []
    used_s = [0.0]
    monkeypatch.setattr(time, "thread_time", lambda: used_s[0])
    monkeypatch.setattr(time, "sleep", breaths.append)
    breathe = Breath()
    for _ in range(1000):
        used_s[0] += BREATHE_EVERY_S / 100
        breathe()
    assert 9 <= len(breaths) <= 10
