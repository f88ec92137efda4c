"""`scripts/mutate --shell-all`: which tests judge a module, and what a verdict is worth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation import shell_all
from tests.mutation.mutants import Mutant
from tests.mutation.shell_all import HUNG, KILLED, SURVIVED, UNJUDGED, UNTESTED, Bench, figures, modules

MODULE = Path("pgvip/state/small.py")
CODE = '"""Small."""\n\n\ndef larger(one: int, other: int) -> int:\n    return one if one > other else other\n'
HEAD, TAIL = CODE.split("    return")
CHANGED = f"    return{TAIL.replace('>', '<')}"
MUTANT = Mutant("small.py larger: > -> <", "small.py", "larger", "digest", (5, 5), 4, CHANGED, (HEAD, ""))
TESTS = Path("tests/unit/state/test_small.py")
GREEN = "from pgvip.state.small import larger\n\ndef test_it():\n    assert larger(2, 1) == 2\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one module of the shell, in which this process works; the forked runs import from there."""
    for file, text in ((MODULE, CODE), (Path("pgvip/state/__init__.py"), ""), (Path("pgvip/__init__.py"), "")):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    (tmp_path / TESTS).parent.mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_modules_are_those_of_the_shell() -> None:
    names = {str(path) for path in modules()}
    assert {"pgvip/daemon/loop.py", "pgvip/actions/vip.py", "pgvip/probes/disks.py", "pgvip/state/record.py"} <= names
    assert not [name for name in names if name.endswith("__init__.py") or name.startswith("pgvip/core/")]


@pytest.mark.usefixtures("checkout")
def test_the_tests_of_a_module_are_its_mirror_and_then_those_that_import_it() -> None:
    others = {
        "tests/unit/state/test_user.py": "from pgvip.state.small import larger\n",
        "tests/unit/daemon/test_far.py": "from pgvip.state import files, small\n",
        "tests/unit/daemon/test_near.py": "from pgvip.state import smaller\nfrom pgvip.core import small\n",
    }
    for file, text in others.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text)
    importers = ["tests/unit/state/test_user.py", "tests/unit/daemon/test_far.py"]
    assert shell_all.tests_of(MODULE) == importers
    TESTS.write_text(GREEN)
    assert shell_all.tests_of(MODULE) == [str(TESTS), *importers]


def judged(outcomes: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """By a run of tests whose outcome depends on the module's text at that moment."""

    def run(_tests: object, _limit_s: float) -> str:
        return outcomes.get(MODULE.read_text(), SURVIVED)

    monkeypatch.setattr(shell_all, "run", run)
    return Bench().judge(MODULE, MUTANT)


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("outcome", [KILLED, SURVIVED, HUNG])
def test_a_mutant_is_in_the_module_while_it_is_judged_and_gone_afterwards(
    outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    TESTS.write_text(GREEN)
    assert judged({MUTANT.source: outcome}, monkeypatch) == outcome
    assert MODULE.read_text() == CODE


@pytest.mark.usefixtures("checkout")
def test_tests_that_are_red_or_missing_judge_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged({MUTANT.source: KILLED}, monkeypatch) == UNTESTED
    TESTS.write_text(GREEN)
    assert judged({CODE: KILLED, MUTANT.source: KILLED}, monkeypatch) == UNJUDGED


@pytest.mark.usefixtures("checkout")
def test_what_was_compiled_before_is_not_what_runs() -> None:
    compiled = MODULE.parent / "__pycache__" / "small.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.write_bytes(b"old")
    shell_all.write(MODULE, CODE)
    assert not compiled.exists()


RUNS = """
from tests.mutation.shell_all import run
for file, limit_s in (("green", 60), ("red", 60), ("hangs", 2), ("empty", 60)):
    print(run([f"test_{file}.py"], limit_s))
"""


def test_a_run_ends_with_a_verdict(tmp_path: Path) -> None:
    """In a process that has no other thread, since it forks."""
    texts = {
        "green": "def test_it():\n    pass\n",
        "red": "def test_it():\n    assert False\n",
        "hangs": "import threading\n\ndef test_it():\n    threading.Event().wait()\n",
        "empty": "",
    }
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, text in texts.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", RUNS]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=True, cwd=tmp_path, env=environment)
    assert done.stdout.splitlines() == [SURVIVED, KILLED, HUNG, UNJUDGED]


def test_the_share_is_of_those_that_were_judged() -> None:
    said = figures([KILLED, HUNG, SURVIVED, SURVIVED, UNTESTED, UNJUDGED, UNJUDGED])
    assert said == "   7 mutants: 2 of 4 killed (50 %), 1 no unit test, 2 not judged"
    assert "%" not in figures([UNTESTED])
