"""Mutants of the shell by the operators of the core's: each is judged by the unit tests that belong to its module.

Those are the tests that mirror the module, and the other unit tests that import it. What a lab alone tests is named
apart. It measures: survivors are no failure. Chosen mutations that must be noticed: scripts/mutate --shell.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mutation.checkout import REPOSITORY, copy_to
from tests.mutation.mutants import Mutant, mutants

PACKAGES = ("daemon", "actions", "probes", "state")
UNIT = Path("tests/unit")
LEAST_S, PATIENCE = 60.0, 10.0
"""A run of tests that takes so long, and so many times as long as without the mutant, hangs."""
KILLED, SURVIVED, HUNG, UNTESTED, UNJUDGED = "killed", "survived", "hung", "no unit test", "not judged"
CONTEXT = multiprocessing.get_context("fork")


def say(text: str, *, end: str = "\n", error: bool = False) -> None:
    """One line to the terminal, at once."""
    stream = sys.stderr if error else sys.stdout
    stream.write(text + end)
    stream.flush()


def modules() -> list[Path]:
    """The modules of the shell that are mutated."""
    found = [path for package in PACKAGES for path in sorted(Path("pgvip", package).glob("*.py"))]
    return [path for path in found if path.name != "__init__.py"]


def tests_of(module: Path) -> list[str]:
    """The unit tests that belong to a module: its mirror first, then those that import it."""
    package, name = module.parent.name, module.stem
    imports = re.compile(rf"^from pgvip\.{package}(\.{name} import|\simport [^#\n]*\b{name}\b)", re.MULTILINE)
    mirror = UNIT / package / f"test_{name}.py"
    others = sorted(UNIT.glob("*/test_*.py"), key=lambda path: (path.parent.name != package, path))
    found = [path for path in others if path != mirror and imports.search(path.read_text(encoding="utf-8"))]
    return [str(path) for path in ([mirror] if mirror.exists() else []) + found]


@dataclass
class Bench:
    """One mutant at a time is written into this copy of the checkout, and its tests run in a forked process."""

    base_s: dict[Path, float | None] = field(default_factory=dict)
    """For each module how long its tests take without a mutant; None: they are not green."""

    def judge(self, module: Path, mutant: Mutant) -> str:
        """What the module's tests make of it."""
        tests = tests_of(module)
        if not tests:
            return UNTESTED
        if module not in self.base_s:
            began_s = time.monotonic()
            outcome = run(tests, LEAST_S * PATIENCE)
            self.base_s[module] = time.monotonic() - began_s if outcome == SURVIVED else None
        base_s = self.base_s[module]
        if base_s is None:
            return UNJUDGED
        plain = module.read_text(encoding="utf-8")
        write(module, mutant.source)
        try:
            return run(tests, max(LEAST_S, PATIENCE * base_s))
        finally:
            write(module, plain)


def write(path: Path, text: str) -> None:
    """Without what was compiled of the text before, which may have the same size and time."""
    path.write_text(text, encoding="utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def run(tests: Sequence[str], limit_s: float) -> str:
    """Run tests until one fails, in a process group of their own that ends with them."""
    process = CONTEXT.Process(target=_in_child, args=(list(tests),))
    process.start()
    process.join(limit_s)
    hung = process.is_alive()
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if hung:
        return HUNG
    code = process.exitcode
    if code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        return UNJUDGED
    return SURVIVED if code == 0 else KILLED


def _in_child(tests: list[str]) -> None:
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(quiet, number)
    with tempfile.TemporaryDirectory(prefix="pgvip-shell-") as place:
        words = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", f"--basetemp={place}/t"]
        code = pytest.main([*words, *tests])
    os._exit(code)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="scripts/mutate --shell-all", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", action="append", help="only this module, such as state/record.py; may be repeated")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1, help="of --sample (default %(default)s)")
    parser.add_argument("--survivors", action="store_true", help="name the survivors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every mutant's verdict")
    parser.add_argument("--in-copy", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[tuple[Path, Mutant]]:
    """The mutants to judge, those of a module together."""
    found: list[tuple[Path, Mutant]] = []
    for path in modules():
        if not options.module or str(path.relative_to("pgvip")) in options.module:
            say(f"\r\x1b[Kmaking mutants of {path}", end="", error=True)
            found += [(path, mutant) for mutant in mutants(path)]
    if options.sample:
        found = random.Random(options.seed).sample(found, min(options.sample, len(found)))
    return sorted(found, key=lambda each: str(each[0]))


def report(outcomes: Sequence[tuple[Path, Mutant, str]], options: argparse.Namespace) -> None:
    """A line for each module, and the whole."""
    if options.survivors:
        for path, mutant, outcome in outcomes:
            if outcome == SURVIVED:
                say(f"survived: {path.parent.name}/{mutant.identity}")
    for path in dict.fromkeys(path for path, _, _ in outcomes):
        say(f"{path.relative_to('pgvip')!s:28} {figures([out for where, _, out in outcomes if where == path])}")
    say(f"{'all':28} {figures([outcome for _, _, outcome in outcomes])}")
    if options.json:
        rows = [{"mutant": f"{path.parent.name}/{m.identity}", "outcome": out} for path, m, out in outcomes]
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def figures(outcomes: Sequence[str]) -> str:
    """Counts in words; the share is of those that unit tests have judged."""
    counts = Counter(outcomes)
    killed = counts[KILLED] + counts[HUNG]
    judged = killed + counts[SURVIVED]
    share = f" ({100.0 * killed / judged:.0f} %)" if judged else ""
    rest = "".join(f", {counts[name]} {name}" for name in (UNTESTED, UNJUDGED) if counts[name])
    return f"{len(outcomes):4} mutants: {killed} of {judged} killed{share}{rest}"


def in_copy(options: argparse.Namespace) -> int:
    """Do it all in a copy of the tree, which stays as it is meanwhile."""
    with tempfile.TemporaryDirectory(prefix="pgvip-mutants-") as copy:
        Path(copy).chmod(0o755)  # PostgreSQL's user runs commands of the copy
        copy_to(Path(copy))
        command = [sys.executable, "-m", "tests.mutation.shell_all", *sys.argv[1:], "--in-copy"]
        command += ["--json", str(options.json.absolute())] if options.json else []
        environment = os.environ | {"PYTHONPATH": copy}
        return subprocess.run(command, check=False, env=environment, cwd=copy).returncode


def main() -> int:
    """Judge, and say what came of it. Exit 1 when nothing could be judged."""
    options = arguments()
    if not options.in_copy:
        return in_copy(options)
    os.chdir(REPOSITORY)
    bench, begun_s = Bench(), time.monotonic()
    outcomes: list[tuple[Path, Mutant, str]] = []
    wanted = chosen(options)
    for path, mutant in wanted:
        outcomes.append((path, mutant, bench.judge(path, mutant)))
        counts = Counter(outcome for _, _, outcome in outcomes)
        words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        passed_s = time.monotonic() - begun_s
        say(f"\r\x1b[K{len(outcomes)}/{len(wanted)}: {words}, {passed_s:.0f} s: {path}", end="", error=True)
    say("", error=True)
    report(outcomes, options)
    return int(not any(outcome in (KILLED, HUNG, SURVIVED) for _, _, outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
