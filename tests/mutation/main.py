"""Mutation testing of the core: mutmut's operators change it, unit tests and simulation must notice.

Exit 1 when fewer than 90 % are killed, or when a survivor is not listed in docs/dev/mutants.md with why it is harmless.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutation.cases import files
from tests.mutation.checkout import REPOSITORY, copy_to
from tests.mutation.judge import REFUSED, SURVIVED, Bench, Spoilt, Verdict, judge_all
from tests.mutation.kept import KEPT, Kept, harmless
from tests.mutation.mutants import CORE, Mutant, modules, mutants
from tests.mutation.typed import refused

GOAL = 90.0
SAVE_EVERY_S = 20.0
QUICK_S = 0.01


def say(text: str, *, end: str = "\n", error: bool = False) -> None:
    """One line to the terminal, at once."""
    stream = sys.stderr if error else sys.stdout
    stream.write(text + end)
    stream.flush()


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/mutate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", action="append", help="only this module, such as core/rights.py; may be repeated")
    parser.add_argument("--changed", action="store_true", help="only modules that differ from the last commit")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1, help="of --sample (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="short unit tests only; survivors are judged anew later")
    parser.add_argument("--units", action="store_true", help="unit tests only, without the simulation")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--survivors", action="store_true", help="name also the survivors that are accounted for")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant's verdict")
    parser.add_argument("--copy-of", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The mutants to judge."""
    paths = modules()
    if options.module:
        wanted = {Path(name).name for name in options.module}
        paths = [path for path in paths if path.name in wanted]
    if options.changed:
        command = ["git", "-C", str(options.copy_of), "diff", "--name-only", "HEAD", "--", str(CORE)]
        changed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        paths = [path for path in paths if str(path) in changed]
    found: list[Mutant] = []
    for path in paths:
        say(f"\r\x1b[Kmaking mutants of {path.name}", end="", error=True)
        found += mutants(path)
    if options.sample:
        draw = random.Random(options.seed)
        found = draw.sample(found, min(options.sample, len(found)))
    return found


def judged(found: list[Mutant], kept: Kept, options: argparse.Namespace) -> None:
    """Judge what is not known yet, with progress; keep what comes."""
    left = [mutant for mutant in found if not kept.is_settled(mutant)]
    if not left:
        return
    random.Random(options.seed).shuffle(left)
    began_s = saved_s = time.monotonic()
    done: Counter[str] = Counter()

    def heard(mutant: Mutant, verdict: Verdict) -> None:
        nonlocal saved_s
        kept.add(mutant, verdict)
        done[verdict.outcome] += 1
        now_s = time.monotonic()
        if now_s - saved_s > SAVE_EVERY_S:
            keep(kept, options)
            saved_s = now_s
        counts = ", ".join(f"{count} {outcome}" for outcome, count in done.items())
        say(f"\r\x1b[K{done.total()}/{len(left)}: {counts}, {now_s - began_s:.0f} s", end="", error=True)

    say(f"\r\x1b[K{len(left)} to judge, {len(found) - len(left)} known; first the tests without any", error=True)
    try:
        longest_s = QUICK_S if options.quick else float("inf")
        bench = Bench(files(simulation=not (options.quick or options.units)), options.jobs, kept.skips, longest_s)
        judge_all(left, bench, heard)
    finally:
        keep(kept, options)
        say("", error=True)


def check_types(found: list[Mutant], kept: Kept, options: argparse.Namespace) -> None:
    """Ask the type checker about what survived the tests."""
    survivors = [m for m in found if (entry := kept.entry(m)) is not None and entry.outcome == SURVIVED]
    say(f"{len(survivors)} survivors before the type checker", error=True)
    for mutant in refused(survivors):
        kept.add(mutant, Verdict(REFUSED, "mypy"))
    keep(kept, options)


def report(found: list[Mutant], kept: Kept, options: argparse.Namespace) -> int:
    """Say what came of it; the exit code."""
    known = harmless()
    entries = {mutant.identity: kept.entry(mutant) for mutant in found}
    survivors = [name for name, entry in entries.items() if entry is not None and entry.outcome == SURVIVED]
    strange = [name for name in survivors if name not in known]
    types = sum(entry is not None and entry.outcome == REFUSED for entry in entries.values())
    killed = len(found) - len(survivors) - types
    for name in survivors if options.survivors else strange:
        say(f"survived{'' if name in strange else ' (accounted for)'}: {name}")
    if not options.sample and not options.quick:
        whole = {mutant.module for mutant in found}
        for name in sorted(known - set(survivors)):
            if name.split()[0] in whole:
                say(f"listed in docs/dev/mutants.md, but {'killed' if name in entries else 'gone'}: {name}")
    if options.json:
        rows = [{"mutant": n, "outcome": e.outcome, "by": e.by} for n, e in entries.items() if e is not None]
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    share = 100.0 * killed / max(1, killed + len(survivors))
    say(
        f"{len(found)} mutants: {types} refused by the type checker; of the others {killed} killed ({share:.1f} %), "
        f"{len(survivors)} survivors, of which {len(strange)} are not accounted for"
    )
    return int(share < GOAL or bool(strange))


def keep(kept: Kept, options: argparse.Namespace) -> None:
    """Next to the tree itself, for the next run."""
    kept.write()
    shutil.copy(KEPT, options.copy_of)


def in_copy(options: argparse.Namespace) -> int:
    """Do it all in a copy of the tree, which stays as it is meanwhile."""
    with tempfile.TemporaryDirectory(prefix="pgvip-mutants-") as copy:
        copy_to(Path(copy), KEPT)
        command = [sys.executable, "-m", "tests.mutation.main", *sys.argv[1:], "--copy-of", str(REPOSITORY)]
        command += ["--json", str(options.json.absolute())] if options.json else []
        # Without compiled files every mutant at module level would compile all tests anew.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return subprocess.run(command, check=False, env=environment, cwd=copy).returncode


def main() -> int:
    """Judge, and say what came of it."""
    options = arguments()
    if options.copy_of is None:
        return in_copy(options)
    os.chdir(REPOSITORY)
    kept = Kept(files(simulation=not (options.quick or options.units)), fresh=options.fresh, whole=not options.quick)
    found = chosen(options)
    try:
        judged(found, kept, options)
        check_types(found, kept, options)
    except Spoilt as reason:
        say(f"nothing judged: {reason}", error=True)
        return 2
    return report(found, kept, options)


if __name__ == "__main__":
    sys.exit(main())
