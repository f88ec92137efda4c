"""Every mutant of the core that mutmut's operators make, each with an identity that survives edits elsewhere.

mutmut's own runner cannot be used here: it swaps whole functions behind a trampoline, and so leaves out decorated
functions (every fact of `Facts`) and everything at module level (the table of changes, its conditions, the constants).
So its operators make the mutants and `judge` runs them.
"""

from __future__ import annotations

import ast
import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import create_mutations, deep_replace

CORE = Path("pgvip/core")
DECORATOR = re.compile(r"^( *)@(\w+)$", re.MULTILINE)
WORDS: dict[str, tuple[int, ...]] = {
    "note": (0, 1), "WarningRow": (2, 3), "Condition": (2, 3), "Change": (5,), "end_claim": (1,),
    "call_off": (1,), "ValueError": (0,), "AssertionError": (0,),
}  # fmt: skip
"""Calls with words for people (log lines, warnings, reasons), and at which places: these words are not mutated."""
NAMELESS = ("__all__", "FORCE", "HINTS", "RIGHTS", "SOON", "STATUS", "T")
"""Assignments left out: what `import *` would take (nobody uses it), words for people, a name of the type checker."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module.

    `identity`: module, place, the line before and after. `place`: the function that is changed, or "" for what runs at
    import. `unit`: a digest of the statement around it (a function, a class, an assignment): while that stays, a result
    stays. `lines`: those of the changed statement, first and last. `part`: the module's statement with the change,
    which begins below `above` lines; `rest`: the source before and behind it.
    """

    identity: str
    module: str
    place: str
    unit: str
    lines: tuple[int, int]
    above: int
    part: str
    rest: tuple[str, str]

    @property
    def source(self) -> str:
        """The whole module with the change."""
        return self.part.join(self.rest)


def modules() -> list[Path]:
    return sorted(path for path in CORE.glob("*.py") if path.name not in ("__init__.py", "model.py"))


def mutants(path: Path) -> list[Mutant]:
    """The mutants of one module, in the order of the source."""
    return list(_Maker(path).make())


