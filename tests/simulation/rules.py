"""Every safety rule of docs/protocol.md and its switch; `python -m tests.simulation.rules` writes the table.

--measure [NAME...]    hunt rules (all, or these) from five first seeds, and keep how many runs each took
--redundant [NAME...]  break redundant rules in every play and in random runs: what is found, if anything
--missing              with these: only what has not been measured (tests/simulation/measured.json) yet
--check                only say whether docs/dev/proof-rules.md is current
NAME...                hunt these rules, and show the trace of what is found
"""

from __future__ import annotations

import json
import re
import sys
from inspect import getdoc
from pathlib import Path
from statistics import median
from time import process_time

import pytest

from tests.simulation import (
    rules_answers,
    rules_boot,
    rules_changes,
    rules_claims,
    rules_grants,
    rules_holding,
    rules_numbered,
    rules_orders,
    rules_record,
    rules_rights,
    rules_witness,
)
from tests.simulation.rule import Rule
from tests.simulation.rules_redundant import ELSEWHERE, REDUNDANT, Redundant
from tests.simulation.run import run

BASES = (1, 1001, 2001, 3001, 4001)
"""First seeds of the hunts that are measured."""
LONG = 100
RANDOM = 25
"""Random runs with a redundant rule broken, beside one run of every play."""
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "dev" / "proof-rules.md"
MEASURED = Path(__file__).with_name("measured.json")

RULES: tuple[Rule, ...] = (
    *rules_numbered.RULES, *rules_record.RULES, *rules_rights.RULES, *rules_holding.RULES, *rules_boot.RULES,
    *rules_changes.RULES, *rules_answers.RULES, *rules_claims.RULES, *rules_grants.RULES,
    *rules_orders.RULES, *rules_witness.RULES,
)  # fmt: skip


def measure(rule: Rule) -> dict[str, list[int] | float]:
    """How many runs the hunts took from each first seed, and the processor time of all in seconds."""
    start_s = process_time()
    counts = [rule.hunt(first, LONG)[0] for first in BASES]
    return {"runs": counts, "seconds": round(process_time() - start_s, 1)}


def plays() -> list[Rule]:
    """One rule for each play: several rules share one."""
    return list({(rule.play, rule.sync, rule.witness, *rule.settings.items()): rule for rule in RULES}.values())


def try_redundant(rule: Redundant, first: int = 1, events: int = 2000) -> dict[str, int]:
    """The rule broken in every play, and in random runs: how many runs, and how many found something."""
    found = 0
    with pytest.MonkeyPatch.context() as patch:
        rule.switch(patch)
        outcomes = [play.run(first) for play in plays()] + [run(seed, events) for seed in range(first, first + RANDOM)]
    for outcome in outcomes:
        found += bool(outcome.failure)
        if outcome.failure:
            print(f"{rule.name}: seed {outcome.seed}: {outcome.failure}", flush=True)
    return {"runs": len(outcomes), "found": found}


def first_line(of: object) -> str:
    return re.sub(r"^(\[m \d+\]|\d+\.) ", "", (getdoc(of) or "").splitlines()[0])


def table() -> str:
    """docs/dev/proof-rules.md, from the registry and from what was measured."""
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    lines = [HEAD]
    for rule in RULES:
        counts = measured.get(rule.name, {}).get("runs", [])
        runs = f"{median(counts):g} (most {max(counts)}), limit {rule.runs}" if counts else "not measured"
        cells = (
            rule.name, rule.sentence.replace("|", "/"), first_line(rule.switch), first_line(rule.play), rule.faults,
            f"`test_{rule.test}_broken_is_found`", rule.finds, runs,
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines.append(REDUNDANT_HEAD)
    for one in REDUNDANT:
        tried = measured.get(one.name)
        runs = f"{tried['found']} in {tried['runs']}" if tried else "not measured"
        lines.append(f"| {one.name} | {one.sentence} | {first_line(one.switch)} | {one.behind} | {one.why} | {runs} |")
    lines.append(ELSEWHERE_HEAD)
    lines += [f"| {sentence} | `{test}` |" for sentence, test in ELSEWHERE]
    return "\n".join(lines) + "\n"


REDUNDANT_HEAD = """
## Redundant by design

Broken alone, each of these shows nothing: another rule stands behind it. The last column says how often something was
found with it broken, in a run of each play and 25 to 40 random runs of 2000 events (`--redundant`).

| rule | sentence of docs/protocol.md | broken | behind it | argument | found in runs |
|---|---|---|---|---|---|"""

ELSEWHERE_HEAD = """
## Kept by the driver

The simulation runs the core; what these sentences ask of files, devices and configuration has its own tests.

| sentence of docs/protocol.md | test |
|---|---|"""

HEAD = """\
# The proof tested

<!-- made by `python -m tests.simulation.rules`; the test test_table_is_current fails when it is not current -->

For each safety rule of the protocol there is a switch, in the test code only, that breaks this one rule. With the rule
broken the simulation must find a violation within a stated number of runs of a directed play; with all rules whole the
same plays must hold.

| rule | sentence of docs/protocol.md | broken | play | faults it needs | test | found as | runs: median of 5 hunts |
|---|---|---|---|---|---|---|---|"""


def keep(name: str, figures: dict[str, list[int] | float] | dict[str, int]) -> None:
    """Add what was measured to the file."""
    print(name, figures, flush=True)
    kept = json.loads(MEASURED.read_text())
    kept[name] = figures
    known = {rule.name for rule in RULES} | {one.name for one in REDUNDANT}
    MEASURED.write_text(json.dumps({key: kept[key] for key in kept if key in known}, indent=1) + "\n")


def show(name: str) -> int:
    """Hunt one rule and print the trace of what is found; 1 when nothing is."""
    rule = next(rule for rule in RULES if rule.name == name)
    count, found = rule.hunt(runs=LONG)
    print(f"{name}: {found.failure if found else 'nothing'} after {count} runs")
    if found:
        print("\n".join(rule.broken(found.seed, trace=True).lines))
    return int(found is None)


def main(words: list[str]) -> int:
    names = [word for word in words if not word.startswith("--")]
    past = json.loads(MEASURED.read_text()) if "--missing" in words else {}

    def wanted(name: str) -> bool:
        return name not in past and (not names or name in names)

    if "--check" in words:
        return int(TABLE.read_text() != table())
    if "--measure" in words:
        for rule in RULES:
            if wanted(rule.name):
                keep(rule.name, measure(rule))
    elif "--redundant" in words:
        for one in REDUNDANT:
            if wanted(one.name):
                keep(one.name, try_redundant(one))
    elif names:
        return max(show(name) for name in names)
    TABLE.write_text(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
