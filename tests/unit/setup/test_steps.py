import argparse

import pytest

from pgvip.cli import progress, steps
from pgvip.cli.steps import Step
from pgvip.errors import ConfigError, PostgresError, RefusedError


def test_done_steps_are_skipped_and_a_failure_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    did: list[str] = []

    def fail() -> None:
        raise PostgresError("no")

    plan = [
        Step("first", lambda: did.append("first"), lambda: True),
        Step("second", lambda: did.append("second")),
        Step("third", fail),
        Step("fourth", lambda: did.append("fourth")),
    ]
    with pytest.raises(PostgresError):
        steps.run_steps(plan, dry_run=False)
    assert did == ["second"]
    assert capsys.readouterr().out == "  = first (done already)\n  + second\n  + third\n"


def test_dry_run_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    did: list[str] = []
    steps.run_steps([Step("one", lambda: did.append("one"))], dry_run=True)
    assert did == []
    assert capsys.readouterr().out == "  - one\n"


def test_all_refusals_are_told_at_once() -> None:
    steps.refuse([])
    with pytest.raises(RefusedError, match=r"^one$"):
        steps.refuse([PostgresError("one")])
    with pytest.raises(ConfigError, match=r"^mistake$"):
        steps.refuse([ConfigError("mistake")])
    with pytest.raises(RefusedError) as raised:
        steps.refuse([PostgresError("one", hint="Repair it."), PostgresError("two")])
    assert "- one\nHINT: Repair it.\n- two" in raised.value.detail


def test_dry_run_has_one_spelling() -> None:
    parser = argparse.ArgumentParser()
    steps.add_dry_run(parser)
    assert parser.parse_args(["-n"]).dry_run
    assert not parser.parse_args([]).dry_run


def test_progress_off_a_terminal_is_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bar() as bar:
        for done in range(1001):
            bar.show(done, 1000)
    assert len(capsys.readouterr().out.splitlines()) == 11


def test_progress_without_a_total_does_not_fail() -> None:
    assert " 0 %" in progress.bar_text(0, 0)
    assert "100 %" in progress.bar_text(2000, 1000)
