"""The pre-checks of a planned switchover when something is so for a moment only."""

from collections.abc import Sequence
from queue import SimpleQueue

import pytest

from pgvip.orders import planned
from pgvip.orders.desk import Desk
from pgvip.orders.prechecks import Finding, Level
from pgvip.status.snapshot import Newest

DESK = Desk(Newest(), SimpleQueue())
OK = Finding("streaming", Level.OK, "it streams")
NO_WAL = Finding("streaming", Level.FAILED, "it receives no WAL", hard=True)
HELD = Finding("hold", Level.FAILED, "its data are on hold", hard=True)


@pytest.mark.parametrize(
    ("looks", "settle_s", "times", "failed"),
    [
        ([(NO_WAL,), (NO_WAL,), (OK,)], 5.0, 3, set()),
        ([(NO_WAL,)], 0.0, 1, {NO_WAL}),
        ([(NO_WAL, HELD), (OK,)], 5.0, 1, {NO_WAL, HELD}),
        ([(OK,)], 5.0, 1, set()),
    ],
)
def test_what_is_so_for_a_moment_only_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
    looks: Sequence[tuple[Finding, ...]],
    settle_s: float,
    times: int,
    failed: set[Finding],
) -> None:
    """Right after an action on a server what it does is not known; an order of that moment was refused."""
    seen: list[tuple[Finding, ...]] = []

    def found(_facts: object) -> tuple[Finding, ...]:
        seen.append(looks[min(len(seen), len(looks) - 1)])
        return seen[-1]

    monkeypatch.setattr(planned, "gather", lambda _desk: None)
    monkeypatch.setattr(planned, "switchover", found)
    monkeypatch.setattr(planned, "SETTLE_EVERY_S", 0.01)
    said: list[str] = []
    _, findings = planned.look(DESK, settle_s, said.append)
    assert len(seen) == times
    assert said == (["waiting for 5 s at most: it receives no WAL"] if times > 1 else [])
    assert {finding for finding in findings if finding.level is Level.FAILED} == failed


def test_what_stays_so_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "gather", lambda _desk: None)
    monkeypatch.setattr(planned, "switchover", lambda _facts: (NO_WAL,))
    monkeypatch.setattr(planned, "SETTLE_EVERY_S", 0.01)
    assert planned.look(DESK, 0.05, lambda _text: None)[1] == (NO_WAL,)
