"""The shape of the program as rules: who may import what, how long things may be, what an exception must say."""

from __future__ import annotations

import ast
import graphlib
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "pgvip"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))
STDLIB = frozenset(sys.stdlib_module_names)

ONE_MODULE = {
    "psycopg2": "system/sql.py",
    "psutil": "system/processes.py",
    "pyroute2": "system/netlink.py",
    "scapy": "system/packets.py",
    "tenacity": "deadlines.py",
    "cryptography": "link/certificates.py",
    "h11": "web/http.py",
}
"""Each third-party library and the one module that may import it."""

PURE = {"time", "random", "secrets", "threading", "os", "sys", "socket", "subprocess", "datetime", "pathlib", "uuid"}
"""What the core has no use for: clocks, randomness, threads, the world."""

LOOSE = {"__init__", "errors", "deadlines"}
"""The modules that stand in no package."""

SYNCING = {"state/files.py", "archive/packing.py", "probes/disk_writer.py"}
"""Who calls fsync(2): the writer of durable files, that of the archive commands, and the probe that measures it."""

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "events", "core"),
    ("deadlines", "state", "text"),
    ("config",),
    ("link", "system", "web", "status"),
    ("archive", "probes", "explain", "hooks", "notify", "drill", "witness"),
    ("actions", "checks", "journal"),
    ("orders", "rejoin"),
    ("daemon", "setup"),
    ("cli",),
)
"""Bottom up: a package imports from its own floor and from those below, and never in a circle."""


