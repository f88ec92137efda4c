"""`pgvip explain`: what would happen if the primary, the standby or the link between them failed now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.cli.output import columns, duration, put, put_json
from pgvip.cli.where import daemon_socket
from pgvip.errors import Exit
from pgvip.link.operator_socket import call, raise_failure
from pgvip.text.writing import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HELP = "say what would happen if a host, a database or the link failed now"
EXIT_CODES = {
    0: "the standby would take over from a dead host, and from a dead database",
    5: "",
    6: "from one of them it would not: the blockers say why",
}
TIMEOUT_S = 30.0
Document = dict[str, Any]
NAMES = ("primary-host", "primary-database", "standby-host", "link", "gateway", "switchover")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `explain`."""
    parser.description = (
        "Say what would happen now, by the same table that the daemons decide by: if the primary's host or its "
        "database died, if the standby died, if the link were cut, if the primary lost its gateway, if a switchover "
        "were ordered. Step by step, with the expected outage and loss, and everything that prevents it. "
        "Nothing is changed. The keys of --json are in docs/explain.md. Example: pgvip explain primary-host"
    )
    parser.add_argument("scenario", nargs="*", choices=[[], *NAMES], metavar="SCENARIO", help=", ".join(NAMES))
    parser.add_argument("-s", "--short", action="store_true", help="one line for each scenario")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Ask the daemon and print. Returns the exit code."""
    reply = call(daemon_socket(args), {"command": "explain"}, TIMEOUT_S)
    raise_failure(reply)
    document: Document = reply["explain"]
    if args.scenario:
        document["scenarios"] = [one for one in document["scenarios"] if one["name"] in args.scenario]
    if args.json:
        put_json(document)
    else:
        put("\n".join(render(one_line(document), short=args.short)))
    return int(Exit.OK if document["takeover_works"] else Exit.BLOCKED)


def render(document: Document, *, short: bool = False) -> list[str]:
    """All lines of `pgvip explain`."""
    works = "would take over now" if document["takeover_works"] else "would NOT take over now"
    works = "is removed: nobody takes over" if document.get("removed") else works
    where = f"pair {document['pair']}: {document['primary']} is primary"
    lines = [f"{where}; {document['standby']} {works}, as seen by {document['host']}"]
    if short:
        return [*lines, *columns([(one["name"], _in_short(one)) for one in document["scenarios"]], "  ")]
    for scenario in document["scenarios"]:
        lines += ["", *_scenario(scenario)]
    return lines


def _in_short(scenario: Document) -> str:
    """One line: what comes, and the names of what prevents it."""
    names = ", ".join(blocker["name"] for blocker in _each_once(scenario["blockers"]))
    cautions = len(scenario["cautions"])
    marks = [f"BLOCKED by {names}"] if names else []
    marks += [f"{cautions} caution{'s' if cautions > 1 else ''}"] if cautions else []
    return f"{scenario['summary']} [{'; '.join(marks)}]" if marks else str(scenario["summary"])


def _scenario(scenario: Document) -> Iterator[str]:
    yield f"If {scenario['title']}  [{scenario['name']}]"
    yield f"  => {scenario['summary']}"
    width = max(len(step["host"]) for step in scenario["steps"])
    for step in scenario["steps"]:
        change = f"  [{step['change']}]" if step["change"] else ""
        yield f"     {step['at_s']:7.2f} s  {step['host']:{width}}  {step['text']}{change}"
    yield f"     no writes: {_outage(scenario)}; no reads by the standby VIP: {_about(scenario['read_outage_s'])}"
    yield f"     loss: {scenario['loss']}"
    for caution in scenario["cautions"]:
        yield f"     caution: {caution}"
    for blocker in _each_once(scenario["blockers"]):
        yield f"     BLOCKER {blocker['name']}: {blocker['text']}"
        yield f"       hint: {blocker['hint']}"


def _outage(scenario: Document) -> str:
    expected_s, longest_s = scenario["outage_s"], scenario["outage_max_s"]
    if expected_s == 0 and longest_s == 0:
        return "none"
    longest = "not by itself" if longest_s is None else f"at most {duration(longest_s)}"
    return f"{_about(expected_s)} ({longest} if every step takes its whole time-out)"


def _about(seconds: float | None) -> str:
    return "until somebody acts" if seconds is None else "none" if seconds == 0 else f"about {duration(seconds)}"


def _each_once(blockers: list[Document]) -> list[Document]:
    return list({blocker["text"]: blocker for blocker in blockers}.values())
