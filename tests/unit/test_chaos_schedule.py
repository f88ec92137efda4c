"""The plan of a chaos run, its table and its timeline: all that needs no lab."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import report, timeline
from tests.chaos.faults import STRIKES
from tests.chaos.history import Histories, Kind, Outcome, Probe, Write
from tests.chaos.kinds import KINDS, OF_WITNESS, SILENCING, STIRRING
from tests.chaos.main import make_specs, parse
from tests.chaos.schedule import CUES, FENCING_CUES, LASTING_S, Group, Heal, plan, share

MANY = 2000


def steps_of(groups: tuple[Group, ...]) -> list[Any]:
    return [step for group in groups for step in group.steps]


def test_a_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert plan(7, 60) == plan(7, 60)
    assert plan(7, 60) != plan(8, 60)


@pytest.mark.parametrize("faults", [1, 2, 7, 50])
def test_a_plan_has_as_many_faults_as_were_asked_for(faults: int) -> None:
    for seed in range(40):
        steps = steps_of(plan(seed, faults))
        assert [step.number for step in steps] == list(range(1, faults + 1))


def test_a_longer_plan_begins_as_a_shorter_one() -> None:
    """So that one group of a long run may be found again."""
    short, long = plan(3, 30), plan(3, 90)
    assert long[: len(short) - 1] == short[:-1]


def test_every_kind_is_drawn_and_can_be_done() -> None:
    drawn = Counter(step.kind for step in steps_of(plan(1, MANY)))
    assert drawn.keys() == KINDS.keys() - OF_WITNESS
    with_witness = Counter(step.kind for step in steps_of(plan(1, MANY, [*KINDS])))
    assert with_witness.keys() == KINDS.keys() == STRIKES.keys()
    assert KINDS.keys() > STIRRING


@pytest.mark.parametrize("names", [["switchover"], ["fence-late", "cut-off"], ["record-lost", "power-off", "cut-off"]])
def test_only_what_was_named_is_drawn(names: list[str]) -> None:
    assert {step.kind for step in steps_of(plan(1, 300, names))} == set(names)


def test_kinds_that_there_are_not_or_that_do_nothing_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (("earthquake,cut-off", "no such kind: earthquake"), ("fence-late", "do nothing alone")):
        with pytest.raises(SystemExit):
            parse(["--kinds", words])
        assert told in capsys.readouterr().err


def test_faults_of_a_witness_need_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--kinds", "witness-cut,cut-off"])
    assert "a pair with --means fence has no witness for witness-cut" in capsys.readouterr().err
    assert parse(["--means", "witness"]).kinds == [*KINDS]


def test_every_way_of_healing_and_every_size_is_drawn() -> None:
    groups = plan(1, MANY)
    assert {step.heal for step in steps_of(groups)} == set(Heal)
    assert {len(group.steps) for group in groups} == {1, 2, 3, 4}
    assert {step.cue for step in steps_of(groups)} == {"", *CUES, *FENCING_CUES}


def test_so_many_groups_end_with_a_fault_that_lasts() -> None:
    groups = plan(1, MANY, lasting=20)
    lasts = [group for group in groups if group.steps[-1].heal is Heal.END]
    longest = [group for group in lasts if group.steps[-1].hold_s >= LASTING_S[0]]
    assert 0.1 * len(groups) < len(longest) < 0.2 * len(groups), "of those whose last fault lasts at all"
    assert all(KINDS[group.steps[-1].kind].lasts for group in longest)
    assert max(step.hold_s for step in steps_of(plan(1, MANY)) if step.heal is Heal.END) < LASTING_S[0]


def test_what_a_cue_follows_is_not_healed_before_it() -> None:
    for group in plan(6, MANY):
        assert not group.steps[0].cue
        for before, step in itertools.pairwise(group.steps):
            if step.cue:
                assert before.kind in STIRRING
                assert step.cue in (FENCING_CUES if before.kind in SILENCING else CUES)
                assert before.pause_s == 0
                assert before.heal in {Heal.OVERLAP, Heal.END} or not KINDS[before.kind].lasts


def test_what_does_nothing_by_itself_is_followed_by_something() -> None:
    for group in plan(2, MANY):
        kinds = [KINDS[step.kind] for step in group.steps]
        assert not kinds[-1].preparing, group
        assert len({kind.name for kind in kinds}) == len(kinds), group
        assert len(kinds) == 1 or not any(kind.alone for kind in kinds), group
        for kind, step in zip(kinds, group.steps, strict=True):
            assert step.target in kind.targets
            assert kind.lasts or step.heal is Heal.SOON
            assert not kind.preparing or step.heal is Heal.END


def test_the_last_fault_of_a_group_overlaps_with_none_to_come() -> None:
    assert all(group.steps[-1].heal is not Heal.OVERLAP for group in plan(4, MANY))


@pytest.mark.parametrize("labs", [1, 2, 5])
def test_every_group_is_dealt_to_one_lab(labs: int) -> None:
    groups = plan(5, 100)
    dealt = share(groups, labs)
    assert sorted(group.number for group in itertools.chain(*dealt)) == [group.number for group in groups]
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_one_group_alone_is_the_group_of_the_whole_plan(tmp_path: Path) -> None:
    choice = parse(["--faults", "60", "--seed", "9", "--labs", "3", "--only", "4", "--mode", "async"])
    [spec] = make_specs(choice, plan(9, 60), tmp_path)
    assert (spec.lab, spec.groups, spec.seed, spec.faults, spec.mode) == (1, [4], 9, 60, "async")


def test_without_a_number_there_are_two_labs_a_core_but_none_for_nothing(tmp_path: Path) -> None:
    cores = os.cpu_count() or 1
    for faults, labs in ((200, 2 * cores), (1, 1)):
        specs = make_specs(parse(["--faults", str(faults)]), plan(1, faults), tmp_path)
        assert len(specs) == labs
        assert sorted(itertools.chain(*(spec.groups for spec in specs))) == [g.number for g in plan(1, faults)]


# --- the table -------------------------------------------------------------------------------------------


def fault(kind: str, group: int, **values: Any) -> dict[str, Any]:
    return {"life": 1, "group": group, "number": 1, "kind": kind, "target": "alpha", "void": "", "began_s": 10.0,
            "healed_s": 12.0, "healthy_s": 15.0, "write_s": 4.0, "read_s": 1.0, "lost": 0} | values


def result(lab: int, *faults: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"lab": lab, "faults": list(faults), "violations": [], "losses": [], "operator": [],
            "counts": {"ack": 5, "standby_lag_max_s": lab}, "groups_done": 1, "lives": 1, "error": ""} | values


def test_results_of_labs_are_merged_by_kind() -> None:
    document = report.merge([
        result(1, fault("cut-off", 1), fault("switchover", 2, write_s=0.5, void="off")),
        result(2, fault("cut-off", 3, write_s=8.0, healed_s=None, lost=2)),
    ])
    [cut, switchover] = document["kinds"]
    assert (cut["kind"], cut["count"], cut["void"]) == ("cut-off", 2, 0)
    assert cut["write_outage_s"] == {"median": 6.0, "p95": 8.0, "max": 8.0}
    assert cut["healthy_s"]["max"] == 5.0
    assert (cut["lost"], switchover["lost"]) == (2, 0)
    assert (switchover["count"], switchover["void"], switchover["write_outage_s"]) == (0, 1, {})
    assert (document["faults"], document["void"]) == (2, 1)
    assert document["counts"] == {"ack": 10, "standby_lag_max_s": 2}


def test_time_to_healthy_counts_from_the_last_fault_of_the_group() -> None:
    document = report.merge([result(1, fault("cut-off", 1), fault("power-off", 1, healed_s=14.0))])
    assert [line["healthy_s"]["median"] for line in document["kinds"]] == [1.0, 1.0]
    assert document["alone"] == [], "they overlapped"


def test_a_pair_that_did_not_come_back_is_no_time_but_a_count() -> None:
    [line] = report.merge([result(1, fault("cut-off", 1, healthy_s=None))])["kinds"]
    assert (line["healthy_s"], line["never_healthy"]) == ({}, 1)


def test_violations_and_errors_of_all_labs_are_told() -> None:
    wrong = {"life": 1, "kind": "lost", "text": "row 7 of client 1", "at_s": 3.0}
    document = report.merge([result(1, violations=[wrong]), result(2, error="no lab")])
    document |= {"command": "scripts/chaos", "about": {"postgresql": "15.0"}, "seconds": 1.0}
    told = report.text(document)
    assert "VIOLATION: lab 1 life 1 at 3.000: lost: row 7 of client 1" in told
    assert "ERROR: lab 2: no lab" in told
    assert told.endswith("1 violations, 1 errors")


@pytest.mark.parametrize(("count", "expected"), [(1, 0.0), (2, 1.0), (100, 94.0)])
def test_percentile(count: int, expected: float) -> None:
    assert report.percentile(list(map(float, reversed(range(count)))), 0.95) == expected


# --- the timeline ----------------------------------------------------------------------------------------


def test_a_log_gets_the_clock_of_the_histories() -> None:
    log = ("2026-11-21 06:24:38.075+00:00 done: MountArchive() in 4 ms\n  more\n"
           "2026-11-21 06:24:39.000 UTC [7] LOG:  up\n")
    events = list(timeline.from_log("pgvip alpha", log, 1_795_242_270.0))
    assert [(round(event.at_s, 3), event.what) for event in events] == [
        (8.075, "done: MountArchive() in 4 ms"), (8.075, "    more"), (9.0, "[7] LOG:  up")]


def test_a_crowd_of_equal_lines_is_cut_short() -> None:
    crowd = [timeline.Event(1 + n / 100, "beta", f"try {n} failed") for n in range(9)]
    assert [event.what for event in timeline.without_repeats(crowd)] == [
        "try 0 failed", "try 1 failed", "try 2 failed", "    ... 6 more like it"]


def test_gaps_and_changes_are_events() -> None:
    def write(at_s: float) -> Write:
        return Write(1, 1, Kind.INSERT, 1, at_s, at_s, Outcome.ACK, "i")

    probes = [Probe("alpha", at_s, at_s, answer, "i") for at_s, answer in ((1, True), (2, True), (3, None))]
    events = sorted(timeline.from_histories(Histories([write(1), write(1.1), write(4.0)], [], probes, [])))
    assert [(event.who, event.what) for event in events] == [
        ("probe alpha", "PostgreSQL takes writes"), ("clients", "the last write for 2.90 s"),
        ("probe alpha", "PostgreSQL does not answer"), ("clients", "the last write of all"),
        ("clients", "writes again")]


def test_it_is_written_in_order(tmp_path: Path) -> None:
    timeline.write(tmp_path / "t", [timeline.Event(2.0, "b", "later"), timeline.Event(1.0, "a", "earlier")], 0.0)
    lines = (tmp_path / "t").read_text().splitlines()
    assert [line.split()[-1] for line in lines] == ["earlier", "later"]