class _Maker:
    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.source = path.read_text(encoding="utf-8")
        logging.disable(logging.INFO)
        # Without its decorator a method is mutated too; the comment keeps the lines where they are.
        plain = DECORATOR.sub(_hidden, self.source)
        module, self.mutations, _, _ = create_mutations(str(path), plain)
        wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
        self.module = wrapper.module
        self.positions = wrapper.resolve(PositionProvider)
        self.parents = wrapper.resolve(ParentNodeProvider)
        self.tree = ast.parse(self.source)
        self.seen: dict[str, int] = {}
        self.codes: dict[cst.CSTNode, str] = {}
        self.statements = _statements(self.tree, self.source.count("\n") + 1)
        self.parts = [self.module.code_for_node(statement) for statement in self.module.body]
        self.dumps = [ast.dump(ast.parse(part)) for part in self.parts]
        head = "".join(self.module.code_for_node(line) for line in self.module.header)
        foot = "".join(self.module.code_for_node(line) for line in self.module.footer)
        whole = [head, *self.parts, foot]
        count = len(self.parts)
        self.rests = [(_shown("".join(whole[: n + 1])), _shown("".join(whole[n + 2 :]))) for n in range(count)]

    def make(self) -> Iterator[Mutant]:
        made: set[tuple[int, str]] = set()
        for mutation in self.mutations:
            number = self._number(mutation.original_node)
            old, new = mutation.original_node, mutation.mutated_node
            if self._is_for_people(old, new) or _is_refused(old, new):
                continue
            part = self._changed(number, old, new)
            if (number, part) in made or not _differs(self.dumps[number], part):
                continue
            made.add((number, part))
            yield self._mutant(old, number, part)

    def _changed(self, number: int, old: cst.CSTNode, new: cst.CSTNode) -> str:
        """The module's statement with the change: the code of the smallest part that stands there once is replaced."""
        for around in self._parents(old):
            if not isinstance(around, cst.BaseExpression | cst.BaseSmallStatement | cst.BaseStatement):
                continue
            before = self.codes.get(around) or self.codes.setdefault(around, self.module.code_for_node(around))
            if self.parts[number].count(before) == 1 or around is self.module.body[number]:
                changed = deep_replace(around, old, new)
                assert isinstance(changed, cst.CSTNode)
                return self.parts[number].replace(before, self.module.code_for_node(changed), 1)
        raise AssertionError("a mutation is in some statement of the module")

    def _number(self, node: cst.CSTNode) -> int:
        """Which of the module's statements the node is in."""
        *_, statement, _module = self._parents(node)
        return next(n for n, each in enumerate(self.module.body) if each is statement)

    def _mutant(self, node: cst.CSTNode, number: int, part: str) -> Mutant:
        line = self._line(node)
        before, after = _difference(_shown(self.parts[number]), _shown(part))
        rest = self.rests[number]
        place, unit = self._around(line)
        if self._in_parameters(node):
            place = ""
        identity = f"{self.name} {place or '-'}: {before} -> {after}"
        count = self.seen[identity] = self.seen.get(identity, 0) + 1
        identity += f" #{count}" if count > 1 else ""
        above = rest[0].count("\n")
        return Mutant(identity, self.name, place, unit, self.statements[line], above, _shown(part), rest)

    def _line(self, node: cst.CSTNode) -> int:
        """Of the node, or of the nearest around it that has one (operators have none)."""
        while node not in self.positions:
            node = self.parents[node]
        return self.positions[node].start.line

    def _in_parameters(self, node: cst.CSTNode) -> bool:
        return any(isinstance(parent, cst.Param) for parent in self._parents(node)) and not any(
            isinstance(parent, cst.Lambda) for parent in self._parents(node)
        )

    def _parents(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        current: cst.CSTNode | None = node
        while current is not None:
            yield current
            current = self.parents.get(current)

    def _around(self, line: int) -> tuple[str, str]:
        """The function around `line`, "" at module or class level, and the digest of what is around it."""
        names: list[str] = []
        body: list[ast.stmt] = self.tree.body
        while True:
            inner = next(each for each in body if _first(each) <= line <= (each.end_lineno or 0))
            if isinstance(inner, ast.If):
                otherwise = inner.orelse and line >= inner.orelse[0].lineno
                body = inner.orelse if otherwise else inner.body
                if not any(_first(each) <= line <= (each.end_lineno or 0) for each in body):
                    return "", _digest(inner)
            elif isinstance(inner, ast.ClassDef):
                names.append(inner.name)
                body = inner.body
                if not any(_first(each) <= line <= (each.end_lineno or 0) for each in body):
                    return "", _digest(inner)
            elif isinstance(inner, ast.FunctionDef):
                return ".".join([*names, inner.name]), _digest(inner)
            else:
                return "", _digest(inner)

    def _is_for_people(self, node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
        if isinstance(node, cst.Call) and isinstance(mutated, cst.Call):
            places = WORDS.get(_called(node), ())
            changed = next((n for n, arg in enumerate(node.args) if _argument(mutated, n) is not arg), -1)
            if changed in places:
                return True
        below: cst.CSTNode | None = None
        for parent in self._parents(node):
            if isinstance(parent, cst.Call) and isinstance(below, cst.Arg):
                if parent.args.index(below) in WORDS.get(_called(parent), ()):
                    return True
            elif isinstance(parent, cst.Raise) and isinstance(node, cst.SimpleString):
                return True
            elif isinstance(parent, cst.Assign | cst.AnnAssign):
                target = parent.targets[0].target if isinstance(parent, cst.Assign) else parent.target
                if isinstance(target, cst.Name) and target.value in NAMELESS:
                    return True
            below = parent
        return False


def _hidden(decorator: re.Match[str]) -> str:
    return f"{decorator[1]}#@{decorator[2]}"


def _shown(source: str) -> str:
    return re.sub(r"^( *)#@(\w+)$", r"\1@\2", source, flags=re.MULTILINE)


def _differs(before: str, after: str) -> bool:
    """Whether the source `after` is another program than that with the dump `before`."""
    try:
        return ast.dump(ast.parse(after)) != before
    except SyntaxError:
        return False  # an operator made what is no Python: it tests nothing


def _statements(tree: ast.Module, count: int) -> dict[int, tuple[int, int]]:
    """For each line, first and last line of the innermost statement there: of its head, when it has a body."""
    lines = {line: (line, line) for line in range(1, count + 1)}
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = max(body[0].lineno - 1 if body else (node.end_lineno or 0), node.lineno)
            lines.update(dict.fromkeys(range(node.lineno, last + 1), (node.lineno, last)))
    return lines


def _is_refused(node: cst.CSTNode, mutated: cst.CSTNode) -> bool:
    """A default that is not of its field's type (None, or "" in place of None): the type checker's to find."""
    return isinstance(node, cst.AnnAssign) and isinstance(mutated, cst.AnnAssign) and node.value is not mutated.value


def _called(call: cst.Call) -> str:
    function = call.func
    if isinstance(function, cst.Attribute):
        function = function.attr
    return function.value if isinstance(function, cst.Name) else ""


def _argument(call: cst.Call, number: int) -> cst.Arg | None:
    return call.args[number] if number < len(call.args) else None


def _first(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _digest(node: ast.AST) -> str:
    return hashlib.sha256(ast.dump(node).encode()).hexdigest()[:12]


def _difference(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, joined, without their indentation."""
    old, new = before.split("\n"), after.split("\n")
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return (" ".join(line.strip() for line in old), " ".join(line.strip() for line in new))
