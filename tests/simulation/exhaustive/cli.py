"""`scripts/simulate --exhaustive`: explore every interleaving within bounds, and say how many states there are."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from tests.simulation.exhaustive.faults import KINDS, WITNESS_KINDS
from tests.simulation.exhaustive.search import Bounds, Found, Search

SAY_EVERY_S = 5.0
CONFIGURATIONS: dict[str, Bounds] = {
    "faults-1": Bounds(faults=1),
    "faults-1-delays-1": Bounds(faults=1, delays=1),
    "faults-1-copies-1": Bounds(faults=1, copies=1),
    "faults-2": Bounds(faults=2),
}
"""Bounds by name; what is measured with each stands in docs/dev/proof.md."""


def say(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    stream.write(text + "\n")
    stream.flush()


def words(found: Found) -> str:
    """The bounds, what was seen within them, and whether that is all there is."""
    b = found.bounds
    kinds = "every kind" if b.kinds == KINDS else ", ".join(b.kinds)
    lines = [
        f"bounds: {b.faults} faults ({kinds}), {b.delays} delays, {b.copies} kept messages"
        f", {'sync' if b.sync else 'async'}{', with a witness' if b.witness else ''}"
        f", first step {'free' if b.orders else 'fixed'}, boot {b.boot} ticks"
        f", terms up to {b.terms}"
        + (f", {b.steps} steps" if b.steps else ", no bound on steps"),
        f"states {found.states}, transitions {found.transitions}, depth {found.depth}, {found.ends} at the last term",
        f"distinct rounds of the core {found.rounds}, distinct knowledge {found.knowledge}",
        f"followed back to health {found.recovered}"
        + (f" (one state between two ticks in {b.recovery})" if b.recovery > 1 else " (every state between two ticks)")
        + f", longest way {found.longest} steps",
        f"{found.seconds:.1f} s, {found.cpu_s:.1f} s of processor time",
    ]
    if found.violation:
        lines += [*found.trace, f"VIOLATION {found.violation}"]
    elif found.cut_off:
        lines.append(f"CUT OFF {found.cut_off}; no violation until then")
    else:
        lines.append("exhausted: no state within the bounds is left, and no violation")
    return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulate --exhaustive", description=__doc__)
    parser.add_argument("--exhaustive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--configuration", choices=CONFIGURATIONS, help="bounds by name; the others change them")
    parser.add_argument("--faults", type=int, help="faults on one path")
    parser.add_argument("--delays", type=int, help="slow, failing or lost steps on one path")
    parser.add_argument("--copies", type=int, help="messages that may come at any later time")
    parser.add_argument("--kinds", help=f"kinds of faults, by commas: {', '.join(KINDS)}")
    parser.add_argument("--async", dest="sync", action="store_false", default=None, help="a pair in async")
    parser.add_argument("--witness", action="store_true", default=None, help="a pair with a witness and without fences")
    parser.add_argument("--fixed-order", dest="orders", action="store_false", default=None,
                        help="the first host's daemon steps first in every tick")
    parser.add_argument("--boot", type=int, help="ticks from power to the daemon's start")
    parser.add_argument("--terms", type=int, help="paths end at records of a higher term")
    parser.add_argument("--steps", type=int, help="paths end after so many steps (a tick is two or three)")
    parser.add_argument("--states", type=int, help="cut the search off at so many states")
    parser.add_argument("--seconds", type=float, help="cut the search off after so many seconds")
    parser.add_argument("--recovery", type=int, help="follow one state in so many back to health; 0: none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to FILE as well")
    return parser  # fmt: skip


def bounds(options: argparse.Namespace) -> Bounds:
    base = CONFIGURATIONS[options.configuration] if options.configuration else Bounds()
    given = {name: value for name in Bounds.__slots__ if (value := getattr(options, name, None)) is not None}
    if options.kinds is not None:
        given["kinds"] = tuple(kind.strip() for kind in options.kinds.split(","))
        unknown = set(given["kinds"]) - set(WITNESS_KINDS if options.witness else KINDS)
        if unknown:
            raise SystemExit(f"no such kind of fault: {', '.join(sorted(unknown))}")
    return replace(base, **given)


class Progress:
    """A line now and then."""

    def __init__(self) -> None:
        self.said_s = time.monotonic()

    def __call__(self, found: Found, waiting: int) -> None:
        now_s = time.monotonic()
        if now_s - self.said_s >= SAY_EVERY_S:
            self.said_s = now_s
            say(
                f"{found.seconds:6.0f} s  {found.states} states, {found.transitions} transitions, depth {found.depth},"
                f" {waiting} states to go on from",
                error=True,
            )


def main(words_given: list[str]) -> int:
    """Search; 1 when something that must hold did not."""
    options = arguments().parse_args(words_given)
    found = Search(bounds(options), Progress()).run()
    say(words(found))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    return int(bool(found.violation))
