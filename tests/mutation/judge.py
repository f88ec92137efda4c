"""Runs the tests against mutants: each in a forked process, the likeliest killer first, until one test fails.

A mutant inside a function is put in place of the function's code in a process that has everything loaded. One at
module or class level (a row of the table, a default, an enum's value) needs modules loaded anew: that takes a second.
"""

from __future__ import annotations

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType

import coverage
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import CORE, Mutant

UNIT = "tests/unit"
SCENARIOS = "tests/simulation/test_scenarios.py"
SLICES = "tests/mutation/slices.py"
MEMORY = 3 << 30
"""Bytes of address space; a mutant that wants more has failed."""
PATIENCE, LEAST_S = 20.0, 10.0
"""A test that takes so many times as long as without the mutant, and at least so long, hangs."""
KILLED, SURVIVED, HUNG, BROKEN = "killed", "survived", "hung", "broken"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a mutant, and which test found it."""

    outcome: str
    by: str


def files(*, simulation: bool = True) -> list[str]:
    """The test files that judge, as pytest takes them."""
    unit = [str(path) for path in sorted(Path(UNIT).glob("test_core_*.py"))]
    return [*unit, SCENARIOS, SLICES] if simulation else unit


def is_used(item: pytest.Item) -> bool:
    """Of the scenarios the first seed is enough."""
    call = getattr(item, "callspec", None)
    return not item.nodeid.startswith(SCENARIOS) or call is None or call.params.get("seed", 1) == 1


@dataclass
class Known:
    """What is known of the tests: how long each takes, which lines it runs, what it has killed where."""

    took_s: dict[str, float] = field(default_factory=dict)
    runs: dict[str, dict[int, frozenset[str]]] = field(default_factory=dict)
    kills: dict[str, Counter[str]] = field(default_factory=dict)

    def order(self, mutant: Mutant, names: Sequence[str]) -> list[str]:
        """Of `names` those that run the mutant's lines, the likeliest killer first."""
        near = self.kills.get(mutant.module + mutant.place, Counter())
        wide = self.kills.get(mutant.module, Counter())
        reach = self.reach(mutant)
        chosen = [name for name in names if reach is None or name in reach]
        return sorted(chosen, key=lambda name: self.took_s.get(name, 0.0) / (1 + 20 * near[name] + 2 * wide[name]))

    def reach(self, mutant: Mutant) -> frozenset[str] | None:
        """The tests that run the mutant's lines; None: all may."""
        if not mutant.place:
            return None
        lines = self.runs.get(mutant.module, {})
        first, last = mutant.lines
        return frozenset().union(*(lines.get(line, frozenset()) for line in range(first, last + 1)))

    def killed(self, mutant: Mutant, by: str) -> None:
        for where in (mutant.module + mutant.place, mutant.module):
            self.kills.setdefault(where, Counter())[by] += 1


@dataclass(frozen=True, slots=True)
class Bench:
    """How to judge: with which test files, how many mutants at a time; `skip`: tests that a mutant has survived."""

    files: Sequence[str]
    jobs: int
    skip: Callable[[Mutant, str], bool]


class Spoilt(Exception):
    """The tests fail without any mutant."""


# --- one mutant -----------------------------------------------------------------------------------------------


