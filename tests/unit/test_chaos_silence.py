"""Invariant 6 in chaos, and what administrators' deeds excuse, on made-up histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import silence
from tests.chaos.excuses import CLEARED, PROMOTED, excused
from tests.chaos.history import FaultWindow, Histories, Kind, Outcome, Probe, Read, Write
from tests.chaos.silence import Look, silent
from tests.lab.network import PRIMARY_VIP

MUTE = Look(100.0, "alpha", 30.0, 1.0, changing=False, causes=(), uptime_s=500.0)


def looks(first: Look, count: int = 4) -> list[Look]:
    """The same outage, seen again every three seconds."""
    return [replace(first, at_s=first.at_s + 3 * n, write_s=first.write_s + 3 * n, read_s=first.read_s + 3 * n)
            for n in range(count)]


def test_an_outage_of_which_nothing_is_said_is_found_once_for_each_host() -> None:
    found = list(silent([*looks(MUTE), *looks(replace(MUTE, host="beta", read_s=60.0))], []))
    assert [(one.kind, one.at_s) for one in found] == [("6: silent", 106.0), ("6: silent", 106.0)]
    assert found[0].text == "no commit for 36 s, and alpha's status names no cause"
    assert "read through the standby VIP for 66 s, and beta's" in found[1].text


def test_a_second_outage_is_a_second_finding() -> None:
    assert len(list(silent([*looks(MUTE), *looks(replace(MUTE, at_s=300.0))], []))) == 2


@pytest.mark.parametrize("changes", [
    {"causes": ("no-standby",)}, {"changing": True}, {"write_s": 10.0}, {"uptime_s": 3.0},
], ids=lambda changes: next(iter(changes)))
def test_a_cause_a_change_or_a_short_outage_is_no_silence(changes: dict[str, object]) -> None:
    assert not list(silent(looks(replace(MUTE, **changes)), []))  # type: ignore[arg-type] # one table for all fields


def test_a_change_that_never_ends_is_no_answer() -> None:
    assert list(silent(looks(replace(MUTE, changing=True), 15), []))


def test_one_look_between_two_warnings_is_no_silence() -> None:
    told = [replace(look, causes=("x",) if n % 2 else ()) for n, look in enumerate(looks(MUTE, 10))]
    assert not list(silent(told, []))


def test_what_no_host_can_see_is_no_silence() -> None:
    lost = FaultWindow("packet-loss", "alpha", 80.0, 111.0, None)
    assert not list(silent(looks(MUTE), [lost]))
    assert list(silent(looks(MUTE), [replace(lost, healed_s=60.0)]))
    assert list(silent(looks(MUTE), [replace(lost, kind="power-off")]))


def test_a_status_document_is_read(tmp_path: Path) -> None:
    doing: dict[str, object] = {"claim": None, "giving_up": None, "switchover": False, "leaving": False, "actions": []}
    warnings = [{"name": "no-fencing", "hint": "x"}, {"name": "gateway", "hint": "see it"}, {"name": "a", "hint": ""},
                {"name": "peer-failing", "hint": "on beta: "}]
    document: dict[str, object] = {"doing": doing, "warnings": warnings, "process": {"uptime_s": 7.0}}
    assert silence.look_of("beta", 1.0, 2.0, 3.0, document) == Look(1.0, "beta", 2.0, 3.0, False, ("gateway",), 7.0)
    document["doing"] = doing | {"actions": ["Promote"]}
    assert silence.look_of("beta", 1.0, 2.0, 3.0, document).changing
    assert silence.load(tmp_path / "none") == []


# --- what deeds excuse -------------------------------------------------------------------------------------

DEED = FaultWindow(PROMOTED, "beta", 10.0, None, None)
WRITE = Write(21, 1, Kind.INSERT, 1, 11.0, 11.1, Outcome.ACK, "B")
READ = Read(31, PRIMARY_VIP, 1, 11.0, 11.1, True, "B", False, {1: 1})
PROBE = Probe("beta", 11.0, 11.1, True, "B")


def judged(fault: FaultWindow, **values: object) -> Histories:
    made = Histories([WRITE], [READ], [PROBE, Probe("alpha", 11.0, 11.1, True, "A")])
    return excused(replace(made, **values), [fault])  # type: ignore[arg-type] # lists of any of its fields


def test_what_a_server_does_just_after_a_promotion_by_hand_is_excused() -> None:
    found = judged(DEED)
    assert [write.outcome for write in found.writes] == [Outcome.UNKNOWN]
    assert found.reads == []
    assert [probe.writable for probe in found.probes] == [None, True]


def test_what_it_does_later_or_another_server_does_is_not() -> None:
    late = judged(DEED, writes=[replace(WRITE, answered_s=16.2)], reads=[replace(READ, answered_s=16.2)],
                  probes=[PROBE, replace(PROBE, answered_s=16.2)])
    assert (late.writes[0].outcome, len(late.reads), late.probes[1].writable) == (Outcome.ACK, 1, True)
    other = judged(replace(DEED, target="alpha"))
    assert (other.writes[0].outcome, len(other.reads), other.probes[0].writable) == (Outcome.ACK, 1, True)
    none = judged(replace(DEED, kind="power-off"))
    assert (none.writes[0].outcome, len(none.reads), none.probes[0].writable) == (Outcome.ACK, 1, True)


def test_a_promotion_that_comes_about_late_is_excused_from_then_on() -> None:
    """The disk stood still meanwhile; not seen to take writes for a minute, it is nobody's excuse any more."""
    before = replace(PROBE, sent_s=11.0, answered_s=11.1, writable=False)

    def doubted(promoted_s: float, written_s: float) -> bool:
        found = judged(DEED, writes=[replace(WRITE, answered_s=written_s)],
                       probes=[before, replace(PROBE, answered_s=promoted_s)])
        return found.writes[0].outcome is Outcome.UNKNOWN

    assert doubted(24.0, 28.9)
    assert not doubted(24.0, 29.1)
    assert not doubted(71.0, 72.0)


def test_what_a_frozen_host_answers_when_it_goes_on_is_excused_where_nothing_fences_it() -> None:
    window = FaultWindow("host-frozen", "beta", 10.0, 30.0, None)
    times_s = (9.9, 10.1, 30.2, 32.9, 33.1)
    probes = [replace(PROBE, answered_s=at_s) for at_s in times_s] + [Probe("alpha", 30.0, 30.1, True, "A")]
    made = Histories([replace(WRITE, answered_s=30.2)], [replace(READ, answered_s=30.2)], probes)
    found = excused(made, [window], fencing=False)
    assert [probe.writable for probe in found.probes] == [True, None, None, None, True, True]
    assert (found.writes, found.reads) == (made.writes, made.reads)
    assert excused(made, [window]) == made
    assert excused(made, [replace(window, kind="daemon-frozen")], fencing=False) == made


def test_cleared_names_excuse_what_was_acknowledged_and_nothing_else() -> None:
    found = judged(replace(DEED, kind=CLEARED))
    assert found.writes[0].outcome is Outcome.UNKNOWN
    assert (len(found.reads), found.probes[0].writable) == (1, True)
