"""A copy of the checkout, in which code is changed: the checkout itself stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DIRECTORIES = ("pgvip", "tests", "docs", "scripts", "conf", "systemd")
FILES = (Path("setup.cfg"), Path("pyproject.toml"))


def copy_to(target: Path, *more: Path) -> None:
    """Copy what tests need. `more`: files of the checkout that are copied too where they are there."""
    for name in DIRECTORIES:
        shutil.copytree(REPOSITORY / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*FILES, *more):
        if (REPOSITORY / path).exists():
            shutil.copy(REPOSITORY / path, target)
