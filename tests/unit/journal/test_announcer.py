"""Roles are told once they are in effect, warnings once they stand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pgvip.core.settings import StandingWarning
from pgvip.core.values import Mode, Role, Vip
from pgvip.journal.announcer import NO_ROLE_S, STANDS_S, Announcer
from pgvip.status.snapshot import Snapshot
from tests.unit.core_world import NO_VIPS, NOW_S, Host, failing, primary, saw, standby
from tests.unit.orders.test_order_table import snapshot_of


class Ear:
    """An announcer and what it told."""

    def __init__(self, role: Role = Role.NONE) -> None:
        self.told: list[tuple[str, str, dict[str, str]]] = []
        self.announcer = Announcer(self._hear, "boot-1", role)

    def _hear(self, event: str, text: str, words: tuple[tuple[str, str], ...]) -> None:
        self.told.append((event, text, dict(words)))

    def sees(self, host: Host, at_s: float = NOW_S, **knows: Any) -> list[str]:
        """The names of what is told after one round of `host`; warnings and the server's own are left out."""
        before = len(self.told)
        plain = snapshot_of(host, at_s)
        plain = replace(plain, decision=replace(plain.decision, warnings=()))
        self.announcer.look(replace(plain, **knows) if knows else plain)
        return [event for event, _, _ in self.told[before:] if event != "postgresql"]


def test_a_primary_is_told_once_it_is_read_write_and_holds_its_address() -> None:
    ear = Ear(Role.STANDBY)
    assert ear.sees(primary().holds()) == []
    assert ear.sees(primary().database(in_recovery=True)) == []
    assert ear.sees(primary().sees(held=failing())) == []
    assert ear.sees(primary(cause="take-over-by-fence")) == ["role-change"]
    assert ear.told[-1] == (
        "role-change",
        "standby->primary in effect: take-over-by-fence",
        {"old": "standby", "new": "primary", "cause": "take-over-by-fence", "boot": "boot-1"},
    )
    assert ear.sees(primary()) == []


def test_a_lone_primary_and_a_primary_are_two_roles() -> None:
    ear = Ear(Role.PRIMARY)
    assert ear.sees(primary(Mode.SOLO)) == ["role-change"]
    assert ear.sees(primary()) == ["role-change"]
    assert [words["new"] for _, _, words in ear.told] == ["primary_standby", "primary"]


def test_a_standby_is_told_once_it_recovers() -> None:
    ear = Ear()
    assert ear.sees(standby().down()) == []
    assert ear.sees(standby()) == ["role-change"]


def test_a_primary_that_gave_up_says_so_before_it_is_a_standby() -> None:
    ear = Ear(Role.PRIMARY)
    serving = standby().database(in_recovery=False)
    assert ear.sees(serving.holds(Vip.PRIMARY)) == []
    assert ear.sees(serving.holds()) == []
    assert ear.sees(standby().down().holds(Vip.PRIMARY)) == []
    assert ear.sees(standby().down().sees(held=failing())) == []
    assert ear.sees(standby().down().holds()) == ["demoted"]
    assert ear.sees(standby().down().holds()) == []
    assert ear.sees(standby()) == ["role-change"]
    assert ear.told[1][2] == {"old": "primary", "new": "standby", "cause": ""}  # told[0]: the server died


def test_a_daemon_that_starts_knows_its_role_and_tells_nothing() -> None:
    ear = Ear(Role.PRIMARY)
    roleless = primary().knows(confirmed=False).sees(held=saw(NO_VIPS))
    assert ear.sees(roleless.down()) == []
    assert ear.sees(roleless.down(), NOW_S + NO_ROLE_S - 0.1) == []
    assert ear.sees(primary(), NOW_S + NO_ROLE_S) == []


def test_a_host_that_has_lost_its_role_says_so_after_a_while() -> None:
    ear = Ear(Role.PRIMARY)
    roleless = primary().knows(confirmed=False).sees(held=saw(NO_VIPS)).down()
    assert ear.sees(roleless) == []
    assert ear.sees(roleless, NOW_S + NO_ROLE_S) == ["demoted", "role-change"]
    assert ear.told[-1][2]["new"] == "none"


