"""Questions over the peer link, where this host can start no thread to answer them."""

from __future__ import annotations

import threading

import pytest

from pgvip.link.questions import ANSWERING_MAX, Asked, Asking


def no_thread(_thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_question_that_no_thread_can_answer_is_dropped_and_later_ones_are_answered() -> None:
    """It ended the daemon: the limit of threads was reached, and each question of the peer came upon it."""
    answered, posted = threading.Event(), list[tuple[bool, int, str]]()

    def post(is_answer: bool, number: int, text: str) -> bool:
        posted.append((is_answer, number, text))
        answered.set()
        return True

    asking = Asking(str.upper, post)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for number in range(ANSWERING_MAX + 1):
            asking.take(Asked(number, "lost"))
    asking.take(Asked(1000, "asked"))
    assert answered.wait(5)
    assert posted == [(True, 1000, "ASKED")]
