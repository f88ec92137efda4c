"""Mutations of the shell, by hand: each breaks one promise, and the test that is named for it must notice.

Exit 1 when a test stays green, when it is red without the mutation, or when code is not where the table says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.checkout import REPOSITORY, copy_to
from tests.mutation.shell_table import MUTATIONS, Mutation

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S = 300.0
"""For one run of tests: those with a real PostgreSQL have limits of their own."""
RED, GREEN, ELSE = "red", "SURVIVED", "NOT JUDGED"
LAB = "tests/lab/"


def say(text: str, *, end: str = "\n", error: bool = False) -> None:
    """One line to the terminal, at once."""
    stream = sys.stderr if error else sys.stdout
    stream.write(text + end)
    stream.flush()


def mutated(text: str, mutation: Mutation) -> str:
    """The module's text with the mutation; ValueError when the old text is not there exactly once."""
    count = text.count(mutation.old)
    if count != 1:
        raise ValueError(f"{mutation.name}: found {count} times in {mutation.file}: {mutation.old!r}")
    return text.replace(mutation.old, mutation.new)


class Bench:
    """A copy of the checkout, in which one mutation is made at a time. `words`: more options for pytest."""

    def __init__(self, place: Path, words: Sequence[str]) -> None:
        self._copy, self._temporary, self._words = place / "copy", place / "tests", words
        self._stamp = int(time.time())
        copy_to(self._copy)

    def judge(self, mutation: Mutation) -> str:
        """What the named test makes of it."""
        path = self._copy / mutation.file
        text = path.read_text(encoding="utf-8")
        self._write(path, mutated(text, mutation))
        try:
            code, said = self.run([mutation.test])
        finally:
            self._write(path, text)
        if code == 0:
            return GREEN
        return RED if f"FAILED {mutation.test}" in said else f"{ELSE}: {said[-200:]}"

    def _write(self, path: Path, text: str) -> None:
        """With a time that it never had: what was compiled of another text of the same size is not used."""
        path.write_text(text, encoding="utf-8")
        self._stamp += 1
        os.utime(path, (self._stamp, self._stamp))

    def run(self, tests: list[str]) -> tuple[int, str]:
        """Run tests of the copy; pytest's exit code and what it said."""
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *self._words]
        environment = os.environ | {"PYTHONPATH": str(self._copy)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command += [f"--basetemp={self._temporary}", *tests]
        limit_s = LIMIT_S * len(tests)
        try:
            done = subprocess.run(
                command, cwd=self._copy, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return -1, "out of time"
        return done.returncode, done.stdout.strip()


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/mutate --shell", description=__doc__)
    parser.add_argument("--only", action="append", metavar="WORD", help="those whose name has this word; repeatable")
    parser.add_argument("--units", action="store_true", help="only those that need no PostgreSQL")
    parser.add_argument("--list", action="store_true", help="name them and their tests; run nothing")
    parser.add_argument("--postgres", metavar="VERSION", help="of the tests with a real PostgreSQL, as for tests/lab")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Mutation]:
    """The mutations to judge."""
    return [
        mutation
        for mutation in MUTATIONS
        if not (options.units and mutation.test.startswith(LAB))
        and (not options.only or any(word in mutation.name for word in options.only))
    ]


def misplaced(mutations: list[Mutation]) -> list[str]:
    """What the table says of the code that is not so."""
    wrong: list[str] = []
    for mutation in mutations:
        try:
            mutated((REPOSITORY / mutation.file).read_text(encoding="utf-8"), mutation)
        except (OSError, ValueError) as failure:
            wrong.append(str(failure))
    return wrong


def judged(bench: Bench, mutations: list[Mutation]) -> dict[str, str]:
    """The outcome of each by its name, with progress."""
    outcomes: dict[str, str] = {}
    begun_s = time.monotonic()
    for number, mutation in enumerate(mutations, 1):
        passed_s = time.monotonic() - begun_s
        say(f"\r\x1b[K{number}/{len(mutations)}, {passed_s:.0f} s: {mutation.name}", end="", error=True)
        outcome = bench.judge(mutation)
        # A server of the tests that did not come up in time on a busy machine says nothing: asked once more.
        outcomes[mutation.name] = bench.judge(mutation) if outcome.startswith(ELSE) else outcome
    say("", error=True)
    return outcomes


def main() -> int:
    """Judge, and say what came of it."""
    options = arguments()
    mutations = chosen(options)
    if options.list:
        for mutation in mutations:
            say(f"{mutation.name}: {mutation.test}")
        return 0
    if wrong := misplaced(mutations):
        say("\n".join(wrong), error=True)
        return 1
    words = [f"--postgres={options.postgres}"] if options.postgres else []
    with tempfile.TemporaryDirectory(prefix="pgvip-shell-") as place:
        Path(place).chmod(0o755)  # PostgreSQL's user runs commands of the copy
        bench = Bench(Path(place), words)
        tests = sorted({mutation.test for mutation in mutations})
        say(f"{len(tests)} tests without any mutation", error=True)
        code, said = bench.run(tests)
        if code != 0:
            say(f"nothing judged: they are not green\n{said}", error=True)
            return 1
        outcomes = judged(bench, mutations)
    width = max(map(len, outcomes), default=0)
    for mutation in mutations:
        say(f"{mutation.name:{width}}  {outcomes[mutation.name]:10}  {mutation.test}")
    red = sum(outcome == RED for outcome in outcomes.values())
    say(f"{red} of {len(outcomes)} turn red")
    return int(red != len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
