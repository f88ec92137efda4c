"""The protocol's own values."""

from __future__ import annotations

import doctest

import pytest

from pgvip.core import rights, values
from pgvip.core.model import NEVER, Grant, Lsn, Mode, Observation, Processes, WalPoint
from tests.unit.core_world import record


@pytest.mark.parametrize("module", [values, rights], ids=lambda module: module.__name__)
def test_the_examples_in_the_documentation_are_true(module: object) -> None:
    done = doctest.testmod(module)  # type: ignore[arg-type]  # a module, as the parameter says
    assert (done.failed, done.attempted > 0) == (0, True)


@pytest.mark.parametrize("text", ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_a_position_is_written_as_it_was_read(text: str) -> None:
    assert str(Lsn.parse(text)) == text


@pytest.mark.parametrize("text", ["", "16", "x/y", "16-B3"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Lsn.parse(text)


def test_positions_compare_across_the_slash() -> None:
    assert Lsn.parse("1/0") > Lsn.parse("0/FFFFFFFF")
    assert str(WalPoint(3, Lsn.parse("1/0"))) == "3:1/0"


def test_two_records_have_the_same_rights_by_primary_mode_and_sync_alone() -> None:
    plain = record()
    assert plain.same_rights(record(cause="x", at="y", from_term=3, handover=WalPoint(1, Lsn(1))))
    assert not plain.same_rights(record("b"))
    assert not plain.same_rights(record(mode=Mode.SOLO))
    assert not plain.same_rights(record(sync=False))


def test_a_grant_in_sync_has_no_end() -> None:
    assert Grant(1, "boot", "1:1").expires_s is None


def test_an_observation_keeps_its_last_value_and_counts_failures_since() -> None:
    never: Observation[int] = Observation()
    assert (never.at_s, never.ok(), never.fresh(0.0, 1e9)) == (NEVER, False, False)
    good = never.succeeded(7, 10.0)
    assert (good.ok(), good.fresh(12.0, 2.0), good.fresh(12.1, 2.0)) == (True, True, False)
    bad = good.failed("refused", 11.0).failed("refused again", 12.0)
    assert (bad.value, bad.at_s, bad.failures, bad.failing_since_s, bad.failed_at_s) == (7, 10.0, 2, 11.0, 12.0)
    assert bad.reason == "refused again"
    assert not bad.ok()
    assert bad.succeeded(8, 13.0) == Observation(8, 13.0)


@pytest.mark.parametrize(
    ("state", "clean"), [("shut down", True), ("shut down in recovery", False), ("in production", False), ("", False)]
)
def test_only_a_primary_that_was_shut_down_is_clean(state: str, clean: bool) -> None:
    assert Processes(control_state=state).clean is clean
