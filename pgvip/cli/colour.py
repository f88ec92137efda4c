"""Looks of lines in a terminal (ECMA-48), and when they are left out: elsewhere, and with NO_COLOR (no-color.org)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pgvip.text.writing import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

STYLES = {
    "title": "\x1b[1m",
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "good": "\x1b[32m",
    "quiet": "\x1b[2m",
}
RESET = "\x1b[0m"
Styled = tuple[str, str]
"""A style, "" for none, and a line."""


def wanted(stream: TextIO) -> bool:
    """Lines have looks there."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in (None, "", "dumb")


def styled(text: str, style: str) -> str:
    r"""The text with its look.

    >>> styled("a", "title"), styled("a", ""), styled("", "title")
    ('\x1b[1ma\x1b[0m', 'a', '')
    """
    start = STYLES.get(style, "")
    return f"{start}{text}{RESET}" if start and text else text


def put_styled(lines: Iterable[Styled], stream: TextIO | None = None) -> None:
    """Print lines for people, with their looks where that is wanted; what is in them cannot command the terminal."""
    stream = stream or sys.stdout
    colour = wanted(stream)
    for style, text in lines:
        plain = printable(text)
        stream.write(f"{styled(plain, style) if colour else plain}\n")
