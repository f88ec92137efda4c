"""Survivors that the type checker refuses: such a program does not pass scripts/test, whatever its tests say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import CORE, Mutant

COMMAND = ["--strict", "--no-warn-unreachable", "--no-warn-redundant-casts", "--no-error-summary", "--config-file="]
"""Not what mypy says of code that is never reached: that an operator wrote `and False` is no mistake of types."""
PLACE = re.compile(r"mutant_(\d+)_")


def refused(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Those of `mutants` that mypy refuses. Each is a module of its own for that, beside the one that it changes.

    Must be called in a copy of the tree. Raises RuntimeError when mypy refuses the unchanged modules in that way.
    """
    if not mutants:
        return []
    plain = {mutant.module: (CORE / mutant.module).read_text(encoding="utf-8") for mutant in mutants}
    sources = [mutant.source for mutant in mutants]
    files = [_file(number, mutants[number].module) for number in range(len(mutants))]
    for number, (module, source) in enumerate(plain.items(), len(mutants)):
        files.append(_file(number, module))
        sources.append(source)
    for file, source in zip(files, sources, strict=True):
        file.write_text(source, encoding="utf-8")
    try:
        command = [sys.executable, "-m", "mypy", *COMMAND, *map(str, files)]
        said = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    finally:
        for file in files:
            file.unlink()
    numbers = {int(place[1]) for line in said.splitlines() if ": error:" in line and (place := PLACE.search(line))}
    if any(number >= len(mutants) for number in numbers):
        raise RuntimeError(f"mypy refuses what is not changed: {said}")
    return [mutant for number, mutant in enumerate(mutants) if number in numbers]


def _file(number: int, module: str) -> Path:
    return CORE / f"mutant_{number}_{module}"
