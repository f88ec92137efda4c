"""Runs the tests against mutants: each in a forked process, the likeliest killer first, until one test fails.

A mutant inside a function is put in place of the function's code in a process that has everything loaded. One at
module or class level (a row of the table, a default, an enum's value) needs modules loaded anew: that takes longer.
"""

from __future__ import annotations
import __future__

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType, FunctionType, ModuleType

import coverage

from tests.mutation.cases import SCENARIOS, SLICES, Case, cases
from tests.mutation.mutants import CORE, Mutant

MEMORY = 3 << 30
"""Bytes of address space; a mutant that wants more has failed."""
PATIENCE, LEAST_S = 20.0, 10.0
"""A test that takes so many times as long as without the mutant, and at least so long, hangs."""
KILLED, SURVIVED, HUNG, REFUSED, BROKEN = "killed", "survived", "hung", "refused", "broken"
"""`REFUSED`: by the type checker, having survived the tests."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a mutant, and which test found it."""

    outcome: str
    by: str


@dataclass(frozen=True, slots=True)
class Bench:
    """How to judge: with which test files, how many mutants at a time; `skip`: tests that a mutant has survived.

    `longest_s`: only tests that take no longer.
    """

    files: Sequence[str]
    jobs: int
    skip: Callable[[Mutant, str], bool]
    longest_s: float = float("inf")


Heard = Callable[[Mutant, Verdict], None]


class Spoilt(Exception):
    """The tests fail without any mutant."""


class Hang(BaseException):
    """Raised in a test that takes too long (no `except Exception` holds it back)."""


@dataclass
class Known:
    """What is known of the tests: how long each takes, which lines it runs, what it has killed where."""

    took_s: dict[str, float] = field(default_factory=dict)
    runs: dict[str, dict[int, frozenset[str]]] = field(default_factory=dict)
    kills: dict[str, Counter[str]] = field(default_factory=dict)

    def order(self, mutant: Mutant, names: Iterable[str]) -> list[str]:
        """Of `names` those that run the mutant's lines, the likeliest killer first."""
        near = self.kills.get(mutant.module + mutant.place, Counter())
        wide = self.kills.get(mutant.module, Counter())
        reach = self.reach(mutant)
        chosen = [name for name in names if name in reach]
        return sorted(chosen, key=lambda name: self.took_s.get(name, 0.0) / (1 + 20 * near[name] + 2 * wide[name]))

    def reach(self, mutant: Mutant) -> frozenset[str]:
        """The tests that run the mutant's lines; none, when it is import that runs them."""
        lines = self.runs.get(mutant.module, {})
        first, last = mutant.lines
        return frozenset().union(*(lines.get(line, frozenset()) for line in range(first, last + 1)))

    def files(self, mutant: Mutant, names: Sequence[str]) -> list[str]:
        """The test files, the likeliest killer first; those of the simulation last."""
        kills: Counter[str] = Counter()
        for name, count in self.kills.get(mutant.module, Counter()).items():
            kills[name.partition("::")[0]] += count
        took_s = {file: sum(s for name, s in self.took_s.items() if name.startswith(f"{file}::")) for file in names}
        return sorted(names, key=lambda name: (name in (SCENARIOS, SLICES), -kills[name], took_s[name]))

    def killed(self, mutant: Mutant, by: str) -> None:
        for where in (mutant.module + mutant.place, mutant.module):
            self.kills.setdefault(where, Counter())[by] += 1


# --- one mutant -----------------------------------------------------------------------------------------------