def test_the_time_without_a_role_counts_from_its_beginning() -> None:
    ear = Ear(Role.STANDBY)
    roleless = standby().knows(confirmed=False)
    assert ear.sees(roleless) == []
    assert ear.sees(standby(), NOW_S + 1) == []
    assert ear.sees(roleless, NOW_S + NO_ROLE_S + 0.5) == []
    assert ear.sees(roleless, NOW_S + 2 * NO_ROLE_S + 0.5) == ["role-change"]


# --- warnings -------------------------------------------------------------------------------------------


LAG = StandingWarning("lag", "this standby lags", "wait")


def warned(at_s: float, *warnings: StandingWarning) -> Snapshot:
    plain = snapshot_of(standby(), at_s)
    return replace(plain, decision=replace(plain.decision, warnings=warnings))


def run(*moments: tuple[float, tuple[StandingWarning, ...]]) -> list[tuple[str, str, dict[str, str]]]:
    ear = Ear(Role.STANDBY)
    for at_s, warnings in moments:
        ear.announcer.look(warned(at_s, *warnings))
    return ear.told


def test_a_warning_that_stands_is_told_once_with_its_mend_and_so_is_its_end() -> None:
    assert run((0.0, (LAG,)), (STANDS_S, (LAG,)), (STANDS_S + 1, (LAG,))) == [
        ("lag", "this standby lags", {"hint": "wait"})
    ]
    late_s = 100.0
    assert run((0.0, (LAG,)), (STANDS_S, (LAG,)), (late_s, ()), (late_s + STANDS_S, ()))[1:] == [
        ("cleared", "lag", {"warning": "lag"})
    ]


@pytest.mark.parametrize(
    "moments",
    [
        [(0.0, (LAG,)), (STANDS_S - 0.1, (LAG,))],
        [(0.0, (LAG,)), (STANDS_S - 0.1, ()), (STANDS_S + 1, (LAG,)), (2 * STANDS_S, ())],
        [(0.0, (LAG,)), (0.1, ()), (STANDS_S + 0.2, ())],
        [(0.0, ()), (STANDS_S, ())],
    ],
)
def test_what_passes_is_not_told(moments: list[tuple[float, tuple[StandingWarning, ...]]]) -> None:
    assert run(*moments) == []


def test_a_warning_that_comes_back_at_once_has_not_ended() -> None:
    moments = [(0.0, (LAG,)), (STANDS_S, (LAG,)), (STANDS_S + 1, ()), (STANDS_S + 2, (LAG,)), (3 * STANDS_S, (LAG,))]
    assert [event for event, _, _ in run(*moments)] == ["lag"]


def test_one_that_ended_can_come_again() -> None:
    moments = [(0.0, (LAG,)), (5.0, (LAG,)), (10.0, ()), (15.0, ()), (20.0, (LAG,)), (25.0, (LAG,))]
    assert [event for event, _, _ in run(*moments)] == ["lag", "cleared", "lag"]


def test_the_first_of_two_of_a_name_is_told() -> None:
    other = StandingWarning("lag", "another")
    assert run((0.0, (LAG, other)), (STANDS_S, (LAG, other)))[0][1] == "this standby lags"
    assert run((0.0, (other,)), (STANDS_S, (other,)))[0][2] == {}


def test_a_server_that_ends_or_runs_again_is_told_whoever_did_it() -> None:
    ear = Ear(Role.PRIMARY)
    running, gone = primary(), primary().down()
    server = running.seen.processes.value
    assert server is not None
    other = running.sees(processes=saw(replace(server, postmaster="4711:9", left=1)))
    for host in (running, running, running.sees(processes=failing()), gone, gone, primary().down(clean=True), running):
        ear.sees(host)
    ear.sees(other)
    ear.sees(primary().down(clean=True))
    stopped = running.processes(postmaster="", left=0, control_state="shut down in recovery")
    ear.sees(running)
    ear.sees(stopped)
    pid = server.postmaster.partition(":")[0]
    assert [text for event, text, _ in ear.told if event == "postgresql"] == [
        f"PostgreSQL died: postmaster {pid} is gone",
        f"PostgreSQL runs: postmaster {pid}",
        "PostgreSQL runs: postmaster 4711",
        "PostgreSQL was stopped: shut down",
        f"PostgreSQL runs: postmaster {pid}",
        "PostgreSQL was stopped: shut down in recovery",
    ]