def run_until_failure(items: Sequence[pytest.Item], known: Known) -> Verdict:
    """In the forked process: the first test that fails, or hangs, or none."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for item in items:
        limit_s = max(LEAST_S, PATIENCE * known.took_s.get(item.nodeid, 0.0))
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            reports = runtestprotocol(item, log=False, nextitem=None)
        except Hang:
            return Verdict(HUNG, item.nodeid)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        if any(report.failed for report in reports):
            hung = any("Hang" in str(report.longrepr) for report in reports)
            return Verdict(HUNG if hung else KILLED, item.nodeid)
    return Verdict(SURVIVED, "")


class Hang(BaseException):
    """Raised in a test that takes too long (no `except Exception` holds it back)."""


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise Hang


def swap(mutant: Mutant) -> None:
    """Put the mutant's code in the place of the function's."""
    module = sys.modules[f"pgvip.core.{mutant.module.removesuffix('.py')}"]
    code = next(_codes(compile(mutant.source, str(module.__file__), "exec"), mutant.place))
    _function(module, mutant.place).__code__ = code


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
        self.name = f"pgvip.core.{mutant.module.removesuffix('.py')}"
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


class Single:
    """pytest plugin: runs the tests against the mutant that was imported."""

    def __init__(self, order: Callable[[Sequence[str]], list[str]], known: Known) -> None:
        self.order, self.known = order, known
        self.verdict = Verdict(KILLED, "import")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            return True
        items = {item.nodeid: item for item in session.items if is_used(item)}
        self.verdict = run_until_failure([items[name] for name in self.order(list(items))], self.known)
        return True


# --- many mutants ---------------------------------------------------------------------------------------------

Heard = Callable[[Mutant, Verdict], None]


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
    signal.signal(signal.SIGALRM, _alarm)
    _quiet()
    try:
        verdict = judge(mutant)
        os.write(writing, f"{verdict.outcome} {verdict.by}".encode())
    except BaseException as fault:  # noqa: BLE001 - whatever it is, the parent must hear of it
        os.write(writing, f"{BROKEN} {fault!r}".encode())
    finally:
        os._exit(0)


class Server:
    """pytest plugin: everything loaded once, the unbroken tests run once, then a process for each mutant."""

    def __init__(self, mutants: Sequence[Mutant], bench: Bench, heard: Heard) -> None:
        self.mutants, self.bench, self.heard = mutants, bench, heard
        self.known = Known()
        self.failed: list[str] = []
        self.items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items if is_used(item)}
        if session.testsfailed or not self.items:
            self.failed.append("the tests cannot be collected")
            return True
        self._unbroken()
        if not self.failed:
            in_processes(self.mutants, self.bench.jobs, self._judge, self._heard)
        return True

    def _unbroken(self) -> None:
        seen = coverage.Coverage(data_file=None, config_file=False, include=[f"{CORE.resolve()}/*"])
        seen.start()
        for name, item in self.items.items():
            seen.switch_context(name)
            began_s = time.monotonic()
            reports = runtestprotocol(item, log=False, nextitem=None)
            self.known.took_s[name] = time.monotonic() - began_s
            if any(report.failed for report in reports):
                self.failed.append(name)
        seen.stop()
        for path in CORE.glob("*.py"):
            lines = seen.get_data().contexts_by_lineno(str(path.resolve()))
            self.known.runs[path.name] = {line: frozenset(names) for line, names in lines.items()}

    def _judge(self, mutant: Mutant) -> Verdict:
        swap(mutant)
        names = [name for name in self.items if not self.bench.skip(mutant, name)]
        return run_until_failure([self.items[name] for name in self.known.order(mutant, names)], self.known)

    def _heard(self, mutant: Mutant, verdict: Verdict) -> None:
        if verdict.by in self.items:
            self.known.killed(mutant, verdict.by)
        self.heard(mutant, verdict)


def judge_all(mutants: Sequence[Mutant], bench: Bench, heard: Heard) -> None:
    """Judge every mutant, telling `heard` of each.

    Raises Spoilt when the tests fail by themselves. Nothing of pgvip may have been imported before.
    """
    known = _inner([mutant for mutant in mutants if mutant.place], bench, heard)

    def judge(mutant: Mutant) -> Verdict:
        def order(names: Sequence[str]) -> list[str]:
            return known.order(mutant, [name for name in names if not bench.skip(mutant, name)])

        sys.meta_path.insert(0, Replaced(mutant))
        single = Single(order, known)
        _pytest(single, bench)
        return single.verdict

    def learned(mutant: Mutant, verdict: Verdict) -> None:
        known.killed(mutant, verdict.by)
        heard(mutant, verdict)

    in_processes([mutant for mutant in mutants if not mutant.place], bench.jobs, judge, learned)


def _inner(mutants: Sequence[Mutant], bench: Bench, heard: Heard) -> Known:
    """Those inside functions, in a process of their own, since it imports the core; what it learned of the tests."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    numbers = {mutant.identity: number for number, mutant in enumerate(mutants)}

    def serve() -> None:
        _quiet()
        server = Server(mutants, bench, lambda mutant, verdict: there.send((numbers[mutant.identity], verdict)))
        _pytest(server, bench)
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


def _pytest(plugin: object, bench: Bench) -> None:
    arguments = ["-q", "-s", "-p", "no:cacheprovider", *bench.files]
    code = pytest.main(arguments, plugins=[plugin])
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR):
        raise RuntimeError(f"pytest: {code}")


def _quiet() -> None:
    """What tests and pytest print is of no use here."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
