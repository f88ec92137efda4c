"""The commands of the pages in docs/procedures, which the tests of those procedures run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tests.lab.hosts import REPOSITORY

BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Where, and what is run, by the blocks of a page of docs/procedures."""
    where = ""
    for block in BLOCK.findall((REPOSITORY / "docs/procedures" / f"{page}.md").read_text()):
        for line in map(str.strip, block.splitlines()):
            if line.startswith("# on "):
                where = line.removeprefix("# on ")
            elif line:
                yield where, shlex.split(line)
