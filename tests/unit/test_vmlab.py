"""The VM lab's own judgement: what proves that two machines took writes at one time."""

from __future__ import annotations

from tests.vm.probe import Write, second_writers


def write(at_s: float, timeline: int) -> Write:
    """A write that was answered a tenth of a second after it was sent."""
    return Write(at_s, at_s + 0.1, timeline)


def test_one_writer_after_the_other_is_no_second_one() -> None:
    assert not second_writers([write(1, 1), write(2, 1), write(9, 3)], [write(3, 2), write(8, 2)])
    assert not second_writers([write(1, 1)], [])


def test_a_write_on_an_earlier_timeline_after_one_on_a_later_is_a_second_writer() -> None:
    late, early = write(3, 2), write(4, 1)
    assert second_writers([write(1, 1), early], [late]) == [(early, late)]
    assert second_writers([late], [write(1, 1), early]) == [(early, late)]


def test_a_write_that_was_under_way_meanwhile_proves_nothing() -> None:
    assert not second_writers([Write(2.9, 9, 1)], [Write(2.8, 3, 2)])


def test_two_writers_on_one_timeline_are_two_writers_whenever() -> None:
    assert second_writers([write(1, 2)], [write(50, 2)])
