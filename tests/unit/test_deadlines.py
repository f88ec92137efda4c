from __future__ import annotations

import pytest

from pgvip.deadlines import Deadline, now_s, retry, wait_until
from pgvip.errors import ActionError, CommandError, VipError


def test_a_condition_that_comes_true_is_returned() -> None:
    answers = iter([None, False, "here"])
    assert wait_until(lambda: next(answers), 1.0, every_s=0.001) == "here"


def test_zero_and_the_empty_string_are_answers() -> None:
    assert wait_until(lambda: 0, 0.1) == 0
    assert wait_until(str, 0.1) == ""


def test_a_condition_that_never_comes_true_raises_in_time() -> None:
    start_s = now_s()
    with pytest.raises(ActionError, match="timed out: rain"):
        wait_until(lambda: None, 0.1, what="rain")
    assert 0.1 <= now_s() - start_s < 1.0


def test_the_error_is_the_callers() -> None:
    with pytest.raises(VipError):
        wait_until(lambda: False, 0.0, error=VipError)


def test_a_passed_deadline_still_looks_once() -> None:
    assert wait_until(lambda: "seen", -1.0) == "seen"


def test_deadlines_count_down_and_never_below_zero() -> None:
    assert Deadline.after(-1).expired
    assert Deadline.after(-1).left_s() == 0.0
    assert Deadline.after(60).left_s() == pytest.approx(60, abs=0.1)
    assert Deadline.after(60).sooner_s(5) == 5
    assert not Deadline.after(60).expired


def test_retry_gives_the_first_success() -> None:
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise CommandError("not yet")
        return "done"

    assert retry(flaky, attempts=3, pause_s=0.001) == "done"
    assert len(calls) == 3


def test_retry_raises_the_last_error_when_attempts_are_used_up() -> None:
    def broken() -> str:
        raise CommandError("broken")

    with pytest.raises(CommandError, match="broken"):
        retry(broken, attempts=2, pause_s=0.001)


def test_retry_lets_other_errors_through_at_once() -> None:
    calls: list[int] = []

    def wrong() -> str:
        calls.append(1)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # the bare class is the point
        retry(wrong, attempts=5, pause_s=0.001)
    assert len(calls) == 1


def test_retry_stops_when_the_time_is_over() -> None:
    calls: list[int] = []

    def broken() -> str:
        calls.append(1)
        raise CommandError("broken")

    with pytest.raises(CommandError):
        retry(broken, attempts=1000, pause_s=0.05, deadline_s=0.12)
    assert len(calls) <= 4