def relative(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def part_of(module: Path) -> str:
    """The package, or the loose module, that a file belongs to."""
    return relative(module).split("/")[0].removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    """Every module that is imported, at any depth of the code."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(module)}: relative import"
            name = node.module or ""
            yield from (f"{name}.{alias.name}" for alias in node.names) if name == "pgvip" else (name,)


def own_imports(module: Path) -> Iterator[str]:
    """Parts of pgvip that a module imports: "core", "errors", "config_load" …"""
    for name in imports(module):
        if name.startswith("pgvip."):
            yield name.split(".")[1]


def test_there_is_something_to_check() -> None:
    assert len(MODULES) > 50
    assert {part_of(module) for module in MODULES} >= {"core", "system", "probes", "actions", "link", "cli"}


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) == "core"], ids=relative)
def test_the_core_is_pure(module: Path) -> None:
    tops = {name.split(".")[0] for name in imports(module)}
    assert tops <= STDLIB | {"pgvip"}
    assert not tops & PURE
    assert set(own_imports(module)) <= {"core"}
    called = {node.func.id for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)
              and isinstance(node.func, ast.Name)}  # fmt: skip
    assert not called & {"open", "print", "input", "exec", "eval"}


def test_each_library_is_imported_in_one_module() -> None:
    seen: dict[str, set[str]] = {}
    for module in MODULES:
        for name in imports(module):
            top = name.split(".")[0]
            if top not in STDLIB and top != "pgvip":
                seen.setdefault(top, set()).add(relative(module))
    assert seen == {library: {ONE_MODULE[library]} for library in seen if library in ONE_MODULE}
    assert len(seen) >= 5


def test_durable_files_have_one_writer() -> None:
    seen = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "fsync":
                seen.add(relative(module))
    assert seen == SYNCING


def test_every_package_has_its_floor() -> None:
    assert {part_of(module) for module in MODULES} - {"__init__"} == {part for floor in FLOORS for part in floor}
    assert {module.stem for module in PACKAGE.glob("*.py")} == LOOSE


@pytest.mark.parametrize("module", [m for m in MODULES if relative(m) != "__init__.py"], ids=relative)
def test_imports_point_downwards(module: Path) -> None:
    height = {part: number for number, floor in enumerate(FLOORS) for part in floor}
    above = {name for name in own_imports(module) if name != "__version__" and height[name] > height[part_of(module)]}
    assert not above, f"{relative(module)} imports upwards: {sorted(above)}"


def test_packages_make_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        graph.setdefault(part_of(module), set()).update(set(own_imports(module)) - {part_of(module), "__version__"})
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_no_two_modules_have_one_name() -> None:
    """A command's module has the name of the command, whatever else has it."""
    names = [m.stem for m in MODULES if part_of(m) != "cli" and m.stem != "__init__"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_imports_make_no_circle() -> None:
    """Neither those for the type checker alone: what two modules need of each other belongs below both."""
    names = {".".join(module.relative_to(REPOSITORY).with_suffix("").parts) for module in MODULES}
    graph = {name: names & set(imported(REPOSITORY / (name.replace(".", "/") + ".py"))) for name in names}
    assert sum(map(len, graph.values())) > len(MODULES)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def imported(module: Path) -> Iterator[str]:
    """The modules whose names are imported, `from pgvip.core import view` as well as `from pgvip.core.facts import`."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_scapy_is_not_imported_whole() -> None:
    for module in MODULES:
        assert "scapy.all" not in set(imports(module)), relative(module)


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_modules_and_functions_are_short(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400 or module in TESTS
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 70, f"{node.name}: {length} lines"


EXCUSE = re.compile(
    r"#\s*(noqa|type:\s*ignore|nosec)(?P<codes>:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*| B\d+(,\s*B\d+)*|\[[\w\-, ]+\])?"
    r"(\s*# nosec (?P<also>B\d+))?(?P<rest>.*)"
)
"""A comment that silences a checker: which codes it names, and what else it says."""


def excuses(module: Path) -> Iterator[tuple[int, re.Match[str]]]:
    with tokenize.open(module) as file:
        text = file.read()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (match := EXCUSE.search(token.string)):
            yield token.start[0], match


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_excuse_names_its_rule_and_its_reason(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").splitlines()
    for number, match in excuses(module):
        where = f"{module.name}:{number}: {lines[number - 1].strip()}"
        assert match["codes"], f"no code: {where}"
        said = match["rest"].strip(" -#") or reason_elsewhere(module, match["codes"])
        assert len(said) >= 5, f"no reason: {where}"


def reason_elsewhere(module: Path, codes: str) -> str:
    """The reason given the first time these codes were silenced in this module."""
    for _number, match in excuses(module):
        if match["codes"] == codes and match["rest"].strip(" -#"):
            return match["rest"].strip(" -#")
    return ""


def test_no_checker_is_silenced_for_a_whole_module() -> None:
    for module in [*MODULES, *TESTS]:
        for line in module.read_text(encoding="utf-8").splitlines():
            assert not re.match(r"#\s*(ruff|flake8):\s*noqa|#\s*mypy:", line), module


RUNNERS = {"daemon/probe_threads.py": ["_look"], "daemon/action_threads.py": ["_run"]}
"""The two runners, and the functions in which they catch everything: whatever a probe or an action fails by is a failed
observation with its cause, and a warning. No input ends the daemon."""


@pytest.mark.parametrize("module", [m for m in MODULES if relative(m) in RUNNERS], ids=relative)
def test_the_two_runners_catch_everything_once(module: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.FunctionDef)]
    catching = {f.name: catches_everything(f) for f in functions}
    assert [name for name, count in catching.items() for _ in range(count)] == RUNNERS[relative(module)]


def catches_everything(function: ast.FunctionDef) -> int:
    caught = [node.type for node in ast.walk(function) if isinstance(node, ast.ExceptHandler)]
    return sum(isinstance(one, ast.Name) and one.id == "Exception" for one in caught)


@pytest.mark.parametrize("module", [m for m in MODULES if relative(m) not in RUNNERS], ids=relative)
def test_nothing_catches_everything(module: Path) -> None:
    """A failed assertion of the core is never caught: crash, restart, observe."""
    broad = {"Exception", "BaseException", "AssertionError"}
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{relative(module)}:{node.lineno}"
            names = {leaf.id for leaf in ast.walk(node.type) if isinstance(leaf, ast.Name)}
            reraises = any(isinstance(leaf, ast.Raise) for leaf in ast.walk(node))
            assert reraises or not names & broad, f"{relative(module)}:{node.lineno}"


def test_the_archive_commands_and_the_core_start_without_a_library() -> None:
    """A command that runs once for each WAL file must not import what takes a second."""
    for name in ("archive/archive_wal.py", "archive/archive_command.py", "archive/ahead.py", "archive/restore_wal.py"):
        tops = {one.split(".")[0] for one in imports(PACKAGE / name)}
        assert tops <= STDLIB | {"pgvip"}, name
