"""How many cases a run takes: a slice by default, a campaign with `scripts/fuzz`; and the figures at its end."""

from __future__ import annotations

import pytest

from tests.fuzz.cases import CASES, COUNTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Cases and seconds of each test, for docs/dev/testing.md."""
    seconds = {
        report.nodeid: report.duration for report in terminalreporter.getreports("passed") if report.when == "call"
    }
    terminalreporter.section(f"fuzzing, {CASES} cases for each test")
    for nodeid, took_s in sorted(seconds.items()):
        count = COUNTS[nodeid.rpartition("::")[2]]
        if count:
            terminalreporter.line(f"{count:>9,} cases {took_s:>8.1f} s  {nodeid}")
    terminalreporter.line(f"{sum(COUNTS.values()):>9,} cases in all")
