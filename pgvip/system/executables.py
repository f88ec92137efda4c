"""Executables in a directory, in the order of their names, as run-parts(8) calls them.

The daemon runs as root, so that a file which others than root may change is refused, as sudo and ssh do.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.config.ownership import changeable

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_LEFT_OVER = (
    ".bak", ".orig", ".disabled", ".sample", ".swp", ".new", ".old", ".save", ".rpmnew", ".rpmsave", ".rpmorig",
)  # fmt: skip
_PACKAGED = re.compile(r"\.(dpkg|ucf)-[a-z]+\Z")


@dataclass(frozen=True, slots=True)
class Executable:
    """One file. `refused`: why it is not called, "" when it is."""

    path: Path
    refused: str = ""

    @property
    def name(self) -> str:
        return self.path.name


def listed(directory: Path) -> list[Executable]:
    """Every file that is meant to be called, sorted by name as the C locale does; empty when there is no directory.

    Left out are what run-parts leaves out as well: hidden files, an editor's or a package manager's left-overs; names
    with a dot, as in 10-mail.sh, are called. OSError when the directory cannot be read.
    """
    try:
        paths = sorted(directory.iterdir(), key=lambda path: os.fsencode(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [Executable(path, refusal(path)) for path in paths if _is_meant(path)]


def _is_meant(path: Path) -> bool:
    name = path.name
    left_over = name.endswith(_LEFT_OVER) or _PACKAGED.search(name)
    return bool(_NAME.match(name)) and not left_over and not path.is_dir()


def refusal(path: Path) -> str:
    """Why root must not call this file, or "": it, or a directory on the way to it, can be changed by others.

    After a colon comes the command that repairs it, where there is one.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is no file"
        if not found.st_mode & 0o100:
            return f"it is not executable: chmod 0755 {path}"
        return changeable(path)
    except OSError as failure:
        return f"it cannot be inspected ({failure.strerror})"
