"""Every safety rule of PROTOCOL.md with the switch that breaks it; `python -m tests.simulation.rules` writes the table.

--measure   hunt every rule from several first seeds, and keep how many runs each took (tests/simulation/measured.json)
--check     only say whether docs/proof-rules.md is current
NAME...     hunt these rules, and show the trace of what is found
"""

from __future__ import annotations

import json
import sys
from inspect import getdoc
from pathlib import Path
from statistics import median
from time import process_time

from tests.simulation import (
    rules_answers,
    rules_boot,
    rules_changes,
    rules_claims,
    rules_grants,
    rules_numbered,
    rules_record,
    rules_rights,
)
from tests.simulation.rule import Rule

BASES = (1, 1001, 2001, 3001, 4001)
"""First seeds of the hunts that are measured."""
LONG = 100
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "proof-rules.md"
MEASURED = Path(__file__).with_name("measured.json")

RULES: tuple[Rule, ...] = (
    *rules_numbered.RULES, *rules_record.RULES, *rules_rights.RULES, *rules_boot.RULES, *rules_changes.RULES,
    *rules_answers.RULES, *rules_claims.RULES, *rules_grants.RULES,
)  # fmt: skip


def measure(rule: Rule) -> dict[str, list[int] | float]:
    """How many runs the hunts took from each first seed, and the processor time of all in seconds."""
    start_s = process_time()
    counts = [rule.hunt(first, LONG)[0] for first in BASES]
    return {"runs": counts, "seconds": round(process_time() - start_s, 1)}


def first_line(of: object) -> str:
    return (getdoc(of) or "").splitlines()[0]


def table() -> str:
    """docs/proof-rules.md, from the registry and from what was measured."""
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
    return "\n".join(lines) + "\n"


HEAD = """\
# The proof tested

<!-- made by `python -m tests.simulation.rules`; the test test_table_is_current fails when it is not current -->

For each safety rule of the protocol there is a switch, in the test code only, that breaks this one rule. With the rule
broken the simulation must find a violation within a stated number of runs of a directed play; with all rules whole the
same plays must hold.

| rule | sentence of PROTOCOL.md | broken | play | faults it needs | test | found as | runs: median of 5 hunts |
|---|---|---|---|---|---|---|---|"""


def main(words: list[str]) -> int:
    if "--measure" in words:
        figures = {}
        for rule in RULES:
            figures[rule.name] = measure(rule)
            print(rule.name, figures[rule.name], flush=True)
        MEASURED.write_text(json.dumps(figures, indent=1) + "\n")
    if "--check" in words:
        return int(TABLE.read_text() != table())
    for name in [word for word in words if not word.startswith("--")]:
        rule = next(rule for rule in RULES if rule.name == name)
        count, found = rule.hunt(runs=LONG)
        print(f"{name}: {found.failure if found else 'nothing'} after {count} runs")
        if found:
            print("\n".join(rule.broken(found.seed, trace=True).lines))
        return int(found is None)
    TABLE.write_text(table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