def until_one_fails(tests: Iterable[Case], known: Known) -> Verdict:
    """In the forked process: the first test that fails, or hangs, or none."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, _alarm)
    for case in tests:
        # In seconds of this process's own work: how busy the machine is must not kill a mutant.
        signal.setitimer(signal.ITIMER_PROF, max(LEAST_S, PATIENCE * known.took_s.get(case.name, 0.0)))
        try:
            if not case.passes():
                return Verdict(KILLED, case.name)
        except Hang:
            return Verdict(HUNG, case.name)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    return Verdict(SURVIVED, "")


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise Hang


def swap(mutant: Mutant) -> None:
    """Put the mutant's code in the place of the function's."""
    module = sys.modules[_name(mutant)]
    flags = __future__.annotations.compiler_flag
    code = compile("\n" * mutant.above + mutant.part, str(module.__file__), "exec", flags, dont_inherit=True)
    _function(module, mutant.place).__code__ = next(_codes(code, mutant.place))


def _name(mutant: Mutant) -> str:
    return f"pgvip.core.{mutant.module.removesuffix('.py')}"


def _codes(code: CodeType, name: str) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_qualname == name:
                yield each
            yield from _codes(each, name)


def _function(module: ModuleType, place: str) -> FunctionType:
    """The function of that qualified name, out of whatever wraps it."""
    found: object = module
    for name in place.split("."):
        found = vars(found)[name]
    for inner in ("compute", "fget", "__func__"):
        found = getattr(found, inner, found)
    assert isinstance(found, FunctionType), place
    return found


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the mutant in place of its module."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = _name(mutant)
        self.path = str((CORE / mutant.module).resolve())
        self.source = mutant.source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_source(self, fullname: str) -> str:
        return self.source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec")


# --- many mutants ---------------------------------------------------------------------------------------------


def judge_all(mutants: Sequence[Mutant], bench: Bench, heard: Heard) -> None:
    """Judge every mutant, telling `heard` of each.

    Raises Spoilt when the tests fail by themselves. Nothing of pgvip may have been imported before.
    """
    known = _inside(mutants, bench, heard)

    def judge(mutant: Mutant) -> Verdict:
        sys.meta_path.insert(0, Replaced(mutant))
        for file in known.files(mutant, bench.files):
            if bench.skip(mutant, file):
                continue
            try:
                tests = [case for case in cases(file) if known.took_s.get(case.name, 0.0) <= bench.longest_s]
            except Exception:  # noqa: BLE001 - whatever it is, the mutant cannot be imported
                return Verdict(KILLED, "import")
            verdict = until_one_fails(tests, known)
            if verdict.outcome != SURVIVED:
                return verdict
        return Verdict(SURVIVED, "")

    def learned(mutant: Mutant, verdict: Verdict) -> None:
        known.killed(mutant, verdict.by)
        heard(mutant, verdict)

    outside = [mutant for mutant in mutants if not mutant.place or not known.reach(mutant)]
    in_processes(outside, bench.jobs, judge, learned)


def _inside(mutants: Sequence[Mutant], bench: Bench, heard: Heard) -> Known:
    """Those inside functions, in a process of their own, since it imports the core; what it learned of the tests."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def serve() -> None:
        try:
            server = Server(bench)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the parent must hear of it
            there.send([f"they cannot be loaded: {fault!r}"])
            return
        if not server.failed:
            reached = server.known.reach
            inside = [(number, each) for number, each in enumerate(mutants) if each.place and reached(each)]
            numbers = {mutant.identity: number for number, mutant in inside}
            tell = lambda mutant, verdict: there.send((numbers[mutant.identity], verdict))  # noqa: E731 - one use
            in_processes([mutant for _, mutant in inside], bench.jobs, server.judge, server.learning(tell))
        there.send(server.failed or server.known)

    process = context.Process(target=serve)
    process.start()
    there.close()
    while isinstance(said := here.recv(), tuple):
        number, verdict = said
        heard(mutants[number], verdict)
    process.join()
    if not isinstance(said, Known):
        raise Spoilt(f"these tests fail without any mutant: {', '.join(said)}")
    return said


class Server:
    """Everything loaded once, and the tests run once without any mutant."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.known = Known()
        self.failed: list[str] = []
        self.cases = {case.name: case for file in bench.files for case in cases(file)}
        seen = coverage.Coverage(data_file=None, config_file=False, include=[f"{CORE.resolve()}/*"])
        seen.start()
        for name, case in self.cases.items():
            seen.switch_context(name)
            began_s = time.process_time()
            if not case.passes():
                self.failed.append(name)
            self.known.took_s[name] = time.process_time() - began_s
        seen.stop()
        self.cases = {name: case for name, case in self.cases.items() if self.known.took_s[name] <= bench.longest_s}
        for path in CORE.glob("*.py"):
            lines = seen.get_data().contexts_by_lineno(str(path.resolve()))
            self.known.runs[path.name] = {line: frozenset(names) for line, names in lines.items()}

    def judge(self, mutant: Mutant) -> Verdict:
        swap(mutant)
        names = [name for name in self.cases if not self.bench.skip(mutant, name)]
        return until_one_fails((self.cases[name] for name in self.known.order(mutant, names)), self.known)

    def learning(self, tell: Heard) -> Heard:
        """`tell`, and remember which tests kill."""

        def heard(mutant: Mutant, verdict: Verdict) -> None:
            self.known.killed(mutant, verdict.by)
            tell(mutant, verdict)

        return heard


def in_processes(mutants: Sequence[Mutant], jobs: int, judge: Callable[[Mutant], Verdict], heard: Heard) -> None:
    """Judge each in a forked process, `jobs` at a time."""
    running: dict[int, tuple[Mutant, int]] = {}
    waiting = list(reversed(mutants))
    gc.collect()
    gc.freeze()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            pid, pipe = _forked(judge, mutant)
            running[pid] = (mutant, pipe)
        pid, _ = os.wait()
        mutant, pipe = running.pop(pid)
        with os.fdopen(pipe, encoding="utf-8") as answer:
            outcome, _, by = answer.read().partition(" ")
        if outcome == BROKEN:
            raise RuntimeError(f"{mutant.identity}: {by}")
        heard(mutant, Verdict(outcome or KILLED, by if outcome else "the process ended"))


def _forked(judge: Callable[[Mutant], Verdict], mutant: Mutant) -> tuple[int, int]:
    reading, writing = os.pipe()
    if pid := os.fork():
        os.close(writing)
        return pid, reading
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        verdict = judge(mutant)
        os.write(writing, f"{verdict.outcome} {verdict.by}".encode())
    except BaseException as fault:  # noqa: BLE001 - whatever it is, the parent must hear of it
        os.write(writing, f"{BROKEN} {fault!r}".encode())
    finally:
        os._exit(0)
