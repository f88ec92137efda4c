"""Whole numbers in texts that others wrote."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"[0-9]{1,18}")


def whole(text: str) -> int | None:
    """The number that a text is, in ASCII digits alone; None for any other text.

    `str.isdigit` holds for more than `int` reads, and `int` reads more than PostgreSQL and the kernel write.

    >>> whole("42"), whole("²"), whole("٣"), whole("-1"), whole("1_0"), whole("9" * 30), whole("")
    (42, None, None, None, None, None, None)
    """
    return int(text) if _DIGITS.fullmatch(text) else None
